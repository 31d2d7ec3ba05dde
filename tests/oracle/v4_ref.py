#!/usr/bin/env python3
"""Independent, readable reference of the DeepSeek-V4 text model.

Written from the description in docs/models/deepseek-v4.md (sections are quoted as "§"), not
from any other port.  It loads a directory in the *released* checkpoint layout
(config.json + model*.safetensors, tensor names such as `layers.3.attn.wq_a.weight`),
so it doubles as a reference for the FP8 / FP4 weight formats.  It is written for
clarity: attention runs one query at a time, and the same code serves prefill,
chunked prefill and decode.

  ref = V4Ref(path)                           # nothing rounded, float32
  ref = V4Ref(path, sim=CACHE)                # the stored cache and the indexer rounded
  ref = V4Ref(path, sim=RELEASED)             # every rounding of the released code
  ref = V4Ref(path, sim=..., dtype=torch.float64)  # the same roundings, longer sums
  state = ref.new_state()
  logits = ref.forward(ids, state)            # any chunk length, any number of calls

With `ref.taps = {}` a run also records, under these names, lists of tensors:
`streams.embed`, `streams.L` [T, n, D]; `experts.L` [T, k] int32, ascending;
`rows.L` [index_topk] int32 per query, ascending, padded with -1; and the margins
`experts.L.margin` [T], `rows.L.margin` [1] of selections that could have gone
another way (distance of the last chosen score to the first one left out).
"""
import json
import math
import os
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from safetensors.torch import load_file


# ------------------------------------------------------------------ formats --
E2M1 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0,
                     -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0])


def e8m0_to_float(s):
    """Exponent-only scale byte b -> 2**(b-127); float scales pass through."""
    if s.dtype == torch.uint8:
        byte = s
    elif s.dtype == torch.float8_e8m0fnu:
        byte = s.view(torch.uint8)
    else:
        return s.float()
    return torch.pow(2.0, byte.to(torch.int32).float() - 127.0)


def dequant_fp8(w, s):
    """e4m3 [O,I] with scale grid [ceil(O/128), ceil(I/128)]."""
    s = e8m0_to_float(s)
    full = s.repeat_interleave(128, 0).repeat_interleave(128, 1)
    return w.float() * full[: w.shape[0], : w.shape[1]]


def dequant_fp4(w, s):
    """int8 [O,I/2]; low nibble = even column; scale [O, I/32] along the row."""
    b = w.contiguous().view(torch.uint8)
    v = torch.stack([E2M1[(b & 15).long()], E2M1[(b >> 4).long()]], -1)
    v = v.reshape(w.shape[0], -1)
    return v * e8m0_to_float(s).repeat_interleave(32, 1)


def pow2_ceil(x):
    """Smallest power of two >= x, taken from the float32 bit pattern."""
    bits = x.float().contiguous().view(torch.int32)
    e = ((bits >> 23) & 255) - 127 + ((bits & 0x7FFFFF) != 0).int()
    return torch.pow(2.0, e.float())


def bf16(x):
    """Round to bfloat16 (nearest, ties to even) and widen again."""
    return x.bfloat16().to(x.dtype)


def fp8_round_trip(x, block):
    """Quantise to e4m3 per `block` along the last axis with 2^k scales, and back."""
    y = x.float().unflatten(-1, (-1, block))
    amax = y.abs().amax(-1, keepdim=True).clamp_min(1e-4)
    s = pow2_ceil(amax * (1.0 / 448.0))
    q = (y / s).clamp(-448.0, 448.0).to(torch.float8_e4m3fn).float()
    return (q * s).flatten(-2).to(x.dtype)


def fp4_round_trip(x, block=32):
    """Quantise to e2m1 (round to nearest, ties to even code) with 2^k scales."""
    y = x.float().unflatten(-1, (-1, block))
    amax = y.abs().amax(-1, keepdim=True).clamp_min(6.0 * 2.0 ** -126)
    s = pow2_ceil(amax * (1.0 / 6.0))
    q = (y / s).clamp(-6.0, 6.0)
    a = q.abs()
    mid = torch.tensor([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0])
    idx = torch.bucketize(a, mid)                    # a == mid[i] -> i
    tie = (a.unsqueeze(-1) == mid).any(-1)
    idx = torch.where(tie & (idx % 2 == 1), idx + 1, idx)
    return (torch.sign(q) * E2M1[idx] * s).flatten(-2).to(x.dtype)


def hadamard(x):
    """Normalised Walsh-Hadamard transform (natural order) of the last axis."""
    n = x.shape[-1]
    y, h = x.float().clone(), 1
    while h < n:
        y = y.unflatten(-1, (-1, 2, h))
        a, b = y[..., 0, :], y[..., 1, :]
        y = torch.stack([a + b, a - b], -2).flatten(-3)
        h *= 2
    return (y * n ** -0.5).to(x.dtype)


@dataclass(frozen=True)
class SimQuant:
    """Which roundings of the released inference code to apply (§5.1, §5.2)."""
    gemm_fp8: bool = True       # inputs of FP8/FP4 weights: e4m3, 1x128, 2^k scale
    kv_fp8: bool = True         # non-rope part of every KV entry: e4m3, blocks of 64
    indexer_fp4: bool = True    # Hadamard + e2m1 blocks of 32 on indexer q and keys
    bf16: bool = False          # activations are bfloat16 where the table of §5.1 says so


EXACT = SimQuant(False, False, False)
CACHE = SimQuant(gemm_fp8=False)
RELEASED = SimQuant(bf16=True)


# -------------------------------------------------------------------- model --
def rms(x, w, eps):
    y = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
    return y if w is None else w * y


def head_norm_bf16(q, eps):
    """The per-head query norm in bf16 arithmetic: each operation rounds its result."""
    mean = bf16(bf16(q.square()).mean(-1, keepdim=True))
    return bf16(q * bf16(torch.rsqrt(bf16(mean + eps))))


def index_scores(q, keys, weights, r=lambda x: x):
    """Scores [n] of keys [n, d] for the heads q [h, d]; `r` rounds each result."""
    products = r(F.relu(r(q @ keys.T)) * weights.unsqueeze(-1))
    return r(products.sum(0))


def best(scores, k):
    """The k best of the last axis and the margin to the next; of equals the first."""
    val, idx = scores.sort(dim=-1, descending=True, stable=True)
    return idx[..., :k], val[..., k - 1] - val[..., k]


def inv_freq(dim, theta, yarn=None):
    f = 1.0 / (theta ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim))
    if yarn:
        orig = yarn["original_max_position_embeddings"]
        corr = lambda rot: dim * math.log(orig / (rot * 2 * math.pi)) / (2 * math.log(theta))
        lo = max(math.floor(corr(yarn["beta_fast"])), 0)
        hi = min(math.ceil(corr(yarn["beta_slow"])), dim - 1)
        if lo == hi:
            hi += 0.001
        ramp = ((torch.arange(dim // 2, dtype=torch.float32) - lo) / (hi - lo)).clamp(0, 1)
        f = f / yarn["factor"] * ramp + f * (1 - ramp)
    return f


def rope(x, freq, pos, inverse=False):
    """Rotate the LAST 2*len(freq) channels of x [..., D]; adjacent pairs."""
    rd = 2 * freq.shape[0]
    ang = torch.as_tensor(pos, dtype=torch.float32).unsqueeze(-1) * freq
    c, s = ang.cos(), ang.sin()
    if inverse:
        s = -s
    while c.dim() < x.dim():
        c, s = c.unsqueeze(-2), s.unsqueeze(-2)
    keep, r = x[..., :-rd], x[..., -rd:]
    a, b = r[..., 0::2], r[..., 1::2]
    r = torch.stack([a * c - b * s, a * s + b * c], -1).flatten(-2)
    return torch.cat([keep, r], -1)


def layer_of(p):
    """`layers.3.attn` -> `3`; `mtp.0.ffn` -> `mtp.0`."""
    name = p.rsplit(".", 1)[0]
    return name.removeprefix("layers.")


class Pool:
    """Running state of one compressor (main or indexer)."""

    def __init__(self):
        self.kv, self.gate = [], []     # rows of the open block
        self.prev = None                # (kv rows, gate rows) of the last closed block
        self.entries = []               # closed entries, one per block


class LayerState:
    def __init__(self):
        self.window, self.main, self.index = [], Pool(), Pool()


class V4Ref:
    def __init__(self, path, sim=None, dtype=torch.float32):
        self.c = c = json.load(open(os.path.join(path, "config.json")))
        raw = {}
        for f in sorted(os.listdir(path)):
            if f.endswith(".safetensors") and f.startswith("model"):
                raw.update(load_file(os.path.join(path, f)))
        self.w, self.low = {}, set()
        for k, v in raw.items():
            if k.endswith(".scale") and k[:-6] + ".weight" in raw:
                continue
            s = raw.get(k[:-7] + ".scale") if k.endswith(".weight") else None
            if s is None:
                self.w[k] = v if v.dtype in (torch.int64, torch.int32) else v.to(dtype)
            else:
                self.low.add(k)
                deq = dequant_fp4 if v.dtype in (torch.int8, torch.uint8) else dequant_fp8
                self.w[k] = deq(v, s).to(dtype)
        self.sim, self.dtype = sim or EXACT, dtype
        rd = c["qk_rope_head_dim"]
        yarn = c.get("rope_scaling")
        self.freq_main = inv_freq(rd, c["rope_theta"])
        self.freq_comp = inv_freq(rd, c["compress_rope_theta"], yarn)
        self.taps = None

    def tap(self, name, value):
        if self.taps is not None:
            self.taps.setdefault(name, []).append(value.detach().clone())

    def r(self, x):
        """Round a result that the released code stores in bf16."""
        return bf16(x) if self.sim.bf16 else x

    def norm(self, name, x):
        return self.r(rms(x, self.w[name + ".weight"], self.c["rms_norm_eps"]))

    def lin(self, name, x):
        name += ".weight"
        if self.sim.gemm_fp8 and name in self.low:
            x = fp8_round_trip(x, 128)
        return self.r(x @ self.w[name].T)

    def turn(self, x, freq, pos, inverse=False):
        return self.r(rope(x, freq, pos, inverse))

    def embed(self, ids):
        return self.r(self.w["embed.weight"][ids])

    # -- hyper-connections ----------------------------------------------------
    def hc_pre(self, x, p):
        c, n = self.c, self.c["hc_mult"]
        flat = x.flatten(1)
        mix = rms(flat, None, c["rms_norm_eps"]) @ self.w[p + "_fn"].T
        sc, b, eps = self.w[p + "_scale"], self.w[p + "_base"], c["hc_eps"]
        pre = torch.sigmoid(mix[:, :n] * sc[0] + b[:n]) + eps
        post = 2 * torch.sigmoid(mix[:, n:2 * n] * sc[1] + b[n:2 * n])
        m = (mix[:, 2 * n:] * sc[2] + b[2 * n:]).view(-1, n, n)
        m = torch.softmax(m, -1) + eps
        m = m / (m.sum(-2, keepdim=True) + eps)
        for _ in range(c["hc_sinkhorn_iters"] - 1):
            m = m / (m.sum(-1, keepdim=True) + eps)
            m = m / (m.sum(-2, keepdim=True) + eps)
        return self.r((pre.unsqueeze(-1) * x).sum(1)), post, m

    @staticmethod
    def hc_post(y, x, post, m):
        # out[k] = post[k]*y + sum_j m[j,k]*x[j]
        return post.unsqueeze(-1) * y.unsqueeze(1) + torch.einsum("tjk,tjd->tkd", m, x)

    def hc_head(self, x, p):
        c = self.c
        mix = rms(x.flatten(1), None, c["rms_norm_eps"]) @ self.w[p + "hc_head_fn"].T
        g = torch.sigmoid(mix * self.w[p + "hc_head_scale"] + self.w[p + "hc_head_base"]) + c["hc_eps"]
        return self.r((g.unsqueeze(-1) * x).sum(1))

    # -- compressor -------------------------------------------------------------
    def compress(self, pool, p, x, start, ratio, hd, index):
        """Feed the chunk x [T,D] (first token at `start`) into a compressor.

        Projections, gate, pooling and the open rows are float32 at every level."""
        kv = x @ self.w[p + ".wkv.weight"].T
        gate = x @ self.w[p + ".wgate.weight"].T
        ape = self.w[p + ".ape"]
        for i in range(x.shape[0]):
            t = start + i
            pool.kv.append(kv[i])
            pool.gate.append(gate[i] + ape[t % ratio])
            if (t + 1) % ratio:
                continue
            k, g = torch.stack(pool.kv), torch.stack(pool.gate)
            pool.kv, pool.gate = [], []
            if ratio == 4:
                # second half of the channels: this block; first half: previous block
                cur_k, cur_g = k[:, hd:], g[:, hd:]
                if pool.prev is not None:
                    cur_k = torch.cat([pool.prev[0], cur_k])
                    cur_g = torch.cat([pool.prev[1], cur_g])
                pool.prev = (k[:, :hd], g[:, :hd])
                k, g = cur_k, cur_g
            e = self.norm(p + ".norm", self.r((k * torch.softmax(g, 0)).sum(0)))
            e = self.turn(e, self.freq_comp, t + 1 - ratio)
            pool.entries.append(self.index_sim(e) if index else self.kv_sim(e))

    def kv_sim(self, e):
        if not self.sim.kv_fp8:
            return e
        rd = self.c["qk_rope_head_dim"]
        return torch.cat([fp8_round_trip(e[..., :-rd], 64), e[..., -rd:]], -1)

    def index_sim(self, e):
        return fp4_round_trip(self.r(hadamard(e))) if self.sim.indexer_fp4 else e

    # -- attention ----------------------------------------------------------------
    def attention(self, p, x, ratio, st, start):
        c = self.c
        T, H, hd = x.shape[0], c["num_attention_heads"], c["head_dim"]
        eps, win = c["rms_norm_eps"], c["sliding_window"]
        freq = self.freq_comp if ratio else self.freq_main
        pos = torch.arange(start, start + T)
        qr = self.norm(p + ".q_norm", self.lin(p + ".wq_a", x))
        q = self.lin(p + ".wq_b", qr).view(T, H, hd)
        q = head_norm_bf16(q, eps) if self.sim.bf16 else rms(q, None, eps)
        q = self.turn(q, freq, pos)
        kv = self.norm(p + ".kv_norm", self.lin(p + ".wkv", x))
        kv = self.kv_sim(self.turn(kv, freq, pos))
        if ratio:
            self.compress(st.main, p + ".compressor", x, start, ratio, hd, False)
        if ratio == 4:
            IH, ID = c["index_n_heads"], c["index_head_dim"]
            self.compress(st.index, p + ".indexer.compressor", x, start, 4, ID, True)
            iq = self.turn(self.lin(p + ".indexer.wq_b", qr).view(T, IH, ID), freq, pos)
            iq = self.index_sim(iq)
            iw = self.r(self.lin(p + ".indexer.weights_proj", x) * (ID ** -0.5 * IH ** -0.5))
        sink, scale, out = self.w[p + ".attn_sink"], hd ** -0.5, []
        for i in range(T):
            t = start + i
            st.window.append(kv[i])
            st.window = st.window[-win:]
            keys = list(st.window)
            if ratio:
                vis = (t + 1) // ratio
                pick = range(vis)
                if ratio == 4:
                    top = c["index_topk"]
                    if vis > top:
                        ik = torch.stack(st.index.entries[:vis])
                        pick, margin = best(index_scores(iq[i], ik, iw[i], self.r), top)
                        pick = sorted(pick.tolist())
                        self.tap(f"rows.{layer_of(p)}.margin", margin.reshape(1))
                    row = [*pick] + [-1] * (top - len(pick))
                    self.tap(f"rows.{layer_of(p)}", torch.tensor(row, dtype=torch.int32))
                keys += [st.main.entries[j] for j in pick]
            k = torch.stack(keys)
            logit = q[i] @ k.T * scale                                   # [H, n]
            m = logit.max(-1, keepdim=True).values
            e = torch.exp(logit - m)
            den = e.sum(-1, keepdim=True) + torch.exp(sink.unsqueeze(-1) - m)
            out.append(self.r(self.r(e) @ k / den))     # rounded for the values, not for the sum
        o = self.turn(torch.stack(out), freq, pos, inverse=True)
        G = c["o_groups"]
        o = o.reshape(T, G, -1)
        wa = self.w[p + ".wo_a.weight"].view(G, c["o_lora_rank"], -1)
        o = self.r(torch.einsum("tgd,grd->tgr", o, wa).flatten(1))       # its input stays as it is
        return self.lin(p + ".wo_b", o)

    # -- feed-forward ---------------------------------------------------------------
    def expert(self, p, x, wt=None):
        lim = self.c["swiglu_limit"]
        g = self.lin(p + ".w1", x).clamp(max=lim)
        u = self.lin(p + ".w3", x).clamp(-lim, lim)
        h = F.silu(g) * u
        return self.lin(p + ".w2", self.r(h if wt is None else wt * h))

    def moe(self, p, x, ids):
        c, k = self.c, self.c["num_experts_per_tok"]
        score = F.softplus(x @ self.w[p + ".gate.weight"].T).sqrt()
        if p + ".gate.tid2eid" in self.w:
            idx = self.w[p + ".gate.tid2eid"][ids].long()
        else:
            idx, margin = best(score + self.w[p + ".gate.bias"], k)
            self.tap(f"experts.{layer_of(p)}.margin", margin)
        self.tap(f"experts.{layer_of(p)}", idx.sort(-1).values.int())
        wt = score.gather(1, idx)
        wt = wt / wt.sum(-1, keepdim=True) * c["routed_scaling_factor"]
        y = torch.zeros_like(x)
        for e in idx.unique().tolist():
            t, j = torch.where(idx == e)
            y[t] += self.expert(f"{p}.experts.{e}", x[t], wt[t, j, None])
        return self.r(y + self.expert(p + ".shared_experts", x))

    # -- whole model --------------------------------------------------------------------
    def block(self, p, x, ratio, st, start, ids):
        y, post, m = self.hc_pre(x, p + ".hc_attn")
        y = self.attention(p + ".attn", self.norm(p + ".attn_norm", y), ratio, st, start)
        x = self.r(self.hc_post(y, x, post, m))
        y, post, m = self.hc_pre(x, p + ".hc_ffn")
        y = self.moe(p + ".ffn", self.norm(p + ".ffn_norm", y), ids)
        return self.r(self.hc_post(y, x, post, m))

    def new_state(self):
        n = self.c["num_hidden_layers"] + self.c.get("num_nextn_predict_layers", 0)
        return {"pos": 0, "layers": [LayerState() for _ in range(n)]}

    def streams(self, ids, state):
        """[T] token ids -> residual streams [T, hc, D] after the last layer."""
        c, start = self.c, state["pos"]
        x = self.embed(ids).unsqueeze(1).repeat(1, c["hc_mult"], 1)
        self.tap("streams.embed", x)
        for l in range(c["num_hidden_layers"]):
            x = self.block(f"layers.{l}", x, c["compress_ratios"][l], state["layers"][l], start, ids)
            self.tap(f"streams.{l}", x)
        state["pos"] += len(ids)
        return x

    def logits_of(self, x, prefix="", norm="norm"):
        return self.norm(norm, self.hc_head(x, prefix)) @ self.w["head.weight"].T

    def forward(self, ids, state):
        return self.logits_of(self.streams(torch.as_tensor(ids), state))

    def mtp(self, next_ids, x, state, start, k=0):
        """x: streams [T,hc,D] of positions start..; next_ids[i] is the token AFTER it.

        Returns the draft logits and the module's own streams, which may be fed again as
        `x` of the next position together with the drafted id."""
        c, L, p = self.c, self.c["num_hidden_layers"], f"mtp.{k}"
        next_ids = torch.as_tensor(next_ids)
        e = self.lin(p + ".e_proj", self.norm(p + ".enorm", self.embed(next_ids)))
        h = self.lin(p + ".h_proj", self.norm(p + ".hnorm", x))
        x = self.r(e.unsqueeze(1) + h)
        x = self.block(p, x, c["compress_ratios"][L + k], state["layers"][L + k], start, next_ids)
        return self.logits_of(x, p + ".", p + ".norm"), x
