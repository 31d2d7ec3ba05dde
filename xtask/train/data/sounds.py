"""Sounds of up to four seconds: words, tones, beeps, sweeps, noise, and questions about them."""

import numpy as np

from .chance import draw
from .chat import Sound
from .pictures import turns
from .speech import DIGITS, RATE, WORDS, speaker, stretch

SAMPLES = 64_000
TONES = {"low": (180, 280), "mid": (520, 760), "high": (1500, 2100)}
# What a tower can be taught to hear, for training it alone: `Sound.symbols` counts these from 1.
SYMBOLS = (*WORDS, *TONES, "beep", "rising", "falling", "noise")
_ID = {symbol: id for id, symbol in enumerate(SYMBOLS, 1)}
_PLAIN_WORDS = WORDS[len(DIGITS) :]


def _gap(seconds):
    return np.zeros(int(seconds * RATE), np.float32)


def _tone(rng, seconds, begin, end=None):
    """A tone with an overtone, from one pitch to another, in Hz."""
    count = int(seconds * RATE)
    clock = np.arange(count, dtype=np.float32) / RATE
    slope = 0.0 if end is None else (end - begin) / (2 * seconds)
    angle = 2 * np.pi * (begin + slope * clock) * clock
    wave = np.sin(angle) + rng.uniform(0, 0.4) * np.sin(2 * angle)
    ramp = np.linspace(0, 1, 160, dtype=np.float32)
    wave[:160] *= ramp
    wave[-160:] *= ramp[::-1]
    return 0.6 * wave


def speech(rng, words, held_out, limit=SAMPLES):
    """Words by one speaker: float32 samples, spoken faster where they would not fit."""
    say, pace = speaker(rng, held_out), rng.uniform(0.92, 1.1)
    parts = [_gap(rng.uniform(0.02, 0.12))]
    for text in words:
        parts += [stretch(say(text), pace), _gap(rng.uniform(0.03, 0.14))]
    wave = np.concatenate(parts)
    return wave if len(wave) <= limit else stretch(wave, len(wave) / (limit - 1))


def tones(rng, names):
    """A run of tones."""
    parts = [_gap(rng.uniform(0.02, 0.12))]
    for name in names:
        parts += [_tone(rng, rng.uniform(0.16, 0.26), rng.uniform(*TONES[name])), _gap(rng.uniform(0.06, 0.14))]
    return np.concatenate(parts)


def beeps(rng, count):
    """Equal short tones."""
    pitch, seconds = rng.uniform(600, 1500), rng.uniform(0.06, 0.12)
    parts = [_gap(rng.uniform(0.02, 0.15))]
    for _ in range(count):
        parts += [_tone(rng, seconds, pitch), _gap(rng.uniform(0.1, 0.24))]
    return np.concatenate(parts)


def sweep(rng, rises):
    """A tone that rises or falls."""
    low, high = rng.uniform(250, 500), rng.uniform(1200, 2400)
    ends = (low, high) if rises else (high, low)
    return np.concatenate([_gap(0.05), _tone(rng, rng.uniform(0.5, 0.9), *ends), _gap(0.05)])


def sound(rng, wave, symbols=()):
    """What a microphone would give: some gain, mostly some noise; 16 bits, in one of ten cases of which 8 tell."""
    wave = rng.uniform(0.25, 1.0) * wave
    if rng.below(0.9):
        wave = wave + 10 ** rng.uniform(-4, -2.2) * rng.noise(len(wave))
    samples = (np.clip(wave, -1, 1) * 32767).astype(np.int16)
    if rng.below(0.1):
        samples = coarse(samples)
    return Sound(samples, tuple(_ID[symbol] for symbol in symbols))


def coarse(samples):
    """Samples of which a file of 8 bits keeps all there is: rounded to multiples of 256."""
    return (np.clip(np.round(samples / 256), -128, 127) * 256).astype(np.int16)


def spelled(words):
    """Words as text: digits as digits."""
    return [str(DIGITS.index(word)) if word in DIGITS else word for word in words]


def spoken(rng, held_out, level):
    """Words: digits or others. As all kinds: the wave, its symbols, what is asked, and the name of the kind."""
    def make(rng):
        if rng.below(0.6):
            words = rng.choices(DIGITS, k=rng.randint(1, 2 + round(3 * level)))
        else:
            words = rng.choices(_PLAIN_WORDS, k=rng.randint(1, 1 + round(2 * level)))
        return f"say {' '.join(words)}", words

    words = draw(rng, held_out, make)[0]
    text = spelled(words)
    asked = [
        ("sound-words", "What is said?", " ".join(text)),
        ("sound-word-count", "How many words?", str(len(text))),
        ("sound-first-word", "What is the first word?", text[0]),
        ("sound-last-word", "What is the last word?", text[-1]),
    ]
    return speech(rng, words, held_out), words, asked, "speech"


def pattern(rng, held_out, level):
    """Tones of three pitches. As all kinds: the wave, its symbols, what is asked, and the name of the kind."""
    def make(rng):
        names = rng.choices(tuple(TONES), k=rng.randint(2, 4 + round(2 * level)))
        return f"tones {' '.join(names)}", names

    names = draw(rng, held_out, make)[0]
    asked = [
        ("sound-tones", "Which tones?", " ".join(names)),
        ("sound-first-tone", "Which tone is first?", names[0]),
        ("sound-last-tone", "Which tone is last?", names[-1]),
    ]
    return tones(rng, names), names, asked, "tones"


def beeping(rng, held_out, level):
    """One to six beeps. As all kinds: the wave, its symbols, what is asked, and the name of the kind."""
    count = rng.randint(1, 6)
    return beeps(rng, count), ["beep"] * count, [("sound-beeps", "How many beeps?", str(count))], "beeps"


def sweeping(rng, held_out, level):
    """A tone that rises or falls. As all kinds: the wave, its symbols, what is asked, and the name of the kind."""
    way = rng.choice(("rising", "falling"))
    return sweep(rng, way == "rising"), [way], [("sound-sweep", "Rising or falling?", way)], "sweep"


def noise(rng, held_out, level):
    """Noise. As all kinds: the wave, its symbols, what is asked, and the name of the kind."""
    return 0.4 * rng.noise(int(rng.uniform(0.5, 1.0) * RATE)), ["noise"], [], "noise"


_KINDS = {spoken: 55, pattern: 20, beeping: 12, sweeping: 7, noise: 6}


def heard(rng, held_out, level, kinds=_KINDS):
    """A sound and all questions about it: `(Sound, [(task, question, answer)])`."""
    kind = rng.choices(tuple(kinds), tuple(kinds.values()))[0]
    wave, symbols, asked, name = kind(rng, held_out, level)
    return sound(rng, wave, symbols), [*asked, ("sound-kind", "What kind of sound?", name)]


def listening(rng, held_out, level):
    """A sound and its questions, in any order."""
    clip, asked = heard(rng, held_out, level)
    rng.shuffle(asked)
    return turns([clip], asked)
