"""Muon for hidden matrices, AdamW for the rest, both without a word from the host: rates are tensors,
so that a captured step can be replayed at any rate."""
import math

import torch

# Adam's step is absolute, so its rate follows the scale that a weight starts with. First match wins; names are the model's.
ADAM_RATES = (
    ("engram.embed", 1.2e-2),
    ("markov_head.embed", 4e-3),
    ("embed.weight", 4e-3),
    ("image_", 4e-3),
    ("audio_start", 4e-3),
    ("audio_end", 4e-3),
    ("head.weight", 1e-3),
    ("patch_embed.proj.weight", 5e-4),
    ("audio.conv", 5e-4),
    (".fn", 5e-4),
    ("ffn.gate.weight", 5e-4),
    ("weights_proj", 5e-4),
    ("confidence_head", 5e-4),
    ("probe", 1e-3),
)
ADAM_RATE = 2e-3                     # norms, biases, scalars
MUON_RATE = 1e-2
DECAY = 0.01
UNDECAYED = ("engram.embed",)
TOWERS = ("vision.", "aligner.", "audio.", "audio_aligner.")
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def adam_rate(name, parameter):
    """Rate of a parameter, or None where Muon is to move it."""
    for part, rate in ADAM_RATES:
        if part in name:
            return rate
    return None if parameter.ndim >= 2 and "_weight" not in name else ADAM_RATE


class Optimizer:
    """Steps all parameters of a list of (name, parameter).

    `rate` is a tensor that scales every rate, `tower_rate` another for the towers."""

    def __init__(self, named, device):
        self.rate = torch.ones((), device=device)
        self.tower_rate = torch.ones((), device=device)
        self.count = torch.zeros((), device=device)
        self.adam, self.muon = {}, {}
        for name, p in named:
            rate, tower = adam_rate(name, p), name.startswith(TOWERS)
            if rate is None:
                self.muon.setdefault((tuple(p.shape[-2:]), tower), []).append(p)
            else:
                decay = 0.0 if any(part in name for part in UNDECAYED) else DECAY
                self.adam.setdefault((rate, decay, tower), []).append(p)
        self.parameters = [p for _, p in named]
        self.moments = {p: [torch.zeros_like(p) for _ in range(count)]
                        for count, groups in ((2, self.adam), (1, self.muon)) for ps in groups.values() for p in ps}

    def state(self):
        """Tensors that a checkpoint must hold, in a fixed order."""
        return [self.count, *(m for p in self.parameters for m in self.moments[p])]

    def zero(self):
        for p in self.parameters:
            p.grad = None

    @torch.no_grad()
    def step(self, clip=1.0):
        """One step; the gradients of what AdamW moves are clipped together. Returns their norm."""
        self.count += 1
        with_grad = [p for ps in self.adam.values() for p in ps if p.grad is not None]
        norm = torch.stack(torch._foreach_norm([p.grad for p in with_grad])).norm()
        torch._foreach_mul_([p.grad for p in with_grad], (clip / (norm + 1e-6)).clamp(max=1.0))
        for (rate, decay, tower), ps in self.adam.items():
            ps = [p for p in ps if p.grad is not None]
            if ps:
                self.adam_step(ps, self.scaled(rate, tower), decay)
        for (_, tower), ps in self.muon.items():
            ps = [p for p in ps if p.grad is not None]
            if ps:
                self.muon_step(ps, self.scaled(MUON_RATE, tower))
        return norm

    def scaled(self, rate, tower):
        return rate * self.rate * (self.tower_rate if tower else 1.0)

    def adam_step(self, ps, rate, decay, betas=(0.9, 0.95), eps=1e-10):
        grads = [p.grad for p in ps]
        first, second = zip(*(self.moments[p] for p in ps))
        torch._foreach_lerp_(first, grads, 1 - betas[0])
        torch._foreach_mul_(second, betas[1])
        torch._foreach_addcmul_(second, grads, grads, 1 - betas[1])
        root = torch._foreach_sqrt(torch._foreach_div(second, 1 - betas[1] ** self.count))
        torch._foreach_add_(root, eps)
        update = torch._foreach_div(first, root)
        torch._foreach_mul_(update, -rate / (1 - betas[0] ** self.count))
        torch._foreach_mul_(ps, 1 - rate * decay)
        torch._foreach_add_(ps, update)

    def muon_step(self, ps, rate, momentum=0.95, rounds=4):
        """Nesterov momentum made orthogonal; the update's root mean square is 0.2 rate."""
        grads, kept = [p.grad for p in ps], [self.moments[p][0] for p in ps]
        torch._foreach_mul_(kept, momentum)
        torch._foreach_add_(kept, grads)
        shape = ps[0].shape[-2:]
        x = torch.cat([torch.add(g, m, alpha=momentum).reshape(-1, *shape) for g, m in zip(grads, kept)])
        x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-12)
        x = x.bfloat16()
        if shape[0] > shape[1]:
            x = x.mT
        a, b, c = NEWTON_SCHULZ
        for _ in range(rounds):
            gram = x @ x.mT
            x = a * x + (b * gram + c * gram @ gram) @ x
        if shape[0] > shape[1]:
            x = x.mT
        parts = x.float().split([p.numel() // (shape[0] * shape[1]) for p in ps])
        update = [u.reshape(p.shape) for u, p in zip(parts, ps)]
        torch._foreach_mul_(update, -rate * 0.2 * math.sqrt(max(shape)))
        torch._foreach_mul_(ps, 1 - rate * DECAY)
        torch._foreach_add_(ps, update)
