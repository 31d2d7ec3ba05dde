"""Spoken words by a formant synthesiser of our own, and an optional bank of another synthesiser's for training.

A word is a run of segments; each sets formants, voicing, breath and hiss. A glottal pulse train and noise are shaped
frame by frame in the frequency domain, so a word costs about a millisecond. Nothing here is recorded.
"""

import subprocess
from dataclasses import dataclass
from functools import cache

import numpy as np

from .chance import rng as generator
from .tokens import ROOT

RATE = 16_000
FRAME = 80  # samples between two settings: 5 ms
_WINDOW, _POINTS = 320, 512
BANK = ROOT / "xtask/train/out/speech.npz"

DIGITS = "zero one two three four five six seven eight nine".split()

# Each word as phonemes.
PHONEMES = {
    "zero": "Z IH R OW", "one": "W AH N", "two": "T UW", "three": "TH R IY", "four": "F AO R",
    "five": "F AY V", "six": "S IH K S", "seven": "S EH V AH N", "eight": "EY T", "nine": "N AY N",
    "red": "R EH D", "green": "G R IY N", "blue": "B L UW", "yellow": "Y EH L OW", "purple": "P ER P AH L",
    "orange": "AO R IH N JH", "white": "W AY T", "black": "B L AE K",
    "circle": "S ER K AH L", "square": "S K W EH R", "triangle": "T R AY AE NG G AH L", "cross": "K R AO S",
    "ring": "R IH NG", "left": "L EH F T", "right": "R AY T", "up": "AH P", "down": "D AW N", "yes": "Y EH S",
    "no": "N OW", "stop": "S T AA P", "go": "G OW", "how": "HH AW", "many": "M EH N IY", "shapes": "SH EY P S",
}  # fmt: skip
WORDS = tuple(PHONEMES)


@dataclass(frozen=True, slots=True)
class _Segment:
    """`ms` long; three formants in Hz; loudness of voice, breath and hiss; centre and width of the hiss in Hz."""

    ms: int
    formants: tuple
    voice: float = 0.0
    breath: float = 0.0
    hiss: float = 0.0
    centre: int = 4000
    width: int = 2000


def _vowel(ms, *formants):
    """One target, or two of a diphthong."""
    return [_Segment(ms // len(formants), target, voice=1.0) for target in formants]


def _glide(ms, f1, f2, f3, voice=0.7):
    return [_Segment(ms, (f1, f2, f3), voice=voice)]


def _fricative(ms, hiss, centre, width, f2, voice=0.0):
    return [_Segment(ms, (350, f2, 2600), voice=voice, hiss=hiss, centre=centre, width=width)]


def _stop(f2, hiss, centre, width, voiced):
    shut = _Segment(45, (220, f2, 2500), voice=0.15 if voiced else 0.0)
    burst = _Segment(12, (300, f2, 2500), voice=0.3 if voiced else 0.0, hiss=hiss, centre=centre, width=width)
    puff = _Segment(35, (400, f2, 2500), breath=0.35)
    return [shut, burst] if voiced else [shut, burst, puff]


_PHONES = {
    "IY": _vowel(170, (280, 2250, 2950)),
    "IH": _vowel(120, (400, 1950, 2550)),
    "EH": _vowel(140, (550, 1800, 2480)),
    "AE": _vowel(170, (680, 1700, 2400)),
    "AA": _vowel(170, (730, 1100, 2450)),
    "AO": _vowel(170, (570, 840, 2410)),
    "AH": _vowel(120, (620, 1200, 2400)),
    "UW": _vowel(180, (310, 900, 2250)),
    "ER": _vowel(160, (480, 1350, 1700)),
    "EY": _vowel(200, (500, 1900, 2550), (300, 2200, 2800)),
    "AY": _vowel(220, (740, 1150, 2450), (390, 2000, 2600)),
    "OW": _vowel(200, (520, 950, 2400), (340, 800, 2300)),
    "AW": _vowel(220, (740, 1250, 2450), (360, 850, 2300)),
    "R": _glide(75, 330, 1150, 1500),
    "L": _glide(75, 360, 1050, 2750),
    "W": _glide(75, 300, 640, 2250),
    "Y": _glide(70, 270, 2250, 3050),
    "N": _glide(85, 250, 1550, 2550, 0.4),
    "M": _glide(85, 250, 1000, 2200, 0.4),
    "NG": _glide(95, 250, 2050, 2650, 0.4),
    "S": _fricative(120, 0.30, 6200, 1400, 1750),
    "SH": _fricative(120, 0.35, 3300, 900, 1950),
    "F": _fricative(100, 0.10, 4500, 4000, 1000),
    "TH": _fricative(100, 0.08, 5600, 3000, 1400),
    "V": _fricative(70, 0.05, 4500, 4000, 1000, voice=0.4),
    "Z": _fricative(90, 0.18, 6200, 1400, 1750, voice=0.35),
    "HH": [_Segment(70, (650, 1300, 2450), breath=0.5)],
    "P": _stop(850, 0.20, 900, 1000, False),
    "T": _stop(1800, 0.40, 4800, 1800, False),
    "K": _stop(2100, 0.40, 2000, 700, False),
    "B": _stop(850, 0.15, 900, 1000, True),
    "D": _stop(1800, 0.25, 4400, 1800, True),
    "G": _stop(2100, 0.25, 2000, 700, True),
    "JH": [*_stop(1900, 0.30, 3400, 900, True), *_fricative(70, 0.25, 3400, 900, 1950, voice=0.2)],
}


@dataclass(frozen=True, slots=True)
class Voice:
    """`tract`: factor of all formants; `pitch` in Hz; `rate`: factor of the tempo; `breath`: noise in the voice."""

    tract: float
    pitch: float
    rate: float
    breath: float
    width: float  # factor of the formants' bandwidths


def _voices(count):
    """Voices between a deep and a child's: small tracts speak higher, with exceptions."""
    rng = generator("voices")
    voices = []
    for index in range(count):
        size = index / (count - 1)
        tract = 0.86 + 0.34 * size + rng.uniform(-0.04, 0.04)
        pitch = 90 * 2 ** (1.5 * size + rng.uniform(-0.35, 0.35))
        voices.append(Voice(tract, pitch, rng.uniform(0.88, 1.25), rng.uniform(0.01, 0.15), rng.uniform(0.8, 1.5)))
    return tuple(voices)


TRAIN_VOICES = _voices(36)
# Never trained; between the trained ones, and unlike each of them.
TEST_VOICES = (
    Voice(0.91, 112, 1.06, 0.03, 1.0),
    Voice(0.98, 150, 0.95, 0.10, 1.2),
    Voice(1.07, 190, 1.12, 0.05, 0.9),
    Voice(1.15, 225, 1.00, 0.08, 1.1),
)


def _smooth(track, frames):
    """A running mean along time, so that targets are approached and left. `track`: `[frames, …]`."""
    padded = np.concatenate([track[:1].repeat(frames // 2, 0), track, track[-1:].repeat(frames // 2, 0)])
    total = np.cumsum(np.concatenate([np.zeros_like(padded[:1]), padded]), 0)
    return (total[frames:] - total[:-frames]) / frames


def _synthesise(word, voice):
    rng = generator("speech", word, voice)
    segments = [segment for phone in PHONEMES[word].split() for segment in _PHONES[phone]]
    lengths = [max(2, round(segment.ms / voice.rate / 5)) for segment in segments]
    silence = 4
    frames = sum(lengths) + 2 * silence

    def track(value, smooth):
        values = np.array([value(segment) for segment in segments], float).repeat(lengths, 0)
        edge = [(silence, silence), *[(0, 0)] * (values.ndim - 1)]
        return _smooth(np.pad(values, edge, "edge" if smooth > 3 else "constant"), smooth)

    formants = track(lambda s: s.formants, 7) * voice.tract
    loud = track(lambda s: (s.voice, s.breath, s.hiss), 3)
    band = track(lambda s: (s.centre, s.width), 7)

    # The source: a pulse train whose pulses open slowly and close at once, and breath.
    count = frames * FRAME
    clock = np.arange(count) / count
    wobble = 1 + 0.02 * np.sin(2 * np.pi * (rng.uniform(3, 6) * clock * count / RATE + rng.random()))
    phase = np.cumsum(voice.pitch * (1.12 - 0.28 * clock) * wobble / RATE) % 1
    opening = np.where(phase < 0.6, phase / 0.6, 0.0)
    flow = np.diff(opening**2 * (3 - 2 * opening), prepend=0.0)
    level = loud.repeat(FRAME, 0)
    noise = rng.noise(2 * count)
    air = 0.5 * level[:, 1] + voice.breath * level[:, 0]
    source = level[:, 0] * flow + 0.05 * air * noise[:count]
    hiss = 0.25 * level[:, 2] * noise[count:]

    # The tract: a cascade of resonances for the source, one broad band for the hiss.
    hertz = np.fft.rfftfreq(_POINTS, 1 / RATE)
    upper = np.broadcast_to(np.array([3500.0, 4500.0]) * voice.tract, (frames, 2))
    centres = np.concatenate([formants, upper], 1)[:, :, None]
    widths = np.array([60, 80, 110, 180, 250])[None, :, None] * voice.width
    tract = (centres**2 / (centres**2 - hertz**2 + 1j * hertz * widths)).prod(1)
    shape = np.exp(-(((hertz - band[:, :1] * (0.7 + 0.3 * voice.tract)) / band[:, 1:]) ** 2))

    window = np.hanning(_WINDOW + 1)[:-1]
    at = np.arange(frames)[:, None] * FRAME + np.arange(_WINDOW)

    def spectrum(signal):
        return np.fft.rfft(np.pad(signal, (0, _WINDOW))[at] * window, _POINTS)

    pieces = np.fft.irfft(spectrum(source) * tract + spectrum(hiss) * shape, _POINTS)
    wave = np.zeros(count + _POINTS, np.float32)
    for index, piece in enumerate(pieces):
        wave[index * FRAME : index * FRAME + _POINTS] += piece
    wave[1:] -= 0.95 * wave[:-1]  # the lips
    heard = np.flatnonzero(abs(wave) > 0.02 * abs(wave).max())
    wave = wave[max(0, heard[0] - 160) : heard[-1] + 320]
    return (wave * (0.8 / abs(wave).max())).astype(np.float32)


@cache
def word(text, voice):
    """A word by a voice of the synthesiser: float32 samples, peak 0.8."""
    return _synthesise(text, voice)


@cache
def bank():
    """The other synthesiser's words as `{(word, voice): float32 samples}`; empty if the file is not there."""
    if not BANK.exists():
        return {}
    file = np.load(BANK)
    ends = np.cumsum(file["lengths"])
    waves = np.split(file["samples"].astype(np.float32) / 32768, ends[:-1])
    return {(text, int(voice)): wave for text, voice, wave in zip(file["words"], file["voices"], waves)}


def speaker(rng, held_out):
    """A voice as a function from words to samples: an unheard one for the test, else one of either synthesiser."""
    if held_out:
        voice = rng.choice(TEST_VOICES)
    elif bank() and rng.below(0.5):
        number = rng.randrange(1 + max(number for _, number in bank()))
        return lambda text: bank()[text, number]
    else:
        voice = rng.choice(TRAIN_VOICES)
    return lambda text: word(text, voice)


def stretch(wave, factor):
    """A wave played `factor` times as fast, pitch and all."""
    at = np.arange(0, len(wave) - 1, factor, dtype=np.float32)
    return np.interp(at, np.arange(len(wave)), wave).astype(np.float32)


_ESPEAK_VOICES = [
    (f"en-us{variant}", speed, pitch)
    for variant in ("", "+m1", "+m3", "+m7", "+f1", "+f2", "+f3")
    for speed, pitch in ((150, 40), (175, 55), (200, 65))
] + [(f"en-gb{variant}", 165, 50) for variant in ("", "+m2", "+f2")]


def write_bank():
    """Renders every word by espeak-ng's voices into `BANK`.

    The file is not committed: some of that program's phonemes are recordings under the GPL.
    """
    names, voices, waves = [], [], []
    for number, (voice, speed, pitch) in enumerate(_ESPEAK_VOICES):
        for text in WORDS:
            command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", text]
            wav = subprocess.run(command, capture_output=True, check=True).stdout
            begin = wav.index(b"data") + 8
            wave = np.frombuffer(wav[begin : begin + (len(wav) - begin) // 2 * 2], np.int16) / 32768
            wave = _to_rate(wave, 22_050)
            heard = np.flatnonzero(abs(wave) > 0.01)
            wave = wave[max(0, heard[0] - 160) : heard[-1] + 320]
            names.append(text)
            voices.append(number)
            waves.append((wave * (26_000 / abs(wave).max())).astype(np.int16))
    BANK.parent.mkdir(exist_ok=True)
    lengths = [len(wave) for wave in waves]
    np.savez_compressed(BANK, words=names, voices=voices, lengths=lengths, samples=np.concatenate(waves))


def _to_rate(wave, rate):
    """Resamples to 16 kHz by cutting the spectrum."""
    count = round(len(wave) * RATE / rate)
    return np.fft.irfft(np.fft.rfft(wave)[: count // 2 + 1], count) * (RATE / rate)


if __name__ == "__main__":
    write_bank()
