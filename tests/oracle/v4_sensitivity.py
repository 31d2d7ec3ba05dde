"""How much each rule of the model matters: break one at a time in v4_ref and compare."""
import contextlib

import torch

import v4_ref
from v4_ref import V4Ref


@contextlib.contextmanager
def patched(obj, name, value):
    old = vars(obj)[name]           # keeps a staticmethod wrapped
    setattr(obj, name, value)
    try:
        yield
    finally:
        setattr(obj, name, old)


def sensitivity(path, ids, want):
    """Break one rule at a time in v4_ref and report the largest logit change."""
    out = {}

    def run(tag, edit=lambda r: None, patches=()):
        r = V4Ref(path)
        edit(r)
        with contextlib.ExitStack() as st:
            for p in patches:
                st.enter_context(patched(*p))
            got = r.forward(ids, r.new_state())
        out[tag] = float((got - want).abs().max())

    def setc(**kw):
        return lambda r: r.c.update(kw)

    def setw(fn):
        def f(r):
            for k in list(r.w):
                new = fn(k, r.w[k])
                if new is not None:
                    r.w[k] = new
        return f

    good_rope, good_inv = v4_ref.rope, v4_ref.inv_freq
    run("no inverse rope on attention output", patches=[
        (v4_ref, "rope", lambda x, f, p, inverse=False: x if inverse else good_rope(x, f, p))])
    run("rope pairs split-half instead of adjacent", patches=[(v4_ref, "rope", half_rope)])
    run("rope on the leading channels", patches=[(v4_ref, "rope", lead_rope)])
    run("window layers use the compressed-layer rope", lambda r: setattr(r, "freq_main", r.freq_comp))
    run("compressed layers use the window-layer rope", lambda r: setattr(r, "freq_comp", r.freq_main))

    def no_yarn(r):
        r.freq_comp = good_inv(r.c["qk_rope_head_dim"], r.c["compress_rope_theta"])
    run("no YaRN on compressed layers", no_yarn)
    run("compressed entry roped at its block number", patches=[(V4Ref, "compress", block_number_rope)])
    run("no attention sink", setw(lambda k, v: torch.full_like(v, -1e30) if k.endswith("attn_sink") else None))
    run("window one too small", lambda r: r.c.update(sliding_window=r.c["sliding_window"] - 1))
    run("window one too large", lambda r: r.c.update(sliding_window=r.c["sliding_window"] + 1))
    run("all compressed blocks visible (no top-k)", setc(index_topk=10 ** 6))
    run("no overlap in ratio-4 blocks", patches=[(V4Ref, "compress", no_overlap)])
    run("overlap halves swapped", swap_halves)
    run("no position bias (ape)", setw(lambda k, v: v * 0 if k.endswith(".ape") else None))
    run("comb matrix transposed", patches=[(V4Ref, "hc_post", staticmethod(
        lambda y, x, post, m: post.unsqueeze(-1) * y.unsqueeze(1) + torch.einsum("tkj,tjd->tkd", m, x)))])
    run("one Sinkhorn iteration", setc(hc_sinkhorn_iters=1))
    run("no SwiGLU clamp at all", setc(swiglu_limit=1e9))
    run("no SwiGLU clamp in the shared expert", patches=[(V4Ref, "expert", shared_unclamped)])
    run("no routed scaling factor", setc(routed_scaling_factor=1.0))
    run("selection bias kept in the weights", patches=[(V4Ref, "moe", biased_moe)])
    run("hash layers use scores", lambda r: [r.w.pop(k) for k in list(r.w) if k.endswith("tid2eid")] and
        [r.w.__setitem__(f"layers.{l}.ffn.gate.bias", torch.zeros(r.c["n_routed_experts"]))
         for l in range(r.c["num_hash_layers"])])
    run("no per-head query norm", patches=[(v4_ref, "rms", no_head_norm(want))])
    return out


def half_rope(x, f, p, inverse=False):
    rd = 2 * f.shape[0]
    r = x[..., -rd:].unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2)
    y = v4_ref_rope(torch.cat([x[..., :-rd], r], -1), f, p, inverse)
    r = y[..., -rd:].unflatten(-1, (-1, 2)).transpose(-1, -2).flatten(-2)
    return torch.cat([y[..., :-rd], r], -1)


def lead_rope(x, f, p, inverse=False):
    rd = 2 * f.shape[0]
    y = v4_ref_rope(torch.cat([x[..., rd:], x[..., :rd]], -1), f, p, inverse)
    return torch.cat([y[..., -rd:], y[..., :-rd]], -1)


v4_ref_rope, good_compress, good_expert, good_moe, good_rms = (
    v4_ref.rope, V4Ref.compress, V4Ref.expert, V4Ref.moe, v4_ref.rms)


def block_number_rope(self, pool, p, x, start, ratio, hd, index):
    with patched(v4_ref, "rope", lambda e, f, t, inverse=False: v4_ref_rope(e, f, t // ratio, inverse)):
        good_compress(self, pool, p, x, start, ratio, hd, index)


def no_overlap(self, pool, p, x, start, ratio, hd, index):
    for i in range(x.shape[0]):
        pool.prev = None
        good_compress(self, pool, p, x[i:i + 1], start + i, ratio, hd, index)


def swap_halves(r):
    for l in range(r.c["num_hidden_layers"]):
        if r.c["compress_ratios"][l] == 4:
            for q in ("compressor", "indexer.compressor"):
                p = f"layers.{l}.attn.{q}."
                for k, dim in (("wkv.weight", 0), ("wgate.weight", 0), ("ape", 1)):
                    r.w[p + k] = torch.cat(r.w[p + k].chunk(2, dim)[::-1], dim)


def shared_unclamped(self, p, x, wt=None):
    if not p.endswith("shared_experts"):
        return good_expert(self, p, x, wt)
    lim, self.c["swiglu_limit"] = self.c["swiglu_limit"], 1e9
    try:
        return good_expert(self, p, x, wt)
    finally:
        self.c["swiglu_limit"] = lim


def biased_moe(self, p, x, ids):
    key = p + ".gate.bias"
    if key not in self.w:
        return good_moe(self, p, x, ids)
    c, k, F = self.c, self.c["num_experts_per_tok"], torch.nn.functional
    score = F.softplus(x @ self.w[p + ".gate.weight"].T).sqrt() + self.w[key]
    val, idx = score.topk(k, -1)
    wt = val / val.sum(-1, keepdim=True) * c["routed_scaling_factor"]
    y = torch.zeros_like(x)
    for e in idx.unique().tolist():
        t, j = torch.where(idx == e)
        y[t] += self.expert(f"{p}.experts.{e}", x[t], wt[t, j, None])
    return y + self.expert(p + ".shared_experts", x)


def no_head_norm(_):
    # the per-head query norm is the only weightless norm applied to a 3-D tensor
    return lambda x, w, eps: x if (w is None and x.dim() == 3) else good_rms(x, w, eps)
