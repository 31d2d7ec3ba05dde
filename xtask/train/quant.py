"""Fake quantisation: values rounded to what the file and the caches can hold, gradients let through.

The roundings are those of `tests/oracle/v41_ref.py` (`docs/models/deepseek-v41.md` §2.3 and §7.1), so a
weight that went through here is packed by `export.py` without loss.
"""
import torch

FP8_MAX = 448.0                      # E4M3
FP4_MAX = 6.0                        # E2M1
TILE = 32                            # rows and columns that share a scale of an FP8 matrix


def straight_through(x, rounded):
    """`rounded` in the forward pass, the identity in the backward one."""
    return x + (rounded - x).detach()


def power_of_two_above(x):
    """Smallest power of two >= x for positive normal float32, from the bits."""
    bits = x.contiguous().view(torch.int32)
    exponent = ((bits >> 23) & 255) + ((bits & 0x7FFFFF) != 0).int()
    return (exponent << 23).view(torch.float32)


def e4m3(x):
    """To nearest even, saturating; float32 in and out."""
    return x.clamp(-FP8_MAX, FP8_MAX).to(torch.float8_e4m3fn).float()


def e2m1(x):
    """To the nearest of 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives, ties to the even code."""
    size = x.abs().clamp(max=FP4_MAX)
    # Steps of 1/2 below 2, 1 below 4, 2 above; `round` takes ties to the even multiple.
    step = torch.where(size < 2, 0.5, torch.where(size < 4, 1.0, 2.0))
    return torch.copysign((size / step).round() * step, x)


def scale_fp8(amax, least=1e-4):
    """Power of two that brings `amax` into E4M3."""
    return power_of_two_above(amax.clamp_min(least) * (1.0 / FP8_MAX))


def scale_fp4(amax):
    """Power of two that brings `amax` into E2M1."""
    return power_of_two_above(amax.clamp_min(FP4_MAX * 2.0 ** -126) * (1.0 / FP4_MAX))


def blocks(x, size):
    """`x` with its last axis cut into blocks, and the largest magnitude of each."""
    y = x.unflatten(-1, (-1, size))
    return y, y.abs().amax(-1, keepdim=True)


def tiles(w):
    """A matrix as [row tiles, 32, column tiles, 32], and the largest magnitude of each tile."""
    y = w.unflatten(-1, (-1, TILE)).unflatten(-3, (-1, TILE))
    return y, y.abs().amax((-3, -1), keepdim=True)


# Roundings of weights; the last two axes are the matrix.

def bf16(w):
    return w.bfloat16().float()


def fp8_tiles(w):
    """E4M3 with one power of two for each tile of 32 x 32."""
    y, amax = tiles(w)
    scale = scale_fp8(amax, 2.0 ** -100)
    return (e4m3(y / scale) * scale).flatten(-4, -3).flatten(-2)


def fp8_rows(w):
    """E4M3 with one power of two for 32 columns of a row: Engram tables."""
    y, amax = blocks(w, TILE)
    scale = scale_fp8(amax, 2.0 ** -100)
    return (e4m3(y / scale) * scale).flatten(-2)


def fp4_rows(w):
    """E2M1 with one power of two for 32 columns of a row: routed experts."""
    y, amax = blocks(w, TILE)
    scale = scale_fp4(amax)
    return (e2m1(y / scale) * scale).flatten(-2)


WEIGHTS = {"bf16": bf16, "fp8": fp8_tiles, "fp8_rows": fp8_rows, "fp4": fp4_rows, "f32": lambda w: w}


# Roundings of cached rows; blocks of the last axis.

def window_row(x):
    """FP8 with a power of two for 32 channels."""
    y, amax = blocks(x, 32)
    scale = scale_fp8(amax)
    return (e4m3(y / scale) * scale).flatten(-2)


def index_row(x):
    """FP4 with a power of two for 32 channels: index keys and queries."""
    y, amax = blocks(x, 32)
    scale = scale_fp4(amax)
    return (e2m1((y / scale).clamp(-FP4_MAX, FP4_MAX)) * scale).flatten(-2)


def entry_row(x):
    """FP4 with an E4M3 scale for 16 channels: compressed entries."""
    y, amax = blocks(x, 16)
    scale = e4m3(amax.clamp_min(FP4_MAX * 2.0 ** -9) / FP4_MAX)
    return (e2m1((y / scale).clamp(-FP4_MAX, FP4_MAX)) * scale).flatten(-2)
