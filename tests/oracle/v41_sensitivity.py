#!/usr/bin/env python3
"""How much each rounding of the level `released` matters: leave one out at a time and compare.

  v41_sensitivity.py tests/fixtures/v41/wide-s4-release     # a table of all of them

Layers run on the streams that the reference has before them, so that a rounding that falls the
other way is seen once and not in everything behind it.
"""
import argparse
import json
import os

import torch

import v41_ref
from v41_ref import V41Ref

SEVERAL = 50            # one element of so many may be another before a token counts as other
FAR = 1e-3              # of logits: what sums in another order do not reach


def forced(ref, ids, prompt, given=None):
    """What a run over the prompt and then token by token yields, each layer on `given`."""
    ref.taps, state, parts, drafts = {}, ref.new_state(), [], []
    for first, last in [(0, prompt), *((i, i + 1) for i in range(prompt, len(ids)))]:
        if first:
            drafts.append(ref.draft(ids[first], state))
        here = [(x[first:last], pre[first:last]) for x, pre in given] if given else None
        logits, taps = ref.forward(ids[first:last], state, given=here)
        ref.remember(taps, state)
        parts.append(logits)
    out, ref.taps = {k: torch.cat(v) for k, v in ref.taps.items()}, None
    tokens, confidence, logits = (torch.stack(d) for d in zip(*drafts))
    out.update(logits=torch.cat(parts), draft_tokens=tokens, draft_confidence=confidence, draft_logits=logits)
    return out


def given_by(run, depth):
    """Streams and mix before each layer and behind the last."""
    return [(run[f"enter.{i}"], run[f"pre.{i}"]) for i in range(depth + 1)]


def others(a, b):
    """Rows of streams that differ in more than an element of fifty."""
    return int(((a != b).flatten(1).sum(1) * SEVERAL > a[0].numel()).sum())


def far(a, b):
    """Rows of logits."""
    return int(((a - b).abs().amax(-1) > FAR).sum())


def apart(want, got):
    """Counts: tokens with other streams in the worst layer and over all, queries that choose
    otherwise, rows of logits and of drafts that are far."""
    layers = [others(want[k], got[k]) for k in want if k.startswith("streams.")]
    chosen = sum(int((want[k] != got[k]).any(-1).sum()) for k in want
                 if k.split(".")[0] in ("chosen", "candidates", "experts"))
    return dict(worst=max(layers), streams=sum(layers), chosen=chosen, logits=far(want["logits"], got["logits"]),
                drafts=far(want["draft_logits"].flatten(0, 1), got["draft_logits"].flatten(0, 1)))


def left_out(run, ref):
    """Names of the roundings that `run(ref)` comes by."""
    run(ref)
    return list(ref.sites)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("path")
    a = ap.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    with open(os.path.join(a.path, "meta.json")) as f:
        meta = json.load(f)["forced"]
    ids, n = meta["input_ids"], meta["prompt_len"]

    def of(dtype=torch.float32):
        ref = V41Ref(a.path, "released", dtype)
        ref.text.update(meta["config"])
        return ref

    def row(what, ref):
        print(f"{what:44}", apart(want, forced(ref, ids, n, given)), flush=True)
    ref = of()
    want = forced(ref, ids, n)
    sites, given = list(ref.sites), given_by(want, ref.depth)
    row("nothing left out", ref)
    row("sums in 64 bits", of(torch.float64))
    ref.backwards = True
    row("sums backwards", ref)
    ref.backwards = False
    for site in sites:
        ref.without = site
        row(site, ref)


if __name__ == "__main__":
    main()
