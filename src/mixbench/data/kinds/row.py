"""Rows (D,) of a table, float32, their missing values filled in and their categories one-hot (see `Kind`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mixbench.augment import base as augment
from mixbench.data.rows import RowSet
from mixbench.data.splits import Split, Splits
from mixbench.errors import DataError
from mixbench.seams import Examples

NOUN = "rows"
blend = augment.blend


def normalisation(options: Any, train: Split) -> tuple[list[float], list[float]]:
    """Of each column, by scikit-learn, over the training rows; 0 and 1 for one that holds nothing but 0 and 1.

    The one-hot columns of a category stay what they are, as Zou et al. (2023), section 4.2, feed them in.
    """
    from sklearn.preprocessing import StandardScaler

    rows = np.asarray(train.inputs, dtype=np.float64)
    fitted = StandardScaler().fit(rows)
    plain = np.isin(rows, (0, 1)).all(0)
    return np.where(plain, 0.0, fitted.mean_).tolist(), np.where(plain, 1.0, fitted.scale_).tolist()


def placed(splits: Splits, options: Any, device: torch.device, root: Path) -> Splits:
    """As they are."""
    return splits


def in_training(options: Any, splits: Splits) -> dict[str, Any]:
    """Nothing: rows have no base augmentation, and are always kept."""
    return {}


def examples(split: Split, *, channels_last: bool = True, **how: Any) -> Examples:
    """Kept on the device. `how` are the keyword arguments of `rows.RowSet`; rows have no channels."""
    return RowSet(np.asarray(split.inputs), split.labels, **how)


def fitting(inputs: Any, shape: tuple[int, ...], stored: str, wanted: str) -> NDArray[np.float32]:
    """Numbers (N, D) as the set's own splits have them, in the columns' units, or one row (D,)."""
    wanted = f"{wanted} rows (N, {shape[0]}) of numbers, in the columns' own units"
    rows = numbers(inputs, shape, wanted)
    bad = np.argwhere(~np.isfinite(rows))
    if len(bad):
        row, column = bad[0]
        raise DataError(f"{wanted}; row {row}, column {column} is {rows[row, column]}.")
    return rows


def numbers(inputs: Any, shape: tuple[int, ...], wanted: str) -> NDArray[np.float32]:
    """A new array (N, D) of one row (D,), the `shape`, or of many. Raises DataError for another, saying what is
    `wanted`.
    """
    try:
        rows = np.array(inputs, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{wanted}: {error}.") from None
    rows = rows[None] if rows.shape == shape else rows
    if rows.shape[1:] != shape:
        raise DataError(f"{wanted}, not {rows.shape}.")
    return rows


def words(options: Any, splits: Splits, train: Examples) -> tuple[str, str, Iterator[str]]:
    """ "rows of 9 columns", and what was done to the columns."""
    how = "numbers standardised over the training rows, categories one-hot"
    return f"rows of {splits.spec.shape[0]} columns", how, iter(())
