#!/usr/bin/env python3
"""Golden addresses of the n-gram memory (docs/models/deepseek-v41.md, 3.7), by numpy's own generator.

    pip install numpy tokenizers
    python tests/oracle/make_engram_golden.py tests/fixtures/engram

`tokenizer.json` in that folder is the tiny vocabulary of the V4.1 models of make_v41_oracle.py;
`golden.json`, which is written, holds its table of compressed ids and, for several shapes, primes,
multipliers and the rows of a history. A null in a history is a picture's token.
"""
import json
import math
import os
import sys

import numpy as np
from tokenizers import Regex, Tokenizer
from tokenizers import normalizers as N

SHAPES = [
    # layers, longest n-gram, heads, smallest prime, compressed ids, compressed pad
    ([1, 4], 4, 2, 97, 254, 2),             # the tiny models
    ([1, 14], 4, 8, 16000000, 99092, 2),    # the release
    ([0, 3, 2], 2, 1, 2, 7, 0),
    ([429497, 5], 5, 3, 1000, 1, 0),        # a seed of two words; one id
    ([7], 3, 4, 4294967291, 1000003, 5),
]


def compressed_ids(path):
    tokenizer = Tokenizer.from_file(path)
    fold = N.Sequence([N.NFKC(), N.NFD(), N.StripAccents(), N.Lowercase(), N.Replace(Regex(r"[ \t\r\n]+"), " ")])
    numbers, table = {}, []
    for token in range(tokenizer.get_vocab_size()):
        text = tokenizer.decode([token], skip_special_tokens=False)
        folded = fold.normalize_str(text)
        if "\ufffd" in text:
            key = tokenizer.id_to_token(token)
        elif folded == " ":
            key = folded
        else:
            key = folded.strip() or text
        table.append(numbers.setdefault(key, len(numbers)))
    return table


def is_prime(n):
    return n > 1 and all(n % d for d in range(2, math.isqrt(n) + 1))


def golden(layers, longest, heads, smallest, count, pad, history):
    taken, candidate = set(), smallest
    out = dict(layers=layers, max_ngram=longest, heads=heads, vocab_size=smallest, compressed_vocab=count, pad=pad,
               history=history, primes=[], multipliers=[], slots=[])
    for layer in layers:
        primes = []
        while len(primes) < (longest - 1) * heads:
            if is_prime(candidate) and candidate not in taken:
                primes.append(candidate)
                taken.add(candidate)
            candidate += 1
        bound = max(1, (2**63 - 1) // count // 2)
        drawn = np.random.default_rng(10007 * layer).integers(0, bound, size=longest, dtype=np.int64)
        multipliers = [int(x) * 2 + 1 for x in drawn]
        slots = []
        for p in range(len(history)):
            mixed, dead = 0, False
            for k in range(longest):
                dead = dead or p < k or history[p - k] is None
                mixed ^= (pad if dead else history[p - k]) * multipliers[k]
                for j in range((k - 1) * heads, k * heads) if k else ():
                    slots.append(sum(primes[:j]) + mixed % primes[j])
        out["primes"].append(primes)
        out["multipliers"].append(multipliers)
        out["slots"].append(slots)
    return out


def main(folder):
    rng = np.random.default_rng(0)
    cases = []
    for shape in SHAPES:
        history = [int(x) for x in rng.integers(0, shape[4], size=24)]
        for p in (6, 13, 14, 17):
            history[p] = None
        cases.append(golden(*shape, history))
    table = compressed_ids(os.path.join(folder, "tokenizer.json"))
    with open(os.path.join(folder, "golden.json"), "w") as out:
        json.dump(dict(compressed_ids=table, cases=cases), out)
        out.write("\n")


main(sys.argv[1])
