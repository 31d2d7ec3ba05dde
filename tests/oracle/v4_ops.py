"""Small exact vectors for single operations."""
import json
import os

import torch
from safetensors.torch import save_file

import v4_ref
from v4_ref import E2M1, EXACT, V4Ref, bf16, dequant_fp4, dequant_fp8, pow2_ceil


def make_ops(out, seed):
    """Writes OUT/ops-s<seed>."""
    g = torch.Generator().manual_seed(77 + seed)
    rnd = lambda *s: torch.randn(*s, generator=g)
    path = os.path.join(out, f"ops-s{seed}")
    os.makedirs(path, exist_ok=True)
    T, doc = {}, {}

    def put(name, text, **kw):
        doc[name] = text
        for k, v in kw.items():
            T[f"{name}.{k}"] = v.clone().contiguous()

    byte = torch.arange(256, dtype=torch.uint8)
    put("formats", "byte -> float for e4m3 (NaN at 127 and 255) and e8m0 (255 is NaN in the format); 4-bit code -> float",
        e4m3=byte.view(torch.float8_e4m3fn).float(), e8m0=byte.view(torch.float8_e8m0fnu).float(), e2m1=E2M1)
    w = (rnd(192, 320) * 2).to(torch.float8_e4m3fn)
    s = torch.randint(118, 131, (2, 3), generator=g).to(torch.uint8).view(torch.float8_e8m0fnu)
    put("dequant_fp8", "weight [192,320], scale [2,3]: partial edge tiles", w=w, s=s, out=dequant_fp8(w, s))
    w = torch.randint(-128, 128, (12, 48), generator=g).to(torch.int8)
    s = torch.randint(118, 131, (12, 3), generator=g).to(torch.uint8).view(torch.float8_e8m0fnu)
    put("dequant_fp4", "packed [12,48] -> [12,96], scale [12,3]", w=w, s=s, out=dequant_fp4(w, s))

    x = rnd(12, 256) * torch.logspace(-6, 4, 12).unsqueeze(1)
    x[3], x[4, :128] = 0.0, 1e-7
    x[5, 0] = 448.0 * 2.0 ** 3                       # amax exactly on a power-of-two scale
    put("fp8_round_trip_128", "block 128, amax floor 1e-4, 2^ceil(log2(amax/448))", x=x,
        out=v4_ref.fp8_round_trip(x, 128), scale=pow2_ceil(x.unflatten(-1, (-1, 128)).abs().amax(-1).clamp_min(1e-4) * (1 / 448.0)))
    put("fp8_round_trip_64", "block 64 (KV entries)", x=x, out=v4_ref.fp8_round_trip(x, 64))
    y = rnd(8, 128) * torch.logspace(-3, 3, 8).unsqueeze(1)
    y[0, :32] = torch.tensor([6.0, 0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0] * 4) * torch.tensor([1.0, -1.0]).repeat(16)
    y[1] = 0.0
    put("fp4_round_trip_32", "block 32; first row holds every rounding tie", x=y, out=v4_ref.fp4_round_trip(y))
    for n in (32, 128):
        z = rnd(5, n)
        put(f"hadamard_{n}", "natural order, scaled by n^-0.5", x=z, out=v4_ref.hadamard(z))

    pos = torch.tensor([0, 1, 2, 3, 4, 127, 128, 4095, 65535, 65536, 131072, 262143, 524288, 1048575])
    for tag, f in (("main", v4_ref.inv_freq(64, 10000.0)),
                   ("compress", v4_ref.inv_freq(64, 160000.0, dict(factor=16, beta_fast=32, beta_slow=1,
                                                                    original_max_position_embeddings=65536)))):
        a = pos.float().unsqueeze(-1) * f            # the product is a float32 product
        put(f"rope_{tag}", "released dimensions: 32 inverse frequencies, cos/sin at chosen positions",
            inv_freq=f, position=pos, cos=a.cos(), sin=a.sin())
    q = rnd(3, 2, 96)
    p3 = torch.tensor([0, 7, 65536])
    put("rope_apply", "last 64 of 96 channels, positions [0,7,65536], compress frequencies", x=q,
        out=v4_ref.rope(q, v4_ref.inv_freq(64, 160000.0, dict(factor=16, beta_fast=32, beta_slow=1,
                                                               original_max_position_embeddings=65536)), p3))

    class Stub(V4Ref):
        def __init__(self, c, w):
            self.c, self.w, self.low, self.sim, self.taps = c, w, set(), EXACT, None

    D, n = 24, 4
    c = dict(hc_mult=n, hc_sinkhorn_iters=20, hc_eps=1e-6, rms_norm_eps=1e-6)
    wts = {"m_fn": rnd(24, n * D) / 8, "m_base": rnd(24), "m_scale": 0.5 + torch.rand(3, generator=g),
           "hc_head_fn": rnd(n, n * D) / 8, "hc_head_base": rnd(n), "hc_head_scale": torch.tensor([0.8])}
    r, x = Stub(c, wts), rnd(6, n, D)
    y, post, comb = r.hc_pre(x, "m")
    put("hyper_connection", "streams [6,4,24] -> collapsed, post, comb; then post/mix with sublayer output `f`",
        x=x, fn=wts["m_fn"], base=wts["m_base"], scale=wts["m_scale"], collapsed=y, post=post, comb=comb,
        f=(f_ := rnd(6, D)), mixed=V4Ref.hc_post(f_, x, post, comb))
    put("hyper_head", "final collapse", x=x, fn=wts["hc_head_fn"], base=wts["hc_head_base"],
        scale=wts["hc_head_scale"], out=r.hc_head(x, ""))
    lg = rnd(16, 10) * 6
    bias = rnd(10)
    sc = torch.nn.functional.softplus(lg).sqrt()
    idx = (sc + bias).topk(3, -1).indices.sort(-1).values
    wt = sc.gather(1, idx)
    put("router", "gate logits + selection bias -> top-3 (sorted ids), weights with scaling 2.5", logits=lg, bias=bias,
        ids=idx, weights=wt / wt.sum(-1, keepdim=True) * 2.5)
    k, gt = rnd(7, 8, 16), rnd(7, 8, 16) * 3
    gt[0, :4] = float("-inf")
    put("pooling", "gated pooling over 8 rows per channel; block 0 has no previous rows", kv=k, gate=gt,
        out=(k * torch.softmax(gt, 1)).sum(1))
    q, kk, sink = rnd(4, 32), rnd(11, 32), rnd(4)
    e = torch.exp(q @ kk.T * 32 ** -0.5)
    put("sink_attention", "4 heads, 11 shared key=value rows, sink only in the denominator", q=q, kv=kk, sink=sink,
        out=e / (e.sum(-1, keepdim=True) + sink.exp().unsqueeze(-1)) @ kk)
    second_set(put, rnd, g, Stub)
    save_file(T, os.path.join(path, "ops.safetensors"))
    with open(os.path.join(path, "meta.json"), "w") as f:
        json.dump({"seed": seed, "torch": torch.__version__, "OPS": doc}, f, indent=1)
        f.write("\n")
    print(f"ops-s{seed}: {len(doc)} operations, {os.path.getsize(os.path.join(path, 'ops.safetensors')) / 1024:.0f} KiB")


def second_set(put, rnd, g, stub):
    bits = lambda *b: torch.tensor(b, dtype=torch.int64).to(torch.int32).view(torch.float32)
    x = torch.cat([
        bits(0x3F808000, 0x3F818000, 0xBF808000, 0xBF818000),    # ties: down to even, up to even
        bits(0x3F807FFF, 0x3F808001, 0x3F817FFF, 0x3F818001),    # next to ties
        bits(0x00000001, 0x00007FFF, 0x00008000, 0x00008001, 0x00018000, 0x007FFFFF, 0x80008001),   # subnormals
        bits(0x7F7F0000, 0x7F7F7FFF, 0x7F7F8000, 0x7F7FFFFF, 0xFF7FFFFF),   # largest, and over it
        bits(0x00000000, 0x80000000, 0x7F800000, 0xFF800000),    # zeros, infinities
        rnd(104) * torch.logspace(-38, 38, 104)])
    put("bf16", "round to nearest, ties to even: ties, neighbours of ties, subnormals, overflow to infinity, "
        "zeros, infinities, and 104 drawn values", x=x, out=bf16(x))
    q = bf16(rnd(5, 4, 64) * torch.tensor([1e-4, 0.1, 1.0, 7.0, 300.0]).view(5, 1, 1))
    q[0, 0] = 0.0
    put("head_norm", "per-head query norm of [5,4,64], eps 1e-6: `out` in float32, `out_bf16` with every "
        "operation (square, mean, + eps, rsqrt, product) rounded to bf16",
        x=q, out=v4_ref.rms(q, None, 1e-6), out_bf16=v4_ref.head_norm_bf16(q, 1e-6))
    x, w = rnd(6, 48) * torch.tensor([1.0, 1e-5, 1e4, 1e-3, 30.0, 1.0]).unsqueeze(1), 1.0 + 0.25 * rnd(48)
    x[5] = 0.0
    y = v4_ref.rms(x, w, 1e-6)
    put("rms_norm", "[6,48] with weight, eps 1e-6; last row zero; `out_bf16` is `out` rounded", x=x, weight=w,
        out=y, out_bf16=bf16(y))
    x = torch.cat([torch.tensor([-1e4, -104.0, -100.0, -88.0, -50.0, -20.0, -1e-6, 0.0, 1e-6, 15.0, 19.999, 20.0,
                                 20.001, 30.0, 88.0, 100.0, 1e4, 1e30]), rnd(46) * 5])
    put("sqrt_softplus", "sqrt(ln(1 + e^x)), the identity under the root above 20", x=x,
        out=torch.nn.functional.softplus(x).sqrt())
    D, n = 40, 2
    c = dict(hc_mult=n, hc_sinkhorn_iters=20, hc_eps=1e-6, rms_norm_eps=1e-6)
    w = {"m_fn": rnd(8, n * D) / 8, "m_base": rnd(8), "m_scale": 0.5 + torch.rand(3, generator=g),
         "hc_head_fn": rnd(n, n * D) / 8, "hc_head_base": rnd(n), "hc_head_scale": torch.tensor([1.3])}
    r, x, f = stub(c, w), rnd(5, n, D), rnd(5, D)
    y, post, comb = r.hc_pre(x, "m")
    put("hyper_connection_2", "as hyper_connection with two streams, [5,2,40]", x=x, fn=w["m_fn"], base=w["m_base"],
        scale=w["m_scale"], collapsed=y, post=post, comb=comb, f=f, mixed=V4Ref.hc_post(f, x, post, comb))
    put("hyper_head_2", "as hyper_head with two streams", x=x, fn=w["hc_head_fn"], base=w["hc_head_base"],
        scale=w["hc_head_scale"], out=r.hc_head(x, ""))
    q, kv, sink = bf16(rnd(4, 64) * 2), bf16(rnd(21, 64)), rnd(4)
    lg = q @ kv.T * 64 ** -0.5
    e = torch.exp(lg - lg.amax(-1, keepdim=True))
    den = e.sum(-1, keepdim=True) + torch.exp(sink.unsqueeze(-1) - lg.amax(-1, keepdim=True))
    put("sink_attention_bf16", "4 heads, 21 shared rows, all bf16: exp(logit - largest key logit) is rounded to bf16 "
        "for the value product and not for the sum; `out` rounded", q=q, kv=kv, sink=sink, out=bf16(bf16(e) @ kv / den))
    q, k, w = bf16(rnd(8, 32)), bf16(rnd(40, 32)), bf16(rnd(8) / 8)
    a, b = v4_ref.index_scores(q, k, w), v4_ref.index_scores(q, k, w, bf16)
    put("index_scores", "8 heads, 40 keys: sum over heads of weight * relu(q . key), and the 12 best rows (of equal "
        "scores the first), in float32 and with each product and sum rounded to bf16", q=q, keys=k, weights=w,
        scores=a, rows=v4_ref.best(a, 12)[0].sort().values, scores_bf16=b, rows_bf16=v4_ref.best(b, 12)[0].sort().values)
