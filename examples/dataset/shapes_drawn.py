"""The images behind `dataset=shapes`."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixbench.data.splits import Split, Splits, cut


def load(options: Any, data_dir: str | os.PathLike[str] | None) -> Splits:
    """The two parts as the option describes them, the same ones every time. Nothing is kept in `data_dir`."""
    train = draw(options.train_images, options.side, seed=0)
    test = draw(options.test_images, options.side, seed=1)
    sizes = {key: getattr(options, key) for key in ("train_size", "test_size", "val_size")}
    return cut(options.spec(), train, test, "", **sizes)


def draw(n: int, side: int, seed: int) -> Split:
    """n images, uint8 (n, side, side, 3), and labels int64 (n,), all classes equally often."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(n) % 4)
    radius = random.uniform(0.2, 0.35, (n, 1, 1)) * side
    centre = radius + random.uniform(size=(2, n, 1, 1)) * (side - 2 * radius)
    pixel = np.arange(side) + 0.5
    inside = shapes((pixel[:, None] - centre[0]) / radius, (pixel - centre[1]) / radius)[labels, np.arange(n)]
    bright, dark = (random.integers(*of, (n, 1, 1, 3), dtype=np.uint8) for of in ((128, 256), (0, 96)))
    return Split(np.where(inside[..., None], bright, dark), labels)


def shapes(down: NDArray, right: NDArray) -> NDArray:
    """Disc, square, triangle and cross, (4, n, side, side) bool, at places relative to a centre and a radius of 1."""
    across, along = np.abs(right), np.abs(down)
    disc = across**2 + along**2 <= 1
    square = np.maximum(across, along) <= 0.8
    triangle = (np.abs(down) <= 0.8) & (across <= (down + 0.8) / 1.6)
    cross = (np.minimum(across, along) <= 0.25) & (np.maximum(across, along) <= 1)
    return np.stack(np.broadcast_arrays(disc, square, triangle, cross))
