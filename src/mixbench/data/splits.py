"""A loaded data set: its parts, and how they are cut from what there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from mixbench.errors import ConfigError
from mixbench.schema.specs import DataSpec

if TYPE_CHECKING:  # the config schema should not have to import NumPy
    import numpy as np
    from numpy.typing import NDArray

    from mixbench.data.pictures import Pictures


class Split(NamedTuple):
    """Inputs (N, *spec.shape), of graphs (N, spec.shape[0]), and labels int64 (N,).

    Images are uint8 or float32: an array, possibly a read-only memory map, or pictures that are decoded where they are
    looked at.
    """

    inputs: NDArray | Pictures
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Splits:
    """A loaded data set. `note` says what a reader of its results must know ("" for a complete, exact set).

    `streamed` says why inputs are read for every batch; "" for a set that is kept on the device. `sha256` holds the
    checksums of what the parts were cut from: of prepared arrays by their names, or the `content` of one's own images.
    """

    spec: DataSpec
    train: Split
    val: Split | None
    test: Split
    note: str
    streamed: str = ""
    sha256: Mapping[str, str] = field(default_factory=dict)


def cut(
    spec: DataSpec,
    train: Split,
    test: Split,
    note: str,
    *,
    train_size: int | None,
    test_size: int | None,
    val_size: int | None,
    sha256: Mapping[str, str] | None = None,
) -> Splits:
    """`val_size` examples are held out from the training part, then `train_size` are taken from the others, and
    `test_size` from the test part; all are stratified and the same for every seed. `sha256` as in `Splits`.

    Raises ConfigError for a size that the set does not have.
    """
    from mixbench.data.subset import split_off, stratified

    _check_size("test_size", test_size, len(test.labels), spec)
    _check_size("val_size", val_size, len(train.labels) - 1, spec)
    _check_size("train_size", train_size, len(train.labels) - (val_size or 0), spec)
    val = None
    if val_size is not None:
        held_out, rest = split_off(train.labels, val_size)
        val, train = take(train, held_out), take(train, rest)
    if train_size is not None:
        train = take(train, stratified(train.labels, train_size))
    if test_size is not None:
        test = take(test, stratified(test.labels, test_size))
    return Splits(spec, train, val, test, note, sha256=sha256 or {})


def take(split: Split, indices: NDArray[np.int64]) -> Split:
    """The examples at these positions. Pictures stay on the disk."""
    inputs = split.inputs
    chosen = inputs.take(indices) if hasattr(inputs, "key") else inputs[indices]
    return Split(chosen, split.labels[indices])


def _check_size(key: str, size: int | None, most: int, spec: DataSpec) -> None:
    if size is not None and not 1 <= size <= most:
        raise ConfigError(f"dataset.{key}={size}: {spec.name} allows 1 to {most} here.")
