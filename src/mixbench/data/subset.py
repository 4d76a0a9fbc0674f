"""Stratified subsets: the same examples for every run, whatever its seed, unless another seed is given for them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

_SEED = 20_260_101


def quotas(counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """How many of `size` images each class gets, by the method of largest remainders.

    `counts` (K,) int64 holds the images there are of each class. Every quota lies within one of the exact
    proportion size * counts / sum(counts); of equal remainders the lower class comes first.
    """
    whole, rest = np.divmod(counts * size, counts.sum())
    first = np.argsort(-rest, kind="stable")[: size - int(whole.sum())]
    whole[first] += 1
    return whole


def stratified(labels: NDArray[np.int64], size: int, seed: int = _SEED) -> Indices:
    """Ascending positions of `size` of the examples with `labels` (N,) int64, in the classes' proportions.

    scikit-learn's stratified splitters do nearly this, but refuse a size that leaves fewer examples than
    classes on either side, and break ties at random. RandomState's stream is frozen by NumPy's policy, the
    streams of newer generators are not. Raises ValueError unless 1 <= size <= N.
    """
    if not 1 <= size <= len(labels):
        raise ValueError(f"size={size}: must be between 1 and the {len(labels)} examples there are.")
    random = np.random.RandomState(seed)
    counts = np.bincount(labels)
    chosen = [
        random.permutation(np.flatnonzero(labels == label))[:quota]
        for label, quota in enumerate(quotas(counts, size))
    ]
    return np.sort(np.concatenate(chosen))


def split_off(labels: NDArray[np.int64], size: int, seed: int = _SEED) -> tuple[Indices, Indices]:
    """Positions of a stratified part of `size` examples and of all others, both ascending."""
    part = stratified(labels, size, seed)
    return part, np.setdiff1d(np.arange(len(labels)), part, assume_unique=True)
