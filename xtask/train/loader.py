"""Batches made by worker processes, handed over in memory that they share with the trainer.

A batch is a pure function of its job, so the trainer alone decides what is made and in which order
it is used; which worker makes it, and when, changes nothing.
"""
import mmap
import multiprocessing
import os
from dataclasses import dataclass

import numpy as np

from data import rows, tasks

BLOCK = 32                           # rows are padded to whole blocks of the window
ANCHORS = 8                          # positions of a row after which the draft layer proposes
NEVER = 1 << 30                      # a cut behind every row
BY_POSITION = ("ids", "kind", "labels", "weights", "norm_ids", "task", "answer")
PADDING = {"kind": -2, "labels": -1, "task": -1, "answer": -1}


@dataclass(frozen=True)
class Job:
    """A batch to make: `index` orders the jobs, `step` seeds the rows; `phase` is the trainer's."""
    index: int
    bucket: str
    step: int
    rows: int
    phase: str
    held_out: bool = False
    level: float = 1.0


def make(job, seed):
    """The arrays of a job, rows padded to whole blocks, and what the trainer draws at random:

    * `cut` int64 [B]: half of the rows are read as the engine reads a prompt, with windows that end
      one window before an answer
    * `watched` int64 [L / 8]: positions at which the indexer is taught, half of them before answers
    * `anchors` int64 [B, ANCHORS]: positions whose next token is an answer's"""
    out = rows.batch(job.bucket, seed, job.step, held_out=job.held_out, level=job.level, rows=job.rows)
    length = out["ids"].shape[1]
    padded = -(-length // BLOCK) * BLOCK
    for name in BY_POSITION:
        if padded > length:
            out[name] = np.pad(out[name], ((0, 0), (0, padded - length)), constant_values=PADDING.get(name, 0))
    for name in ("image_at", "sound_at"):
        if name in out:
            out[name][out[name] >= length] = padded
    draw = np.random.default_rng((seed, job.step, int(job.held_out)))
    labelled = out["labels"] >= 0
    first = labelled & ~np.pad(labelled, ((0, 0), (1, 0)))[:, :-1]
    cut, anchors = np.full(job.rows, NEVER, np.int64), np.zeros((job.rows, ANCHORS), np.int64)
    for row in range(job.rows):
        starts, answers = np.flatnonzero(first[row]), np.flatnonzero(labelled[row])
        if len(starts) and not job.held_out and draw.random() < 0.5:
            cut[row] = draw.choice(starts) - BLOCK + 1
        if len(answers):
            anchors[row] = draw.choice(answers, ANCHORS)
    count = padded // 8
    anywhere = draw.integers(8) + 8 * np.arange(0, count, 2)
    asked = np.flatnonzero(labelled.any(0))
    asked = draw.choice(asked, count - len(anywhere)) if len(asked) else anywhere[:count - len(anywhere)]
    return out | {"cut": cut, "anchors": anchors, "watched": np.concatenate((anywhere, asked)).astype(np.int64)}


class Form:
    """Where the arrays of a bucket lie in a slot."""

    def __init__(self, bucket, count, seed):
        self.fields, at = {}, 0
        for name, array in make(Job(0, bucket, 0, 1, ""), seed).items():
            shape = array.shape if name == "watched" else (count, *array.shape[1:])
            self.fields[name] = (at, shape, array.dtype)
            at += -(-int(np.prod(shape)) * array.dtype.itemsize // 64) * 64
        self.size = at

    def views(self, memory):
        return {name: np.frombuffer(memory, dtype, int(np.prod(shape)), at).reshape(shape)
                for name, (at, shape, dtype) in self.fields.items()}


class Loader:
    """Workers, and the jobs that they were given. Make it before the GPU is touched: it forks."""

    def __init__(self, counts, seed, workers, depth=3):
        """`counts` maps each bucket to its rows."""
        rows.warm()
        self.counts, self.seed = counts, seed
        self.forms = {bucket: Form(bucket, count, seed) for bucket, count in counts.items()}
        size = -(-max(form.size for form in self.forms.values()) // mmap.PAGESIZE) * mmap.PAGESIZE
        self.capacity = workers * depth
        self.slots = [mmap.mmap(-1, size) for _ in range(self.capacity)]
        context = multiprocessing.get_context("fork")
        self.todo, self.done = context.Queue(), context.Queue()
        self.free, self.made, self.waiting = list(range(self.capacity)), {}, []
        self.workers = [context.Process(target=self.work, daemon=True) for _ in range(workers)]
        for worker in self.workers:
            worker.start()

    def work(self):
        os.nice(5)
        while True:
            slot, job = self.todo.get()
            try:
                views = self.forms[job.bucket].views(self.slots[slot])
                for name, array in make(job, self.seed).items():
                    np.copyto(views[name], array)
                self.done.put((slot, job.index, None))
            except Exception as error:                  # the trainer has to know, whatever it was
                self.done.put((slot, job.index, f"{job}: {error!r}"))

    def room(self):
        """How many more jobs can be given out."""
        return len(self.free)

    def give(self, job):
        self.todo.put((self.free.pop(), job))
        self.waiting.append(job)

    def take(self):
        """The oldest job, its arrays, and the slot to give back when they were read."""
        job = self.waiting.pop(0)
        while job.index not in self.made:
            slot, index, error = self.done.get(timeout=300)
            if error:
                raise RuntimeError(f"a worker failed: {error}")
            self.made[index] = slot
        slot = self.made.pop(job.index)
        return job, self.forms[job.bucket].views(self.slots[slot]), slot

    def give_back(self, slot):
        self.free.append(slot)

    def close(self):
        for worker in self.workers:
            worker.terminate()
