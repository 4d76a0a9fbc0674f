"""Graphs as rows of numbers: a batch of them, mixed or not, is one tensor with the examples on its first axis.

A row has the graph's weight and number, its n nodes and e edges, what each node is told by, both ends of each edge, and
zeros to the length L of all rows:

    weight, number, n, e, feature_1 ... feature_n, end_1 ... end_e, other_1 ... other_e, 0 ...

An example is S such rows (S, L): what stands for it is the sum of the readouts of its graphs by their weights. One that
is not mixed has one graph of weight 1, and an empty row with n = 0. All numbers are whole but the weight, and below
2^24, so that float32 holds them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mixbench.models.gin import GIN

WEIGHT, NUMBER, NODES, EDGES, HEAD = range(5)


class Packed(nn.Module):
    """A network for graphs behind the rows that they are packed in: (B, S, L) floating -> logits (B, K).

    A graph that occurs several times in a batch, which its number tells, goes through the convolutions once, and counts
    once where BatchNorm normalises. What is mixed are the readouts (Zou et al., MixupE, 2023, section 4.4).
    """

    def __init__(self, net: GIN) -> None:
        super().__init__()
        self.net = net

    def forward(self, inputs: Tensor) -> Tensor:
        rows = inputs.flatten(0, 1)
        given = rows[:, NODES].nonzero().squeeze(1)
        rows = rows[given]
        numbers, which = rows[:, NUMBER].unique(return_inverse=True)
        places = torch.arange(len(which), device=which.device)
        first = torch.full_like(numbers, len(which), dtype=torch.int64).scatter_reduce_(
            0, which, places, "amin"
        )
        readouts = self.net.encode(*unpacked(rows[first], self.net.in_features), len(first))
        weighted = readouts[which] * rows[:, WEIGHT, None]
        mixed = weighted.new_zeros(len(inputs), weighted.shape[1])
        return self.net.read(mixed.index_add(0, given // inputs.shape[1], weighted))


def packed_gin(
    in_features: int, num_classes: int, width: int = 32, layers: int = 5, dropout: float = 0.5
) -> Packed:
    """`GIN` for packed graphs."""
    return Packed(GIN(in_features, num_classes, width=width, layers=layers, dropout=dropout))


def unpacked(rows: Tensor, features: int) -> tuple[Tensor, Tensor, Tensor]:
    """One-hot features (N, features), edges int64 (2, E) in both directions, and the graph of each node int64 (N,), of
    graphs (G, L), none of them empty: as torch_geometric's Batch has them.
    """
    at = torch.arange(rows.shape[1] - HEAD, device=rows.device)
    n, e, body = rows[:, NODES, None], rows[:, EDGES, None], rows[:, HEAD:].long()
    counts = rows[:, NODES].long()
    begin = (counts.cumsum(0) - counts)[:, None]
    ends = [(body + begin)[(start <= at) & (at < start + e)] for start in (n, n + e)]
    edges = torch.cat([torch.stack(ends), torch.stack(ends[::-1])], dim=1)
    x = nn.functional.one_hot(body[at < n], features).to(rows.dtype)
    return x, edges, torch.arange(len(rows), device=rows.device).repeat_interleave(counts)


def blended(inputs: Tensor, weight: Tensor, partners: Tensor) -> Tensor:
    """The examples (B, 2, L), which are not mixed, each with its partner as the second graph.

    `weight` (B or 1, 1, 1) is that of the own graph, `partners` are indices (B,).
    """
    mixed = torch.stack([inputs[:, 0], inputs[partners, 0]], dim=1)
    own = weight.to(inputs.dtype)[..., 0, 0]
    mixed[:, 0, WEIGHT], mixed[:, 1, WEIGHT] = own, 1 - own
    return mixed
