"""Direct lessons for the two towers: what is in each cell of a picture, what a sound spells.

Through the text model alone the towers learn late; told directly, in
a minute. The probes that read the answers off the features are thrown away.
"""
import torch
import torch.nn.functional as F
from torch import nn

NEVER = -1e30                        # log of nothing; infinite ones have no gradient


class Probes(nn.Module):
    """Reads cells off picture features and symbols off sound features."""

    def __init__(self, width, cells, symbols):
        super().__init__()
        self.cells, self.symbols = nn.Linear(width, cells), nn.Linear(width, symbols + 1)

    def picture_loss(self, seen, cells):
        """`seen` [B, N, features, D]; `cells` [B, N, 9], -1 where nobody knows. Loss and share right."""
        known = cells.long().flatten()
        logits = self.cells(seen).flatten(0, 2)
        loss = F.cross_entropy(logits, known, ignore_index=-1, reduction="sum")
        count = (known >= 0).sum().clamp_min(1)
        return loss / count, ((logits.argmax(-1) == known).sum() / count).detach()

    def sound_loss(self, heard, tokens, symbols):
        """`heard` [B, T, D] of which `tokens` [B] count; `symbols` [B, S] from 1, then zeros."""
        loss = ctc(self.symbols(heard).log_softmax(-1), tokens, symbols.long())
        spelled = (symbols[:, 0] > 0) & (tokens > 0)
        return (loss * spelled).sum() / spelled.sum().clamp_min(1)


def ctc(told, tokens, symbols):
    """Minus the log probability that the path spells `symbols`, blanks between; per symbol.

    `told` [B, T, V], blank 0. Written out, because the library's own waits for the host."""
    rows, most = symbols.shape
    path = torch.zeros(rows, 2 * most + 1, dtype=torch.long, device=told.device)
    path[:, 1::2] = symbols
    skips = F.pad((path[:, 2:] != path[:, :-2]) & (path[:, 2:] != 0), (2, 0), value=False)
    emit = told.gather(2, path.unsqueeze(1).expand(-1, told.shape[1], -1))
    nowhere = torch.full_like(emit[:, 0], NEVER)
    reached = torch.cat((emit[:, 0, :2], nowhere[:, 2:]), -1)
    for t in range(1, told.shape[1]):
        one = F.pad(reached, (1, 0), value=NEVER)[:, :-1]
        two = F.pad(reached, (2, 0), value=NEVER)[:, :-2].masked_fill(~skips, NEVER)
        then = torch.stack((reached, one, two)).logsumexp(0) + emit[:, t]
        reached = torch.where((t < tokens).unsqueeze(-1), then, reached)
    count = (symbols > 0).sum(-1, keepdim=True)
    ends = torch.cat((reached.gather(1, 2 * count), reached.gather(1, (2 * count - 1).clamp_min(0))), -1)
    return -ends.logsumexp(-1).clamp_min(-1e4) / count.squeeze(-1).clamp_min(1)
