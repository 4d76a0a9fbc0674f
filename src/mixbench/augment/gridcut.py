"""Labels on a grid of cells that minimise an energy of unary and neighbour costs: PuzzleMix's masks.

    E(k) = sum_p U_p(k_p) + sum_(p,q neighbours) W_pq (t(k_p) - t(k_q))^2,    t(k) = k / (L - 1)

over label maps k (B, h, w) int64 in {0, ..., L-1}, for unary costs U (B, h, w, L), weights W >= 0 of vertical
neighbours (B, h-1, w) and of horizontal ones (B, h, w-1).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad


def energy(labels: Tensor, unary: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
    """(B,) energies of the label maps."""
    level = labels / (unary.shape[-1] - 1)
    cells = unary.gather(-1, labels[..., None])[..., 0].sum((1, 2))
    rows = (vertical * level.diff(dim=1) ** 2).sum((1, 2))
    return cells + rows + (horizontal * level.diff(dim=2) ** 2).sum((1, 2))


def min_sum(unary: Tensor, vertical: Tensor, horizontal: Tensor, rounds: int = 12) -> Tensor:
    """Label maps by min-sum belief propagation on the device, all examples at once, without a wait.

    `rounds` of messages along all edges, then two sweeps of exact single-cell moves. Not exact on a grid with
    loops, but close: on PuzzleMix's energies of CIFAR-100 images, 16x16 cells and 3 labels, it ends 0.01 % above
    the minimum on average and 0.26 % at worst, where the alpha-beta swaps of the graph cut that the official
    code uses end 0.03 to 0.34 % above on average and 1.4 % at worst.
    """
    cost = _label_cost(unary)

    def sent(belief: Tensor, weight: Tensor) -> Tensor:
        message = (belief[..., None] + weight[..., None, None] * cost).amin(-2)
        return message - message.amin(-1, keepdim=True)

    # Messages into each cell from the cell above, below, on its left and on its right.
    above = below = left = right = torch.zeros_like(unary)
    for _ in range(rounds):
        belief = unary + above + below + left + right
        above, below, left, right = (
            pad(sent((belief - below)[:, :-1], vertical), (0, 0, 0, 0, 1, 0)),
            pad(sent((belief - above)[:, 1:], vertical), (0, 0, 0, 0, 0, 1)),
            pad(sent((belief - right)[:, :, :-1], horizontal), (0, 0, 1, 0)),
            pad(sent((belief - left)[:, :, 1:], horizontal), (0, 0, 0, 1)),
        )
    labels = (unary + above + below + left + right).argmin(-1)
    return _single_moves(labels, unary, vertical, horizontal, sweeps=2)


def _single_moves(labels: Tensor, unary: Tensor, vertical: Tensor, horizontal: Tensor, sweeps: int) -> Tensor:
    """Give every cell its best label with all others fixed, the two colours of a chessboard in turn."""
    cost = _label_cost(unary)
    height, width = labels.shape[1:]
    row, column = (torch.arange(size, device=labels.device) for size in (height, width))
    for turn in range(2 * sweeps):
        around = cost[labels]
        total = unary + pad(vertical[..., None] * around[:, :-1], (0, 0, 0, 0, 1, 0))
        total = total + pad(vertical[..., None] * around[:, 1:], (0, 0, 0, 0, 0, 1))
        total = total + pad(horizontal[..., None] * around[:, :, :-1], (0, 0, 1, 0))
        total = total + pad(horizontal[..., None] * around[:, :, 1:], (0, 0, 0, 1))
        colour = (row[:, None] + column) % 2 == turn % 2
        labels = torch.where(colour, total.argmin(-1), labels)
    return labels


def _label_cost(unary: Tensor) -> Tensor:
    """(L, L) costs (t(k) - t(l))^2."""
    count = unary.shape[-1]
    level = torch.arange(count, device=unary.device, dtype=unary.dtype) / (count - 1)
    return (level[:, None] - level) ** 2


def graph_cut(unary: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
    """Label maps by alpha-beta swaps of the package `gco-wrapper`, one example after the other on the CPU.

    This waits for the device. 0.2 ms per example of 16x16 cells. The package is an optional extra, because its
    C++ code is licensed for research only.
    """
    import gco
    import numpy as np

    count = unary.shape[-1]
    steps = np.arange(count, dtype=np.int32)
    pairwise = (steps[:, None] - steps) ** 2
    # The solver takes whole numbers: about 1e5 for the unary cost of an average cell.
    scale = 1e5 * unary.shape[1] * unary.shape[2]
    cells = (unary * scale).round().int().cpu().numpy()
    rows, columns = (
        (weight * (scale / (count - 1) ** 2)).round().int().cpu().numpy() for weight in (vertical, horizontal)
    )
    maps = [
        gco.cut_grid_graph(*costs, algorithm="swap").reshape(unary.shape[1:3])
        for costs in zip(cells, [pairwise] * len(cells), rows, columns, strict=True)
    ]
    return torch.as_tensor(np.stack(maps), dtype=torch.int64, device=unary.device)
