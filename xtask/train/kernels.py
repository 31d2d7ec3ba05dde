"""Hyper-connections with their exact gradients: plain, and fused for a GPU.

Plain PyTorch needs some hundred launches for one Sinkhorn iteration with its gradient, and passes
over the streams once for each of them; the kernels below need one launch and one pass.
"""
import torch

try:
    import triton
    import triton.language as tl
except ImportError:                  # without a GPU there need not be one
    triton = None

TOKENS = 32                          # of a program of the Sinkhorn kernels
ROWS = 4                             # tokens of a program of the stream kernels


class Sinkhorn(torch.autograd.Function):
    """Logits [n, n, N] (row, column, token) to doubly stochastic matrices. Tokens come last, so that
    every sum is one of a few slabs."""

    @staticmethod
    def forward(ctx, logits, iterations, eps):
        soft = logits.softmax(1)
        mix, states, sums = soft + eps, [], []
        for half in range(2 * iterations - 1):
            total = mix.sum(half % 2, keepdim=True).add_(eps)
            mix = mix / total
            states.append(mix)
            sums.append(total)
        ctx.save_for_backward(soft, *states, *sums)
        return mix

    @staticmethod
    def backward(ctx, grad):
        soft, *rest = ctx.saved_tensors
        halves = len(rest) // 2
        for half in reversed(range(halves)):
            mix, total = rest[half], rest[halves + half]
            grad = (grad - (grad * mix).sum(half % 2, keepdim=True)) / total
        return soft * (grad - (grad * soft).sum(1, keepdim=True)), None, None


def sinkhorn(z, n, iterations, eps):
    """z [..., n * n] -> [..., n, n]: softmax of each row, then columns and rows in turn (`docs/models/deepseek-v41.md` §3.2)."""
    if fused(z) and n == 4:
        return FusedSinkhorn.apply(z, iterations, eps)
    logits = z.reshape(-1, n * n).t().reshape(n, n, -1)
    mix = Sinkhorn.apply(logits, iterations, eps)
    return mix.reshape(n * n, -1).t().reshape(*z.shape[:-1], n, n)


def write(x, y, post, mix):
    """Stream k becomes post_k y + sum_i mix[i, k] x_i: x [..., n, D], y [..., D]."""
    if fused(x) and x.shape[-2] == 4:
        return FusedWrite.apply(x, y, post, mix)
    left = torch.cat((mix.transpose(-1, -2), post.unsqueeze(-1)), -1)
    return torch.matmul(left, torch.cat((x, y.unsqueeze(-2)), -2))


FUSED = triton is not None           # cleared where the kernels do not agree with the plain forms


def fused(x):
    return FUSED and x.is_cuda and x.dtype == torch.float32


if triton is not None:

    @triton.jit
    def sinkhorn_forward(z_at, mix_at, total_at, count, iterations, eps, TOKENS: tl.constexpr):
        """Keeps the sums that each half divided by: with them the gradient walks back."""
        token = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
        inside = token < count
        four = tl.arange(0, 4)
        at = token[:, None, None] * 16 + four[None, :, None] * 4 + four[None, None, :]
        at4 = token[:, None] * 4 + four[None, :]
        z = tl.load(z_at + at, mask=inside[:, None, None], other=0.0)
        z = tl.exp(z - tl.max(z, 2)[:, :, None])
        mix = z / tl.sum(z, 2)[:, :, None] + eps
        total = tl.sum(mix, 1) + eps
        mix = mix / total[:, None, :]
        tl.store(total_at + at4, total, mask=inside[:, None])
        for i in range(1, iterations):
            total = tl.sum(mix, 2) + eps
            mix = mix / total[:, :, None]
            tl.store(total_at + (2 * i - 1) * count * 4 + at4, total, mask=inside[:, None])
            total = tl.sum(mix, 1) + eps
            mix = mix / total[:, None, :]
            tl.store(total_at + 2 * i * count * 4 + at4, total, mask=inside[:, None])
        tl.store(mix_at + at, mix, mask=inside[:, None, None])

    @triton.jit
    def sinkhorn_backward(mix_at, total_at, grad_at, out_at, count, iterations, eps, TOKENS: tl.constexpr):
        token = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
        inside = token < count
        four = tl.arange(0, 4)
        at = token[:, None, None] * 16 + four[None, :, None] * 4 + four[None, None, :]
        at4 = token[:, None] * 4 + four[None, :]
        mix = tl.load(mix_at + at, mask=inside[:, None, None], other=0.0)
        grad = tl.load(grad_at + at, mask=inside[:, None, None], other=0.0)
        for back in range(1, iterations):
            i = iterations - back
            total = tl.load(total_at + 2 * i * count * 4 + at4, mask=inside[:, None], other=1.0)[:, None, :]
            grad = (grad - tl.sum(grad * mix, 1)[:, None, :]) / total
            mix = mix * total
            total = tl.load(total_at + (2 * i - 1) * count * 4 + at4, mask=inside[:, None], other=1.0)[:, :, None]
            grad = (grad - tl.sum(grad * mix, 2)[:, :, None]) / total
            mix = mix * total
        total = tl.load(total_at + at4, mask=inside[:, None], other=1.0)[:, None, :]
        grad = (grad - tl.sum(grad * mix, 1)[:, None, :]) / total
        soft = mix * total - eps
        grad = soft * (grad - tl.sum(grad * soft, 2)[:, :, None])
        tl.store(out_at + at, grad, mask=inside[:, None, None])

    @triton.jit
    def write_forward(x_at, y_at, post_at, mix_at, out_at, count, D: tl.constexpr, ROWS: tl.constexpr):
        token = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
        inside = token < count
        four, d = tl.arange(0, 4), tl.arange(0, D)
        at = token[:, None, None] * (4 * D) + four[None, :, None] * D + d[None, None, :]
        x = tl.load(x_at + at, mask=inside[:, None, None], other=0.0)
        y = tl.load(y_at + token[:, None] * D + d[None, :], mask=inside[:, None], other=0.0)
        for k in tl.static_range(4):
            share = tl.load(mix_at + token[:, None] * 16 + four[None, :] * 4 + k, mask=inside[:, None], other=0.0)
            post = tl.load(post_at + token * 4 + k, mask=inside, other=0.0)
            out = tl.sum(x * share[:, :, None], 1) + post[:, None] * y
            tl.store(out_at + token[:, None] * (4 * D) + k * D + d[None, :], out, mask=inside[:, None])

    @triton.jit
    def write_backward(x_at, y_at, post_at, mix_at, grad_at, dx_at, dy_at, dpost_at, dmix_at, count,
                       D: tl.constexpr, ROWS: tl.constexpr):
        token = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
        inside = token < count
        four, d = tl.arange(0, 4), tl.arange(0, D)
        at = token[:, None, None] * (4 * D) + four[None, :, None] * D + d[None, None, :]
        x = tl.load(x_at + at, mask=inside[:, None, None], other=0.0)
        y = tl.load(y_at + token[:, None] * D + d[None, :], mask=inside[:, None], other=0.0)
        dx, dy = tl.zeros_like(x), tl.zeros_like(y)
        for k in tl.static_range(4):
            grad = tl.load(grad_at + token[:, None] * (4 * D) + k * D + d[None, :], mask=inside[:, None], other=0.0)
            share = tl.load(mix_at + token[:, None] * 16 + four[None, :] * 4 + k, mask=inside[:, None], other=0.0)
            post = tl.load(post_at + token * 4 + k, mask=inside, other=0.0)
            dx += share[:, :, None] * grad[:, None, :]
            dy += post[:, None] * grad
            tl.store(dpost_at + token * 4 + k, tl.sum(y * grad, 1), mask=inside)
            tl.store(dmix_at + token[:, None] * 16 + four[None, :] * 4 + k, tl.sum(x * grad[:, None, :], 2), mask=inside[:, None])
        tl.store(dx_at + at, dx, mask=inside[:, None, None])
        tl.store(dy_at + token[:, None] * D + d[None, :], dy, mask=inside[:, None])


class FusedSinkhorn(torch.autograd.Function):
    """z [..., 16] -> [..., 4, 4]."""

    @staticmethod
    def forward(ctx, z, iterations, eps):
        z = z.contiguous()
        count = z.numel() // 16
        mix = torch.empty(*z.shape[:-1], 4, 4, device=z.device)
        totals = torch.empty(2 * iterations - 1, count, 4, device=z.device)
        sinkhorn_forward[(triton.cdiv(count, TOKENS),)](z, mix, totals, count, iterations, eps, TOKENS)
        ctx.save_for_backward(mix, totals)
        ctx.numbers = count, iterations, eps
        return mix

    @staticmethod
    def backward(ctx, grad):
        mix, totals = ctx.saved_tensors
        count, iterations, eps = ctx.numbers
        out = torch.empty(*mix.shape[:-2], 16, device=mix.device)
        sinkhorn_backward[(triton.cdiv(count, TOKENS),)](mix, totals, grad.contiguous(), out, count, iterations, eps, TOKENS)
        return out, None, None


class FusedWrite(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, y, post, mix):
        x, y, post, mix = (t.contiguous() for t in (x, y, post, mix))
        out = torch.empty_like(x)
        width = x.shape[-1]
        count = y.numel() // width
        write_forward[(triton.cdiv(count, ROWS),)](x, y, post, mix, out, count, width, ROWS)
        ctx.save_for_backward(x, y, post, mix)
        return out

    @staticmethod
    def backward(ctx, grad):
        x, y, post, mix = ctx.saved_tensors
        width = x.shape[-1]
        count = y.numel() // width
        grads = [torch.empty_like(t) for t in (x, y, post, mix)]
        write_backward[(triton.cdiv(count, ROWS),)](x, y, post, mix, grad.contiguous(), *grads, count, width, ROWS)
        return tuple(grads)


def agree(device, tokens=1000, close=1e-3):
    """Whether the fused forms equal the plain ones, gradients too; what does not is not used again."""
    global FUSED
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator).to(device).requires_grad_()
    x, y, post, mix, z = draw(tokens, 4, 128), draw(tokens, 128), draw(tokens, 4), draw(tokens, 4, 4), draw(tokens, 16)
    seeds = draw(tokens, 4, 128).detach(), draw(tokens, 4, 4).detach()

    def run(fuse):
        global FUSED
        FUSED = fuse
        out = write(x, y, post, mix), sinkhorn(z, 4, 20, 1e-6)
        return [*out, *torch.autograd.grad(out, (x, y, post, mix, z), seeds)]
    try:
        worst = max(float((a - b).detach().abs().max()) for a, b in zip(run(True), run(False)))
    except Exception as error:
        print(f"fused kernels do not run: {error!r}", flush=True)
        worst = float("inf")
    FUSED = worst < close
    return worst
