#!/usr/bin/env python3
"""Build tiny random DeepSeek-V4 checkpoints and dump reference logits.

    make_v4_oracle.py OUT [--seed N] [--only NAME ...] [--no-sensitivity]

Needs what requirements.txt lists (CPU is enough).  For every configuration
OUT/<name>-s<seed>/ receives

  config.json            same keys as the released checkpoints
  inference_config.json  the same model in the key style of the released inference code
  model.safetensors      released tensor names (layers.N.attn.wq_a.weight ...); `base`
                         has three shards and an index
  reference.safetensors  ids, float32 logits, choices, streams (names: README.md)
  meta.json              seed, versions, margins, self-check errors, rounding levels

Reference logits come from transformers' DeepseekV4ForCausalLM in float32 on the
CPU with eager attention.  The script fails if any of these disagree with it:
token-by-token decode, irregular chunked prefill, the independent v4_ref.py, and a
reload of the written files through from_pretrained.  What transformers does not
implement comes from v4_ref.py: the rounding levels and the MTP module, whose logits
are checked against transformers' decoder layer.  Chosen experts and rows come from
v4_ref.py too, whose logits agree.

Two further directories, `flashy-hf` and `flashy-resaved`, hold `flashy` as transformers
saves it, in its two ways, and point to its reference.

OUT/ops-s<seed>/ops.safetensors holds small exact vectors for single operations (see
OPS in its meta.json).

A draw whose expert or indexer selection is nearly tied, or whose roundings turn when
sums are longer (see is_steady), is rejected and redrawn, so a correct float32
implementation cannot flip a selection by rounding.
"""
import argparse
import json
import math
import os
import sys

import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import v4_ref                                                              # noqa: E402
from v4_ops import make_ops                                                # noqa: E402
from v4_ref import CACHE, E2M1, RELEASED, SimQuant, V4Ref, dequant_fp4, dequant_fp8, pow2_ceil  # noqa: E402
from v4_sensitivity import sensitivity                                     # noqa: E402

import transformers                                                        # noqa: E402
from transformers import DynamicCache                                      # noqa: E402
from transformers.models.deepseek_v4 import modeling_deepseek_v4 as M      # noqa: E402
from transformers.models.deepseek_v4.configuration_deepseek_v4 import DeepseekV4Config  # noqa: E402

BASE = dict(
    architectures=["DeepseekV4ForCausalLM"], model_type="deepseek_v4", hidden_act="silu",
    attention_bias=False, attention_dropout=0.0, bos_token_id=0, eos_token_id=1,
    hc_eps=1e-6, rms_norm_eps=1e-6, initializer_range=0.02, n_shared_experts=1,
    norm_topk_prob=True, num_key_value_heads=1, num_nextn_predict_layers=1,
    scoring_func="sqrtsoftplus", topk_method="noaux_tc", tie_word_embeddings=False,
    use_cache=True, torch_dtype="float32", max_position_embeddings=1048576,
    rope_theta=10000, compress_rope_theta=160000,
)


def yarn(orig):
    return dict(type="yarn", factor=16, beta_fast=32, beta_slow=1, original_max_position_embeddings=orig)


CONFIGS = {
    # Flash-like order: two window-only layers, then CSA / HCA alternating.
    "flashy": dict(
        vocab_size=256, hidden_size=64, num_hidden_layers=6, num_attention_heads=4, head_dim=32,
        qk_rope_head_dim=8, q_lora_rank=32, o_groups=2, o_lora_rank=24, sliding_window=16,
        compress_ratios=[0, 0, 4, 128, 4, 128, 0], index_n_heads=8, index_head_dim=32, index_topk=6,
        n_routed_experts=8, num_experts_per_tok=3, moe_intermediate_size=12, num_hash_layers=3,
        routed_scaling_factor=1.5, swiglu_limit=1.0, hc_mult=4, hc_sinkhorn_iters=20,
        rope_scaling=yarn(64), mtp=[0],
        prompts=[1, 3, 4, 5, 16, 17, 127, 128, 129, 261], decode=(120, 20)),
    # Pro-like order: two HCA layers first, more groups, other hash count.
    "prolike": dict(
        vocab_size=288, hidden_size=48, num_hidden_layers=5, num_attention_heads=8, head_dim=32,
        qk_rope_head_dim=16, q_lora_rank=40, o_groups=4, o_lora_rank=16, sliding_window=32,
        compress_ratios=[128, 128, 4, 128, 4, 0], index_n_heads=16, index_head_dim=32, index_topk=10,
        n_routed_experts=12, num_experts_per_tok=4, moe_intermediate_size=12, num_hash_layers=2,
        routed_scaling_factor=2.5, swiglu_limit=1.5, hc_mult=4, hc_sinkhorn_iters=20,
        rope_scaling=yarn(128), mtp=[0],
        prompts=[2, 7, 8, 31, 33, 130, 256, 259], decode=(250, 14)),
    # Real structural constants: window 128, rope width 64, real YaRN numbers.
    "realrope": dict(
        vocab_size=128, hidden_size=48, num_hidden_layers=4, num_attention_heads=2, head_dim=128,
        qk_rope_head_dim=64, q_lora_rank=24, o_groups=2, o_lora_rank=16, sliding_window=128,
        compress_ratios=[0, 4, 128, 4, 0], index_n_heads=8, index_head_dim=128, index_topk=48,
        n_routed_experts=8, num_experts_per_tok=2, moe_intermediate_size=12, num_hash_layers=1,
        routed_scaling_factor=1.5, swiglu_limit=1.0, hc_mult=4, hc_sinkhorn_iters=20,
        rope_scaling=yarn(65536), mtp=[0],
        prompts=[6, 128, 132, 387], decode=(380, 10)),
    # Released storage formats: FP8 e4m3 + 128x128 e8m0 scales, packed FP4 experts.
    "quant": dict(
        vocab_size=128, hidden_size=256, num_hidden_layers=2, num_attention_heads=2, head_dim=128,
        qk_rope_head_dim=64, q_lora_rank=128, o_groups=2, o_lora_rank=128, sliding_window=16,
        compress_ratios=[4, 128, 0], index_n_heads=8, index_head_dim=128, index_topk=6,
        n_routed_experts=3, num_experts_per_tok=2, moe_intermediate_size=128, num_hash_layers=1,
        routed_scaling_factor=1.5, swiglu_limit=1.0, hc_mult=2, hc_sinkhorn_iters=20,
        rope_scaling=yarn(64), mtp=[], store="released",
        prompts=[5, 41, 133], decode=(126, 8)),
    # Float weights in dimensions that the roundings of the cache divide: two blocks of 64
    # leading channels and a rotary part that is no multiple of a block.
    "cached": dict(
        vocab_size=96, hidden_size=64, num_hidden_layers=4, num_attention_heads=2, head_dim=144,
        qk_rope_head_dim=16, q_lora_rank=32, o_groups=2, o_lora_rank=24, sliding_window=16,
        compress_ratios=[0, 4, 128, 4, 0], index_n_heads=8, index_head_dim=64, index_topk=6,
        n_routed_experts=8, num_experts_per_tok=3, moe_intermediate_size=12, num_hash_layers=1,
        routed_scaling_factor=1.5, swiglu_limit=1.0, hc_mult=4, hc_sinkhorn_iters=20,
        rope_scaling=yarn(64), mtp=[0],
        prompts=[5, 33, 133], decode=(124, 10)),
    # Storage of the Base variants: FP8 experts, all scales F32 and no powers of two; in three
    # shards with an index, as all releases are.
    "base": dict(
        vocab_size=96, hidden_size=128, num_hidden_layers=2, num_attention_heads=2, head_dim=128,
        qk_rope_head_dim=64, q_lora_rank=128, o_groups=2, o_lora_rank=128, sliding_window=16,
        compress_ratios=[4, 128, 0], index_n_heads=8, index_head_dim=64, index_topk=6,
        n_routed_experts=3, num_experts_per_tok=2, moe_intermediate_size=256, num_hash_layers=1,
        routed_scaling_factor=1.5, swiglu_limit=1.0, hc_mult=4, hc_sinkhorn_iters=20,
        rope_scaling=yarn(64), mtp=[0], store="base", shards=3,
        prompts=[5, 41, 133], decode=(126, 8)),
    # Refreshed files: a DSpark drafter of three stages stands under `mtp.`, and no MTP module.
    "dspark": dict(
        vocab_size=96, hidden_size=128, num_hidden_layers=3, num_attention_heads=2, head_dim=128,
        qk_rope_head_dim=64, q_lora_rank=128, o_groups=2, o_lora_rank=64, sliding_window=16,
        compress_ratios=[0, 4, 128, 0, 0, 0], index_n_heads=8, index_head_dim=64, index_topk=6,
        n_routed_experts=3, num_experts_per_tok=2, moe_intermediate_size=128, num_hash_layers=1,
        routed_scaling_factor=1.5, swiglu_limit=1.0, hc_mult=4, hc_sinkhorn_iters=20,
        rope_scaling=yarn(64), mtp=[], store="released", num_nextn_predict_layers=1, stages=3,
        dspark_block_size=5, dspark_noise_token_id=95, dspark_target_layer_ids=[0, 1, 2],
        dspark_markov_rank=16,
        prompts=[5, 133], decode=(126, 8)),
}
PRIVATE = ("mtp", "prompts", "decode", "store", "stages", "shards")
RESAVED = ("flashy-hf", "flashy-resaved")


# ------------------------------------------------------------------ building --
def modules(spec):
    """How many there are of `mtp.K`."""
    return spec.get("stages", len(spec["mtp"]))


def hf_config(spec):
    d = dict(BASE, **{k: v for k, v in spec.items() if k not in PRIVATE})
    d["num_nextn_predict_layers"] = spec.get("num_nextn_predict_layers", len(spec["mtp"]))
    r = spec["rope_scaling"]
    d["max_position_embeddings"] = r["factor"] * r["original_max_position_embeddings"]
    if "store" in spec:
        d["expert_dtype"] = "fp8" if spec["store"] == "base" else "fp4"
        d["torch_dtype"] = "bfloat16"
        d["quantization_config"] = dict(activation_scheme="dynamic", fmt="e4m3", quant_method="fp8",
                                        scale_fmt="ue8m0", weight_block_size=[128, 128])
    return d


def inference_config(d, modules):
    r = d["rope_scaling"]
    out = dict(
        vocab_size=d["vocab_size"], dim=d["hidden_size"], moe_inter_dim=d["moe_intermediate_size"],
        n_layers=d["num_hidden_layers"], n_hash_layers=d["num_hash_layers"],
        n_mtp_layers=modules, n_heads=d["num_attention_heads"],
        n_routed_experts=d["n_routed_experts"], n_shared_experts=1,
        n_activated_experts=d["num_experts_per_tok"], score_func=d["scoring_func"],
        route_scale=d["routed_scaling_factor"], swiglu_limit=d["swiglu_limit"],
        q_lora_rank=d["q_lora_rank"], head_dim=d["head_dim"], rope_head_dim=d["qk_rope_head_dim"],
        norm_eps=d["rms_norm_eps"], o_groups=d["o_groups"], o_lora_rank=d["o_lora_rank"],
        window_size=d["sliding_window"], original_seq_len=r["original_max_position_embeddings"],
        rope_theta=d["rope_theta"], rope_factor=r["factor"], beta_fast=r["beta_fast"],
        beta_slow=r["beta_slow"], index_n_heads=d["index_n_heads"], index_head_dim=d["index_head_dim"],
        index_topk=d["index_topk"], hc_mult=d["hc_mult"], hc_sinkhorn_iters=d["hc_sinkhorn_iters"],
        hc_eps=d["hc_eps"], compress_rope_theta=d["compress_rope_theta"],
        compress_ratios=d["compress_ratios"], dtype="bf16")
    if "expert_dtype" in d:
        out.update(dtype="fp8", scale_fmt="ue8m0", expert_dtype=d["expert_dtype"])
    out.update({k: v for k, v in d.items() if k.startswith("dspark_")})
    return out


def draw(c, count, g):
    """Random tensors in the released naming.  Scales keep every path active."""
    W, D, V = {}, c["hidden_size"], c["vocab_size"]
    H, hd, n = c["num_attention_heads"], c["head_dim"], c["hc_mult"]
    quant, base = "quantization_config" in c, c.get("expert_dtype") == "fp8"

    def rnd(*shape, std=1.0):
        return torch.randn(*shape, generator=g) * std

    def lin(name, o, i, gain=1.0, low="fp8"):
        w = rnd(o, i, std=gain / math.sqrt(i))
        if not quant or low is None:
            W[name + ".weight"] = w
        elif low == "fp8" or base:
            t = [math.ceil(o / 128), math.ceil(i / 128)]
            pad = torch.zeros(t[0] * 128, t[1] * 128)
            pad[:o, :i] = w
            amax = pad.view(t[0], 128, t[1], 128).abs().amax((1, 3))
            # vary the scale per tile so that a wrong tile order is visible
            if base:
                s = amax / 448.0 * (1.0 + torch.rand(t, generator=g))
            else:
                s = pow2_ceil(amax / 448.0) * torch.pow(2.0, torch.randint(0, 3, t, generator=g).float())
            full = s.repeat_interleave(128, 0).repeat_interleave(128, 1)[:o, :i]
            W[name + ".weight"] = (w / full).clamp(-448, 448).to(torch.float8_e4m3fn)
            W[name + ".scale"] = s if base else (torch.log2(s) + 127).to(torch.uint8).view(torch.float8_e8m0fnu)
        else:
            b = w.view(o, i // 32, 32)
            s = pow2_ceil(b.abs().amax(-1) / 6.0)
            code = (((b / s.unsqueeze(-1)).abs().unsqueeze(-1) - E2M1[:8]).abs().argmin(-1)
                    + 8 * (b < 0)).view(o, i // 2, 2).to(torch.uint8)
            W[name + ".weight"] = (code[..., 0] | (code[..., 1] << 4)).view(torch.int8)
            W[name + ".scale"] = (torch.log2(s) + 127).to(torch.uint8).view(torch.float8_e8m0fnu)

    def norm(name, d):
        W[name + ".weight"] = 1.0 + rnd(d, std=0.25)

    def pool(p, ratio, h):
        co = 2 if ratio == 4 else 1
        W[p + ".ape"] = rnd(ratio, co * h, std=0.7)
        lin(p + ".wkv", co * h, D, low=None)
        lin(p + ".wgate", co * h, D, 1.5, low=None)
        norm(p + ".norm", h)

    def mixer(p, out, scales):
        W[p + "_fn"] = rnd(out, n * D, std=1.2 / math.sqrt(n * D))
        W[p + "_base"] = rnd(out, std=0.6)
        W[p + "_scale"] = 0.6 + torch.rand(scales, generator=g)

    def layer(p, l):
        mixer(p + ".hc_attn", (2 + n) * n, 3)
        mixer(p + ".hc_ffn", (2 + n) * n, 3)
        norm(p + ".attn_norm", D)
        norm(p + ".ffn_norm", D)
        a = p + ".attn"
        W[a + ".attn_sink"] = rnd(H, std=1.0)
        lin(a + ".wq_a", c["q_lora_rank"], D)
        norm(a + ".q_norm", c["q_lora_rank"])
        lin(a + ".wq_b", H * hd, c["q_lora_rank"])
        lin(a + ".wkv", hd, D)
        norm(a + ".kv_norm", hd)
        lin(a + ".wo_a", c["o_groups"] * c["o_lora_rank"], H * hd // c["o_groups"], 2.0)
        lin(a + ".wo_b", D, c["o_groups"] * c["o_lora_rank"], 1.5)
        r = c["compress_ratios"][l]
        if r:
            pool(a + ".compressor", r, hd)
        if r == 4:
            lin(a + ".indexer.wq_b", c["index_n_heads"] * c["index_head_dim"], c["q_lora_rank"])
            lin(a + ".indexer.weights_proj", c["index_n_heads"], D, low=None)
            pool(a + ".indexer.compressor", 4, c["index_head_dim"])
        f, E = p + ".ffn", c["n_routed_experts"]
        lin(f + ".gate", E, D, 2.0, low=None)
        if l < c["num_hash_layers"]:
            W[f + ".gate.tid2eid"] = torch.stack(
                [torch.randperm(E, generator=g)[: c["num_experts_per_tok"]] for _ in range(V)])
        else:
            W[f + ".gate.bias"] = rnd(E, std=0.5)
        for e in [f"experts.{i}" for i in range(E)] + ["shared_experts"]:
            low = "fp8" if e == "shared_experts" else "fp4"
            lin(f"{f}.{e}.w1", c["moe_intermediate_size"], D, 1.5, low)
            lin(f"{f}.{e}.w2", D, c["moe_intermediate_size"], 1.5, low)
            lin(f"{f}.{e}.w3", c["moe_intermediate_size"], D, 1.5, low)

    W["embed.weight"] = rnd(V, D)
    W["head.weight"] = rnd(V, D, std=1.0 / math.sqrt(D))
    norm("norm", D)
    mixer("hc_head", n, 1)
    L = c["num_hidden_layers"]
    for l in range(L):
        layer(f"layers.{l}", l)
    for k in range(count):
        p = f"mtp.{k}"
        layer(p, L + k)
        if "dspark_block_size" in c:
            continue
        lin(p + ".e_proj", D, D)
        lin(p + ".h_proj", D, D)
        for x in ("enorm", "hnorm", "norm"):
            norm(f"{p}.{x}", D)
        mixer(p + ".hc_head", n, 1)
    if "dspark_block_size" in c:    # tensors that stand in the first or the last stage alone
        rank, p = c["dspark_markov_rank"], f"mtp.{count - 1}"
        lin("mtp.0.main_proj", D, D * len(c["dspark_target_layer_ids"]))
        norm("mtp.0.main_norm", D)
        norm(p + ".norm", D)
        mixer(p + ".hc_head", n, 1)
        lin(p + ".markov_head.embed", V, rank, low=None)
        lin(p + ".markov_head.head", V, rank, low=None)
        lin(p + ".confidence_head.proj", 1, D + rank, low=None)
    if quant:                       # released dtypes for everything that is not FP8/FP4
        for k in W:
            leaf = k.split(".")[-1]
            f32 = leaf in ("ape", "attn_sink", "bias", "scale") or "hc_" in leaf
            if W[k].dtype == torch.float32 and not f32:
                W[k] = W[k].bfloat16()
    return {k: v.contiguous() for k, v in W.items()}


def floats(W):
    """Dequantised copy: name -> float32 (integers unchanged)."""
    out = {}
    for k, v in W.items():
        if k.endswith(".scale") and k[:-6] + ".weight" in W:
            continue
        s = W.get(k[:-7] + ".scale") if k.endswith(".weight") else None
        if s is not None:
            v = (dequant_fp4 if v.dtype == torch.int8 else dequant_fp8)(v, s)
        out[k] = v if v.dtype == torch.int64 else v.float()
    return out


RENAME = [("attn_norm.weight", "input_layernorm.weight"), ("ffn_norm.weight", "post_attention_layernorm.weight"),
          ("hc_attn_", "attn_hc."), ("hc_ffn_", "ffn_hc.")]
ATTN = {"attn_sink": "sinks", "wq_a.weight": "q_a_proj.weight", "q_norm.weight": "q_a_norm.weight",
        "wq_b.weight": "q_b_proj.weight", "wkv.weight": "kv_proj.weight", "kv_norm.weight": "kv_norm.weight",
        "wo_a.weight": "o_a_proj.weight", "wo_b.weight": "o_b_proj.weight"}
POOL = {"ape": "position_bias", "wkv.weight": "kv_proj.weight", "wgate.weight": "gate_proj.weight",
        "norm.weight": "kv_norm.weight"}
SHARED = {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}


def layer_to_hf(F_, p, q, E):
    """Tensors below prefix p (released) -> transformers names below prefix q."""
    out = {}
    for k, v in F_.items():
        if not k.startswith(p + "."):
            continue
        r = k[len(p) + 1:]
        if r.startswith("attn.indexer.compressor."):
            r = "self_attn.compressor.indexer." + POOL[r[24:]]
        elif r == "attn.indexer.wq_b.weight":
            r = "self_attn.compressor.indexer.q_b_proj.weight"
        elif r == "attn.indexer.weights_proj.weight":
            r = "self_attn.compressor.indexer.scorer.weights_proj.weight"
        elif r.startswith("attn.compressor."):
            r = "self_attn.compressor." + POOL[r[16:]]
        elif r.startswith("attn."):
            r = "self_attn." + ATTN[r[5:]]
        elif r == "ffn.gate.bias":
            r = "mlp.gate.e_score_correction_bias"
        elif r.startswith("ffn.gate."):
            r = "mlp." + r[4:]
        elif r.startswith("ffn.shared_experts."):
            r = "mlp.shared_experts." + SHARED[r.split(".")[2]] + ".weight"
        elif r.startswith("ffn.experts."):
            continue
        elif r.split(".")[0] in ("e_proj", "h_proj", "enorm", "hnorm", "norm") or r.startswith("hc_head"):
            continue
        else:
            for a, b in RENAME:
                r = r.replace(a, b)
        out[q + r] = v
    e = lambda i, w: F_[f"{p}.ffn.experts.{i}.{w}.weight"]
    out[q + "mlp.experts.gate_up_proj"] = torch.stack([torch.cat([e(i, "w1"), e(i, "w3")]) for i in range(E)])
    out[q + "mlp.experts.down_proj"] = torch.stack([e(i, "w2") for i in range(E)])
    return out


def plain(c):
    """The configuration without what speaks of storage or of drafters."""
    drop = ("quantization_config", "expert_dtype", "torch_dtype")
    return {k: v for k, v in c.items() if k not in drop and not k.startswith("dspark_")}


def build_hf(c, W):
    cfg = DeepseekV4Config(**plain(c))
    cfg._attn_implementation = "eager"
    model = M.DeepseekV4ForCausalLM(cfg).float().eval()
    F_, E = floats(W), c["n_routed_experts"]
    sd = {"model.embed_tokens.weight": F_["embed.weight"], "lm_head.weight": F_["head.weight"],
          "model.norm.weight": F_["norm.weight"]}
    for x in ("fn", "base", "scale"):
        sd["model.hc_head.hc_" + x] = F_["hc_head_" + x]
    for l in range(c["num_hidden_layers"]):
        sd.update(layer_to_hf(F_, f"layers.{l}", f"model.layers.{l}.", E))
    model.load_state_dict(sd, strict=True)
    return model


# ----------------------------------------------------------------- references --
@torch.no_grad()
def full(model, ids):
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


@torch.no_grad()
def chunked(model, ids, sizes):
    cache, out, i = DynamicCache(config=model.config), [], 0
    for s in sizes:
        out.append(model(input_ids=torch.tensor([ids[i:i + s]]), past_key_values=cache, use_cache=True).logits[0])
        i += s
    assert i == len(ids)
    return torch.cat(out)


@torch.no_grad()
def hf_streams(model, ids):
    got = []
    h = model.model.layers[-1].register_forward_hook(lambda m, a, o: got.append(o))
    full(model, ids)
    h.remove()
    return got[0]


@torch.no_grad()
def hf_mtp(model, c, W, ids, streams, k=0):
    """MTP logits with transformers' own decoder layer as the block."""
    L, F_, p = c["num_hidden_layers"], floats(W), f"mtp.{k}"
    cfg = DeepseekV4Config(**dict(plain(c), num_hidden_layers=L + 1))
    cfg._attn_implementation = "eager"
    layer = M.DeepseekV4DecoderLayer(cfg, L).float().eval()
    layer.load_state_dict(layer_to_hf(F_, p, "", c["n_routed_experts"]), strict=True)
    head = M.DeepseekV4HyperHead(cfg).float()
    head.load_state_dict({"hc_" + x: F_[f"{p}.hc_head_{x}"] for x in ("fn", "base", "scale")})
    eps, nxt = c["rms_norm_eps"], torch.tensor([ids[1:]])
    emb = model.model.embed_tokens(nxt)
    x = streams[:, : nxt.shape[1]]
    x = (v4_ref.rms(emb, F_[p + ".enorm.weight"], eps) @ F_[p + ".e_proj.weight"].T).unsqueeze(2) + \
        v4_ref.rms(x, F_[p + ".hnorm.weight"], eps) @ F_[p + ".h_proj.weight"].T
    pos = torch.arange(nxt.shape[1]).unsqueeze(0)
    rot = model.model.rotary_emb
    pe = {t: rot(emb, position_ids=pos, layer_type=t) for t in ("main", "compress")}
    mask = M.create_sliding_window_causal_mask(config=cfg, inputs_embeds=emb, attention_mask=None,
                                               past_key_values=None, position_ids=pos)
    x = layer(x, position_embeddings=pe, position_ids=pos, attention_mask=mask, input_ids=nxt, past_key_values=None)
    return model.lm_head(v4_ref.rms(head(x), F_[p + ".norm.weight"], eps))[0]


# ----------------------------------------------------------------------- driver --
def attempt_seed(name, seed, attempt):
    return 1_000_003 * (seed + 1) + 7919 * attempt + sum(map(ord, name))


def least_margins(taps):
    """`experts.L` / `rows.L` -> the smallest margin of a run, where there was a choice."""
    found = {k.removesuffix(".margin"): float(torch.cat(v).min()) for k, v in taps.items() if k.endswith(".margin")}
    return dict(sorted(found.items()))


def choices(taps):
    """`experts.L` [T, k] and `rows.L` [T, index_topk] of a run."""
    out = {}
    for k, v in taps.items():
        if k.startswith("experts.") and not k.endswith(".margin"):
            out[k] = torch.cat(v)
        elif k.startswith("rows.") and not k.endswith(".margin"):
            out[k] = torch.stack(v)
    return out


def tapped(ref, ids):
    """Logits and taps of one fresh run."""
    ref.taps = {}
    logits = ref.forward(ids, ref.new_state())
    taps, ref.taps = ref.taps, None
    return logits, taps


def distance(a, b):
    pa, pb = (x.double().log_softmax(-1) for x in (a, b))
    return {"rms": float((a - b).square().mean().sqrt()), "max": float((a - b).abs().max()),
            "top1": float((a.argmax(-1) == b.argmax(-1)).float().mean()),
            "kl": float((pa.exp() * (pa - pb)).sum(-1).mean())}


def store(W, path, shards):
    """Writes the tensors, in several shards with an index if asked; a cut may fall anywhere."""
    for f in os.listdir(path):
        if f.startswith("model"):
            os.remove(os.path.join(path, f))
    if shards == 1:
        return save_file(W, os.path.join(path, "model.safetensors"), metadata={"format": "pt"})
    size = {k: v.numel() * v.element_size() for k, v in W.items()}
    total, done, where = sum(size.values()), 0, {}
    for k in sorted(W):
        where[k] = f"model-{1 + shards * done // total:05}-of-{shards:05}.safetensors"
        done += size[k]
    for f in sorted(set(where.values())):
        save_file({k: W[k] for k in W if where[k] == f}, os.path.join(path, f), metadata={"format": "pt"})
    with open(os.path.join(path, "model.safetensors.index.json"), "w") as f:
        json.dump({"metadata": {"total_size": total}, "weight_map": where}, f, indent=1)
        f.write("\n")


class Fixture:
    """One directory of OUT in the making."""

    def __init__(self, out, name, seed):
        self.name, self.path = name, os.path.join(out, f"{name}-s{seed}")
        os.makedirs(self.path, exist_ok=True)
        self.tensors, self.meta = {}, {
            "name": name, "seed": seed, "torch": torch.__version__, "transformers": transformers.__version__}

    def json(self, file, what):
        with open(os.path.join(self.path, file), "w") as f:
            json.dump(what, f, indent=1)
            f.write("\n")

    def put(self, name, value):
        self.tensors[name] = value.contiguous().clone()

    def check(self, tag, a, b, tol=2e-4):
        d, checks = float((a - b).abs().max()), self.meta.setdefault("checks", {})
        checks[tag] = max(checks.get(tag, 0.0), d)
        if not d <= tol:
            raise SystemExit(f"{self.name}: {tag} differs by {d}")

    def close(self):
        if self.tensors:
            save_file(self.tensors, os.path.join(self.path, "reference.safetensors"))
        self.json("meta.json", self.meta)
        total = sum(os.path.getsize(os.path.join(self.path, f)) for f in os.listdir(self.path))
        print(f"{os.path.basename(self.path)}: {total / 1024:.0f} KiB")
        for k in ("attempt", "margins"):
            if k in self.meta:
                print(f"   {k}: {self.meta[k]}")
        for k, v in self.meta.get("checks", {}).items():
            print(f"   {v:9.2e}  {k}")
        for k, v in self.meta.get("sensitivity", {}).items():
            print(f"   {v:9.4f}  BROKEN: {k}")
        for k, v in self.meta.get("levels", {}).items():
            print(f"   level {k}: {v}")


def make(name, spec, out, seed, sens, min_margin):
    fx, c = Fixture(out, name, seed), hf_config(spec)
    fx.json("config.json", c)
    fx.json("inference_config.json", inference_config(c, modules(spec)))
    for attempt in range(ATTEMPTS):
        g = torch.Generator().manual_seed(attempt_seed(name, seed, attempt))
        W = draw(c, modules(spec), g)
        store(W, fx.path, spec.get("shards", 1))
        prompts = [torch.randint(2, c["vocab_size"], (n,), generator=g).tolist() for n in spec["prompts"]]
        cont = torch.randint(2, c["vocab_size"], (sum(spec["decode"]),), generator=g).tolist()
        ref = V4Ref(fx.path)
        runs = [tapped(ref, p) for p in prompts + [cont]]
        least = [least_margins(t) for _, t in runs]
        margins = {kind: min(v for m in least for k, v in m.items() if k.startswith(kind)) for kind in ("experts", "rows")}
        if min(margins.values()) > min_margin and (not has_levels(c) or is_steady(fx.path, prompts[-1], min_margin / 10)):
            break
    else:
        raise SystemExit(f"{name}: no draw without near-ties in {ATTEMPTS} attempts")
    fx.meta.update(attempt=attempt, margins=margins, prompts={})

    model = build_hf(c, W)
    for i, p in enumerate(prompts):
        exact(fx, ref, model, i, p, runs[i][0], seed)
        fx.meta["prompts"][f"p{i}"] = {"tokens": len(p), "margins": least[i]}
        for k, v in choices(runs[i][1]).items():
            fx.put(f"p{i}.{k}", v)

    n0, n1 = spec["decode"]
    step = chunked(model, cont, [n0] + [1] * n1)
    fx.check("decode vs full (transformers)", step, full(model, cont))
    fx.check("decode vs v4_ref full", step, runs[-1][0])
    fx.put("decode.input_ids", torch.tensor(cont))
    fx.put("decode.logits", step[n0 - 1:])
    fx.meta["decode"] = {"prefill_tokens": n0, "steps": n1, "rows": "logits after the prefill, then after each step"}

    if spec["mtp"]:
        drafts(fx, ref, model, c, W, min(prompts, key=lambda p: abs(len(p) - 130)))
    if has_levels(c):
        levels(fx, prompts[-1], runs[len(prompts) - 1][0], spec)
    kw = {}
    if "store" in spec:
        kw["quantization_config"] = transformers.FineGrainedFP8Config(dequantize=True)
    again = M.DeepseekV4ForCausalLM.from_pretrained(
        fx.path, dtype=torch.float32, attn_implementation="eager", **kw).float().eval()
    fx.check("from_pretrained on the written files", full(again, prompts[-1]), full(model, prompts[-1]), 1e-6)

    p = next(p for p in prompts if len(p) >= TAPPED)[:TAPPED]
    fx.put("taps.input_ids", torch.tensor(p))
    put_streams(fx, "taps", tapped(ref, p)[1])
    if sens:
        want = runs[len(prompts) - 1][0]
        fx.meta["sensitivity"] = sensitivity(fx.path, prompts[-1], want)
        fx.meta["sensitivity_scale"] = float(want.std())
    fx.close()


ATTEMPTS = 2000  # draws before giving up
TAPPED = 24      # tokens whose exact streams are stored
FIRST = 8        # tokens whose streams are stored at the level `released`


def put_streams(fx, prefix, taps, tokens=TAPPED):
    for k, v in taps.items():
        if k.startswith("streams."):
            fx.put(f"{prefix}.{k}", v[0][:tokens])


def exact(fx, ref, model, i, p, mine, seed):
    """Logits of a prompt; all ways to compute them must agree."""
    lg = full(model, p)
    fx.put(f"p{i}.input_ids", torch.tensor(p))
    fx.put(f"p{i}.logits", lg)
    fx.check("v4_ref full vs transformers full", mine, lg)
    if len(p) <= 140:
        fx.check("transformers token-by-token vs full", chunked(model, p, [1] * len(p)), lg)
    g = torch.Generator().manual_seed(seed + i)
    sizes, left = [], len(p)
    while left:
        sizes.append(min(left, int(torch.randint(1, 23, (1,), generator=g))))
        left -= sizes[-1]
    fx.check("transformers irregular chunks vs full", chunked(model, p, sizes), lg)
    st, parts, j = ref.new_state(), [], 0
    for s in sizes:
        parts.append(ref.forward(p[j:j + s], st))
        j += s
    fx.check("v4_ref irregular chunks vs transformers full", torch.cat(parts), lg)


def drafts(fx, ref, model, c, W, p):
    """MTP logits along a prompt, and chains of greedy drafts from some of its positions."""
    st = ref.new_state()
    x = ref.streams(torch.tensor(p), st)
    ref.taps = {}
    lg, own = ref.mtp(p[1:], x[:-1], st, 0)
    margins, ref.taps = least_margins(ref.taps), None
    hf = hf_streams(model, p)
    fx.check("mtp: v4_ref vs transformers layer", lg, hf_mtp(model, c, W, p, hf))
    fx.put("mtp.input_ids", torch.tensor(p))
    fx.put("mtp.logits", lg)

    at, ids, rows, gap = [], ([], []), ([], []), math.inf
    for i in (0, 2, 9, 15, 16, 40, 77, len(p) - 2):
        st, chain = ref.new_state(), []
        ref.mtp(p[1:i + 2], ref.streams(torch.tensor(p[:i + 1]), st), st, 0)
        last, y = lg[i], own[i:i + 1]
        for k in (1, 2):
            top = last.topk(2).values
            nxt, y0 = int(last.argmax()), y
            last, y = (v[-1:] for v in ref.mtp([nxt], y, st, i + k))
            last = last[0]
            chain.append((nxt, last, float(top[0] - top[1])))
            if k == 1:
                ext = torch.cat([hf[:, :i + 1], y0.unsqueeze(0)], 1)
                got = hf_mtp(model, c, W, [*p[:i + 2], nxt], ext)[-1]
                fx.check("second draft: v4_ref vs transformers layer", last, got)
        at.append(i)
        gap = min(gap, *(g for _, _, g in chain))
        for k in (0, 1):
            ids[k].append(chain[k][0])
            rows[k].append(chain[k][1])
    fx.put("chain.positions", torch.tensor(at))
    for k in (0, 1):
        fx.put(f"mtp{k + 2}.input_ids", torch.tensor(ids[k]))
        fx.put(f"mtp{k + 2}.logits", torch.stack(rows[k]))
    fx.meta["mtp"] = {
        "margins": margins, "chain_top1_margin": gap,
        "mtp": "row i: streams of token i joined with the embedding of token i+1, predicts token i+2",
        "mtp2": "row j: i = chain.positions[j]; after rows 0..i of mtp, the module's own streams of row i are fed "
                "again at position i+1 with mtp2.input_ids[j], the best id of mtp.logits[i]; predicts token i+3",
        "mtp3": "the same once more, at position i+2, with mtp3.input_ids[j], the best id of mtp2.logits[j]"}


def has_levels(c):
    """Whether the roundings of the cache are defined: blocks of 64 and of 32 channels."""
    return (c["head_dim"] - c["qk_rope_head_dim"]) % 64 == 0 and c["index_head_dim"] % 32 == 0


def is_steady(path, p, min_margin):
    """Whether longer sums leave the roundings as they are: at the level `cache` in the logits of
    the whole prompt, whose selections must have a margin too; at `released`, where some rounding
    always turns, in the streams of the first tokens but for single steps of bf16."""
    (_, a), (_, b) = (tapped(V4Ref(path, RELEASED, dtype), p[:FIRST]) for dtype in (torch.float32, torch.float64))
    for k in a:
        if k.startswith("streams."):
            x, y = a[k][0], b[k][0]
            if ((x - y).abs() > 2.0 ** -6 * x.square().mean().sqrt() + 2.0 ** -7 * x.abs()).any():
                return False
    (a, taps), (b, _) = (tapped(V4Ref(path, CACHE, dtype), p) for dtype in (torch.float32, torch.float64))
    return distance(a, b.float())["max"] <= 2e-5 and min(least_margins(taps).values()) > min_margin


def levels(fx, p, plain, spec):
    """Logits of a prompt at each rounding level, and how far float64 sums move them."""
    todo = {"cache": CACHE}
    if spec.get("store") != "base":
        todo["released"] = RELEASED
    if fx.name == "quant":
        todo.update(sim_act_fp8=SimQuant(True, False, False), sim_all=SimQuant())
    for tag, sim in todo.items():
        lg, taps = tapped(V4Ref(fx.path, sim), p)
        wide, wide_taps = tapped(V4Ref(fx.path, sim, torch.float64), p)
        fx.put(f"{tag}.input_ids", torch.tensor(p))
        fx.put(f"{tag}.logits", lg)
        picked, other = choices(taps), choices(wide_taps)
        for k, v in picked.items():
            fx.put(f"{tag}.{k}", v)
        if tag == "released":
            put_streams(fx, "released.taps", taps, FIRST)
        differ = {kind: sum(int((picked[k] != other[k]).any(-1).sum()) for k in picked if k.startswith(kind))
                  for kind in ("experts", "rows")}
        fx.meta.setdefault("levels", {})[tag] = {
            "margins": least_margins(taps), "from_exact": distance(plain, lg),
            "from_float64": {**distance(lg, wide.float()), "tokens_with_other": differ}}


def resaved(name, out, seed):
    """`flashy` as transformers saves it: with its own names, or half reverted (its default)."""
    fx, src = Fixture(out, name, seed), os.path.join(out, f"flashy-s{seed}")
    W = load_file(os.path.join(src, "model.safetensors"))
    with open(os.path.join(src, "config.json")) as f:
        model = build_hf(json.load(f), W)
    for f in os.listdir(fx.path):
        os.remove(os.path.join(fx.path, f))
    model.save_pretrained(fx.path, max_shard_size="600KB", save_original_format=name == "flashy-resaved")
    T = load_file(os.path.join(src, "reference.safetensors"))
    again = M.DeepseekV4ForCausalLM.from_pretrained(fx.path, dtype=torch.float32, attn_implementation="eager").eval()
    for k in ("p3", "p9"):
        fx.check("from_pretrained vs the reference", full(again, T[k + ".input_ids"].tolist()), T[k + ".logits"], 1e-6)
    fx.meta["reference"] = f"flashy-s{seed}/reference.safetensors"
    fx.close()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("out")
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--only", nargs="*", choices=["ops", *CONFIGS, *RESAVED])
    ap.add_argument("--no-sensitivity", action="store_true", help="skip measuring how far each broken rule moves the logits")
    ap.add_argument("--min-margin", type=float, default=4e-5)
    ap.add_argument("--threads", type=int, default=1, help="more only slows these tiny tensors down")
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    transformers.utils.logging.disable_progress_bar()
    with torch.no_grad():
        for n in a.only or ["ops", *CONFIGS, *RESAVED]:
            if n == "ops":
                make_ops(a.out, a.seed)
            elif n in RESAVED:
                resaved(n, a.out, a.seed)
            else:
                make(n, CONFIGS[n], a.out, a.seed, not a.no_sensitivity, a.min_margin)


if __name__ == "__main__":
    main()
