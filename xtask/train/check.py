"""Holds an exported model against the exact reference under `tests/oracle`.

  python check.py --model assets/model            # the folder as exported, rows of random ids
  python check.py --random                        # a random model, exported to a temporary folder

Logits of this package and of `tests/oracle/v41_ref.py`, which shares no code with it, must agree
to 1e-3: text, pictures, drafts; with nothing rounded and with the caches rounded.
"""
import argparse
import json
import pathlib
import sys
import tempfile

import numpy
import torch

import export
from config import of_tokenizer
from data.tokens import PATH, Tokens
from model import Mode, Model

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests/oracle"))
CLOSE = 1e-3
EXACT = Mode(sparse=True, sinkhorn=20)


def ready(model, tokens):
    """The model with what it must know of the tokenizer."""
    model.pad = int(tokens.engram_ids[model.config["pad_token_id"]])
    return model.eval()


def loaded(folder, config):
    """A model with the weights of an exported folder, as they are after rounding."""
    import v41_ref
    weights, model = v41_ref.load(folder), Model(config)
    state = {}
    for name, w in model.state_dict().items():
        owner, _, key = name.rpartition(".")
        if "experts" in name:
            parts = [owner] if "shared" in name else [f"{owner}.{i}" for i in range(len(w))]
            state[name] = torch.stack([weights.pop(f"{part}.{key}.weight") for part in parts])
        else:
            state[name] = weights.pop(f"{owner}_{key}" if ".hc_" in name else name)
    assert not weights, f"tensors without a place: {sorted(weights)[:5]}"
    model.load_state_dict(state)
    return model


def row(tokens, length, generator, picture=None):
    """One row of random ids, with a picture of 9 features at 3 when there is one."""
    ids = torch.randint(3, tokens.size - 30, (1, length), generator=generator)
    ids[0, 0] = 0
    kind = torch.full((1, length), -1)
    batch = {"cut": torch.tensor([1 << 30]), "watched": torch.zeros(1, dtype=torch.long)}
    if picture is not None:
        kinds = [2, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 3, 4]
        kind[0, 3:17] = torch.tensor(kinds)
        batch["images"] = picture[None, None]
        batch["image_at"] = torch.tensor([[[3 + i for i, k in enumerate(kinds) if k == 0]]])
    batch |= {"ids": ids, "kind": kind, "norm_ids": torch.from_numpy(tokens.engram_ids)[ids]}
    return batch


def compare(folder, tokens, lengths=(7, 64, 200)):
    """The largest differences by what was compared."""
    import v41_ref
    config = json.loads((pathlib.Path(folder) / "config.json").read_text())
    # In 64 bits, like the reference: in 32 a near tie between two experts or rows may fall either way.
    model = ready(loaded(folder, config), tokens).double()
    worst = {}

    def note(name, ours, theirs):
        worst[name] = max(worst.get(name, 0.0), float((ours.double() - theirs.double()).abs().max()))

    generator = torch.Generator().manual_seed(1)
    picture = torch.randint(0, 256, (126, 126, 3), generator=generator, dtype=torch.uint8)
    for level in ("none", "cache"):
        mode = EXACT if level == "none" else Mode(sparse=True, stored=True, sinkhorn=20)
        ref = v41_ref.V41Ref(folder, level)
        # The library numbers markers below the base vocabulary anew; `data.tokens` takes ids as they stand.
        ids = tokens.engram_ids.tolist()
        ref.addresses = v41_ref.Addresses(ref.text, ids, max(ids) + 1)
        for length in lengths:
            for what, media in (("text", None), ("picture", picture)):
                if media is not None and length < 20:
                    continue
                batch = row(tokens, length, generator, media)
                padded = {k: torch.nn.functional.pad(v, (0, -length % 32)) if k in ("ids", "kind", "norm_ids") else v
                          for k, v in batch.items()}
                kinds = embeds = None
                if media is not None:
                    padded["image_at"] = torch.where(padded["image_at"] < 0, padded["ids"].shape[1], padded["image_at"])
                    size = v41_ref.grid(126, 126, ref.vision)
                    embeds = torch.zeros(length, 128, dtype=ref.dtype)
                    embeds[3:17] = ref.place(ref.see(v41_ref.patches(media, 14), size), size)
                    kinds = [-1] * 3 + size.kinds + [-1] * (length - 17)
                with torch.no_grad():
                    rows, step = model(padded, mode)
                    logits = model.head(rows, mode)[0, :length]
                state = ref.new_state()
                theirs, taps = ref.forward(batch["ids"][0].tolist(), state, kinds, embeds)
                note(f"{what}, {level}", logits, theirs)
                if level == "none" and media is None:
                    ref.remember(taps, state)
                    proposed, confidence, theirs = ref.draft(5, state)
                    said = torch.cat((padded["ids"][:, :length], torch.tensor([[5, *proposed.tolist()]])), 1)
                    at = -(-said.shape[1] // 32) * 32 - length
                    step.taps = {k: torch.nn.functional.pad(v[:, :length], (0, 0, 0, at)) for k, v in step.taps.items()}
                    said = torch.nn.functional.pad(said, (0, at + length - said.shape[1]))
                    with torch.no_grad():
                        ours, sure = model.draft(padded | {"ids": said}, step, torch.tensor([[length - 1]]))
                    note("drafts", ours[0, 0], theirs)
                    note("confidence", sure[0, 0], confidence)
    return worst


def spread(model, seed):
    """Makes what starts alike differ, so that nothing can hide behind ones and zeros."""
    generator = torch.Generator().manual_seed(seed)
    for name, w in model.state_dict(keep_vars=True).items():
        with torch.no_grad():
            if w.ndim == 1 or "_weight" in name:
                w += 0.2 * torch.randn(w.shape, generator=generator)
            if name.endswith("scale"):
                w.abs_()


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--model", default=ROOT / "assets/model")
    args.add_argument("--random", action="store_true")
    args.add_argument("--keep", help="write the random model here")
    args.add_argument("--tokenizer", default=PATH)
    args = args.parse_args()
    tokens = Tokens(args.tokenizer)
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.model
        if args.random:
            torch.manual_seed(0)
            model = Model(of_tokenizer(tokens))
            spread(model, 2)
            folder = args.keep or scratch
            print(export.write(model, args.tokenizer, folder), "bytes")
        worst = compare(folder, tokens)
    for name, difference in worst.items():
        print(f"{name}: {difference:.1e}")
    if max(worst.values()) > CLOSE:
        sys.exit(f"more than {CLOSE} apart")


if __name__ == "__main__":
    main()
