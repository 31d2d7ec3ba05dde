#!/usr/bin/env python3
"""Makes the fixtures of DeepSeek-V4.1: tiny models, pictures and single operations.

  make_v41_oracle.py --out tests/fixtures/v41             # all of them
  make_v41_oracle.py --out DIR --only plain-release ops   # some
  make_v41_oracle.py --out DIR --seed 100                 # others of the same kind
  make_v41_oracle.py --self-test                          # no files

Every number comes from `v41_ref.py`, which reads back what was written. A fixture in which a
prompt read whole, in odd pieces and token by token differ is not written. What the files hold
is listed in README.md. Sections are those of `docs/models/deepseek-v41.md`.
"""
import argparse
import hashlib
import json
import math
import os
import struct
import tempfile
from dataclasses import dataclass

import numpy
import PIL
import tokenizers
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

import v41_ref
from v41_sensitivity import apart, forced, given_by, left_out
from v41_ref import E2M1, LEVELS, ROUNDINGS, TEXT, Addresses, V41Ref, compressed_ids, e2m1_code, e4m3, pow2_ceil, round_trip

VOCABULARY = 320
FIRST_TEXT_ID = 9               # below are the special tokens
SAME = 1e-9                     # float64: two ways to compute one thing
STEADY = 1e-4                   # what noise below rounding boundaries may move


# ------------------------------------------------------------ configurations --
def plain_config():
    """Nine layers with every mechanism; layer 2 and 5 publish, 7 chooses again."""
    text = dict(
        model_type="deepseek_v41_text", vocab_size=VOCABULARY, hidden_size=64, moe_intermediate_size=32,
        num_hidden_layers=9, num_attention_heads=4, num_key_value_heads=1, head_dim=64,
        qk_rope_head_dim=16, q_lora_rank=32, o_lora_rank=32, o_groups=2, hidden_act="silu",
        swiglu_limit=10.0, rms_norm_eps=1e-20, attention_bias=False, attention_dropout=0.0,
        max_position_embeddings=4096, rope_theta=10000.0,
        rope_scaling=dict(type="yarn", factor=16, beta_fast=32, beta_slow=1,
                          original_max_position_embeddings=64),
        n_routed_experts=6, n_shared_experts=1, num_experts_per_tok=2, scoring_func="sqrtsoftplus",
        topk_method="noaux_tc", norm_topk_prob=True, routed_scaling_factor=1.5, sliding_window=8,
        compress_ratios=[0, 0, 2, 2, 2, 1, 1, 1, 1, 0, 0],
        compress_rope_theta=160000.0, kv_source_layer_ids=[2, 5], index_source_layer_ids=[2, 5, 7],
        index_n_heads=16, index_head_dim=32, index_topk=6, candidate_source_layer_id=5,
        candidate_topk_blocks=4, candidate_block_size=2, hc_mult=4, hc_sinkhorn_iters=20, hc_eps=1e-6,
        engram_layer_ids=[1, 4], engram_num_embeddings=[0, 0], engram_max_ngram_size=4,
        engram_vocab_size=97, engram_n_heads=2, engram_head_dim=32, engram_pad_token_id=2,
        engram_compressed_vocab_size=0, num_nextn_predict_layers=2, dspark_block_size=3,
        dspark_noise_token_id=5, dspark_target_layer_ids=[6, 7, 8], dspark_markov_rank=16,
        dspark_n_routed_experts=4, dspark_num_experts_per_tok=2, tie_word_embeddings=False)
    vision = dict(
        model_type="deepseek_v41_vision", num_hidden_layers=2, hidden_size=32, num_attention_heads=2,
        intermediate_size=48, patch_size=4, rope_theta=10000.0, downsample_ratio=3, max_image_tokens=32,
        min_pixels=256, max_wh_ratio=None)
    return dict(architectures=["DeepseekV41ForCausalLM"], model_type="deepseek_v41", dtype="float32",
                bos_token_id=0, eos_token_id=1, pad_token_id=2, image_token_id=6, tie_word_embeddings=False,
                text_config=text, vision_config=vision)


def wide_config():
    """The released schedule in small, with its rotary numbers: three publishers, two that choose again."""
    c = plain_config()
    c["text_config"].update(
        num_hidden_layers=10, compress_ratios=[0, 0, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0],
        kv_source_layer_ids=[2, 4, 6], index_source_layer_ids=[2, 4, 6, 8, 9], candidate_source_layer_id=6,
        candidate_topk_blocks=8, candidate_block_size=4, index_n_heads=8, max_position_embeddings=1048576,
        rope_scaling=dict(rope_type="yarn", factor=16, beta_fast=32, beta_slow=1,
                          original_max_position_embeddings=65536),
        engram_vocab_size=31, engram_layer_ids=[1, 3], num_nextn_predict_layers=3, dspark_block_size=5,
        dspark_target_layer_ids=[7, 8, 9], n_routed_experts=6, dspark_n_routed_experts=3,
        hidden_size=32, moe_intermediate_size=32)
    return c


def vision_config():
    c = plain_config()
    c["vision_config"].update(num_hidden_layers=3, hidden_size=64, num_attention_heads=4, intermediate_size=96,
                              patch_size=8, max_image_tokens=40, min_pixels=2304)
    return c


def tiny_tokenizer():
    """Byte-level BPE with merges that differ in case and spaces, so that compressed ids really fold."""
    specials = ["<bos>", "<eos>", "<pad>", "<User>", "<Assistant>", "<noise>", "<image>", "<think>", "</think>"]
    sp, nl = "\u0120", "\u010a"
    merges = [
        ("t", "h"), ("th", "e"), ("T", "h"), ("Th", "e"), (sp, "the"), (sp, "The"), ("a", "n"), ("an", "d"),
        (sp, "and"), (sp, sp), (sp + sp, sp + sp), ("i", "n"), (sp, "in"), ("I", "n"), ("o", "f"), (sp, "of"),
        ("O", "f"), ("e", "r"), ("E", "R"), (nl, nl), ("c", "a"), ("ca", "t"), (sp, "cat"), ("C", "a"),
        ("Ca", "t"), (sp, "Cat"), ("d", "o"), ("do", "g"), (sp, "dog"), ("D", "o"), ("Do", "g"), ("o", "n"),
        (sp, "on"), ("i", "s"), (sp, "is"), ("I", "S"), ("r", "e"), (sp, "re"), ("a", "t"), (sp, "at"),
        ("A", "T"), ("e", "s"), ("E", "S"), ("s", "t"), ("S", "T"), ("l", "l"), ("L", "L"), (sp, "a"),
        (sp, "A"), (sp, "I"), (sp, "i"), (sp, "s"), (sp, "S"), (sp, "t"), (sp, "T")]
    words = specials + sorted(pre_tokenizers.ByteLevel.alphabet()) + [a + b for a, b in merges]
    words += [f"<extra_{i}>" for i in range(len(words), VOCABULARY)]
    tok = Tokenizer(models.BPE(vocab={w: i for i, w in enumerate(words)}, merges=merges, unk_token=None))
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tok.decoder = decoders.ByteLevel()
    tok.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in specials])
    tok.add_tokens([AddedToken(w, special=False, normalized=False) for w in words if w.startswith("<extra_")])
    assert tok.get_vocab_size() == VOCABULARY
    return tok


# ------------------------------------------------------------------- weights --
@dataclass(frozen=True)
class Spread:
    """Standard deviations of what a trained model has wide and a tame draw has not (§7.3, 22)."""
    norm: object
    mix_base: float = 0.5
    mix_scale: float = 0.5
    sink: float = 0.5
    query: float = 1.0
    gate: float = 1.0
    gate_bias: float = 0.2
    pool: float = 2.0
    index: float = 1.0
    engram: object = None
    bias: float = 0.1
    confidence: float = 1.0


def tame(z):
    return 1 + 0.1 * z


PLAIN = Spread(norm=tame, engram=tame)
WIDE = Spread(norm=lambda z: (0.4 * z).exp(), mix_base=1.0, mix_scale=1.0, sink=3.0, query=2.0, gate=3.0, gate_bias=1.0,
              pool=4.0, index=3.0, engram=lambda z: z, bias=0.3, confidence=0.1)


class Weights:
    """Released names -> float32 values, and which of them the release keeps in what format."""

    def __init__(self, config, spread, generator):
        self.text, self.vision = config["text_config"], config["vision_config"]
        self.spread, self.g = spread, generator
        self.values, self.formats = {}, {}

    def normal(self, name, *shape, std=None, gain=1.0, fmt=None):
        std = gain / math.sqrt(shape[-1]) if std is None else std
        self.values[name] = torch.randn(*shape, generator=self.g) * std
        if fmt:
            self.formats[name] = fmt

    def norm(self, name, n):
        self.values[name] = self.spread.norm(torch.randn(n, generator=self.g))

    def block(self, p, experts):
        t, s = self.text, self.spread
        h, n, d, heads, inter = (t[k] for k in ("hidden_size", "hc_mult", "head_dim", "num_attention_heads",
                                                "moe_intermediate_size"))
        self.norm(p + "attn_norm.weight", h)
        self.norm(p + "ffn_norm.weight", h)
        for part in ("attn", "ffn"):
            self.normal(f"{p}hc_{part}_fn", n * (n + 2), n * h)
            self.values[f"{p}hc_{part}_base"] = s.mix_base * torch.randn(n * (n + 2), generator=self.g)
            self.values[f"{p}hc_{part}_scale"] = 0.5 + s.mix_scale * torch.rand(3, generator=self.g)
        a, f = p + "attn.", p + "ffn."
        self.normal(a + "wq_a.weight", t["q_lora_rank"], h, fmt="fp8")
        self.norm(a + "q_norm.weight", t["q_lora_rank"])
        self.normal(a + "wq_b.weight", heads * d, t["q_lora_rank"], gain=s.query, fmt="fp8")
        self.normal(a + "wkv.weight", d, h, fmt="fp8")
        self.norm(a + "kv_norm.weight", d)
        self.normal(a + "wo_a.weight", t["o_groups"] * t["o_lora_rank"], heads * d // t["o_groups"], fmt="fp8")
        self.normal(a + "wo_b.weight", h, t["o_groups"] * t["o_lora_rank"], fmt="fp8")
        self.normal(a + "attn_sink", heads, std=s.sink)
        self.normal(f + "gate.weight", experts, h, gain=s.gate)
        self.normal(f + "gate.bias", experts, std=s.gate_bias)
        self.normal(f + "gate.bias_vl", experts, std=s.gate_bias)
        for e in ["shared_experts.", *(f"experts.{i}." for i in range(experts))]:
            fmt = "fp8" if e.startswith("shared") else "fp4"
            self.normal(f + e + "w1.weight", inter, h, gain=2, fmt=fmt)
            self.normal(f + e + "w2.weight", h, inter, gain=2, fmt=fmt)
            self.normal(f + e + "w3.weight", inter, h, gain=2, fmt=fmt)

    def backbone(self):
        t, s = self.text, self.spread
        h, n, d = t["hidden_size"], t["hc_mult"], t["head_dim"]
        self.normal("embed.weight", t["vocab_size"], h, std=1.0)
        self.norm("norm.weight", h)
        self.normal("head.weight", t["vocab_size"], h, gain=2)
        for layer in range(t["num_hidden_layers"]):
            p = f"layers.{layer}."
            self.block(p, t["n_routed_experts"])
            if layer in t["kv_source_layer_ids"]:
                self.normal(p + "attn.compressor.wkv.weight", d, h)
                self.norm(p + "attn.compressor.norm.weight", d)
                if t["compress_ratios"][layer] > 1:
                    self.normal(p + "attn.compressor.wgate.weight", d, h, gain=s.pool)
            if layer in t["index_source_layer_ids"]:
                i = p + "attn.indexer."
                self.normal(i + "wq_b.weight", t["index_n_heads"] * t["index_head_dim"], t["q_lora_rank"], fmt="fp8")
                self.normal(i + "weights_proj.weight", t["index_n_heads"], h, gain=s.index)
                if layer in t["kv_source_layer_ids"]:
                    self.normal(i + "wk.weight", t["index_head_dim"], d)
                    self.norm(i + "k_norm.weight", t["index_head_dim"])
            if layer in t["engram_layer_ids"]:
                rows = t["engram_num_embeddings"][t["engram_layer_ids"].index(layer)]
                columns = (t["engram_max_ngram_size"] - 1) * t["engram_n_heads"] * t["engram_head_dim"]
                self.normal(p + "engram.embed.weight", rows, t["engram_head_dim"], std=1.0, fmt="fp8 rows")
                self.normal(p + "engram.wkv.weight", h * (n + 1), columns, fmt="fp8")
                for k in ("q_weight", "k_weight"):
                    self.values[f"{p}engram.{k}"] = s.engram(torch.randn(n, h, generator=self.g))

    def drafter(self):
        t = self.text
        h, stages, rank = t["hidden_size"], t["num_nextn_predict_layers"], t["dspark_markov_rank"]
        for stage in range(stages):
            p = f"mtp.{stage}."
            self.block(p, t["dspark_n_routed_experts"])
            if stage == 0:
                self.normal(p + "main_proj.weight", h, h * len(t["dspark_target_layer_ids"]), fmt="fp8")
                self.norm(p + "main_norm.weight", h)
            if stage == stages - 1:
                self.norm(p + "norm.weight", h)
                self.normal(p + "markov_head.embed.weight", t["vocab_size"], rank, std=1.0)
                self.normal(p + "markov_head.head.weight", t["vocab_size"], rank)
                self.normal(p + "confidence_head.proj.weight", 1, h + rank, gain=self.spread.confidence)

    def tower(self):
        v, s = self.vision, self.spread
        d, h, patch = v["hidden_size"], self.text["hidden_size"], v["patch_size"]

        def linear(name, rows, columns, bias=True):
            self.normal(name + ".weight", rows, columns)
            if bias:
                self.normal(name + ".bias", rows, std=s.bias)
        linear("vision.patch_embed.proj", d, 3 * patch * patch)
        for b in range(v["num_hidden_layers"]):
            p = f"vision.blocks.{b}."
            self.norm(p + "norm1.weight", d)
            self.norm(p + "norm2.weight", d)
            linear(p + "attn.wqkv", 3 * d, d)
            linear(p + "attn.wo", d, d)
            linear(p + "mlp.w1", 2 * v["intermediate_size"], d, bias=False)
            linear(p + "mlp.w2", d, v["intermediate_size"], bias=False)
        self.norm("vision.norm.weight", d)
        linear("aligner.w1", h, d * v["downsample_ratio"] ** 2)
        linear("aligner.w2", h, h)
        for k in ("image_start", "image_end", "image_newline"):
            self.normal(k, h, std=1.0)

    # -- storage (§2.3)
    def stored(self, store):
        """Name -> tensor as `store` keeps it: `f32`, `bf16`, or `release`."""
        if store == "f32":
            return self.values
        out = {}
        for name, w in self.values.items():
            fmt = self.formats.get(name) if store == "release" else None
            if fmt:
                out[name], out[name.removesuffix("weight") + "scale"] = PACK[fmt](w)
            elif any(k in name for k in ("hc_", "attn_sink", "gate.bias")):
                out[name] = w
            else:
                out[name] = w.bfloat16()
        return out


def scale_of(block, dims, largest):
    return pow2_ceil(block.abs().amax(dims, keepdim=True).clamp_min(1e-12) * (1 / largest))


def pack_tiles(w):
    rows, columns = w.shape
    tiles = w.view(rows // 32, 32, columns // 32, 32)
    s = scale_of(tiles, (1, 3), 448.0)
    return e4m3(tiles / s).view(rows, columns), s[:, 0, :, 0].to(torch.float8_e8m0fnu)


def pack_rows(w):
    blocks = w.unflatten(1, (-1, 32))
    s = scale_of(blocks, 2, 448.0)
    return e4m3(blocks / s).flatten(1), s[..., 0].to(torch.float8_e8m0fnu)


def pack_fp4(w):
    blocks = w.unflatten(1, (-1, 32))
    s = scale_of(blocks, 2, 6.0)
    v = (blocks / s).clamp(-6, 6)
    code = (e2m1_code(v) | (torch.signbit(v).to(torch.uint8) << 3)).flatten(1)
    return (code[:, 0::2] | (code[:, 1::2] << 4)).view(torch.int8), s[..., 0].to(torch.float8_e8m0fnu)


PACK = {"fp8": pack_tiles, "fp8 rows": pack_rows, "fp4": pack_fp4}


# ------------------------------------------------------------------- writing --
def write_json(path, name, what):
    with open(os.path.join(path, name), "w") as f:
        json.dump(what, f, indent=1)
        f.write("\n")


def write_tensors(path, tensors, shards=1):
    """One file, or several with an index; a cut may fall anywhere, as long as a weight keeps its scale."""
    for f in os.listdir(path):
        if f.startswith("model"):
            os.remove(os.path.join(path, f))
    files = {"model.safetensors": tensors}
    if shards > 1:
        total, done, where = sum(w.nbytes for w in tensors.values()), 0, {}
        for name, w in tensors.items():
            owner = name.removesuffix("scale") + "weight"
            where[name] = where.get(owner, f"model-{1 + shards * done // total:05}-of-{shards:05}.safetensors")
            done += w.nbytes
        files = {f: {k: tensors[k] for k in tensors if where[k] == f} for f in sorted(set(where.values()))}
        write_json(path, "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": where})
    for f, part in files.items():
        save_file({k: w.contiguous() for k, w in part.items()}, os.path.join(path, f), metadata={"format": "pt"})


class Fixture:
    """One directory in the making."""

    def __init__(self, out, name, seed):
        self.name, self.path, self.tensors = name, os.path.join(out, name), {}
        os.makedirs(self.path, exist_ok=True)
        self.meta = {"name": name, "seed": seed, "versions": {
            m.__name__: m.__version__ for m in (torch, numpy, tokenizers, PIL)}}

    def put(self, name, value):
        value = value.float() if value.is_floating_point() else value
        self.tensors[name] = value.contiguous().clone()

    def same(self, what, a, b, within=SAME):
        d, checks = distance(a, b), self.meta.setdefault("checks", {})
        checks[what] = max(checks.get(what, 0.0), d)
        if not d <= within:
            raise SystemExit(f"{self.name}: {what} differs by {d}")

    def worst(self, what, apart, within=SAME):
        d = max(apart.values())
        self.same(what, torch.tensor([d]), torch.zeros(1), within)

    def close(self):
        save_file(self.tensors, os.path.join(self.path, "expected.safetensors"))
        write_json(self.path, "meta.json", self.meta)
        total = sum(os.path.getsize(os.path.join(d, f)) for d, _, fs in os.walk(self.path) for f in fs)
        print(f"{self.name}: {total / 1024:.0f} KiB", flush=True)
        for k in ("attempt", "margins", "checks", "levels", "readings"):
            if k in self.meta:
                print(f"   {k}: {self.meta[k]}", flush=True)


def distance(a, b):
    return float((a.double() - b.double()).abs().max())


# ---------------------------------------------------------------------- runs --
@dataclass(frozen=True)
class Kind:
    """A model fixture: what is drawn and how it is kept."""
    seed: int
    config: object
    spread: Spread
    store: str
    prompt: int
    decode: int = 16
    shards: int = 1
    redraw: bool = False
    tried: int = 0              # draws known to be unsteady at the default seed
    forced: dict = None         # what the configuration of the forced run has otherwise


KINDS = {
    "plain-bf16": Kind(7, plain_config, PLAIN, "bf16", 32),
    "plain-release": Kind(7, plain_config, PLAIN, "release", 32, forced=dict(index_topk=24, candidate_topk_blocks=16)),
    "wide-f32": Kind(3, wide_config, WIDE, "f32", 60, redraw=True, tried=43),
    "wide-release": Kind(4, wide_config, WIDE, "release", 60, shards=3, redraw=True, tried=259,
                         forced=dict(sliding_window=72, index_topk=24)),
}
VISION_SEED, OPS_SEED = 5, 1


def text_ids(generator, count):
    return torch.randint(FIRST_TEXT_ID, VOCABULARY, (count,), generator=generator).tolist()


def prompt_ids(seed, count):
    ids = [0, *text_ids(torch.Generator().manual_seed(1000 + seed), count - 1)]
    ids[9], ids[10] = ids[3], ids[4]        # a repeated n-gram: Engram rows repeat too
    return ids


def chunks_of(count):
    """Odd pieces: below, at and beyond a block and a window."""
    out = []
    for n in (5, 1, 17, 2, 8, 13, count):
        out.append(min(n, count - sum(out)))
    return [n for n in out if n]


def build(path, kind, seed):
    """Writes a model and returns its configuration."""
    config, tokenizer = kind.config(), tiny_tokenizer()
    t = config["text_config"]
    ids, t["engram_compressed_vocab_size"] = compressed_ids(tokenizer, VOCABULARY)
    t["engram_num_embeddings"] = Addresses(t, ids, t["engram_compressed_vocab_size"]).rows
    w = Weights(config, kind.spread, torch.Generator().manual_seed(seed))
    w.backbone()
    w.drafter()
    w.tower()
    if kind.store == "release":
        config["quantization_config"] = dict(quant_method="fp8", activation_scheme="dynamic", fmt="e4m3",
                                             weight_block_size=[32, 32], scale_fmt="ue8m0", expert_dtype="fp4")
    if kind.store != "f32":
        config["dtype"] = "bfloat16"
    write_json(path, "config.json", config)
    tokenizer.save(os.path.join(path, "tokenizer.json"))
    write_tensors(path, w.stored(kind.store), kind.shards)
    return config


def read(ref, ids, state, sizes, **image):
    """A prompt in pieces, with the draft rings filled."""
    parts, first = [], 0
    for n in sizes:
        logits, taps = ref.forward(ids[first:first + n], state, **{k: v[first:first + n] for k, v in image.items()})
        ref.remember(taps, state)
        parts.append(logits)
        first += n
    return torch.cat(parts)


def decode(ref, ids, state):
    """Token by token; before each, a draft with it as anchor."""
    parts, drafts = [], []
    for token in ids:
        drafts.append(ref.draft(token, state))
        logits, taps = ref.forward([token], state)
        ref.remember(taps, state)
        parts.append(logits)
    return torch.cat(parts), *(torch.stack(d) for d in zip(*drafts))


def whole(ref, ids):
    """Logits and taps of one fresh run over everything."""
    ref.taps = {}
    logits, taps = ref.forward(ids, ref.new_state())
    inside, ref.taps = {k: v[0] for k, v in ref.taps.items()}, None
    return logits, taps[1], inside


def stepwise(ref, ids, sizes):
    """Logits of all rows and the drafts of the decoded ones."""
    n, state = sum(sizes), ref.new_state()
    first = read(ref, ids, state, sizes)
    rest, *drafts = decode(ref, ids[n:], state)
    return torch.cat((first, rest)), *drafts


def replayed(ref, ids, sizes, kinds=None, embeds=None, after=()):
    """The last rows of a prompt after a bounded replay, what is decoded after it, and the drafts."""
    state, parts, first = ref.new_state(), [], 0
    for n in sizes:
        span = slice(first, first + n)
        parts.append((ids[span], kinds[span], embeds[span]) if kinds else (ids[span],))
        first += n
    tail, taps = ref.replay(parts, state)
    ref.remember(taps, state)
    return tail, *decode(ref, after, state)


# ------------------------------------------------------------------- a model --
def make(out, label, offset):
    kind = KINDS[label]
    base = kind.seed + offset
    fx = Fixture(out, label.replace("-", f"-s{base}-"), base)
    first = kind.tried if offset == 0 else 0
    for attempt in range(first, first + ATTEMPTS if kind.redraw else 1):
        seed = 1000 * base + attempt if kind.redraw else base
        config = build(fx.path, kind, seed)
        run = Run(config, prompt_ids(seed, kind.prompt + kind.decode), kind.prompt, Album(config, seed))
        if not kind.redraw or is_steady(fx.path, run):
            break
    else:
        raise SystemExit(f"{fx.name}: no steady draw in {ATTEMPTS}")
    fx.meta.update(store=kind.store, draw=seed, attempt=attempt, input_ids=run.ids, prompt_len=kind.prompt,
                   decode_len=kind.decode, chunks=chunks_of(kind.prompt),
                   tolerances={"logits": 1e-3, "confidence": 1e-4, "features": 1e-3}, levels={}, margins={})
    describe_engram(fx, config, run.ids)
    run.album.describe(fx)
    for level in LEVELS:
        run_level(fx, level, run)
    if label == "plain-bf16":
        other_readings(fx, run.ids, kind.prompt)
    if label == "plain-release":
        put_reading(fx, "rounded_wo_a", rounded_wo_a(fx, run.ids), "logits_full.full")
    if kind.forced:
        run_released(fx, run)
        run_forced(fx, kind.forced, seed)
    fx.close()


ATTEMPTS = 1000         # draws before giving up
LEAST_MARGIN = 5e-5     # between a choice and what was left out


def all_at_once(n):
    return [n]


def one_by_one(n):
    return [1] * n


@dataclass(frozen=True)
class Run:
    """What is computed at each level; `sizes` cuts every prompt."""
    config: dict
    ids: list
    prompt: int
    album: object

    def text(self, ref, sizes=all_at_once):
        return dict(zip(("logits_full", "draft_tokens", "draft_confidence", "draft_logits"),
                        stepwise(ref, self.ids, sizes(self.prompt))))

    def outputs(self, ref, sizes=all_at_once):
        n, after, out = self.prompt, self.ids[self.prompt:], self.text(ref, sizes)
        tail, steps, tokens, confidence, _ = replayed(ref, self.ids[:n], sizes(n), after=after)
        out.update({"logits_replay": torch.cat((tail[-1:], steps)), "logits_replay_tail": tail,
                    "draft_tokens_replay": tokens, "draft_confidence_replay": confidence})
        if ref.level != "full":
            out.update(self.album.outputs(ref, sizes))
        return out


def moved(want, got):
    """Distance of each output; of tokens, how many differ."""
    return {k: float((want[k] != got[k]).sum()) if "tokens" in k else distance(want[k], got[k]) for k in want}


def is_steady(path, run):
    """Whether float32 sums change no choice, and at the level `cache` neither they nor noise of
    their size before each rounding a rounding that matters. Pictures and replay are not asked:
    of half a million roundings some always turn."""
    ref, short = V41Ref(path), V41Ref(path, dtype=torch.float32)
    want = run.outputs(ref)
    if min(ref.margins.values()) < LEAST_MARGIN or max(moved(want, run.outputs(short)).values()) > 2 * STEADY:
        return False
    ref, short = V41Ref(path, "cache"), V41Ref(path, "cache", torch.float32)
    want = run.text(ref)
    if min(ref.margins.values()) < LEAST_MARGIN or max(moved(want, run.text(short)).values()) > STEADY:
        return False
    for noise in range(2):
        ref.jitter = torch.Generator().manual_seed(noise)
        if max(moved(want, run.text(ref)).values()) > STEADY:
            return False
    return True


def describe_engram(fx, config, ids):
    t = config["text_config"]
    table, count = compressed_ids(tiny_tokenizer(), VOCABULARY)
    a = Addresses(t, table, count)
    fx.meta.update(engram_token_map=table, engram_compressed_vocab_size=count, engram=dict(
        primes=a.primes, offsets=a.offsets, multipliers=a.multipliers, rows=a.rows, pad=a.pad))
    for which in range(len(a.layers)):
        fx.put(f"engram_rows_{which}", a.at([table[i] for i in ids], range(len(ids)), which).int())


def run_level(fx, level, run):
    ref = V41Ref(fx.path, level)
    want = run.outputs(ref)
    logits, taps, inside = whole(ref, run.ids)
    fx.same(f"{level}: whole and step by step", logits, want["logits_full"])
    for sizes in (chunks_of, one_by_one):
        fx.worst(f"{level}: in pieces", moved(want, run.outputs(ref, sizes)))
    few = ref.text["sliding_window"]
    short = replayed(ref, run.ids[:few], [few], after=run.ids[few:run.prompt])
    fx.same(f"{level}: replay of a prompt within the window", torch.cat(short[:2]), logits[:run.prompt])
    for k, v in want.items():
        if k != "draft_logits" or level == "none":
            fx.put(f"{k}.{level}", v.int() if "tokens" in k else v)
    if level == "none":
        put_inside(fx, taps, inside)
        for i, f in enumerate(run.album.seen(ref)):
            fx.put(f"image_features_{i}", f)
    fx.meta["margins"][level] = dict(ref.margins)
    fx.meta["levels"][level] = stability(fx, level, run, want)


def put_inside(fx, taps, inside):
    """Streams, choices and draft taps of the whole run."""
    fx.put("taps.none", taps[-2:])
    layers = [inside[k] for k in sorted((k for k in inside if k.startswith("streams.")), key=lambda k: int(k[8:]))]
    fx.put("streams_last_row_per_layer.none", torch.stack([x[-1] for x in layers]))
    rows = [0, 1, 2, len(layers[0]) - 2, len(layers[0]) - 1]
    fx.put("streams.none", torch.stack([x[rows] for x in layers]))
    fx.meta["stream_rows"] = rows
    for k, v in inside.items():
        if k.split(".")[0] in ("chosen", "candidates", "experts"):
            fx.put(k, v)


def stability(fx, level, run, want):
    """How far float32 sums and noise move a level; where that matters the float32 numbers as well."""
    got = run.outputs(V41Ref(fx.path, level, torch.float32))
    out = {"largest_logit": float(want["logits_full"].abs().max()), "from_float32": moved(want, got)}
    for k, d in out["from_float32"].items():
        if d > STEADY and level != "none" and k != "draft_logits":
            fx.put(f"{k}.{level}.f32", got[k].int() if "tokens" in k else got[k])
    if level != "none":
        ref = V41Ref(fx.path, level)
        ref.jitter = torch.Generator().manual_seed(9)
        out["from_noise"] = moved(want, run.outputs(ref))
        exact = {k: fx.tensors[k + ".none"] for k in want}
        out["from_none"] = moved(want, exact)
        d = want["logits_full"] - exact["logits_full"]
        out["from_none_rms"] = float(d.square().mean().sqrt())
    return out


# ------------------------------------------------------ the level `released` --
def released(path, dtype=torch.float32, backwards=False, config=()):
    ref = V41Ref(path, "released", dtype)
    ref.text.update(config)
    ref.backwards = backwards
    return ref


def run_released(fx, run):
    """Whole runs, in which a rounding that falls the other way changes all that follows: they say
    how far right engines may be apart."""
    want = run.text(released(fx.path))
    for k in ("logits_full", "draft_tokens", "draft_confidence"):
        fx.put(f"{k}.released", want[k].int() if "tokens" in k else want[k])
    others = {"from_float64": run.text(released(fx.path, torch.float64))["logits_full"],
              "from_order": run.text(released(fx.path, backwards=True))["logits_full"]}
    others.update({f"from_{level}": fx.tensors[f"logits_full.{level}"] for level in LEVELS})
    fx.meta["levels"]["released"] = {k: gap(want["logits_full"], v) for k, v in others.items()}


def gap(want, got):
    d = want.double() - got.double()
    return dict(rms=float(d.square().mean().sqrt()), max=float(d.abs().max()),
                top1=float((want.argmax(-1) == got.argmax(-1)).double().mean()))


FORCED_AFTER = 8        # tokens that are decoded


def run_forced(fx, config, seed):
    """A run in which every layer is given what the reference has before it, over more keys than one
    chunk of probabilities and more entries than a query chooses."""
    count = 160 if "sliding_window" in config else 96
    ids = [0, *text_ids(torch.Generator().manual_seed(3000 + seed), count - 1)]
    n = count - FORCED_AFTER
    ref = released(fx.path, config=config)
    want = forced(ref, ids, n)
    given = given_by(want, ref.depth)
    for k, i in (("streams", 0), ("pre", 1)):
        fx.tensors[f"forced.{k}"] = torch.stack([g[i] for g in given])
    fx.tensors["forced.streams"] = fx.tensors["forced.streams"].bfloat16()
    for k, v in want.items():
        if k.split(".")[0] in ("chosen", "experts"):
            fx.put(f"forced.{k}", v)
    fx.put("forced.logits", want["logits"][-16:])
    fx.put("forced.draft_logits", want["draft_logits"])
    fx.put("forced.draft_tokens", want["draft_tokens"].int())
    same = {k: apart(want, forced(released(fx.path, config=config, **how), ids, n, given))
            for k, how in (("from_float64", dict(dtype=torch.float64)), ("from_order", dict(backwards=True)))}
    fx.meta["forced"] = dict(config=config, input_ids=ids, prompt_len=n, **same)


class Album:
    """Prompts with pictures: `image` is text, picture, text, picture, text; `mixed` ends with a picture."""

    SIZES = ((17, 20), (30, 13))

    def __init__(self, config, seed):
        v, g = config["vision_config"], torch.Generator().manual_seed(2000 + seed)
        self.image_id = config["image_token_id"]
        self.grids = [v41_ref.grid(w, h, v) for w, h in self.SIZES]
        texts, self.patches = [text_ids(g, 4)], []
        for size in self.grids:
            shape = size.patches[0] * size.patches[1], 3, v["patch_size"], v["patch_size"]
            self.patches.append((torch.rand(*shape, generator=g) - 0.5) / 0.5)
            texts.append(text_ids(g, 3))
        self.after = text_ids(g, 8)
        self.prompts = {
            "image": (texts[0], 0, texts[1], 1, texts[2]),
            "mixed": ([0, *texts[2]], 1, texts[0] + texts[1], 0),
        }

    def laid_out(self, name):
        """Ids and kinds of a prompt's tokens."""
        ids, kinds = [], []
        for part in self.prompts[name]:
            here = [TEXT] * len(part) if isinstance(part, list) else self.grids[part].kinds
            ids += part if isinstance(part, list) else [self.image_id] * len(here)
            kinds += here
        return ids, kinds

    def describe(self, fx):
        for name, parts in self.prompts.items():
            ids, kinds = self.laid_out(name)
            fx.meta[name] = dict(input_ids=ids, token_types=kinds, decode_ids=self.after,
                                 pictures=[p for p in parts if not isinstance(p, list)])
        fx.meta["image"]["items"] = [
            dict(size=list(s), resized=list(g.canvas), vit=list(g.patches[::-1]), llm=list(g.tokens[::-1]))
            for s, g in zip(self.SIZES, self.grids)]
        for i, p in enumerate(self.patches):
            fx.put(f"image_patches_{i}", p)

    def seen(self, ref):
        return [ref.see(p, g) for p, g in zip(self.patches, self.grids)]

    def outputs(self, ref, sizes):
        out, seen = {}, self.seen(ref)
        for name, parts in self.prompts.items():
            ids, kinds = self.laid_out(name)
            image = dict(kinds=kinds, embeds=torch.cat([
                torch.zeros(len(p), ref.text["hidden_size"], dtype=ref.dtype) if isinstance(p, list)
                else ref.place(seen[p], self.grids[p]) for p in parts]))
            state = ref.new_state()
            out[f"logits_{name}"] = read(ref, ids, state, sizes(len(ids)), **image)
            steps, tokens, confidence, _ = decode(ref, self.after, state)
            out.update({f"logits_{name}_decode": steps, f"draft_tokens_{name}": tokens,
                        f"draft_confidence_{name}": confidence})
            tail, steps, *_ = replayed(ref, ids, sizes(len(ids)), **image, after=self.after)
            out[f"logits_{name}_replay"] = torch.cat((tail[-1:], steps))
        return out


def put_reading(fx, name, value, chosen, rows=slice(None)):
    fx.put(f"reading.{name}", value)
    fx.meta.setdefault("readings", {})[name] = distance(value.float(), fx.tensors[chosen][rows])


def other_readings(fx, ids, n):
    """What the other reading of a doubtful rule would give, for tests that tell the two apart."""
    ref = V41Ref(fx.path)
    ref.stale_keys = True
    put_reading(fx, "stale_index_keys", stepwise(ref, ids, [n])[0][n:], "logits_full.none", slice(n, None))
    ref = V41Ref(fx.path)
    ref.confide_normed = True
    put_reading(fx, "normed_confidence", stepwise(ref, ids, [n])[2], "draft_confidence.none")
    put_reading(fx, "rounded_wo_a", rounded_wo_a(fx, ids), "logits_full.full")


def rounded_wo_a(fx, ids):
    ref = V41Ref(fx.path, "full")
    ref.round_wo_a = True
    return whole(ref, ids)[0]


# ------------------------------------------------------------------ pictures --
PICTURES = ((1, 1), (3, 5), (48, 48), (47, 49), (40, 64), (100, 37), (5, 200), (210, 6), (120, 144), (144, 120), (320, 24),
            (24, 320), (333, 222), (97, 401), (900, 3), (2, 700), (29, 1), (6, 171), (104, 13))


def picture(width, height, generator):
    """Gradients, shapes and noise."""
    y, x = numpy.mgrid[0:height, 0:width] / max(width, height)
    rgb = numpy.stack([255 * x, 255 * y, 127 + 127 * numpy.sin(23 * (x + 2 * y))], -1)
    for _ in range(5):
        cx, cy = generator.random(2) * (width, height) / max(width, height)
        radius, tone = 0.05 + 0.2 * generator.random(), 255 * generator.random(3)
        shape = numpy.hypot(x - cx, y - cy) if generator.random() < 0.5 else numpy.maximum(abs(x - cx), abs(y - cy))
        rgb[shape < radius] = tone
    rgb += generator.normal(0, 12, rgb.shape)
    return Image.fromarray(rgb.round().clip(0, 255).astype(numpy.uint8))


def make_vision(out, offset):
    seed = VISION_SEED + offset
    fx, config = Fixture(out, f"vision-s{seed}", seed), vision_config()
    write_json(fx.path, "config.json", config)
    tiny_tokenizer().save(os.path.join(fx.path, "tokenizer.json"))
    w = Weights(config, WIDE, torch.Generator().manual_seed(seed))
    w.tower()
    write_tensors(fx.path, w.stored("bf16"))
    os.makedirs(os.path.join(fx.path, "pictures"), exist_ok=True)
    ref, v, g = V41Ref(fx.path), config["vision_config"], numpy.random.default_rng(seed)
    fx.meta.update(store="bf16", tolerances={"features": 1e-3}, pictures=[], checks={})
    for width, height in PICTURES:
        size, image = f"{width}x{height}", picture(width, height, g)
        image.save(os.path.join(fx.path, "pictures", size + ".png"))
        loop, once = v41_ref.grid(width, height, v), v41_ref.grid_once(width, height, v)
        pixels, x, features = seen(ref, image, loop)
        short = seen(V41Ref(fx.path, dtype=torch.float32), image, loop)[2]
        fx.same("features from float32", features, short, 1e-4)
        fx.put(f"canvas.{size}", pixels)
        fx.put(f"features.{size}", features)
        if pixels.numel() <= 3 * 72 * 72:
            fx.put(f"patches.{size}", x)
            fx.put(f"reading.bf16_pixels.{size}", seen(ref, image, loop, torch.bfloat16)[2])
        if once != loop:
            fx.put(f"reading.one_pass.{size}", seen(ref, image, once)[2])
        fx.meta["pictures"].append(dict(size=[width, height], file=f"pictures/{size}.png", loop=as_lists(loop),
                                        one_pass=as_lists(once), token_types=loop.kinds))
    cells_released(fx, v, seed)
    if all(p["loop"] == p["one_pass"] for p in fx.meta["pictures"]):
        raise SystemExit("no picture tells the loop from one pass")
    fx.close()


def cells_released(fx, v, seed):
    """Pictures of a single cell at the level `released`: so small that in most no rounding falls the
    other way, whatever the order of sums."""
    g, side, p = torch.Generator().manual_seed(2000 + seed), v["downsample_ratio"], v["patch_size"]
    size = v41_ref.Grid((side * p, side * p), (side, side), (1, 1))
    x = (torch.rand(16, side * side, 3 * p * p, generator=g) - 0.5) / 0.5

    def features(ref):
        return torch.cat([ref.see(cell, size) for cell in x])
    want = features(released(fx.path))
    fx.put("cells.patches", x)
    fx.put("cells.features.released", want)
    ref = released(fx.path)
    ref.without = "pixels"
    fx.put("reading.float_pixels.released", features(ref))
    fx.meta["cells"] = {
        k: int(((want != got).sum(1) > 1).sum()) for k, got in
        (("from_float64", features(released(fx.path, torch.float64))),
         ("from_order", features(released(fx.path, backwards=True))))}


def seen(ref, image, size, dtype=torch.float32):
    """Canvas, patches and features."""
    pixels = torch.from_numpy(numpy.array(v41_ref.canvas(image, size.canvas)))
    x = v41_ref.patches(pixels, ref.vision["patch_size"])
    return pixels, x, ref.see(x.to(dtype), size)


def as_lists(size):
    return dict(canvas=list(size.canvas), patches=list(size.patches), tokens=list(size.tokens), count=size.count)


# ---------------------------------------------------------- single operations --
def make_ops(out, offset):
    seed = OPS_SEED + offset
    fx, g = Fixture(out, f"ops-s{seed}", seed), torch.Generator().manual_seed(seed)
    fx.meta["note"] = "KIND.in and KIND.out agree bit for bit; rope.* within the float32 angle"
    for kind, block in ROUNDINGS.items():
        for name, x in (("wide", wide_rows(g)), ("edge", edge_rows(kind, block, g))):
            y = round_trip(x, kind)
            assert y.isfinite().all() and torch.equal(y.view(torch.int32), by_search(x, kind, block).view(torch.int32)), kind
            fx.put(f"{kind}.{name}.in", x)
            fx.put(f"{kind}.{name}.out", y)
    ref = Turning()
    at = torch.tensor([0, 1, 7, 127, 128, 4095, 65535, 65536, 131072, 262143, 1048575])
    x = torch.randn(len(at), 96, generator=g)
    fx.put("rope.positions", at.int())
    fx.put("rope.in", x)
    for name, far in (("near", False), ("far", True)):
        fx.put(f"rope.{name}.frequencies", ref.frequencies(far))
        fx.put(f"rope.{name}.out", ref.rope(x.double(), at, far))
        fx.put(f"rope.{name}.back", ref.rope(x.double(), at, far, back=True))
    put_scores(fx, g)
    put_attention(fx, g)
    fx.close()


def bf16_put(fx, name, x):
    fx.tensors[name] = x.bfloat16()
    assert torch.equal(fx.tensors[name].float(), x), name


def put_scores(fx, g):
    """Index scores at the level `released`, among more keys than are chosen."""
    q = round_trip(torch.randn(32, 8, 128, generator=g), "fp4_ue8m0")
    keys = round_trip(torch.randn(600, 128, generator=g), "fp4_ue8m0")
    weights = v41_ref.bf16(torch.randn(32, 8, generator=g) / 32)
    for name, x in (("q", q), ("keys", keys), ("weights", weights)):
        bf16_put(fx, f"index.{name}", x)
    counts = fx.meta["index"] = {}
    for site in (None, *left_out(lambda ref: ref.index_scores(q, keys, weights), Turning())):
        ref = Turning()
        ref.without = site
        rows = ref.index_scores(q, keys, weights).sort(dim=-1, descending=True, stable=True).indices[:, :150]
        rows = rows.sort(-1).values.int()
        if site is None:
            fx.put("index.rows", rows)
        else:
            counts[site] = int((rows != fx.tensors["index.rows"]).any(1).sum())
    assert min(counts.values()) >= 4, counts


def put_attention(fx, g):
    """Attention at the level `released`, before its result is rounded, over 1 to 200 keys."""
    q, keys = (v41_ref.bf16(torch.randn(*s, generator=g)) for s in ((6, 8, 64), (200, 64)))
    sink, counts = torch.randn(8, generator=g), torch.tensor([1, 63, 64, 65, 128, 200])
    seen = torch.arange(200) < counts.unsqueeze(1)
    logit = torch.einsum("thd,kd->thk", q, keys) * 64 ** -0.5

    def run(ref):
        return ref.weigh(logit, keys.expand(6, -1, -1), seen, sink.view(1, -1, 1).expand(6, -1, 1))
    bf16_put(fx, "attend.q", q)
    bf16_put(fx, "attend.keys", keys)
    fx.put("attend.sink", sink)
    fx.put("attend.counts", counts.int())
    fx.put("attend.out", run(Turning()))
    for name, site in zip(("one_peak", "unrounded"), left_out(run, Turning())):
        ref = Turning()
        ref.without = site
        fx.put(f"attend.{name}", run(ref))


class Turning(V41Ref):
    """The rotary embedding of the released configuration, without a model."""

    def __init__(self):
        self.text = dict(wide_config()["text_config"], qk_rope_head_dim=64)
        self.level, self.without, self.sites = "released", None, {}


def wide_rows(g):
    """Rows of 512 over many magnitudes, some channels far above the others."""
    x = torch.randn(12, 512, generator=g) * torch.logspace(-6, 6, 12, base=4)[:, None]
    return x * torch.where(torch.rand(12, 512, generator=g) < 0.02, 50.0, 1.0)


def neighbours(x):
    """Each value with the float32 below and above it."""
    bits = x.view(torch.int32)
    return torch.cat([(bits + k).view(torch.float32) for k in (-1, 0, 1)])


def codes(kind):
    """Non-negative values of the format."""
    if kind == "fp8_ue8m0":
        return torch.arange(127, dtype=torch.uint8).view(torch.float8_e4m3fn).float()
    return E2M1


def edge_rows(kind, block, g):
    """Blocks, one a row: a largest value first, then what is near the edges of its codes."""
    value = codes(kind)
    largest = float(value[-1])
    edges = torch.cat((value[1:], neighbours((value[1:] + value[:-1]) / 2)))
    rows = []
    for exponent in (-3, 0, 1, 9):
        for part in (edges * 2.0 ** exponent).split(block - 1):
            rows.append(torch.cat((torch.tensor([largest * 2.0 ** exponent]), F.pad(part, (0, block - 1 - len(part))))))
    tops = [largest * 2.0 ** e for e in (-20, -2, 0, 3, 10)] + [1e-4, 6 * 2.0 ** -9, 6 * 2.0 ** -126, 2688.0]
    tops = [*neighbours(torch.tensor(tops)).tolist(), 1e-45, 1e-39, 2.0 ** -126, 1e-12, 1e-7, 3000.0, 1e30, 1e38]
    for top in tops:
        share = torch.rand(block - 1, generator=g)
        rows.append(torch.cat((torch.tensor([top]), share * top)))
    rows += [torch.zeros(block), -torch.zeros(block)]
    x = torch.stack(rows)
    x = x * torch.where(torch.rand(x.shape, generator=g) < 0.5, -1.0, 1.0)
    return torch.stack([row[torch.randperm(block, generator=g)] for row in x])


def by_search(x, kind, block):
    """The same rounding a second way: the nearest code in float64, of two equally near the even one."""
    y = x.double().unflatten(-1, (-1, block))
    value = codes(kind).double()
    amax = y.abs().amax(-1, keepdim=True)
    if kind == "fp4_e4m3":
        s = nearest((amax.clamp_min(6 * 2.0 ** -9) / 6).float().double(), codes("fp8_ue8m0").double())
    else:
        floor, largest = (float(torch.tensor(1e-4)), 448) if kind == "fp8_ue8m0" else (6 * 2.0 ** -126, 6)
        s = 2.0 ** (amax.clamp_min(floor) / largest).float().double().log2().ceil()
    q = nearest((y / s).float().double().abs(), value)
    return torch.copysign(q * s, y).flatten(-2).float()


def nearest(x, value):
    far = (x.clamp(max=float(value[-1])).unsqueeze(-1) - value).abs()
    odd = torch.arange(len(value)) % 2
    least = far.amin(-1, keepdim=True)
    return value[torch.where(far == least, odd, 2).argmin(-1)]


# ----------------------------------------------------------------- self-test --
def self_test(seeds):
    test_constants()
    for kind in ROUNDINGS:
        x = edge_rows(kind, ROUNDINGS[kind], torch.Generator().manual_seed(0))
        assert torch.equal(round_trip(x, kind), by_search(x, kind, ROUNDINGS[kind])), kind
    for seed in seeds:
        for label, kind in KINDS.items():
            with tempfile.TemporaryDirectory() as path:
                build(path, kind, seed)
                test_model(path, label, seed, kind)


def test_model(path, label, seed, kind):
    n, ids = kind.prompt, prompt_ids(seed, kind.prompt + kind.decode)
    for level in LEVELS:
        ref = V41Ref(path, level)
        logits = whole(ref, ids)[0]
        runs = [stepwise(ref, ids, sizes) for sizes in ([n], chunks_of(n), [1] * n)]
        apart = max(distance(logits, r[0]) for r in runs)
        drafts = max(distance(runs[0][3], r[3]) for r in runs[1:])
        few = ref.text["sliding_window"]
        short = replayed(ref, ids[:few], [few], after=ids[few:n])
        exact = distance(torch.cat(short[:2]), stepwise(ref, ids[:n], [few])[0])
        tails = [replayed(ref, ids[:n], sizes, after=ids[n:])[:2] for sizes in ([n], chunks_of(n))]
        pieces = distance(torch.cat(tails[0]), torch.cat(tails[1]))
        cut = distance(tails[0][0][-1], logits[n - 1])
        print(f"{label:13} seed {seed} {level:5}: logits to {float(logits.abs().max()):.1f}; in pieces {apart:.1e}, "
              f"drafts {drafts:.1e}; replay within the window {exact:.1e}, in pieces {pieces:.1e}, "
              f"of the whole prompt {cut:.1e}", flush=True)
        assert max(apart, drafts, exact, pieces) < SAME and cut > SAME


def test_constants():
    """The numbers of the released model (§3.3, §3.7, §4.1)."""
    far = Turning().frequencies(True)
    for i, f in ((0, 1), (1, 0.687656045), (8, 0.0500000007), (15, 0.00363553851), (16, 0.00226562493),
                 (20, 0.000296977785), (24, 1.95312532e-05), (25, 5.37231244e-06), (31, 5.6805294e-07)):
        assert abs(float(far[i]) / f - 1) < 1e-8, (i, float(far[i]), f)
    text = dict(engram_max_ngram_size=4, engram_n_heads=8, engram_vocab_size=16000000, engram_layer_ids=[1, 14],
                engram_pad_token_id=2)
    a = Addresses(text, [0, 1, 2], 99092)
    assert a.rows == [384006168, 384016682] and a.multipliers[0][0] == 76632096046245
    assert [p - 16000000 for p in a.primes[1][:3]] == [477, 487, 499]
    history = [0, 15844, 1751, 14, 15844, 1751, 3, 174, 24024]
    rows = a.at(history, [0, 8], 0)[:, [0, 1, 23]].tolist() + a.at(history, [8], 1)[:, [0, 1, 23]].tolist()
    assert rows == [[5702652, 24393184, 380066193], [1363002, 21281740, 376522043], [15661596, 24082668, 373976456]]
    released = dict(patch_size=14, downsample_ratio=3, max_image_tokens=1024, min_pixels=295936)
    for (w, h), canvas, count in (
            ((1, 1), (546, 546), 184), ((640, 480), (644, 490), 206), ((1280, 720), (1288, 728), 578),
            ((1344, 1344), (1302, 1302), 994), ((3840, 2160), (1708, 966), 968), ((3000, 2000), (1568, 1050), 977),
            ((3000, 4000), (1134, 1512), 1010), ((8000, 200), (8008, 210), 962), ((60000, 20), (42882, 42), 1024),
            ((20, 60000), (42, 21462), 1024)):
        got = v41_ref.grid(w, h, released)
        assert (got.canvas, got.count) == (canvas, count), (w, h, got)
    real = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../fixtures/text/tokenizer.json")
    table, count = compressed_ids(Tokenizer.from_file(real), 129280)
    digest = hashlib.sha256(struct.pack(f"<{len(table)}I", *table)).hexdigest()
    assert (count, digest) == (99092, "c60a86322ec17b4142bfef3c57a8d81fb428550cdf487f88a4320cb59fe46481")
    print("constants of the released model: equal", flush=True)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--out")
    ap.add_argument("--only", nargs="*", choices=[*KINDS, "vision", "ops"])
    ap.add_argument("--seed", type=int, default=0, help="added to the seed of every fixture")
    ap.add_argument("--self-test", action="store_true")
    a = ap.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    if a.self_test:
        self_test(range(1, 6))
    if a.out:
        for label in a.only or [*KINDS, "vision", "ops"]:
            if label == "vision":
                make_vision(a.out, a.seed)
            elif label == "ops":
                make_ops(a.out, a.seed)
            else:
                make(a.out, label, a.seed)


if __name__ == "__main__":
    main()
