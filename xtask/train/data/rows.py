"""Batches: arrays of one shape for each bucket, a pure function of bucket, seed and step."""

from functools import cache

import numpy as np

from . import speech
from . import tokens as t
from .chance import rng as generator
from .prompt import PADDING, SAMPLES_PER_TOKEN, Layout
from .tasks import BUCKETS, TASK_ID, chats, frame

# The longest run of symbols that a sound of a row may spell.
SYMBOLS_MAX = 8
# Few questions with their answers are shorter.
TURN_MIN = 12


@cache
def layout():
    """The layout with the committed tokenizer."""
    return Layout()


def warm():
    """Makes what every worker would make for itself: call it before forking. Takes some seconds."""
    layout()
    speech.bank()
    for voice in speech.TRAIN_VOICES:
        for word in speech.WORDS:
            speech.word(word, voice)


def row(bucket, rng, held_out=False, level=1.0):
    """A row of at most `BUCKETS[bucket].length` tokens: contexts of the bucket as long as they fit."""
    chat, lay = frame(bucket, rng), layout()
    made, last = lay.head(chat), None
    room, misses = BUCKETS[bucket].length - len(made.ids), 0
    for turns in chats(bucket, rng, held_out, level):
        for turn in turns:
            # A chat that thinks shows the thoughts of its last turn alone, unless it keeps them.
            thought = lay.turn(turn, chat.thinking)
            told = thought if chat.keeps_reasoning else lay.turn(turn, False)
            if len(thought.ids) > room:
                misses += 1
                break
            if last:
                made.extend(last[0])
            last = told, thought
            room -= len(told.ids)
        if last and (misses > 3 or room < TURN_MIN):
            break
    made.extend(last[1])
    return made


def batch(bucket, seed, step, held_out=False, level=1.0, rows=None):
    """A batch of a bucket, as arrays; `B` rows of `L` tokens, unused places pointing at position `L`.

    * `ids`, `norm_ids` int32 `[B, L]`: tokens and their compressed ids; `kind` int8 `[B, L]`: see `prompt.py`
    * `labels` int32 `[B, L]`: the next token where an answer has to yield it, else -1; `weights` f32 `[B, L]`
    * `task`, `answer` int8 `[B, L]`: of each label the task (by `tasks.TASKS`) and the answer of the row, else -1
    * `images` uint8 `[B, N, S, S, 3]`, `image_at` int32 `[B, N, features]`
    * `cells` int8 `[B, N, 9]`: what is in each cell of a picture (0 nothing, 1 + shape * 8 + colour, -1 unknown)
    * `sounds` int16 `[B, samples]`, `sound_tokens` int32 `[B]`, `sound_at` int32 `[B, samples / 1280]`
    * `symbols` int8 `[B, SYMBOLS_MAX]`: what is heard, in order (`sounds.SYMBOLS` counted from 1; 0 is nothing)

    `level` from 0 to 1 is how hard the cases are. Raises if a row does not fit, which is a bug.
    """
    shape = BUCKETS[bucket]
    count, length = rows or shape.rows, shape.length
    out = {
        "ids": np.full((count, length), layout().tokens.marker[t.PAD], np.int32),
        "kind": np.full((count, length), PADDING, np.int8),
        "labels": np.full((count, length), -1, np.int32),
        "task": np.full((count, length), -1, np.int8),
        "answer": np.full((count, length), -1, np.int8),
    }
    if shape.images:
        features = (shape.side // 42) ** 2
        out["images"] = np.zeros((count, shape.images, shape.side, shape.side, 3), np.uint8)
        out["image_at"] = np.full((count, shape.images, features), length, np.int32)
        out["cells"] = np.full((count, shape.images, 9), -1, np.int8)
    if shape.samples:
        out["sounds"] = np.zeros((count, shape.samples), np.int16)
        out["sound_tokens"] = np.zeros(count, np.int32)
        out["sound_at"] = np.full((count, shape.samples // SAMPLES_PER_TOKEN), length, np.int32)
        out["symbols"] = np.zeros((count, SYMBOLS_MAX), np.int8)

    for index in range(count):
        made = row(bucket, generator("row", held_out, bucket, seed, step, index), held_out, level)
        _fill({name: array[index : index + 1] for name, array in out.items()}, made)
    out["norm_ids"] = layout().tokens.engram_ids[out["ids"]]
    out["weights"] = (out["labels"] >= 0).astype(np.float32)
    return out


def _fill(place, made):
    """Writes a row into its places of a batch, arrays of one row."""
    used = len(made.ids)
    place["ids"][0, :used] = made.ids
    place["kind"][0, :used] = made.kinds
    # The position before a token has to yield it.
    answers = np.array(made.answers[1:], np.int8)
    yields = np.flatnonzero(answers >= 0)
    place["labels"][0, yields] = place["ids"][0, yields + 1]
    place["answer"][0, yields] = answers[yields]
    place["task"][0, yields] = np.array([TASK_ID[task] for task in made.tasks], np.int8)[answers[yields]]
    for index, (pixels, cells, at) in enumerate(made.pictures):
        place["images"][0, index] = pixels
        place["cells"][0, index] = cells
        place["image_at"][0, index] = at
    if made.sound:
        samples, symbols, at = made.sound
        place["sounds"][0, : len(samples)] = samples
        place["sound_tokens"][0] = len(at)
        place["sound_at"][0, : len(at)] = at
        place["symbols"][0, : len(symbols)] = symbols
