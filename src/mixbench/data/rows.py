"""Rows of a table that live on the training device, as normalised batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixbench.data.kept import Kept
from mixbench.seams import Fed


class RowSet(Kept):
    """Rows and labels on one device; a batch is picked from the rows, which are normalised once.

    `rows` float32 (N, D) without NaN, `labels` int64 (N,); `mean` and `std` have one number for each of the D columns.
    Raises ValueError if shapes or types do not fit.
    """

    def __init__(
        self,
        rows: NDArray[np.float32],
        labels: NDArray[np.int64],
        *,
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device | str = "cpu",
    ) -> None:
        if rows.dtype != np.float32 or rows.ndim != 2 or labels.shape != rows.shape[:1]:
            raise ValueError(
                f"rows must be float32 (N, D) and labels (N,), got {rows.dtype} {rows.shape} and {labels.shape}."
            )
        if not len(mean) == len(std) == rows.shape[1]:
            raise ValueError(f"mean and std need {rows.shape[1]} numbers, got {len(mean)} and {len(std)}.")
        # In float64: a column may lie far from zero.
        normalised = (rows.astype(np.float64) - np.asarray(mean)) / np.asarray(std)
        self.device = torch.device(device)
        self.rows = torch.from_numpy(normalised.astype(np.float32)).to(device)
        self.labels = torch.tensor(labels, dtype=torch.int64, device=device)

    def batch(self, fed: Fed, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Rows (B, D) float32 and labels int64 (B,) of the examples `fed`, indices int64 (B,). Nothing is drawn."""
        (indices,) = fed
        return self.rows[indices], self.labels[indices]

    def eval_batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The whole set in order: rows (B, D), labels (B,); the last B may be smaller."""
        yield from zip(self.rows.split(batch_size), self.labels.split(batch_size), strict=True)

    def mean_input(self) -> Tensor:
        """(D,) float32: the mean of all rows, normalised."""
        return self.rows.double().mean(0).float()
