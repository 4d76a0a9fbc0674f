"""Exact minima of the grid energies in `mixbench.augment.gridcut`, by a minimum cut."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, maximum_flow
from torch import Tensor


def exact_labels(unary: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
    """Label maps of minimal energy for two or three labels (Ishikawa, PAMI 2003; the neighbour cost is convex).

    Cell p has a node for each of the statements "label >= 1" and "label >= 2"; the nodes on the source's side of
    the cut are true. Costs are rounded to 1e-6 of the largest.
    """
    scale = 1e8 / float(unary.abs().max())
    return torch.stack(
        [
            _one((u * scale).round().long(), (v * scale).round().long(), (h * scale).round().long())
            for u, v, h in zip(unary.double(), vertical.double(), horizontal.double(), strict=True)
        ]
    )


def _one(unary: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
    height, width, count = unary.shape
    levels = count - 1
    cells = height * width
    source, sink = cells * levels, cells * levels + 1
    edges: list[tuple[int, int, int]] = []
    forbidden = 2**30
    above_minimum = (unary - unary.amin(-1, keepdim=True)).reshape(cells, count).tolist()
    for p in range(cells):
        chain = [source, *(p * levels + level for level in range(levels)), sink]
        edges += [(chain[k], chain[k + 1], above_minimum[p][k]) for k in range(count)]
        edges += [(chain[k + 1], chain[k], forbidden) for k in range(1, count - 1)]

    def neighbours(p: int, q: int, weight: int) -> None:
        # (d / levels)^2 for a difference of d labels: a cost per step, and one for the second step.
        for a, b in ((p, q), (q, p)):
            for level in range(levels):
                edges.append((a * levels + level, b * levels + level, weight // levels**2))
            if levels == 2:
                edges.append((a * levels + 1, b * levels, weight // 2))

    for r in range(height):
        for c in range(width):
            if r + 1 < height:
                neighbours(r * width + c, (r + 1) * width + c, int(vertical[r, c]))
            if c + 1 < width:
                neighbours(r * width + c, r * width + c + 1, int(horizontal[r, c]))
    tails, heads, capacities = (np.array(x) for x in zip(*edges, strict=True))
    graph = coo_matrix((capacities.astype(np.int32), (tails, heads)), shape=(sink + 1, sink + 1)).tocsr()
    residual = graph - maximum_flow(graph, source, sink).flow
    residual.data = np.maximum(residual.data, 0)
    residual.eliminate_zeros()
    reached = np.zeros(sink + 1, dtype=bool)
    reached[breadth_first_order(residual, source, return_predecessors=False)] = True
    return torch.from_numpy(reached[:source].reshape(cells, levels).sum(1).reshape(height, width))
