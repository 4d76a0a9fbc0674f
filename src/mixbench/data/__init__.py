"""Image sets: prepared once into plain arrays, read by memory map, kept on the training device as uint8.

    splits = load("cifar100", train_size=10_000, val_size=1_000)
    splits.train.inputs        # uint8 (10000, 32, 32, 3)

`mixbench.data.images` turns such arrays into augmented, normalised batches.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from mixbench.data.store.paths import data_dir as resolve_data_dir
from mixbench.errors import ConfigError, DataError
from mixbench.schema.specs import DataSpec, find

if TYPE_CHECKING:  # the config schema reads mixbench.schema.specs, and should not have to import NumPy for it
    import numpy as np
    from numpy.typing import NDArray

    from mixbench.data.store.cache import Arrays

__all__ = ["Split", "Splits", "load"]


class Split(NamedTuple):
    """Inputs (N, *spec.shape), for images uint8 or float32, possibly a read-only memory map; labels int64 (N,)."""

    inputs: NDArray
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Splits:
    """A loaded data set. `note` says what a reader of its results must know ("" for a complete, exact set)."""

    spec: DataSpec
    train: Split
    val: Split | None
    test: Split
    note: str


def load(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    train_size: int | None = None,
    test_size: int | None = None,
    val_size: int | None = None,
    mirrors: Sequence[str] = (),
) -> Splits:
    """The data set `name`, which is prepared first (downloaded if need be) unless it is there already.

    `val_size` images are held out from the official training set, then `train_size` are taken from the
    others, and `test_size` from the official test set; all are stratified and the same for every seed.
    `data_dir` and `mirrors` as in `paths.data_dir` and `download.addresses`.

    Raises ConfigError for an unknown name or a size the set does not have, DataError for a set that is
    missing, damaged or cannot be written.
    """
    from mixbench.data.subset import split_off, stratified

    spec = find(name)
    arrays, note = _arrays(spec, data_dir, mirrors)
    train = Split(arrays["train_images"], arrays["train_labels"])
    test = Split(arrays["test_images"], arrays["test_labels"])
    _check_size("test_size", test_size, len(test.labels), spec)
    _check_size("val_size", val_size, len(train.labels) - 1, spec)
    _check_size("train_size", train_size, len(train.labels) - (val_size or 0), spec)
    val = None
    if val_size is not None:
        held_out, rest = split_off(train.labels, val_size)
        val, train = _take(train, held_out), _take(train, rest)
    if train_size is not None:
        train = _take(train, stratified(train.labels, train_size))
    if test_size is not None:
        test = _take(test, stratified(test.labels, test_size))
    return Splits(spec, train, val, test, note)


def _arrays(
    spec: DataSpec, data_dir: str | os.PathLike[str] | None, mirrors: Sequence[str]
) -> tuple[Arrays, str]:
    """The four arrays of `spec`, prepared first if need be, and the note on them."""
    from mixbench.data.store import cache

    root = resolve_data_dir(data_dir)
    meta = cache.read_meta(root, spec.name)
    if meta is None:
        from mixbench.data.store import official, prepare

        try:
            meta = prepare.prepare(spec, root, mirrors)
        except DataError as error:
            if not (spec.embedded and isinstance(error.__cause__, OSError)):
                raise
            return official.digits(spec).arrays, ""  # nothing can be written here, and nothing needs to be
    return cache.read(root, meta), meta.note


def _take(split: Split, indices: NDArray[np.int64]) -> Split:
    return Split(split.inputs[indices], split.labels[indices])


def _check_size(key: str, size: int | None, most: int, spec: DataSpec) -> None:
    if size is not None and not 1 <= size <= most:
        raise ConfigError(f"dataset.{key}={size}: {spec.name} allows 1 to {most} here.")
