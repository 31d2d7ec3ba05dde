"""DeepSeek-V4.1 with pictures and sound, for training: static shapes, nothing waits for the host.

Modules carry the names of the released tensors, so that `export.py` only has to pack. The model is
the one of `tests/oracle/v41_ref.py`, batched over rows of equal length; sections are those of
`docs/models/deepseek-v41.md` unless another page is named.

Shapes: B rows, L positions, D hidden, n streams, H heads, d their width, G compressed entries.
"""
import math
from dataclasses import dataclass, field

import numpy
import torch
import torch.nn.functional as F
from torch import nn

import quant
from config import engram_primes
from kernels import sinkhorn, write

PAD, TEXT, IMAGE, AUDIO = -2, -1, 0, 1           # kinds of positions; from 2 on the delimiters:
DELIMITERS = ("image_start", "image_newline", "image_end", "audio_start", "audio_end")
LONGEST = 8512                                   # positions of a row, and a little more for drafts


@dataclass(frozen=True)
class Mode:
    """What a forward pass leaves out to be fast, or adds to be what the engine does.

    `sparse`: entries are chosen by the indexer, else all that a query may see are read.
    `stored`: weights and cached rows are rounded as they are stored."""
    sparse: bool = False
    stored: bool = False
    sinkhorn: int = 8


@dataclass
class Step:
    """What lives within one forward pass."""
    mode: Mode
    media: torch.Tensor                          # [B, L] bool
    valid: torch.Tensor                          # [B, L] bool
    cut: torch.Tensor                            # [B]: from here on windows of the decoder see no further back
    watched: torch.Tensor                        # [K]: positions at which the indexer is taught
    ratio: int = 0
    entries: torch.Tensor = None                 # [B, G, d]
    latent: torch.Tensor = None                  # [B, G, d], not turned
    keys: torch.Tensor = None                    # [B, G, index d]
    score: torch.Tensor = None                   # [B, K or L, G] of the latest index source
    chosen: torch.Tensor = None                  # [B, L, G] bool
    candidates: torch.Tensor = None
    lessons: list = field(default_factory=list)  # losses of the indexer
    taps: dict = field(default_factory=dict)
    seen: torch.Tensor = None                    # [B, N, features, D] of the picture tower
    heard: torch.Tensor = None                   # [B, tokens, D] of the audio tower


def weight(shape, std):
    return nn.Parameter(torch.randn(shape) * std)


class Linear(nn.Module):
    """A matrix without or with a bias, kept in `fmt`."""

    def __init__(self, inputs, outputs, fmt="fp8", bias=False, gain=0.8):
        super().__init__()
        self.fmt = fmt
        self.weight = weight((outputs, inputs), gain * inputs ** -0.5)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x, mode):
        return F.linear(x, kept(self.weight, self.fmt, mode), kept(self.bias, "bf16", mode))


def kept(w, fmt, mode):
    """A weight as the file holds it, where the mode asks for that."""
    if w is None or not mode.stored or fmt == "f32":
        return w
    return quant.straight_through(w, quant.WEIGHTS[fmt](w.float()).to(w.dtype))


def cached(x, rounding, mode):
    return quant.straight_through(x, rounding(x.float()).to(x.dtype)) if mode.stored else x


class Norm(nn.Module):
    """x / rms(x) * weight."""

    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.eps, self.weight = eps, nn.Parameter(torch.ones(width))

    def forward(self, x, mode):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * kept(self.weight, "bf16", mode)


class LayerNorm(nn.Module):
    """With the Whisper family's eps and a bias."""

    def __init__(self, width):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x, mode):
        return F.layer_norm(x, x.shape[-1:], kept(self.weight, "bf16", mode), kept(self.bias, "bf16", mode), 1e-5)


class Rotary(nn.Module):
    """Turns adjacent pairs of the last channels (§3.3); tables for every position."""

    def __init__(self, width, theta):
        super().__init__()
        turns = 1.0 / torch.tensor([theta ** (k / width) for k in range(0, width, 2)], dtype=torch.float32)
        angle = (torch.arange(LONGEST, dtype=torch.float32)[:, None] * turns).double()
        self.width = width
        self.register_buffer("cos", angle.cos().float(), persistent=False)
        self.register_buffer("sin", angle.sin().float(), persistent=False)

    def at(self, length, stride=1):
        """Tables [length, width / 2] of positions 0, stride, 2 stride ..."""
        return self.cos[:length * stride:stride], self.sin[:length * stride:stride]

    def turn(self, x, tables, back=False):
        """`tables` broadcast to x[..., :width / 2]."""
        cos, sin = tables
        plain, a, b = x[..., :-self.width], x[..., -self.width::2], x[..., 1 - self.width::2]
        if back:
            sin = -sin
        return torch.cat((plain, torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)), -1)


def select(ids, table):
    """`F.embedding` whose gradient is added up row by row."""
    return table.index_select(0, ids.flatten()).view(*ids.shape, -1)


LOOKUP = F.embedding                 # or `select`, where the library's cannot be captured


def best(score, k):
    """The k best of the last axis, of equals the first: scores of zero are common. On a GPU any of
    equals will do, since only training runs there and a sort would cost a third of a long step."""
    k = min(k, score.shape[-1])
    if score.is_cuda:
        return score.topk(k, -1)
    value, index = score.sort(dim=-1, descending=True, stable=True)
    return value[..., :k], index[..., :k]


def over_heads(tables):
    return tables[0].unsqueeze(-2), tables[1].unsqueeze(-2)


# ------------------------------------------------- hyper-connections (§3.2) --
class Mixer(nn.Module):
    """What a sub-layer reads of the streams next time, what it writes, and how the streams mix."""

    def __init__(self, text):
        super().__init__()
        n, d = text["hc_mult"], text["hidden_size"]
        base = torch.zeros(n * (n + 2))
        base[:n] = math.log(1 / (n - 1))         # each stream's share is 1/n
        base[2 * n:] = 3 * torch.eye(n).flatten()
        self.n, self.eps, self.norm_eps = n, text["hc_eps"], text["rms_norm_eps"]
        self.fn = weight((n * (n + 2), n * d), (n * d) ** -0.5)
        self.base = nn.Parameter(base)
        self.scale = nn.Parameter(torch.full((3,), 0.1))

    def forward(self, x, mode):
        """x [..., n, D] -> pre [..., n], post [..., n], mix [..., n, n]."""
        n, f = self.n, x.flatten(-2)
        z = F.linear(f, self.fn) * torch.rsqrt(f.square().mean(-1, keepdim=True) + self.norm_eps)
        scale = torch.cat([self.scale[i:i + 1].expand(w) for i, w in enumerate((n, n, n * n))])
        z = z * scale + self.base
        pre = torch.sigmoid(z[..., :n]) + self.eps
        post = 2 * torch.sigmoid(z[..., n:2 * n])
        return pre, post, sinkhorn(z[..., 2 * n:], n, mode.sinkhorn, self.eps)


def collapse(x, pre):
    """[..., n, D] and [..., n] -> [..., D]."""
    return (pre.unsqueeze(-1) * x).sum(-2)


# ----------------------------------------------------------- attention (§3.4) --
class Compressor(nn.Module):
    """A run of `ratio` tokens to one latent (§3.5)."""

    def __init__(self, text, ratio):
        super().__init__()
        self.ratio = ratio
        self.wkv = Linear(text["hidden_size"], text["head_dim"], "bf16")
        if ratio > 1:
            self.wgate = Linear(text["hidden_size"], text["head_dim"], "bf16")
        self.norm = Norm(text["head_dim"], text["rms_norm_eps"])

    def forward(self, x, mode):
        u = self.wkv(x, mode)
        if self.ratio > 1:
            u, g = (v.unflatten(1, (-1, self.ratio)) for v in (u, self.wgate(x, mode)))
            u = (u * g.softmax(2)).sum(2)
        return self.norm(u, mode)


class Indexer(nn.Module):
    """Scores entries for queries (§3.6). Its inputs are detached: it learns from attention alone."""

    def __init__(self, text, owns_keys):
        super().__init__()
        self.heads, self.width = text["index_n_heads"], text["index_head_dim"]
        self.wq_b = Linear(text["q_lora_rank"], self.heads * self.width)
        self.weights_proj = Linear(text["hidden_size"], self.heads, "bf16")
        if owns_keys:
            self.wk = Linear(text["head_dim"], self.width, "bf16")
            self.k_norm = Norm(self.width, text["rms_norm_eps"])

    def publish(self, latent, rotary, ratio, mode):
        key = rotary.turn(self.k_norm(self.wk(latent, mode), mode), rotary.at(latent.shape[1], ratio))
        return cached(key, quant.index_row, mode)

    def forward(self, x, qa, keys, rotary, tables, mode):
        """x [B, K, D], qa [B, K, rank], keys [B, G, d] -> [B, K, G]."""
        q = rotary.turn(self.wq_b(qa, mode).unflatten(-1, (self.heads, self.width)), over_heads(tables))
        q = cached(q, quant.index_row, mode)
        share = self.weights_proj(x, mode) * (self.width * self.heads) ** -0.5
        # One head at a time: all at once would be the largest tensor of a long row.
        score = 0
        for h in range(self.heads):
            score = score + torch.matmul(q[:, :, h], keys.transpose(1, 2)).relu() * share[..., h, None]
        return score


class Attention(nn.Module):
    def __init__(self, text, layer, near, far):
        super().__init__()
        c = self.text = text
        self.layer, self.ratio = layer, c["compress_ratios"][layer]
        self.rotary = [far if self.ratio else near]          # in a list: shared, not a part of this layer
        heads, d, rank = c["num_attention_heads"], c["head_dim"], c["q_lora_rank"]
        self.wq_a, self.q_norm = Linear(c["hidden_size"], rank), Norm(rank, c["rms_norm_eps"])
        self.wq_b = Linear(rank, heads * d)
        self.wkv, self.kv_norm = Linear(c["hidden_size"], d), Norm(d, c["rms_norm_eps"])
        self.wo_a = Linear(heads * d // c["o_groups"], c["o_groups"] * c["o_lora_rank"], gain=1.0)
        self.wo_b = Linear(c["o_groups"] * c["o_lora_rank"], c["hidden_size"], gain=0.4)
        self.attn_sink = nn.Parameter(torch.zeros(heads))
        self.publishes = layer in c["kv_source_layer_ids"]
        self.chooses = layer in c["index_source_layer_ids"]
        self.decoder = layer >= max(c["kv_source_layer_ids"])
        if self.publishes:
            self.compressor = Compressor(c, self.ratio)
        if self.chooses:
            self.indexer = Indexer(c, self.publishes)

    def query(self, x, mode):
        qa = self.q_norm(self.wq_a(x, mode), mode)
        return qa, self.wq_b(qa, mode).unflatten(-1, (self.text["num_attention_heads"], -1))

    def window_row(self, x, tables, mode):
        row = self.rotary[0].turn(self.kv_norm(self.wkv(x, mode), mode), tables)
        return cached(row, quant.window_row, mode)

    def leave(self, o, tables, mode):
        """o [..., H, d] -> [..., D]: turned back, then projected group by group."""
        c = self.text
        o = self.rotary[0].turn(o, over_heads(tables), back=True).unflatten(-2, (c["o_groups"], -1)).flatten(-2)
        wo_a = kept(self.wo_a.weight, "fp8", mode).view(c["o_groups"], c["o_lora_rank"], -1)
        return self.wo_b(torch.einsum("...gi,gri->...gr", o, wo_a).flatten(-2), mode)

    def forward(self, x, step):
        mode, rotary, length = step.mode, self.rotary[0], x.shape[1]
        tables = rotary.at(length)
        qa, q = self.query(x, mode)
        q = rotary.turn(q, over_heads(tables)).transpose(1, 2)                  # [B, H, L, d]
        kv = self.window_row(x, tables, mode)
        if self.publishes:
            step.ratio, latent = self.ratio, self.compressor(x, mode)
            step.entries = cached(rotary.turn(latent, rotary.at(latent.shape[1], self.ratio)), quant.entry_row, mode)
            step.keys = self.indexer.publish(latent.detach(), rotary, self.ratio, mode)
        if self.chooses:
            self.choose(x.detach(), qa.detach(), tables, step)
        near, values = self.near(q, kv, step)
        sink = self.attn_sink.view(1, -1, 1, 1).expand(len(x), -1, length, 1)
        if not self.ratio:
            p = torch.cat((near, sink), -1).softmax(-1)
            o = self.gather_window(p[..., :-1], values)
        else:
            far = torch.matmul(q, step.entries.transpose(1, 2).unsqueeze(1)) * q.shape[-1] ** -0.5
            far = far.masked_fill(~step.chosen.unsqueeze(1), -math.inf)
            p = torch.cat((near, sink, far), -1).softmax(-1)
            width = near.shape[-1]
            o = self.gather_window(p[..., :width], values)
            o = o + torch.matmul(p[..., width + 1:], step.entries.unsqueeze(1))
            self.teach(p[..., width + 1:], step)
        return self.leave(o.transpose(1, 2), tables, mode)

    def near(self, q, kv, step):
        """Scores of the window, banded: [B, H, L, 2 W] over this block of W positions and the one before."""
        w, length = self.text["sliding_window"], q.shape[2]
        now = kv.unflatten(1, (-1, w))                                           # [B, L / W, W, d]
        values = torch.cat((F.pad(now, (0, 0, 0, 0, 1, 0))[:, :-1], now), 2)     # [B, L / W, 2 W, d]
        score = torch.einsum("bhnqd,bnkd->bhnqk", q.unflatten(2, (-1, w)), values) * q.shape[-1] ** -0.5
        at = torch.arange(length, device=q.device).view(-1, w)                   # [L / W, W]
        keys = torch.cat((at - w, at), 1)                                        # [L / W, 2 W]
        back = at[:, :, None] - keys[:, None]
        seen = (back >= 0) & (back < w) & (keys[:, None] >= 0)
        if self.decoder:
            cut = step.cut[:, None, None, None]
            seen = seen & ~((at[:, :, None] >= cut) & (keys[:, None] < cut))
            seen = seen.unsqueeze(1)
        return score.masked_fill(~seen, -math.inf).flatten(2, 3), values

    def gather_window(self, p, values):
        """p [B, H, L, 2 W], values [B, L / W, 2 W, d] -> [B, H, L, d]."""
        p = p.unflatten(2, (values.shape[1], -1))
        return torch.einsum("bhnqk,bnkd->bhnqd", p, values).flatten(2, 3)

    def choose(self, x, qa, tables, step):
        c, mode = self.text, step.mode
        length, entries = x.shape[1], step.keys.shape[1]
        at = torch.arange(length, device=x.device)
        visible = torch.div(at + 1, step.ratio, rounding_mode="floor")
        mask = torch.arange(entries, device=x.device) < visible[:, None]         # [L, G]
        step.chosen = mask.unsqueeze(0)
        if not mode.sparse:
            tables = tuple(t.index_select(0, step.watched) for t in tables)
            score = self.indexer(x.index_select(1, step.watched), qa.index_select(1, step.watched),
                                 step.keys, self.rotary[0], tables, mode)
            step.score = score.masked_fill(~mask.index_select(0, step.watched), -math.inf)
            return
        score = self.indexer(x, qa, step.keys, self.rotary[0], tables, mode).masked_fill(~mask, -math.inf)
        bare = score.detach()
        if self.layer == c["candidate_source_layer_id"]:
            size, most = c["candidate_block_size"], c["candidate_topk_blocks"]
            block = F.pad(bare, (0, -entries % size), value=-math.inf).unflatten(-1, (-1, size)).amax(-1)
            newest = torch.arange(block.shape[-1], device=x.device) == \
                torch.div(visible - 1, size, rounding_mode="floor")[:, None]
            value, index = best(block.masked_fill(newest, math.inf), most)
            kept_blocks = torch.zeros_like(block, dtype=torch.bool).scatter(-1, index, value > -math.inf)
            step.candidates = kept_blocks.repeat_interleave(size, -1, output_size=block.shape[-1] * size)[..., :entries]
        elif self.layer > c["candidate_source_layer_id"]:
            bare = bare.masked_fill(~step.candidates, -math.inf)
        value, index = best(bare, c["index_topk"])
        step.chosen = torch.zeros_like(bare, dtype=torch.bool).scatter(-1, index, value > -math.inf)
        score = score.masked_fill(~step.chosen, -math.inf)
        step.score = score.index_select(1, step.watched)

    def teach(self, p, step):
        """KL of the indexer's softmax from what attention gave the entries, mean over heads."""
        if not self.training:
            return
        with torch.no_grad():
            target = p.index_select(2, step.watched).mean(1)
            mass = target.sum(-1, keepdim=True)
            target = target / (mass + 1e-9)
            visible = torch.div(step.watched + 1, step.ratio, rounding_mode="floor")
            counts = (mass[..., 0] > 1e-4) & step.valid.index_select(1, step.watched) & (visible > 1)
        told = step.score.masked_fill(step.score == -math.inf, -1e4).log_softmax(-1)
        loss = (target * ((target + 1e-9).log() - told)).sum(-1)
        step.lessons.append((loss * counts).sum() / counts.sum().clamp_min(1))


# ------------------------------------------------------------- experts (§3.8) --
class Gate(nn.Module):
    def __init__(self, experts, width):
        super().__init__()
        self.weight = weight((experts, width), width ** -0.5)
        self.register_buffer("bias", torch.zeros(experts))
        self.register_buffer("bias_vl", torch.zeros(experts))
        self.register_buffer("load", torch.zeros(2, experts), persistent=False)


class Experts(nn.Module):
    """The routed experts, stacked: w1, w3 [E, inner, D], w2 [E, D, inner]."""

    def __init__(self, experts, width, inner, fmt):
        super().__init__()
        self.fmt = fmt
        self.w1 = weight((experts, inner, width), width ** -0.5)
        self.w3 = weight((experts, inner, width), width ** -0.5)
        self.w2 = weight((experts, width, inner), 0.4 * inner ** -0.5)

    def kept(self, mode):
        return (kept(w, self.fmt, mode) for w in (self.w1, self.w2, self.w3))


class Mixture(nn.Module):
    """Routed experts and the shared one. All are run on all tokens as one wide network whose middle
    is weighted; those not chosen weigh nothing. At nine small experts that costs less than sorting."""

    def __init__(self, text, experts, each):
        super().__init__()
        width, inner = text["hidden_size"], text["moe_intermediate_size"]
        self.each, self.scale, self.limit = each, text["routed_scaling_factor"], text["swiglu_limit"]
        self.gate = Gate(experts, width)
        self.experts = Experts(experts, width, inner, "fp4")
        self.shared_experts = Experts(1, width, inner, "fp8")

    def route(self, x, media, counted):
        """Weight of every expert for every token, zero where not chosen: [..., E]."""
        score = F.softplus(F.linear(x, self.gate.weight)).sqrt()
        bias = torch.where(media.unsqueeze(-1), self.gate.bias_vl, self.gate.bias)
        index = (score.detach() + bias).topk(self.each, -1).indices
        chosen = torch.zeros_like(score).scatter(-1, index, 1.0)
        if self.training:
            with torch.no_grad():
                for row, who in enumerate((~media & counted, media & counted)):
                    self.gate.load[row] += (chosen * who.unsqueeze(-1)).flatten(0, -2).sum(0)
        share = score * chosen
        return share / (share.sum(-1, keepdim=True) + 1e-20) * self.scale

    def forward(self, x, media, counted, mode):
        share = self.route(x, media, counted)
        share = torch.cat((share, torch.ones_like(share[..., :1])), -1)
        w1, w2, w3 = (torch.cat(pair) for pair in zip(self.experts.kept(mode), self.shared_experts.kept(mode)))
        fast = torch.bfloat16 if x.is_cuda else x.dtype
        y = x.to(fast)
        up = F.linear(y, w1.flatten(0, 1).to(fast)).clamp(max=self.limit)
        h = F.silu(up) * F.linear(y, w3.flatten(0, 1).to(fast)).clamp(-self.limit, self.limit)
        h = (h.unflatten(-1, (len(w1), -1)) * share.to(fast).unsqueeze(-1)).flatten(-2)
        return F.linear(h, w2.transpose(0, 1).flatten(1).to(fast)).to(x.dtype)

    @torch.no_grad()
    def balance(self, speed):
        """Moves the biases toward equal loads; `speed` is a tensor, zero when they are settled."""
        for bias, load in zip((self.gate.bias, self.gate.bias_vl), self.gate.load):
            bias += speed * torch.sign(load.mean() - load)
        self.gate.load.zero_()


# -------------------------------------------------------------- Engram (§3.7) --
class Table(nn.Module):
    def __init__(self, rows, width):
        super().__init__()
        self.weight = weight((rows, width), 0.05)


class Engram(nn.Module):
    def __init__(self, text, which):
        super().__init__()
        c, primes = text, engram_primes(text)[which]
        n, width, orders = c["hc_mult"], c["hidden_size"], c["engram_max_ngram_size"] - 1
        drawn = numpy.random.default_rng(10007 * c["engram_layer_ids"][which]).integers(
            0, max(1, (2 ** 63 - 1) // c["engram_compressed_vocab_size"] // 2), size=orders + 1, dtype=numpy.int64)
        self.streams, self.eps = n, c["rms_norm_eps"]
        self.embed = Table(sum(primes), c["engram_head_dim"])
        self.wkv = Linear(len(primes) * c["engram_head_dim"], (n + 1) * width)
        self.q_weight, self.k_weight = nn.Parameter(torch.ones(n, width)), nn.Parameter(torch.ones(n, width))
        offsets = [sum(primes[:k]) for k in range(len(primes))]
        for name, value in (("primes", primes), ("offsets", offsets), ("multipliers", [2 * int(x) + 1 for x in drawn])):
            self.register_buffer(name, torch.tensor(value), persistent=False)

    def slots(self, norm_ids, media, pad):
        """Rows of the table [B, L, columns] from compressed ids; media and the start end the look-back."""
        heads = len(self.primes) // (len(self.multipliers) - 1)
        dead, mixed, columns = media, norm_ids.masked_fill(media, pad) * self.multipliers[0], []
        length = norm_ids.shape[1]
        for k in range(1, len(self.multipliers)):
            token = F.pad(norm_ids, (k, 0))[:, :length]
            dead = dead | F.pad(media, (k, 0), value=True)[:, :length]
            mixed = mixed ^ (token.masked_fill(dead, pad) * self.multipliers[k])
            columns.append(mixed.unsqueeze(-1) % self.primes[(k - 1) * heads:k * heads])
        return torch.cat(columns, -1) + self.offsets

    def forward(self, x, slots, media, mode):
        """x [B, L, n, D]."""
        n, width = x.shape[-2:]
        kv = self.wkv(LOOKUP(slots, kept(self.embed.weight, "fp8_rows", mode)).flatten(-2), mode)
        k, v = kv[..., :n * width].unflatten(-1, (n, width)), kv[..., n * width:]
        both = kept(self.q_weight, "bf16", mode) * kept(self.k_weight, "bf16", mode)
        a = (x * both * k).sum(-1) * width ** -0.5
        a = a * torch.rsqrt(x.square().mean(-1) + self.eps) * torch.rsqrt(k.square().mean(-1) + self.eps)
        gate = torch.sigmoid(a.sign() * a.abs().clamp_min(1e-6).sqrt()).masked_fill(media.unsqueeze(-1), 0)
        return x + gate.unsqueeze(-1) * v.unsqueeze(-2)


# --------------------------------------------------------------------- layers --
class Layer(nn.Module):
    def __init__(self, text, layer, near, far):
        super().__init__()
        c = text
        self.attn_norm, self.ffn_norm = (Norm(c["hidden_size"], c["rms_norm_eps"]) for _ in range(2))
        self.hc_attn, self.hc_ffn = Mixer(c), Mixer(c)
        self.attn = Attention(c, layer, near, far)
        self.ffn = Mixture(c, c["n_routed_experts"], c["num_experts_per_tok"])
        if layer in c["engram_layer_ids"]:
            self.engram = Engram(c, c["engram_layer_ids"].index(layer))
        else:
            self.engram = None

    def forward(self, x, pre, step, slots):
        mode = step.mode
        if self.engram is not None:
            x = self.engram(x, slots, step.media, mode)
        after, post, mix = self.hc_attn(x, mode)
        x = write(x, self.attn(self.attn_norm(collapse(x, pre), mode), step), post, mix)
        then, post, mix = self.hc_ffn(x, mode)
        y = self.ffn(self.ffn_norm(collapse(x, after), mode), step.media, step.valid, mode)
        return write(x, y, post, mix), then


class Draft(nn.Module):
    """The DSpark layer (§5), one stage."""

    def __init__(self, text, near):
        super().__init__()
        c = self.text = text
        width, vocabulary, rank = c["hidden_size"], c["vocab_size"], c["dspark_markov_rank"]
        self.attn_norm, self.ffn_norm = (Norm(width, c["rms_norm_eps"]) for _ in range(2))
        self.hc_attn, self.hc_ffn = Mixer(c), Mixer(c)
        self.attn = Attention(c, c["num_hidden_layers"], near, None)
        self.ffn = Mixture(c, c["dspark_n_routed_experts"], c["dspark_num_experts_per_tok"])
        self.main_proj = Linear(width * len(c["dspark_target_layer_ids"]), width)
        self.main_norm, self.norm = Norm(width, c["rms_norm_eps"]), Norm(width, c["rms_norm_eps"])
        self.markov_head = nn.ModuleDict(dict(embed=Table(vocabulary, rank), head=Linear(rank, vocabulary, "bf16", gain=0.1)))
        self.confidence_head = nn.ModuleDict(dict(proj=Linear(width + rank, 1, "bf16")))

    def forward(self, taps, ids, anchors, embed, head, mode):
        """Proposals after each anchor, the last position read: logits [B, K, block, V] and confidences.

        `taps` [B, L, taps D]; `ids` [B, L], of which those from the anchor's next on are what the
        proposals are corrected by: in training the true ones. `anchors` [B, K]."""
        c, rotary, count = self.text, self.attn.rotary[0], self.text["dspark_block_size"]
        device, length, window = ids.device, ids.shape[1], c["sliding_window"]
        m = self.main_norm(self.main_proj(taps, mode), mode)
        ring = self.attn.window_row(m, rotary.at(length), mode)
        back = anchors.unsqueeze(-1) + torch.arange(1 - window, 1, device=device)                # [B, K, W]
        rows = ring.gather(1, back.clamp_min(0).flatten(1).unsqueeze(-1).expand(-1, -1, ring.shape[-1]))
        rows = rows.unflatten(1, back.shape[1:])                                                  # [B, K, W, d]
        ahead = anchors.unsqueeze(-1) + torch.arange(1, count + 1, device=device)                 # [B, K, block]
        said = ids.gather(1, ahead.clamp_max(length - 1).flatten(1)).unflatten(1, ahead.shape[1:])
        seen = torch.cat((said[..., :1], torch.full_like(said[..., 1:], c["dspark_noise_token_id"])), -1)
        tables = tuple(t[ahead] for t in (rotary.cos, rotary.sin))
        x = embed(seen).unsqueeze(-2).expand(-1, -1, -1, c["hc_mult"], -1)
        mine, post, mix = self.hc_attn(x, mode)
        y = self.attn_norm(x[..., 0, :], mode)                        # the first mix is stream 0
        q = rotary.turn(self.attn.query(y, mode)[1], over_heads(tables))                          # [B, K, block, H, d]
        keys = torch.cat((rows, self.attn.window_row(y, tables, mode)), -2)
        score = torch.einsum("bkqhd,bkjd->bkqhj", q, keys) * q.shape[-1] ** -0.5
        there = F.pad(back >= 0, (0, count), value=True)[:, :, None, None]
        score = score.masked_fill(~there, -math.inf)
        sink = self.attn.attn_sink.view(-1, 1).expand(*score.shape[:-1], 1)
        p = torch.cat((score, sink), -1).softmax(-1)[..., :-1]
        x = write(x, self.attn.leave(torch.einsum("bkqhj,bkjd->bkqhd", p, keys), tables, mode), post, mix)
        pre, post, mix = self.hc_ffn(x, mode)
        text = torch.zeros_like(said, dtype=torch.bool)
        y = self.ffn(self.ffn_norm(collapse(x, mine), mode), text, ~text, mode)
        h = collapse(write(x, y, post, mix), pre)
        before = LOOKUP(said, kept(self.markov_head["embed"].weight, "bf16", mode))
        logits = head(self.norm(h, mode), mode) + self.markov_head["head"](before, mode)
        return logits, self.confidence_head["proj"](torch.cat((h, before), -1), mode)[..., 0]


# --------------------------------------------------------- pictures (§4.3, 4.4) --
class Sight(nn.Module):
    """One block of the picture tower."""

    def __init__(self, vision):
        super().__init__()
        width, inner = vision["hidden_size"], vision["intermediate_size"]
        self.heads = vision["num_attention_heads"]
        self.norm1, self.norm2 = Norm(width), Norm(width)
        self.attn = nn.ModuleDict(dict(wqkv=Linear(width, 3 * width, "bf16", bias=True),
                                       wo=Linear(width, width, "bf16", bias=True)))
        self.mlp = nn.ModuleDict(dict(w1=Linear(width, 2 * inner, "bf16"), w2=Linear(inner, width, "bf16")))

    def forward(self, x, cos, sin, mode):
        def turn(z):
            a, b = z.chunk(2, -1)
            return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)
        qkv = self.attn["wqkv"](self.norm1(x, mode), mode).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        o = F.scaled_dot_product_attention(turn(q), turn(k), v)
        x = x + self.attn["wo"](o.transpose(1, 2).flatten(2), mode)
        gate, up = self.mlp["w1"](self.norm2(x, mode), mode).chunk(2, -1)
        return x + self.mlp["w2"](F.silu(gate) * up, mode)


class Vision(nn.Module):
    def __init__(self, vision):
        super().__init__()
        self.config = vision
        self.patch_embed = nn.ModuleDict(dict(proj=Linear(3 * vision["patch_size"] ** 2, vision["hidden_size"], "bf16", bias=True)))
        self.blocks = nn.ModuleList(Sight(vision) for _ in range(vision["num_hidden_layers"]))
        self.norm = Norm(vision["hidden_size"])

    def forward(self, pixels, mode):
        """uint8 [N, S, S, 3] -> [N, features, 9 width], patches of a cell channel-major."""
        v, size = self.config, self.config["patch_size"]
        side, merge = pixels.shape[1] // size, v["downsample_ratio"]
        x = (pixels.to(self.norm.weight.dtype) / 255 - 0.5) / 0.5
        x = x.view(-1, side, size, side, size, 3).permute(0, 1, 3, 5, 2, 4).reshape(len(x), side * side, -1)
        x = self.patch_embed["proj"](x, mode)
        d = v["hidden_size"] // v["num_attention_heads"]
        f = 1.0 / v["rope_theta"] ** (torch.arange(0, d // 2, 2, device=x.device, dtype=torch.float32) / (d // 2))
        at = torch.arange(side, device=x.device, dtype=torch.float32)
        angle = torch.cat((at.repeat_interleave(side)[:, None] * f, at.repeat(side)[:, None] * f), 1)
        cos, sin = angle.cos(), angle.sin()
        for block in self.blocks:
            x = block(x, cos, sin, mode)
        x = self.norm(x, mode).view(len(x), side // merge, merge, side // merge, merge, -1)
        return x.permute(0, 1, 3, 5, 2, 4).flatten(3).flatten(1, 2)


# ------------------------------------------- sound (`docs/models/audio-video.md` §2.3, §3) --
class LogMel(nn.Module):
    """Samples to features as the Whisper family has them, at a fixed level."""

    def __init__(self, mels, level):
        super().__init__()
        self.level = level
        self.register_buffer("window", torch.hann_window(400), persistent=False)
        self.register_buffer("bank", torch.tensor(mel_bank(mels), dtype=torch.float32), persistent=False)

    def forward(self, sounds, tokens):
        """int16 [B, samples], of which 1280 `tokens` [B] count -> [B, samples / 160, mels], zero past the end.

        Each row is mirrored at its own end, as if it stood alone."""
        samples = sounds.shape[1]
        x, end = sounds.to(self.bank.dtype) / 32768, (tokens.long() * 1280 - 1)[:, None, None]
        frames = torch.arange(samples // 160, device=x.device)
        at = frames[:, None] * 160 + torch.arange(-200, 200, device=x.device)
        at = at.abs().unsqueeze(0)
        at = torch.where(at > end, 2 * end - at, at).clamp(0, samples - 1)
        x = x.gather(1, at.flatten(1)).view(len(x), samples // 160, 400) * self.window
        power = torch.fft.rfft(x).abs().square()
        features = torch.log10((power @ self.bank).clamp_min(1e-10)).clamp_min(self.level - 8)
        inside = frames < (tokens * 8)[:, None]
        return ((features + 4) / 4) * inside.unsqueeze(-1), inside


def mel_bank(mels):
    """Slaney's triangles with his area normalisation: [201, mels]."""
    def hertz(mel):
        return numpy.where(mel < 15, mel * 200 / 3, 1000 * numpy.exp((mel - 15) * numpy.log(6.4) / 27))
    top = 15 + 27 * math.log(8) / math.log(6.4)
    points = hertz(numpy.linspace(0, top, mels + 2))
    bins = numpy.linspace(0, 8000, 201)[:, None]
    rise = (bins - points[:-2]) / (points[1:-1] - points[:-2])
    fall = (points[2:] - bins) / (points[2:] - points[1:-1])
    return numpy.maximum(0, numpy.minimum(rise, fall)) * 2 / (points[2:] - points[:-2])


class Convolution(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.stride = stride
        self.weight = weight((outputs, inputs, 3), (3 * inputs) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x, mode):
        """[B, frames, inputs] -> [B, frames / stride, outputs]; three taps, one frame of silence on each side."""
        y = F.pad(x, (0, 0, 1, 1))
        length, s = x.shape[1], self.stride
        y = torch.cat([y[:, tap:tap + length:s] for tap in range(3)], -1)
        w = kept(self.weight, "bf16", mode).transpose(1, 2).flatten(1)
        return F.gelu(F.linear(y, w, kept(self.bias, "bf16", mode)))


class Hearing(nn.Module):
    """One block of the audio tower."""

    def __init__(self, audio):
        super().__init__()
        d, inner = audio["d_model"], audio["encoder_ffn_dim"]
        self.heads = audio["encoder_attention_heads"]
        self.self_attn = nn.ModuleDict({name: Linear(d, d, "bf16", bias=name != "k_proj")
                                        for name in ("q_proj", "k_proj", "v_proj", "out_proj")})
        self.self_attn_layer_norm, self.final_layer_norm = LayerNorm(d), LayerNorm(d)
        self.fc1, self.fc2 = Linear(d, inner, "bf16", bias=True), Linear(inner, d, "bf16", bias=True)

    def forward(self, x, seen, mode):
        y = self.self_attn_layer_norm(x, mode)
        q, k, v = (self.self_attn[name](y, mode).unflatten(-1, (self.heads, -1)).transpose(1, 2)
                   for name in ("q_proj", "k_proj", "v_proj"))
        o = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        x = x + self.self_attn["out_proj"](o.transpose(1, 2).flatten(2), mode)
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x, mode), mode)), mode)


class Audio(nn.Module):
    def __init__(self, audio):
        super().__init__()
        d = self.width = audio["d_model"]
        self.mel = LogMel(audio["num_mel_bins"], audio["log_mel_max"])
        self.conv1, self.conv2 = Convolution(audio["num_mel_bins"], d, 1), Convolution(d, d, 2)
        self.layers = nn.ModuleList(Hearing(audio) for _ in range(audio["encoder_layers"]))
        self.layer_norm = LayerNorm(d)

    def forward(self, sounds, tokens, mode):
        """int16 [B, samples], [B] -> [B, samples / 1280, 4 width]."""
        x, inside = self.mel(sounds, tokens)
        x = self.conv2(self.conv1(x, mode) * inside.unsqueeze(-1), mode)
        half = self.width // 2
        turn = torch.exp(torch.arange(half, device=x.device) * (-math.log(10000) / (half - 1)))
        angle = torch.arange(x.shape[1], device=x.device)[:, None] * turn
        x = x + torch.cat((angle.sin(), angle.cos()), 1)
        seen = inside[:, ::2]
        # A row without any sound still needs something to look at.
        seen = (seen | ~seen.any(1, keepdim=True))[:, None, None]
        for layer in self.layers:
            x = layer(x, seen, mode)
        return self.layer_norm(x, mode).unflatten(1, (-1, 4)).flatten(2)


class Projector(nn.Module):
    """Two matrices with a GELU between, named as the release names them for pictures or sound."""

    def __init__(self, inputs, width, names):
        super().__init__()
        self.names = names
        for name, n in zip(names, (inputs, width)):
            setattr(self, name, Linear(n, width, "bf16", bias=True, gain=1.0))

    def forward(self, x, mode):
        first, second = (getattr(self, name) for name in self.names)
        return second(F.gelu(first(x, mode)), mode)


# ---------------------------------------------------------------------- model --
class Model(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config, c = config, config["text_config"]
        width = c["hidden_size"]
        self.near = Rotary(c["qk_rope_head_dim"], c["rope_theta"])
        self.far = Rotary(c["qk_rope_head_dim"], c["compress_rope_theta"])
        self.embed = nn.Module()
        self.embed.weight = weight((c["vocab_size"], width), 0.5)
        for name in DELIMITERS:
            setattr(self, name, weight((width,), 0.5))
        self.layers = nn.ModuleList(Layer(c, i, self.near, self.far) for i in range(c["num_hidden_layers"]))
        self.norm = Norm(width, c["rms_norm_eps"])
        self.head = Linear(width, c["vocab_size"], "bf16", gain=0.3)
        self.mtp = nn.ModuleList([Draft(c, self.near)])
        self.vision = Vision(config["vision_config"])
        cell = config["vision_config"]["hidden_size"] * config["vision_config"]["downsample_ratio"] ** 2
        self.aligner = Projector(cell, width, ("w1", "w2"))
        self.audio = Audio(config["audio_config"])
        self.audio_aligner = Projector(4 * config["audio_config"]["d_model"], width, ("linear_1", "linear_2"))

    def embedded(self, ids, mode):
        return LOOKUP(ids, kept(self.embed.weight, "bf16", mode))

    def see(self, pixels, mode):
        """uint8 [N, S, S, 3] -> [N, features, D]."""
        return self.aligner(self.vision(pixels, mode), mode)

    def hear(self, sounds, tokens, mode):
        """int16 [B, samples], tokens [B] -> [B, samples / 1280, D]."""
        return self.audio_aligner(self.audio(sounds, tokens, mode), mode)

    def enter(self, batch, step):
        """What stands for every position: [B, L, D]."""
        kind, mode = batch["kind"].long(), step.mode
        x = self.embedded(batch["ids"].long(), mode)
        rest = torch.stack([kept(getattr(self, name), "bf16", mode) for name in DELIMITERS])
        x = torch.where((kind >= 2).unsqueeze(-1), LOOKUP((kind - 2).clamp_min(0), rest), x)
        x = F.pad(x, (0, 0, 0, 1))               # position L takes what belongs nowhere
        if "images" in batch:
            rows, count = batch["images"].shape[:2]
            step.seen = self.see(batch["images"].flatten(0, 1), mode).unflatten(0, (rows, count))
            x = place(x, batch["image_at"].flatten(1), step.seen.flatten(1, 2))
        if "sounds" in batch:
            step.heard = self.hear(batch["sounds"], batch["sound_tokens"], mode)
            x = place(x, batch["sound_at"], step.heard)
        return x[:, :-1]

    def forward(self, batch, mode):
        """Normed rows [B, L, D] for the head, and the step with taps and lessons."""
        c, kind = self.config["text_config"], batch["kind"].long()
        step = Step(mode, kind >= 0, kind != PAD, batch["cut"], batch["watched"])
        norm_ids = batch["norm_ids"].long()
        x = self.enter(batch, step)
        x = x.unsqueeze(2).expand(-1, -1, c["hc_mult"], -1)
        pre = torch.zeros(x.shape[:-1], device=x.device)
        pre[..., 0] = 1
        for i, layer in enumerate(self.layers):
            if i in c["dspark_target_layer_ids"]:
                step.taps[i] = x.mean(2)
            slots = layer.engram.slots(norm_ids, step.media, self.pad) if layer.engram is not None else None
            x, pre = layer(x, pre, step, slots)
        return self.norm(collapse(x, pre), mode), step

    pad = 0                                      # compressed id of the pad token: set with the tokenizer at hand

    def draft(self, batch, step, anchors):
        taps = torch.cat([step.taps[i] for i in self.config["text_config"]["dspark_target_layer_ids"]], -1)
        embed = lambda ids: self.embedded(ids, step.mode)
        return self.mtp[0](taps, batch["ids"].long(), anchors, embed, self.head, step.mode)


def place(x, at, features):
    """Puts features [B, F, D] at positions [B, F] of x [B, L + 1, D]."""
    at = at.long().unsqueeze(-1).expand(-1, -1, x.shape[-1])
    return x.scatter(1, at, features.to(x.dtype))
