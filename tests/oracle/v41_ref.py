#!/usr/bin/env python3
"""Readable reference of DeepSeek-V4.1: text, draft head and pictures.

Written from docs/models/deepseek-v41.md (sections are quoted as "§").  It loads a directory in the
*released* layout (config.json, tokenizer.json, model*.safetensors with FP8 and FP4 storage or
without) and computes in float64, so that a prompt read whole, in pieces and token by token
agrees to 1e-13 and no selection flips by noise.

  ref = V41Ref(path)                            # nothing rounded
  ref = V41Ref(path, "cache")                   # §7.1 items 2 to 4
  ref = V41Ref(path, "full")                    # §7.1 items 1 to 4
  ref = V41Ref(path, "full", torch.float32)     # the same roundings, shorter sums
  ref = V41Ref(path, "released", torch.float32) # items 1 to 5, and BF16 where the runner keeps it
  state = ref.new_state()
  logits, taps = ref.forward(ids, state)        # any chunk length, any number of calls
  logits, taps = ref.replay([ids], state)       # bounded replay (§3.10), in any chunks
  ref.remember(taps, state)                     # the draft rings of the rows just returned
  tokens, confidence, logits = ref.draft(anchor, state)

`full` and `released` round the input of every linear that the release keeps in FP8 or FP4,
whatever the directory at hand keeps it in. Each rounding has a name: with `ref.without` set to one
it is left out, and `ref.sites` collects those that a run came by. `ref.backwards` adds up the
products of a linear from the last channel to the first.

With `ref.taps = {}` a run also records lists of tensors: `streams.L` [T, n, D]; per index layer
`chosen.L` [T, index_topk] and `candidates.L` [T, candidate_topk_blocks]; `experts.L` [T, k].
Choices are int32, ascending, padded with -1; `enter.L` and `pre.L` are the streams and their
carried mix before layer L, and behind the last.  `ref.forward(..., given=[...])` runs each layer
and the head on such pairs instead of on what the one before left.  `ref.margins` keeps the smallest distance between
the last score chosen and the first left out.
"""
import json
import math
import os
import re
import unicodedata
from dataclasses import dataclass

import numpy
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer

TEXT, START, FEATURE, NEWLINE, END = -1, 0, 1, 2, 3      # kinds of tokens; all but TEXT are an image's
LEVELS = ("none", "cache", "full")       # and "released", which is computed in 32 bits
CHUNK = 64                      # keys whose probabilities share a peak (§7.1, item 5)
NOISE = 1e-6                    # of the root mean square: what float32 sums are off before a rounding


# ------------------------------------------------------------------ formats --
E2M1 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])


def pow2_ceil(x):
    """Smallest power of two >= x for positive normal float32, from the bits."""
    bits = x.contiguous().view(torch.int32)
    e = ((bits >> 23) & 255) + ((bits & 0x7FFFFF) != 0).int()
    return (e << 23).view(torch.float32)


def e2m1_code(v):
    """Three-bit code of |v| <= 6: to nearest, ties to the even code."""
    a, code = v.abs(), torch.zeros_like(v, dtype=torch.uint8)
    for mid, odd_above in ((.25, 1), (.75, 0), (1.25, 1), (1.75, 0), (2.5, 1), (3.5, 0), (5., 1)):
        code += ((a > mid) if odd_above else (a >= mid)).to(torch.uint8)
    return code


def e4m3(x):
    """To nearest even, saturating."""
    return x.clamp(-448.0, 448.0).to(torch.float8_e4m3fn)


ROUNDINGS = {"fp8_ue8m0": 32, "fp4_ue8m0": 32, "fp4_e4m3": 16}       # kind -> block


def round_trip(x, kind):
    """Quantise blocks of the last axis and back, in float32 (§7.1)."""
    y = x.float().unflatten(-1, (-1, ROUNDINGS[kind]))
    amax = y.abs().amax(-1, keepdim=True)
    if kind == "fp8_ue8m0":
        s = pow2_ceil(amax.clamp_min(1e-4) * (1.0 / 448.0))
        q = e4m3(y / s).float()
    else:
        if kind == "fp4_ue8m0":
            s = pow2_ceil(amax.clamp_min(6 * 2.0 ** -126) * (1.0 / 6.0))
        else:
            s = e4m3(amax.clamp_min(6 * 2.0 ** -9) / 6.0).float()
        v = (y / s).clamp(-6, 6)
        q = torch.copysign(E2M1[e2m1_code(v).long()], v)
    return (q * s).flatten(-2).to(x.dtype)


def bf16(x):
    """To nearest even, and wide again."""
    return x.to(torch.bfloat16).to(x.dtype)


def dequantise(w, s):
    """E4M3 in tiles of 32x32 or rows of 32, or packed E2M1 (even column in the low nibble) in rows of 32."""
    s = s.float()
    if w.dtype == torch.int8:
        code = torch.stack([w.view(torch.uint8) & 15, w.view(torch.uint8) >> 4], -1).flatten(1).long()
        v = torch.where(code < 8, 1.0, -1.0) * E2M1[code & 7]
    else:
        v = w.float()
        if s.shape[0] != w.shape[0]:
            s = s.repeat_interleave(32, 0)
    return v * s.repeat_interleave(32, 1)


def load(path):
    """Name -> float32 tensor of every weight under `path`."""
    raw, out = {}, {}
    for f in sorted(os.listdir(path)):
        if f.startswith("model") and f.endswith(".safetensors"):
            raw.update(load_file(os.path.join(path, f)))
    for name, w in raw.items():
        base, _, last = name.rpartition(".")
        if last == "scale":
            continue
        scale = raw.get(base + ".scale")
        out[name] = w.float() if scale is None else dequantise(w, scale)
    return out


# ------------------------------------------------------------------- Engram --
def compressed_ids(tokenizer, count):
    """Compressed id of each token (§3.7) and how many there are.

    All marks are dropped (Mn, Mc and Me): with Mn alone the released tokenizer gives 99,510
    keys and not the 99,092 of its configuration."""
    seen, out = {}, []
    for token in range(count):
        s = tokenizer.decode([token], skip_special_tokens=False)
        if "\ufffd" in s:
            key = tokenizer.id_to_token(token)
        else:
            key = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", s))
            key = "".join(c for c in key if unicodedata.category(c)[0] != "M").lower()
            key = re.sub(r"[ \t\r\n]+", " ", key)
            key = key if key == " " else key.strip() or s
        out.append(seen.setdefault(key, len(seen)))
    return out, len(seen)


def is_prime(n):
    return n > 1 and all(n % d for d in range(2, math.isqrt(n) + 1))


class Addresses:
    """Rows of the Engram tables (§3.7): exact integers throughout."""

    def __init__(self, text, ids, count):
        self.ids, self.pad = ids, ids[text["engram_pad_token_id"]]
        self.orders, self.heads = text["engram_max_ngram_size"] - 1, text["engram_n_heads"]
        self.layers = text["engram_layer_ids"]
        self.primes, self.offsets, self.multipliers = [], [], []
        candidate = text["engram_vocab_size"] - 1
        for layer in self.layers:
            primes = []
            while len(primes) < self.orders * self.heads:
                candidate += 1
                if is_prime(candidate):
                    primes.append(candidate)
            self.primes.append(primes)
            self.offsets.append([sum(primes[:c]) for c in range(len(primes))])
            drawn = numpy.random.default_rng(10007 * layer).integers(
                0, max(1, (2 ** 63 - 1) // count // 2), size=self.orders + 1, dtype=numpy.int64)
            self.multipliers.append([2 * int(x) + 1 for x in drawn])
        self.rows = [sum(p) for p in self.primes]

    def at(self, history, positions, which):
        """[len(positions), columns]; `history` holds compressed ids, None for an image's tokens."""
        return torch.tensor([self.one(history, p, which) for p in positions])

    def one(self, history, p, which):
        r, row, dead = 0, [], False
        for k in range(self.orders + 1):
            token = history[p - k] if p >= k else None
            dead = dead or token is None
            r ^= (self.pad if dead else token) * self.multipliers[which][k]
            for h in range(self.heads if k else 0):
                c = (k - 1) * self.heads + h
                row.append(r % self.primes[which][c] + self.offsets[which][c])
        return row


# ----------------------------------------------------------------- pictures --
@dataclass(frozen=True)
class Grid:
    """Size of a picture's canvas (pixels), patches and tokens (§4.1), each across, then down."""
    canvas: tuple
    patches: tuple
    tokens: tuple

    @property
    def count(self):
        return self.tokens[1] * (self.tokens[0] + 1) + 2

    @property
    def kinds(self):
        return [START, *([FEATURE] * self.tokens[0] + [NEWLINE]) * self.tokens[1], END]


def grid_once(width, height, vision):
    patch, merge, most = vision["patch_size"], vision["downsample_ratio"], vision["max_image_tokens"]
    cell, w, h = patch * merge, width, height
    if w * h < vision["min_pixels"]:
        k = math.sqrt(vision["min_pixels"] / (w * h))
        w, h = int(w * k), int(h * k)

    def of(cw, ch):
        pw, ph = cw // patch, ch // patch
        return Grid((cw, ch), (pw, ph), (-(-pw // merge), -(-ph // merge)))

    grid = of(-(-w // patch) * patch, -(-h // patch) * patch)
    if grid.count <= most:
        return grid
    ratio = h / w
    across = math.sqrt((most - 2) / ratio + 0.25) - 0.5
    down = across * ratio
    if across < 1:
        return of(cell, (most - 2) // 2 * cell)
    if down < 1:
        return of((most - 3) * cell, cell)
    b = min(int(across) * cell / w, int(down) * cell / h)
    return of(int(w * b / patch) * patch, int(h * b / patch) * patch)


def grid(width, height, vision):
    """The vendor's service repeats the pass on its own result until nothing changes."""
    now = grid_once(width, height, vision)
    for _ in range(9):
        then, now = now, grid_once(*now.canvas, vision)
        if then == now:
            break
    return now


def canvas(image, size):
    """An RGB picture fitted into `size`, centred on grey (§4.2)."""
    from PIL import Image
    (w, h), (cw, ch) = image.size, size
    if w * ch > cw * h:
        fit = (cw, max(1, round(h / w * cw)))
    elif w * ch < cw * h:
        fit = (max(1, round(w / h * ch)), ch)
    else:
        fit = size
    out = Image.new("RGB", size, (127, 127, 127))
    scaled = image if image.size == fit else image.resize(fit, Image.Resampling.BICUBIC)
    out.paste(scaled, (round((cw - fit[0]) / 2), round((ch - fit[1]) / 2)))
    return out


def patches(pixels, size):
    """uint8 [height, width, 3] -> float32 [patches, 3 * size * size], rows of the canvas first."""
    h, w, _ = pixels.shape
    x = (pixels.float() / 255 - 0.5) / 0.5
    return x.view(h // size, size, w // size, size, 3).permute(0, 2, 4, 1, 3).reshape(-1, 3 * size * size)


# -------------------------------------------------------------------- model --
class State:
    """What a sequence remembers (§3.9)."""

    def __init__(self, rings):
        self.position = 0
        self.rings = [{} for _ in range(rings)]     # layer -> {position: row}
        self.entries, self.keys = {}, {}            # KV source -> [n, d], [n, index d]
        self.half = {}                              # KV source -> rows (u, g) of the open block
        self.history = []                           # compressed ids, None for an image's tokens


@dataclass
class Rows:
    """What travels between layers: streams [T, n, D], the carried mix [T, n], and who they are."""
    x: torch.Tensor
    pre: torch.Tensor
    at: torch.Tensor
    image: torch.Tensor

    def last(self, count):
        return Rows(self.x[-count:], self.pre[-count:], self.at[-count:], self.image[-count:])

    def then(self, more):
        return Rows(*(torch.cat((a, b)) for a, b in zip(vars(self).values(), vars(more).values())))


@dataclass
class Step:
    """What lives within one forward: choices handed from layer to layer."""
    window_from: int = 0            # first position a window may see
    published: int = -1             # the KV source whose rows are published already
    source: int = -1                # latest KV source
    chosen: torch.Tensor = None     # [T, k] of the latest index source, -1 for none
    candidates: torch.Tensor = None  # [T, entries] bool
    taps: dict = None


class V41Ref:
    def __init__(self, path, level="none", dtype=torch.float64):
        with open(os.path.join(path, "config.json")) as f:
            self.config = json.load(f)
        self.text, self.vision = self.config["text_config"], self.config["vision_config"]
        self.level, self.dtype = level, dtype
        self.w = {k: v.to(dtype) for k, v in load(path).items()}
        self.depth, self.drafters = self.text["num_hidden_layers"], self.text["num_nextn_predict_layers"]
        tokenizer = Tokenizer.from_file(os.path.join(path, "tokenizer.json"))
        self.addresses = Addresses(self.text, *compressed_ids(tokenizer, self.text["vocab_size"]))
        self.taps, self.margins, self.jitter = None, {}, None
        self.without, self.sites, self.backwards = None, {}, False
        self.round_wo_a = False         # other readings (§7.2)
        self.confide_normed = False
        self.stale_keys = False

    def new_state(self):
        return State(self.depth + self.drafters)

    def tap(self, name, value):
        if self.taps is not None:
            self.taps.setdefault(name, []).append(value.clone())

    # -- small things
    def rms(self, x, name, eps=None):
        eps = self.text["rms_norm_eps"] if eps is None else eps
        x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * self.w[name + ".weight"]
        return self.keep(x, place_of(name))

    def applies(self, site):
        """Whether a rounding is made that the level asks for."""
        self.sites[site] = None
        return site != self.without

    def keep(self, x, site):
        """What the vendor's runner keeps in BF16."""
        return bf16(x) if self.level == "released" and self.applies(site) else x

    def round(self, x, kind):
        if self.jitter is not None:
            noise = torch.randn(x.shape, generator=self.jitter, dtype=x.dtype)
            x = x + NOISE * noise * x.square().mean(-1, keepdim=True).sqrt()
        return round_trip(x, kind)

    def cached(self, x, kind, site):
        return x if self.level == "none" or not self.applies(site) else self.round(x, kind)

    def product(self, x, w, bias=None):
        return F.linear(x.flip(-1), w.flip(-1), bias) if self.backwards else F.linear(x, w, bias)

    def plain(self, x, name):
        """A linear whose result stays in 32 bits."""
        return self.product(x, self.w[name + ".weight"], self.w.get(name + ".bias"))

    def kept(self, x, name):
        return self.keep(self.plain(x, name), place_of(name))

    def lin(self, x, name):
        """A linear that the release keeps in FP8 or FP4."""
        if self.level in ("full", "released") and self.applies("input of " + place_of(name)):
            x = self.round(x, "fp8_ue8m0")
        return self.kept(x, name)

    def frequencies(self, far):
        """§3.3; `far` is any layer with a ratio."""
        c, d = self.text, self.text["qk_rope_head_dim"]
        theta = c["compress_rope_theta"] if far else c["rope_theta"]
        f = 1.0 / torch.tensor([theta ** (k / d) for k in range(0, d, 2)], dtype=torch.float32)
        yarn = c["rope_scaling"]
        if not far or not yarn:
            return f

        def channel(turns):
            return d * math.log(yarn["original_max_position_embeddings"] / (turns * 2 * math.pi)) / (2 * math.log(theta))
        lo = max(math.floor(channel(yarn["beta_fast"])), 0)
        hi = min(math.ceil(channel(yarn["beta_slow"])), d - 1)
        ramp = ((torch.arange(d // 2, dtype=torch.float32) - lo) / max(hi - lo, 1e-3)).clamp(0, 1)
        return f / yarn["factor"] * ramp + f * (1 - ramp)

    def rope(self, x, at, far, back=False):
        """Turns adjacent pairs of the last channels; the angle is a float32 product."""
        d = self.text["qk_rope_head_dim"]
        angle = (at.float()[:, None] * self.frequencies(far)).double()
        angle = angle.view(len(at), *[1] * (x.ndim - 2), d // 2)
        cos, sin = angle.cos().to(x.dtype), (-angle if back else angle).sin().to(x.dtype)
        a, b = x[..., -d::2], x[..., 1 - d::2]
        turned = torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)
        return torch.cat((x[..., :-d], turned), -1)

    def best(self, scores, k, what):
        """The k best of the last axis, of equals the first."""
        value, index = scores.sort(dim=-1, descending=True, stable=True)
        if scores.shape[-1] > k:
            gap = value[..., k - 1] - value[..., k]
            gap = gap[gap.isfinite()]
            if gap.numel():
                self.margins[what] = min(self.margins.get(what, math.inf), float(gap.min()))
        return value[..., :k], index[..., :k]

    # -- hyper-connections (§3.2)
    def mixer(self, x, name):
        n, eps, w = self.text["hc_mult"], self.text["hc_eps"], self.w
        f = x.flatten(1)
        z = self.product(f, w[name + "_fn"]) * torch.rsqrt(f.square().mean(-1, keepdim=True) + self.text["rms_norm_eps"])
        scale, base = w[name + "_scale"], w[name + "_base"]
        pre = torch.sigmoid(z[:, :n] * scale[0] + base[:n]) + eps
        post = 2 * torch.sigmoid(z[:, n:2 * n] * scale[1] + base[n:2 * n])
        c = (z[:, 2 * n:] * scale[2] + base[2 * n:]).view(-1, n, n).softmax(-1) + eps
        c = c / (c.sum(1, keepdim=True) + eps)
        for _ in range(self.text["hc_sinkhorn_iters"] - 1):
            c = c / (c.sum(2, keepdim=True) + eps)
            c = c / (c.sum(1, keepdim=True) + eps)
        return pre, post, c

    def collapse(self, x, pre):
        return self.keep((pre.unsqueeze(-1) * x).sum(1), "collapse")

    def write(self, x, y, post, c):
        return self.keep(post.unsqueeze(-1) * y.unsqueeze(1) + torch.einsum("tik,tid->tkd", c, x), "streams")

    def spread(self, x):
        """All streams equal; the first mix takes stream 0."""
        n = self.text["hc_mult"]
        pre = torch.zeros(len(x), n, dtype=self.dtype)
        pre[:, 0] = 1
        return x.unsqueeze(1).expand(-1, n, -1), pre

    # -- attention (§3.4)
    def heads(self, x, p, at, far):
        """Low-rank query, query heads and the row for the window."""
        qa = self.rms(self.lin(x, p + "wq_a"), p + "q_norm")
        q = self.lin(qa, p + "wq_b").unflatten(-1, (self.text["num_attention_heads"], -1))
        return qa, self.keep(self.rope(q, at, far), "turned queries"), self.window_row(x, p, at, far)

    def window_row(self, x, p, at, far):
        kv = self.rms(self.lin(x, p + "wkv"), p + "kv_norm")
        kv = self.keep(self.rope(kv, at, far), "turned window rows")
        return self.cached(kv, "fp8_ue8m0", "window rows")

    def attend(self, q, keys, seen, p, at, far):
        """q [T, h, d]; keys [T, n, d], values as well; seen [T, n]."""
        logit = torch.einsum("thd,tkd->thk", q, keys) * q.shape[-1] ** -0.5
        logit = logit.masked_fill(~seen.unsqueeze(1), -math.inf)
        sink = self.w[p + "attn_sink"].view(1, -1, 1).expand(len(q), -1, 1)
        if self.level == "released":
            o = self.keep(self.weigh(logit, keys, seen, sink), "attention")
        else:
            o = torch.einsum("thk,tkd->thd", torch.cat((logit, sink), -1).softmax(-1)[..., :-1], keys)
        o = self.keep(self.rope(o, at, far, back=True), "attention turned back")
        o = o.reshape(len(q), self.text["o_groups"], -1)
        if self.round_wo_a:
            o = self.round(o, "fp8_ue8m0")
        wo_a = self.w[p + "wo_a.weight"].view(self.text["o_groups"], self.text["o_lora_rank"], -1)
        o = self.keep(torch.einsum("tgi,gri->tgr", o, wo_a).flatten(1), "wo_a")
        return self.lin(o, p + "wo_b")

    def weigh(self, logit, keys, seen, sink):
        """The softmax in one pass over chunks of the keys that a query sees (§7.1, item 5): within a
        chunk probabilities are taken against the largest logit so far and rounded before they
        weigh values; what has been added up is scaled when a larger logit comes. The sum that
        divides is of what was not rounded. `logit` [T, h, n], `keys` [T, n, d], `seen` [T, n]."""
        out = []
        for row, values, see, last in zip(logit, keys, seen, sink.squeeze(-1)):
            row, values = row[:, see], values[see]
            peak = torch.full((len(row), 1), -math.inf, dtype=row.dtype)
            total, acc = torch.zeros_like(peak), torch.zeros(len(row), values.shape[1], dtype=row.dtype)
            for part, value in zip(row.split(CHUNK, 1), values.split(CHUNK)):
                higher = torch.maximum(peak, part.amax(1, keepdim=True))
                if not self.applies("one peak for each chunk of probabilities"):
                    higher = row.amax(1, keepdim=True)
                weight, scale = (part - higher).exp(), (peak - higher).exp()
                total = total * scale + weight.sum(1, keepdim=True)
                acc = acc * scale + self.keep(weight, "probabilities") @ value
                peak = higher
            out.append(acc / (total + (last.unsqueeze(1) - peak).exp()))
        return torch.stack(out)

    def store(self, ring, at, rows):
        """Writes rows into a ring and returns what it held with them, before old ones leave."""
        for p, row in zip(at.tolist(), rows):
            ring[p] = row
        held = dict(sorted(ring.items()))
        for p in [p for p in ring if p <= int(at[-1]) - self.text["sliding_window"]]:
            del ring[p]
        return held

    def attention(self, x, layer, at, state, step):
        c, p = self.text, f"layers.{layer}.attn."
        far = c["compress_ratios"][layer] > 0
        qa, q, kv = self.heads(x, p, at, far)
        held = self.store(state.rings[layer], at, kv)
        where = torch.tensor(list(held))
        seen = (where <= at[:, None]) & (where > at[:, None] - c["sliding_window"]) & (where >= step.window_from)
        keys = torch.stack(list(held.values())).expand(len(x), -1, -1)
        if far:
            if layer in c["kv_source_layer_ids"]:
                if layer != step.published:
                    self.publish(x, layer, at, state)
                step.source = layer
            if layer in c["index_source_layer_ids"]:
                self.choose(x, qa, layer, at, state, step)
            entries = state.entries[step.source]
            if len(entries):
                chosen = step.chosen.sort(-1).values if self.level == "released" else step.chosen
                keys = torch.cat((keys, entries[chosen.clamp_min(0)]), 1)
                seen = torch.cat((seen, chosen >= 0), 1)
        return self.attend(q, keys, seen, p, at, far)

    # -- compressed entries (§3.5)
    def publish(self, x, layer, at, state):
        p, ratio = f"layers.{layer}.attn.", self.text["compress_ratios"][layer]
        u = self.plain(x, p + "compressor.wkv")
        if ratio > 1:
            g = self.plain(x, p + "compressor.wgate")
            rows, latent = state.half.setdefault(layer, []), [u[:0]]
            for row in zip(u, g):
                rows.append(row)
                if len(rows) == ratio:
                    us, gs = (torch.stack(v) for v in zip(*rows))
                    latent.append((us * gs.softmax(0)).sum(0, keepdim=True))
                    rows.clear()
            u = torch.cat(latent)
        e = self.rms(self.keep(u, "pooled rows"), p + "compressor.norm")
        old = state.entries.get(layer, e[:0])
        first = (len(old) + torch.arange(len(e))) * ratio
        key = self.rms(self.kept(e, p + "indexer.wk"), p + "indexer.k_norm")
        key = self.keep(self.rope(key, first, True), "turned index keys")
        key = self.cached(key, "fp4_ue8m0", "index keys")
        entry = self.keep(self.rope(e, first, True), "turned entries")
        state.entries[layer] = torch.cat((old, self.cached(entry, "fp4_e4m3", "entries")))
        state.keys[layer] = torch.cat((state.keys.get(layer, key[:0]), key))

    # -- choosing entries (§3.6)
    def choose(self, x, qa, layer, at, state, step):
        c, p = self.text, f"layers.{layer}.attn.indexer."
        heads, d, ratio = c["index_n_heads"], c["index_head_dim"], c["compress_ratios"][layer]
        keys, visible = self.index_keys(layer, at, state, step), (at + 1) // ratio
        q = self.rope(self.lin(qa, p + "wq_b").unflatten(-1, (heads, d)), at, True)
        q = self.cached(self.keep(q, "turned index queries"), "fp4_ue8m0", "index queries")
        weight = self.kept(x, p + "weights_proj") * (d ** -0.5 * heads ** -0.5)
        weight = self.keep(weight, "index weights")
        score = self.index_scores(q, keys, weight)
        score = score.masked_fill(torch.arange(len(keys)) >= visible[:, None], -math.inf)
        if layer == c["candidate_source_layer_id"]:
            self.prefilter(score, visible, layer, step)
        elif layer > c["candidate_source_layer_id"] >= 0:
            score = score.masked_fill(~step.candidates, -math.inf)
        value, index = self.best(score, min(c["index_topk"], len(keys)), "index")
        step.chosen = index.masked_fill(~value.isfinite(), -1)
        self.tap(f"chosen.{layer}", ascending(step.chosen, c["index_topk"]))

    def index_scores(self, q, keys, weight):
        """q [T, h, d], keys [n, d], weight [T, h] -> [T, n]."""
        score = self.keep(torch.einsum("thd,kd->thk", q, keys), "index products").relu()
        if self.level != "released":
            return torch.einsum("thk,th->tk", score, weight)
        return self.keep(score * weight.unsqueeze(-1), "weighted index products").sum(1)

    def index_keys(self, layer, at, state, step):
        """The keys of the latest source, or, in the other reading of §7.2, in one-token decode
        what the last source left behind unless this token closes a block."""
        last, ratio = max(self.text["kv_source_layer_ids"]), self.text["compress_ratios"][layer]
        if self.stale_keys and len(at) == 1 and (int(at[0]) + 1) % ratio:
            return state.keys[last]
        return state.keys[step.source]

    def prefilter(self, score, visible, layer, step):
        """The best blocks of each query, its newest among them."""
        size, most = self.text["candidate_block_size"], self.text["candidate_topk_blocks"]
        block = F.pad(score, (0, -score.shape[1] % size), value=-math.inf).unflatten(1, (-1, size)).amax(-1)
        newest = torch.arange(block.shape[1]) == torch.div(visible - 1, size, rounding_mode="floor")[:, None]
        value, index = self.best(block.masked_fill(newest, math.inf), min(most, block.shape[1]), "candidate")
        kept = torch.zeros_like(block, dtype=torch.bool).scatter(1, index, value > -math.inf)
        step.candidates = kept.repeat_interleave(size, 1)[:, :score.shape[1]]
        self.tap(f"candidates.{layer}", ascending(index.masked_fill(value == -math.inf, -1), most))

    # -- experts (§3.8)
    def expert(self, x, p, weight=None):
        limit = self.text["swiglu_limit"]
        h = F.silu(self.lin(x, p + "w1").clamp(max=limit)) * self.lin(x, p + "w3").clamp(-limit, limit)
        return self.lin(self.keep(h if weight is None else h * weight, "inside experts"), p + "w2")

    def moe(self, x, p, image, k):
        s = F.softplus(self.product(x, self.w[p + "gate.weight"])).sqrt()
        bias = torch.where(image[:, None], self.w[p + "gate.bias_vl"], self.w[p + "gate.bias"])
        chosen = self.best(s + bias, k, "router")[1]
        weight = s.gather(1, chosen)
        weight = weight / (weight.sum(-1, keepdim=True) + 1e-20) * self.text["routed_scaling_factor"]
        y = torch.zeros_like(x)
        for e in chosen.unique().tolist():
            row, slot = (chosen == e).nonzero(as_tuple=True)
            y[row] += self.expert(x[row], f"{p}experts.{e}.", weight[row, slot, None])
        if p.startswith("layers."):
            self.tap(f"experts.{p.split('.')[1]}", ascending(chosen, k))
        return self.keep(y + self.expert(x, p + "shared_experts."), "sum of experts")

    # -- Engram (§3.7)
    def engram(self, rows, layer, state):
        p, x, eps = f"layers.{layer}.engram.", rows.x, self.text["rms_norm_eps"]
        n, width = x.shape[1:]
        slots = self.addresses.at(state.history, rows.at.tolist(), self.addresses.layers.index(layer))
        kv = self.lin(self.w[p + "embed.weight"][slots].flatten(1), p + "wkv")
        k, v = kv[:, :n * width].unflatten(-1, (n, width)), kv[:, n * width:]
        a = (x * self.w[p + "q_weight"] * self.w[p + "k_weight"] * k).sum(-1) * width ** -0.5
        a = a * torch.rsqrt(x.square().mean(-1) + eps) * torch.rsqrt(k.square().mean(-1) + eps)
        g = torch.sigmoid(a.sign() * a.abs().clamp_min(1e-6).sqrt()).masked_fill(rows.image[:, None], 0)
        return self.keep(x + g.unsqueeze(-1) * v.unsqueeze(1), "streams behind Engram")

    # -- layers and whole runs (§3.1, §3.10)
    def layer(self, rows, i, state, step):
        p, c = f"layers.{i}.", self.text
        self.tap_rows(rows, i)
        if i in c["dspark_target_layer_ids"]:
            step.taps[i] = self.keep(rows.x.mean(1), "what the drafter reads")
        if i in c["engram_layer_ids"]:
            rows.x = self.engram(rows, i, state)
        pre, post, mix = self.mixer(rows.x, p + "hc_attn")
        x = self.rms(self.collapse(rows.x, rows.pre), p + "attn_norm")
        x = self.write(rows.x, self.attention(x, i, rows.at, state, step), post, mix)
        then, post, mix = self.mixer(x, p + "hc_ffn")
        y = self.moe(self.rms(self.collapse(x, pre), p + "ffn_norm"), p + "ffn.", rows.image, c["num_experts_per_tok"])
        x = self.write(x, y, post, mix)
        self.tap(f"streams.{i}", x)
        return Rows(x, then, rows.at, rows.image)

    def enter(self, ids, state, kinds=None, embeds=None):
        """`kinds` and `embeds` [T, D] say which rows are an image's and what stands for them."""
        ids = torch.tensor(ids)
        image = torch.zeros(len(ids), dtype=torch.bool) if kinds is None else torch.tensor(kinds) != TEXT
        x = self.keep(self.w["embed.weight"][ids], "embedding")
        if embeds is not None:
            x = torch.where(image[:, None], embeds, x)
        state.history += [None if i else self.addresses.ids[t] for t, i in zip(ids.tolist(), image.tolist())]
        at = state.position + torch.arange(len(ids))
        state.position += len(ids)
        return Rows(*self.spread(x), at, image)

    def leave(self, rows, step):
        x = self.rms(self.collapse(rows.x, rows.pre), "norm")
        taps = torch.cat([step.taps[i] for i in self.text["dspark_target_layer_ids"]], -1)
        return self.product(x, self.w["head.weight"]), (rows.at, taps)

    def tap_rows(self, rows, i):
        self.tap(f"enter.{i}", rows.x)
        self.tap(f"pre.{i}", rows.pre)

    def run(self, rows, layers, state, step, given=None):
        for i in layers:
            rows = self.layer(rows, i, state, step)
            if given:
                rows = Rows(*(g.to(self.dtype) for g in given[i + 1]), rows.at, rows.image)
        return rows

    def forward(self, ids, state, kinds=None, embeds=None, given=None):
        """Logits [T, vocabulary] and what `remember` wants."""
        step, rows = Step(taps={}), self.enter(ids, state, kinds, embeds)
        rows = self.run(rows, range(self.depth), state, step, given)
        self.tap_rows(rows, self.depth)
        return self.leave(rows, step)

    def replay(self, chunks, state):
        """Bounded replay: all rows pass the encoder, the last of the prompt the decoder.

        `chunks` are what `enter` takes, or ids alone. Streams and mix of the last
        `sliding_window` rows are kept over chunks; the decoder runs once, at the end."""
        cut, kept = max(self.text["kv_source_layer_ids"]), None
        for chunk in chunks:
            chunk = chunk if isinstance(chunk, tuple) else (chunk,)
            rows = self.run(self.enter(chunk[0], state, *chunk[1:]), range(cut), state, Step(taps={}))
            x = self.rms(self.collapse(rows.x, rows.pre), f"layers.{cut}.attn_norm")
            self.publish(x, cut, rows.at, state)
            kept = (kept.then(rows) if kept else rows).last(self.text["sliding_window"])
        step = Step(window_from=int(kept.at[0]), published=cut, taps={})
        return self.leave(self.run(kept, range(cut, self.depth), state, step), step)

    # -- drafts (§5)
    def remember(self, taps, state):
        at, rows = taps
        m = self.rms(self.lin(rows, "mtp.0.main_proj"), "mtp.0.main_norm")
        for s in range(self.drafters):
            self.store(state.rings[self.depth + s], at, self.window_row(m, f"mtp.{s}.attn.", at, False))

    def draft(self, anchor, state):
        """Greedy drafts after `anchor`, the token for `state.position`; the state stays as it is."""
        c, w = self.text, self.w
        count, k = c["dspark_block_size"], c["dspark_num_experts_per_tok"]
        at = state.position + torch.arange(count)
        ids = torch.tensor([anchor] + [c["dspark_noise_token_id"]] * (count - 1))
        x, pre = self.spread(self.keep(w["embed.weight"][ids], "embedding of drafts"))
        for s in range(self.drafters):
            p = f"mtp.{s}."
            mine, post, mix = self.mixer(x, p + "hc_attn")
            _, q, kv = self.heads(self.rms(self.collapse(x, pre), p + "attn_norm"), p + "attn.", at, False)
            ring = state.rings[self.depth + s]
            keys = torch.cat((*(ring[i][None] for i in sorted(ring)), kv)).expand(count, -1, -1)
            seen = torch.ones(keys.shape[:2], dtype=torch.bool)
            x = self.write(x, self.attend(q, keys, seen, p + "attn.", at, False), post, mix)
            then, post, mix = self.mixer(x, p + "hc_ffn")
            y = self.rms(self.collapse(x, mine), p + "ffn_norm")
            y = self.moe(y, p + "ffn.", torch.zeros(count, dtype=torch.bool), k)
            x, pre = self.write(x, y, post, mix), then
        h, p = self.collapse(x, pre), f"mtp.{self.drafters - 1}."
        normed = self.rms(h, p + "norm")
        base, told = self.product(normed, w["head.weight"]), normed if self.confide_normed else h
        last, tokens, confidence, logits = anchor, [], [], []
        for i in range(count):
            e = w[p + "markov_head.embed.weight"][last]
            logits.append(base[i] + self.plain(e, p + "markov_head.head"))
            confidence.append(self.plain(torch.cat((told[i], e)), p + "confidence_head.proj")[0])
            first, second = logits[-1].topk(2).values
            self.margins["draft"] = min(self.margins.get("draft", math.inf), float(first - second))
            last = int(logits[-1].argmax())
            tokens.append(last)
        return torch.tensor(tokens), torch.stack(confidence), torch.stack(logits)

    # -- vision (§4.3, §4.4)
    def tower(self, x, across, down):
        """Patches [down * across, 3 * size * size] -> features [down * across, D]."""
        v, dtype = self.vision, self.dtype
        x = self.kept(self.keep(x.flatten(1).to(dtype), "pixels"), "vision.patch_embed.proj")
        d = v["hidden_size"] // v["num_attention_heads"]
        f = 1.0 / v["rope_theta"] ** (torch.arange(0, d // 2, 2, dtype=torch.float32) / (d // 2))
        row = torch.arange(down).repeat_interleave(across).float()
        column = torch.arange(across).repeat(down).float()
        angle = torch.cat((row[:, None] * f, column[:, None] * f), 1).double().unsqueeze(1)
        cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)

        def turn(z):
            a, b = z.chunk(2, -1)
            return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)
        for i in range(v["num_hidden_layers"]):
            p = f"vision.blocks.{i}."
            qkv = self.kept(self.rms(x, p + "norm1", 1e-6), p + "attn.wqkv")
            q, k, u = qkv.unflatten(-1, (3, v["num_attention_heads"], d)).unbind(1)
            q, k = (self.keep(turn(z), "turned in the tower") for z in (q, k))
            weight = (torch.einsum("phd,qhd->hpq", q, k) * d ** -0.5).softmax(-1)
            y = self.keep(torch.einsum("hpq,qhd->phd", weight, u).flatten(1), "attention of the tower")
            x = self.keep(x + self.kept(y, p + "attn.wo"), "tower behind attention")
            gate, up = self.kept(self.rms(x, p + "norm2", 1e-6), p + "mlp.w1").chunk(2, -1)
            y = self.keep(F.silu(gate) * up, "inside the tower's network")
            x = self.keep(x + self.kept(y, p + "mlp.w2"), "tower behind its network")
        return self.rms(x, "vision.norm", 1e-6)

    def see(self, x, size):
        """Patches of a picture of that Grid -> one feature per FEATURE token."""
        (pw, ph), (tw, th), m = size.patches, size.tokens, self.vision["downsample_ratio"]
        y = self.tower(x, pw, ph).view(ph, pw, -1)
        y = F.pad(y, (0, 0, 0, tw * m - pw, 0, th * m - ph))
        y = y.view(th, m, tw, m, -1).permute(0, 2, 4, 1, 3).reshape(th * tw, -1)     # channel, row, column
        return self.kept(self.keep(F.gelu(self.kept(y, "aligner.w1")), "inside the aligner"), "aligner.w2")

    def place(self, features, size):
        """What stands for the embeddings of a picture's tokens."""
        rest = {START: "image_start", NEWLINE: "image_newline", END: "image_end"}
        features = iter(features)
        return torch.stack([next(features) if k == FEATURE else self.w[rest[k]] for k in size.kinds])


def place_of(name):
    """`layers.3.attn.wq_a` -> `attn.wq_a`: a name without numbers."""
    return ".".join(part for part in name.split(".") if not part.isdigit() and part != "layers")


def ascending(choices, width):
    """int32 [T, width]: what was chosen, ascending, then -1."""
    out = choices.int().masked_fill(choices < 0, torch.iinfo(torch.int32).max).sort(-1).values
    out = out.masked_fill(out == torch.iinfo(torch.int32).max, -1)
    return F.pad(out, (0, width - out.shape[-1]), value=-1)
