"""Writes a trained model in the released form: `config.json` and `model.safetensors`.

  python export.py --weights out/run/model.safetensors --tokenizer tokenizer.json --out assets/model

Names, formats and packing are those of `docs/models/deepseek-v41.md` §2. Whatever has a format was rounded
to it while it was trained, so packing loses nothing; that is checked here, tensor by tensor.
"""
import argparse
import json
import pathlib
import shutil

import torch
from safetensors.torch import load_file, save_file

import quant
from config import of_tokenizer
from data.tokens import Tokens
from model import Experts, Linear, Mixer, Model

LARGEST = 8 * 2 ** 20                # bytes of everything that is embedded


def exponent(scale):
    """A power of two as E8M0."""
    return ((scale.contiguous().view(torch.int32) >> 23) & 255).to(torch.uint8).view(torch.float8_e8m0fnu)


def pack_fp8(w, rows):
    """E4M3 codes, and scales of tiles or of 32 columns of a row."""
    y, amax = quant.blocks(w, quant.TILE) if rows else quant.tiles(w)
    scale = quant.scale_fp8(amax, 2.0 ** -100)
    codes = (y / scale).to(torch.float8_e4m3fn)
    return codes.reshape(w.shape), exponent(scale.flatten(-2) if rows else scale[:, 0, :, 0])


def pack_fp4(w):
    """E2M1 codes, the even column in the low nibble, and scales of 32 columns of a row."""
    y, amax = quant.blocks(w, quant.TILE)
    scale = quant.scale_fp4(amax)
    values = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
    y = quant.e2m1(y / scale)
    code = torch.searchsorted(values, y.abs()) + 8 * torch.signbit(y)
    code = code.reshape(w.shape).to(torch.uint8)
    return (code[:, ::2] | code[:, 1::2] << 4).view(torch.int8), exponent(scale.flatten(-2))


def store(out, name, w, fmt):
    """Adds a weight `name`, without its `.weight` where it has a scale, to `out`."""
    w = w.detach().float().cpu()
    if fmt == "f32":
        out[name] = w.contiguous()
    elif fmt == "bf16":
        out[name] = w.bfloat16().contiguous()
    else:
        codes, scales = pack_fp4(w) if fmt == "fp4" else pack_fp8(w, fmt == "fp8_rows")
        out[name], out[name.removesuffix(".weight") + ".scale"] = codes.contiguous(), scales.contiguous()


def released(model):
    """Released names -> tensors as stored."""
    out = {}
    for path, module in model.named_modules():
        prefix = path + "." if path else ""
        own = dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
        own = {k: v for k, v in own.items() if k in module.state_dict(keep_vars=True)}
        for key, w in own.items():
            name, fmt = prefix + key, "bf16"
            if isinstance(module, Experts):
                for i, expert in enumerate(w):
                    at = prefix if module.fmt == "fp8" else f"{prefix}{i}."
                    store(out, f"{at}{key}.weight", expert, module.fmt)
                continue
            if isinstance(module, Mixer):
                name, fmt = f"{path}_{key}", "f32"
            elif isinstance(module, Linear) and key == "weight":
                fmt = module.fmt
            elif name.endswith("engram.embed.weight"):
                fmt = "fp8_rows"
            elif key in ("attn_sink", "bias_vl") or name.endswith("gate.bias"):
                fmt = "f32"
            store(out, name, w, fmt)
    return out


def write(model, tokenizer, out):
    """Writes the folder and says how large it is."""
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(model.config, indent=2) + "\n")
    save_file(released(model), out / "model.safetensors", metadata={"format": "pt"})
    if pathlib.Path(tokenizer).resolve() != (out / "tokenizer.json").resolve():
        shutil.copyfile(tokenizer, out / "tokenizer.json")
    size = sum((out / name).stat().st_size for name in ("config.json", "model.safetensors", "tokenizer.json"))
    if size > LARGEST:
        raise SystemExit(f"the model has {size} bytes, at most {LARGEST} are embedded")
    return size


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--weights", required=True, help="parameters saved by train.py")
    args.add_argument("--tokenizer", required=True)
    args.add_argument("--out", required=True)
    args = args.parse_args()
    model = Model(of_tokenizer(Tokens(args.tokenizer)))
    model.load_state_dict(load_file(args.weights))
    print(f"{write(model, args.tokenizer, args.out)} bytes")


if __name__ == "__main__":
    main()
