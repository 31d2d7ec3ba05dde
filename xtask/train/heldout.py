"""Writes the held-out questions: `assets/eval/*.jsonl` with their media, and `assets/samples` for the demonstration.

Every case is on the side of the split that training never draws, and every voice is one that it never heard. The files
are a pure function of this program; they are committed, so that the engine can be examined without Python.
"""

import json
import shutil
import struct
from io import BytesIO

import numpy as np
from PIL import Image

from data import beyond, films, mixtures, pictures, sounds, texts
from data.chance import rng as generator
from data.chat import Call, Chat, Film, Picture
from data.tasks import small
from data.tokens import ROOT
from data.wire import messages

EVAL = ROOT / "assets/eval"
SAMPLES = ROOT / "assets/samples"
# Tokens of the text, and how many questions: few where they are long.
RECALLS = {
    "256": (256, 40),
    "1k": (1024, 40),
    "2k": (2048, 20),
    "4k": (4096, 40),
    "8k": (8192, 10),
    "16k": (16_384, 5),
    "32k": (32_768, 5),
}
PER_TASK = 100
MAX_TOKENS = 64


class Folder:
    """A folder of task files and their media."""

    def __init__(self, at):
        self.at, self.media, self.counts = at, {}, {}
        shutil.rmtree(at, ignore_errors=True)
        (at / "media").mkdir(parents=True)

    def add(self, medium, name, data):
        """Writes a medium, which is known by itself from then on."""
        self.media[id(medium)] = medium, f"media/{name}"
        (self.at / "media" / name).write_bytes(data)

    def item(self, turns, thinking=False, tools=()):
        """The last of the turns as a question, or `None` where there are enough of its task."""
        task, number = turns[-1].task, self.counts.get(turns[-1].task, 0)
        if number == PER_TASK:
            return None
        self.counts[task] = number + 1
        answer, match = turns[-1].answer, "exact"
        if isinstance(answer, Call):
            answer, match = {"name": answer.name, "arguments": answer.arguments}, "json-call"
        said = messages(Chat(turns, tools), lambda medium: self.media[id(medium)][1])
        return {
            "task": task,
            "id": f"{task}-{number:03}",
            "messages": said,
            "answer": answer,
            "match": match,
            "thinking": thinking,
            "max_tokens": MAX_TOKENS,
        }

    def write(self, name, items):
        """Writes a task file."""
        items = [item for item in items if item]
        (self.at / name).write_text("".join(f"{json.dumps(item, ensure_ascii=False)}\n" for item in items))
        return items


def png(picture):
    """A PNG with a palette where the colours are few."""
    file = BytesIO()
    _indexed(picture.pixels).save(file, "PNG", optimize=True)
    return file.getvalue()


def jpeg(pixels):
    """A JPEG with full colour."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=92, subsampling=0)
    return file.getvalue()


def gif(film):
    """An animated GIF, two frames a second, colours exact."""
    frames = film.frames.copy()
    # Encoders drop a frame that repeats the one before: a corner pixel changes by a shade.
    frames[1::2, 0, 0] += 1
    first, *rest = [_indexed(frame) for frame in frames]
    file = BytesIO()
    first.save(file, "GIF", save_all=True, append_images=rest, duration=500, loop=0, optimize=False, disposal=1)
    return file.getvalue()


def _indexed(pixels):
    colours, indices = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    assert len(colours) <= 256, "a picture without noise has few colours"
    image = Image.fromarray(indices.reshape(pixels.shape[:2]).astype(np.uint8), "P")
    image.putpalette(colours.astype(np.uint8).tobytes())
    return image


def wav(samples, bits=16):
    """A WAV of one channel at 16 kHz; of 8 bits, the upper ones."""
    data = _pcm(samples, bits)
    return _riff(b"WAVE", _chunk(b"fmt ", _wave_format(bits)) + _chunk(b"data", data))


def avi(film):
    """Motion JPEG at two frames a second, with the sound as PCM of 8 bits behind the frames that it accompanies."""
    frames, samples = film.frames, film.sound.samples
    count, side = len(frames), frames.shape[1]
    per_frame = sounds.RATE // 2
    blocks = [_pcm(samples[at : at + per_frame], 8) for at in range(0, len(samples), per_frame)]
    pictures = [jpeg(frame) for frame in frames]
    chunks = []
    for index in range(max(count, len(blocks))):
        chunks += [_chunk(b"00dc", data) for data in pictures[index : index + 1]]
        chunks += [_chunk(b"01wb", data) for data in blocks[index : index + 1]]

    main = struct.pack("<14I", 500_000, 0, 0, 0, count, 0, 2, 0, side, side, 0, 0, 0, 0)
    video = _stream(b"vids", b"MJPG", scale=1, rate=2, length=count, sample=0)
    bitmap = struct.pack("<IiiHH4sIiiII", 40, side, side, 1, 24, b"MJPG", side * side * 3, 0, 0, 0, 0)
    audio = _stream(b"auds", bytes(4), scale=1, rate=sounds.RATE, length=len(samples), sample=1)
    head = _chunk(b"avih", main)
    head += _list(b"strl", _chunk(b"strh", video) + _chunk(b"strf", bitmap))
    head += _list(b"strl", _chunk(b"strh", audio) + _chunk(b"strf", _wave_format(8)))
    return _riff(b"AVI ", _list(b"hdrl", head) + _list(b"movi", b"".join(chunks)))


def _stream(kind, codec, scale, rate, length, sample):
    return struct.pack("<4s4s10I4H", kind, codec, 0, 0, 0, scale, rate, 0, length, 0, 0, sample, 0, 0, 0, 0)


def _wave_format(bits):
    width = bits // 8
    return struct.pack("<HHIIHH", 1, 1, sounds.RATE, sounds.RATE * width, width, bits)


def _pcm(samples, bits):
    if bits == 16:
        return samples.astype("<i2").tobytes()
    return (sounds.coarse(samples) // 256 + 128).astype(np.uint8).tobytes()


def _chunk(name, data):
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def _list(kind, data):
    return _chunk(b"LIST", kind + data)


def _riff(kind, data):
    return _chunk(b"RIFF", kind + data)


def text_items(folder):
    """Words alone: without a thought, with one, and with a tool."""
    for index in range(PER_TASK):
        for task in (texts.arithmetic, texts.story, texts.letters, texts.pairs, beyond.beyond):
            rng = generator("eval", task.__name__, index)
            yield folder.item(task(rng, True, 1.0)[:1])
        yield folder.item(texts.thinking(generator("eval", "thinking", index), True, 1.0), thinking=True)
    for turns in different("chat", texts.chat):
        yield folder.item(turns)
    for country in list(texts.CAPITAL)[::3]:
        for form in texts.FACT_FORMS[1:]:
            yield folder.item([texts.Turn("fact", [form.format(country)], texts.CAPITAL[country])])
    for turns in different("tool", texts.tool):
        yield folder.item(turns[:1], tools=texts.TOOLS)
        yield folder.item(turns, tools=texts.TOOLS)


def different(name, task):
    """The turns of a task of which there are few, no question twice."""
    seen = set()
    for index in range(1000):
        turns = task(generator("eval", name, index), True, 1.0)
        if turns[0].parts[0] not in seen:
            seen.add(turns[0].parts[0])
            yield turns


def recall_items(folder):
    """A fact at the beginning of a long text."""
    for name, (tokens, count) in RECALLS.items():
        for index in range(count):
            turn = texts.recall(generator("eval", "recall", name, index), True, 1.0, tokens, deepest=True)[0]
            turn.task = f"recall-{name}"
            yield folder.item([turn])


def scenes(folder, count=150):
    """Pictures of held-out scenes, the last third with noise: `[(objects, picture)]`."""
    made = []
    for index in range(count):
        rng, clean = generator("eval", "picture", index), index < count * 2 // 3
        objects = pictures.scene(rng, True, 1.0)
        picture = pictures.picture(rng, objects, clean)
        name, data = ("png", png(picture)) if clean else ("jpg", jpeg(picture.pixels))
        folder.add(picture, f"picture-{index:03}.{name}", data)
        made.append((objects, picture))
    return made


def picture_items(folder, shown):
    """All kinds of questions about each picture."""
    for index, (objects, picture) in enumerate(shown):
        for asked in pictures.ask(generator("eval", "picture-ask", index), objects, 7):
            yield folder.item(pictures.turns([picture], [asked]))
        yield later(folder, "later-picture", index, picture, pictures.ask(generator("later-ask", index), objects, 1))


def sound_items(folder):
    """Speech in 16 bits, everything else in 8."""
    counts = {sounds.spoken: 100, sounds.pattern: 100, sounds.beeping: 60, sounds.sweeping: 60, sounds.noise: 15}
    for kind, count in counts.items():
        name = kind.__name__
        for index in range(count):
            clip, asked = sounds.heard(generator("eval", name, index), True, 1.0, {kind: 1})
            folder.add(clip, f"{name}-{index:03}.wav", wav(clip.samples, 16 if kind is sounds.spoken else 8))
            # Of the kind of a sound, as many of each.
            asked = asked if index < 15 else asked[:-1]
            for question in asked:
                yield folder.item(pictures.turns([clip], [question]))
            yield later(folder, "later-sound", f"{name}-{index}", clip, asked)


def film_items(folder):
    """Motions and arrivals."""
    for name, event, draw, ask in (
        ("motion", films.motion, films.draw_motion, films.ask_motion),
        ("arrival", films.arrival, films.draw_arrival, films.ask_arrival),
    ):
        for index in range(PER_TASK):
            rng = generator("eval", name, index)
            happens = event(rng, True)
            film = Film(draw(rng, happens, clean=True))
            folder.add(film, f"{name}-{index:03}.gif", gif(film))
            for asked in ask(happens):
                yield folder.item(pictures.turns([film], [asked]))
            yield later(folder, "later-film", f"{name}-{index}", film, ask(happens))


def later(folder, task, key, medium, asked):
    """One of the questions about a medium that is shown in the second turn of a conversation."""
    rng = generator("eval", task, key)
    if rng.below(0.5):
        return None
    (shown,) = pictures.turns([medium], [rng.choice(asked)])
    shown.task = task
    return folder.item([*small(rng, True, 1.0), shown])


def mixed_items(folder, shown):
    """Pictures with spoken questions and with prices, films with sound."""
    questions = {}
    for index, (objects, picture) in enumerate(shown[:PER_TASK]):
        rng = generator("eval", "mixed", index)
        words, answer = mixtures.spoken(rng, objects)
        key = f"{'-'.join(words)}-{rng.randrange(3)}"
        if key not in questions:
            wave = sounds.speech(generator("eval", "question", key), words, True, mixtures.SPOKEN_SAMPLES)
            questions[key] = sounds.sound(rng, wave, words)
            folder.add(questions[key], f"question-{key}.wav", wav(questions[key].samples))
        yield folder.item([mixtures.spoken_turn(picture, questions[key], answer)])
    for index, (objects, picture) in enumerate(shown):
        if asked := mixtures.ask_price(generator("eval", "price", index), objects, True):
            yield folder.item(pictures.turns([picture], asked[:1]))
    for index in range(60):
        rng = generator("eval", "beeping-film", index)
        event, count, film = beeping_film(rng)
        folder.add(film, f"beeping-{index:03}.avi", avi(film))
        for asked in mixtures.ask_film(rng, event, count):
            yield folder.item(pictures.turns([film], [asked]))


def beeping_film(rng):
    """A motion with beeps, their number, and the film."""
    event, count = films.motion(rng, True), rng.randint(1, 5)
    film = Film(films.draw_motion(rng, event, clean=True), sounds.sound(rng, mixtures.soundtrack(rng, count)))
    return event, count, film


def write_eval():
    """All task files, and one of two items of each task that is quick to answer."""
    folder = Folder(EVAL)
    shown = scenes(folder)
    files = {
        "text": text_items(folder),
        "recall": recall_items(folder),
        "picture": picture_items(folder, shown),
        "sound": sound_items(folder),
        "film": film_items(folder),
        "mixed": mixed_items(folder, shown),
    }
    smoke = {}
    for name, items in files.items():
        for item in folder.write(f"{name}.jsonl", items):
            if not item["task"].startswith("recall") or item["task"] in ("recall-256", "recall-1k"):
                smoke.setdefault(item["task"], []).append(item)
    folder.write("smoke.jsonl", [item for items in smoke.values() for item in items[:2]])
    return folder.counts


def write_samples():
    """One question for each sense."""
    folder = Folder(SAMPLES)
    rng = generator("samples")
    objects = []
    while len(objects) != 3:
        objects = pictures.scene(rng, True, 1.0)
    picture = pictures.picture(rng, objects, clean=True)
    words = []
    while len(words) != 4:
        clip, asked = sounds.heard(rng, True, 1.0, {sounds.spoken: 1})
        words = asked[0][2].split()
    event, count, film = beeping_film(rng)
    story = texts.recall(rng, True, 1.0, 300, deepest=True)[0]

    for medium, name, data in (
        (picture, "picture.png", png(picture)),
        (clip, "sound.wav", wav(clip.samples)),
        (film, "film.avi", avi(film)),
    ):
        folder.media[id(medium)] = medium, name
        (SAMPLES / name).write_bytes(data)
    (SAMPLES / "media").rmdir()
    (SAMPLES / "story.txt").write_text(f"{story.parts[0]}\n")
    both = next(asked for asked in mixtures.ask_film(rng, event, count) if asked[0] == "mixed-film-both")
    items = [
        folder.item(pictures.turns([picture], [("picture-description", *pictures.description(rng, objects))])),
        folder.item(pictures.turns([clip], asked[:1])),
        folder.item(pictures.turns([film], [both])),
        folder.item([story]),
    ]
    folder.write("demo.jsonl", items)


if __name__ == "__main__":
    for task, count in sorted(write_eval().items()):
        print(f"{task:24}{count:5}")
    write_samples()
