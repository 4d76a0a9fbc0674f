"""Graphs, float32 (L,) as `models.packed` describes them, mixed at the readout of the network (see `Kind`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mixbench.data.kinds.row import numbers
from mixbench.data.packed import GraphSet
from mixbench.data.splits import Split, Splits
from mixbench.errors import DataError
from mixbench.models.packed import EDGES, HEAD, NODES, NUMBER, WEIGHT, blended
from mixbench.seams import Examples

NOUN = "graphs"
blend = blended


def normalisation(options: Any, train: Split) -> tuple[list[float], list[float]]:
    """None: what a node is told by is coded one-hot."""
    return [], []


def placed(splits: Splits, options: Any, device: torch.device, root: Path) -> Splits:
    """As they are."""
    return splits


def in_training(options: Any, splits: Splits) -> dict[str, Any]:
    """Nothing: graphs have no base augmentation, and are always kept."""
    return {}


def examples(
    split: Split, *, mean: Any = (), std: Any = (), channels_last: bool = True, **how: Any
) -> Examples:
    """Kept on the device. `how` are the keyword arguments of `packed.GraphSet`."""
    return GraphSet(np.asarray(split.inputs), split.labels, **how)


def fitting(inputs: Any, shape: tuple[int, ...], stored: str, wanted: str) -> NDArray[np.float32]:
    """Packed graphs (N, L) as the set's own splits have them, or one (L,); they are numbered anew."""
    wanted = f"{wanted} graphs as rows (N, {shape[0]}), as its own splits have them"
    rows = numbers(inputs, shape[:1], wanted)
    rows[:, WEIGHT], rows[:, NUMBER] = 1, np.arange(len(rows))
    for number, row in enumerate(rows):
        if not _is_graph(row, shape[1]):
            raise DataError(f"{wanted}; row {number} is none.")
    return rows


def _is_graph(row: NDArray[np.float32], features: int) -> bool:
    """Whether a row says of itself what can be: whole numbers, nodes that are there, features that are known."""
    if not (np.isfinite(row).all() and (row == row.round()).all()):
        return False
    n, e = int(row[NODES]), int(row[EDGES])
    if n < 1 or e < 0 or HEAD + n + 2 * e > len(row):
        return False
    told, ends = row[HEAD : HEAD + n], row[HEAD + n : HEAD + n + 2 * e]
    return bool((told >= 0).all() and (told < features).all() and (ends >= 0).all() and (ends < n).all())


def words(options: Any, splits: Splits, train: Examples) -> tuple[str, str, Iterator[str]]:
    """ "graphs, fold 0", and what a node is told by."""
    return f"graphs, fold {options.fold}", f"{splits.spec.shape[-1]} features of nodes, one-hot", iter(())
