"""Chance, and the line between what is trained and what is kept for the test."""

import hashlib
import random
import zlib

import numpy as np

# A slice of a fixed table is as good as fresh noise here, and a hundred times cheaper.
_NOISE = np.random.default_rng(0x5EED).standard_normal(1 << 20).astype(np.float32)


class Rng(random.Random):
    """Python's generator for choices, with noise for signals."""

    def noise(self, count):
        """Normal noise of deviation 1: float32 `[count]`."""
        at = self.randrange(len(_NOISE) - count)
        return _NOISE[at : at + count]

    def below(self, probability):
        """True with this probability."""
        return self.random() < probability


def rng(*key):
    """A generator for this key of integers and words, the same on every machine."""
    words = "/".join(map(str, key)).encode()
    return Rng(int.from_bytes(hashlib.blake2b(words, digest_size=8).digest()))


def is_held_out(case):
    """Whether a case, written in its one canonical form, is kept for the test: one in eight."""
    return zlib.crc32(case.encode()) % 8 == 0


def draw(rng, held_out, make):
    """The first of `make(rng) -> (case, *rest)` whose case is on the wanted side of the split, without the case."""
    while True:
        case, *rest = make(rng)
        if is_held_out(case) == held_out:
            return rest
