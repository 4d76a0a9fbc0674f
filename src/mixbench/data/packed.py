"""Packed graphs (see `models.packed`) that live on the training device, as batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixbench.data.gin_text import Graphs
from mixbench.data.kept import Kept
from mixbench.models.packed import HEAD
from mixbench.seams import Fed


def packed(graphs: Graphs) -> NDArray[np.float32]:
    """All graphs as rows (G, L), numbered in their order; of the two directions of an edge a row holds one."""
    nodes, edges = np.diff(graphs.nodes), np.diff(graphs.edges) // 2
    rows = np.zeros((len(graphs), HEAD + int((nodes + 2 * edges).max())), np.float32)
    rows[:, :HEAD] = np.column_stack([np.ones(len(graphs)), np.arange(len(graphs)), nodes, edges])
    for number, (row, n, e) in enumerate(zip(rows, nodes, edges, strict=True)):
        own = slice(*graphs.edges[number : number + 2])
        source, target = graphs.source[own], graphs.target[own]
        once = source < target
        row[HEAD : HEAD + n] = graphs.features[slice(*graphs.nodes[number : number + 2])]
        row[HEAD + n : HEAD + n + 2 * e] = np.concatenate([source[once], target[once]])
    return rows


class GraphSet(Kept):
    """Packed graphs `rows` float32 (N, L) and `labels` int64 (N,) on one device. Raises ValueError for others."""

    def __init__(
        self,
        rows: NDArray[np.float32],
        labels: NDArray[np.int64],
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        if rows.dtype != np.float32 or rows.ndim != 2 or labels.shape != rows.shape[:1]:
            raise ValueError(
                f"graphs must be float32 (N, L) and labels (N,), got {rows.dtype} {rows.shape} and {labels.shape}."
            )
        self.device = torch.device(device)
        self.rows = torch.from_numpy(rows).to(device)
        self.labels = torch.tensor(labels, dtype=torch.int64, device=device)

    def batch(self, fed: Fed, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Graphs (B, 2, L) float32, none of them mixed, and labels int64 (B,) of the examples `fed`, indices int64
        (B,). Nothing is drawn.
        """
        (indices,) = fed
        return _alone(self.rows[indices]), self.labels[indices]

    def eval_batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The whole set in order: graphs (B, 2, L), labels (B,); the last B may be smaller."""
        for rows, labels in zip(self.rows.split(batch_size), self.labels.split(batch_size), strict=True):
            yield _alone(rows), labels

    def mean_input(self) -> None:
        """Graphs have no mean."""
        return


def _alone(rows: Tensor) -> Tensor:
    return torch.stack([rows, torch.zeros_like(rows)], dim=1)
