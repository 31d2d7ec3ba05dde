"""The table of tasks, and the buckets they are trained in."""

import json
from dataclasses import dataclass

from . import beyond, films, mixtures, pictures, sounds, speech, texts
from .chance import rng as generator
from .chat import Call, Chat
from .prompt import MARKED, call_text, fixed_texts

# Of the tasks of words, how often each is drawn.
TEXTS = {
    texts.arithmetic: 26,
    texts.fact: 22,
    texts.story: 12,
    texts.letters: 8,
    texts.pairs: 26,
    texts.chat: 10,
    beyond.beyond: 10,
}

# Every task, in a fixed order: what `rows.batch` counts tasks by.
TASKS = (
    "arithmetic", "thinking", "fact", "story", "letters", "pairs", "chat", "beyond", "tool-call", "tool-result",
    "recall",
    *pictures.QUESTIONS,
    "film-direction", "film-speed", "film-what", "film-first", "film-last", "film-time",
    "sound-words", "sound-word-count", "sound-first-word", "sound-last-word", "sound-tones", "sound-first-tone",
    "sound-last-tone", "sound-beeps", "sound-sweep", "sound-kind",
    "mixed-spoken-question", "mixed-price", "mixed-film-beeps", "mixed-film-direction", "mixed-film-both",
)  # fmt: skip
TASK_ID = {task: id for id, task in enumerate(TASKS)}


@dataclass(frozen=True, slots=True)
class Bucket:
    """Rows of one shape: `length` tokens, `images` of `side` pixels, one sound of `samples`.

    `share` is the part of the steps that the bucket is meant to have in joint training; `tokens` of a long text.
    """

    rows: int
    length: int
    share: float
    images: int = 0
    side: int = 0
    samples: int = 0
    tokens: int = 0


BUCKETS = {
    "text": Bucket(256, 128, 0.22),
    "think": Bucket(256, 128, 0.05),
    "tools": Bucket(48, 512, 0.03),
    "picture": Bucket(192, 128, 0.20, images=1, side=pictures.SIDE),
    "sound": Bucket(192, 128, 0.17, samples=sounds.SAMPLES),
    "film": Bucket(128, 208, 0.10, images=films.FRAMES, side=films.SIDE),
    "spoken-question": Bucket(160, 144, 0.06, images=1, side=pictures.SIDE, samples=mixtures.SPOKEN_SAMPLES),
    "film-sound": Bucket(96, 224, 0.06, images=films.FRAMES, side=films.SIDE, samples=48_640),
    "recall-256": Bucket(64, 448, 0.05, tokens=256),
    "recall-1k": Bucket(24, 1280, 0.03, tokens=1024),
    "recall-2k": Bucket(12, 2304, 0.015, tokens=2048),
    "recall-4k": Bucket(6, 4352, 0.015, tokens=4096),
    "recall-8k": Bucket(3, 8448, 0.0, tokens=8192),
}

# Of the rows that could go either way, the part that is shown as a model that thinks is asked: nothing is worked out,
# but it has to find the answer behind an empty thought.
_EMPTY_THOUGHTS = 0.3


def chats(bucket, rng, held_out, level):
    """Endless contexts for a row of this bucket: lists of turns. The first is the row's own; others fill it up."""
    match bucket:
        case "text":
            while True:
                yield text(rng, held_out, level)
        case "think":
            while True:
                yield texts.thinking(rng, held_out, level)
        case "tools":
            while True:
                yield texts.tool(rng, held_out, level)
        case "picture":
            task = mixtures.price if rng.below(0.35) else pictures.looking
            yield amid(rng, held_out, level, task)
        case "sound":
            yield amid(rng, held_out, level, sounds.listening)
        case "film":
            yield amid(rng, held_out, level, films.watching)
        case "spoken-question":
            yield amid(rng, held_out, level, mixtures.spoken_question)
        case "film-sound":
            yield amid(rng, held_out, level, mixtures.film_with_beeps)
        case _:
            yield texts.recall(rng, held_out, level, BUCKETS[bucket].tokens)


def amid(rng, held_out, level, task):
    """Turns of a task with media, at times behind something else that was said, or before it: wherever media stand in
    a conversation, the compressed rows begin at another of their tokens."""
    before, after = (small(rng, held_out, level) if rng.below(chance) else [] for chance in (0.33, 0.2))
    turns = task(rng, held_out, level)
    return [*before, *turns[:1], *after, *turns[1:]]


def small(rng, held_out, level):
    """A short question in words, and its answer."""
    return rng.choice((texts.arithmetic, texts.fact, texts.chat, beyond.beyond))(rng, held_out, level)


def text(rng, held_out, level):
    """Turns of some task of words."""
    task = rng.choices(tuple(TEXTS), tuple(TEXTS.values()))[0]
    return task(rng, held_out, level)


def frame(bucket, rng):
    """The chat that the turns of a row go into: with tools, thinking, or neither."""
    if bucket == "tools":
        tools = list(texts.TOOLS)
        rng.shuffle(tools)
        return Chat(tools=tuple(tools))
    if bucket == "think":
        return Chat(thinking=True, keeps_reasoning=True)
    return Chat(thinking=rng.below(_EMPTY_THOUGHTS))


def corpus():
    """Texts of all tasks, from which the tokenizer learns its merges."""
    rng = generator("corpus")
    for line in fixed_texts().values():
        yield from MARKED.split(line)[::2] * 25
    for name in BUCKETS:
        for _ in range(20 if BUCKETS[name].tokens else 400):
            chat = frame(name, rng)
            yield from map(json.dumps, chat.tools)
            for turn in next(chats(name, rng, False, 1.0)):
                yield from [part for part in turn.parts if isinstance(part, str)]
                answer = call_text(turn.answer) if isinstance(turn.answer, Call) else turn.answer
                yield from MARKED.split(answer)[::2]
    told = (texts.THINGS, texts.PLACES, texts.PEOPLE, texts.ADJECTIVES, texts.VERBS, texts.PREPOSITIONS)
    yield from (f" {word}" * 25 for words in told for word in words)
    yield from (f"{word}\n {word}\n" * 50 for word in (*texts.NAMES, *texts.WEATHERS, *sounds.spelled(speech.WORDS)))
    # Halves of names come first of all, so that no merge crosses them.
    yield from (f"{word}\n {word}\n" * 40_000 for words in texts.BEGINNINGS for word in words)
    yield from (f"{word}\n" * 40_000 for words in texts.ENDS for word in words)
