"""Sums over all images of a set, a part at a time: the same bits however the set is kept and cut."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from mixbench.data.pictures import Pictures, Sums

CHUNK = 1 << 22  # numbers
MOST = 1 << 16  # images of a chunk whose squares add up to less than 2**32


def chunks(images: NDArray) -> Iterator[NDArray]:
    """The images (N, H, W, C) in parts that depend on N, H, W and C only."""
    size = max(1, min(MOST, CHUNK // math.prod(images.shape[1:])))
    for start in range(0, len(images), size):
        yield images[start : start + size]


def summed(parts: Iterable[NDArray[np.uint8]]) -> Sums:
    """The sums of images that come in parts (n, H, W, C), n at most MOST."""
    count, pixels, squares = 0, 0, 0
    for part in parts:
        count += len(part)
        # Over the images first: 15 times as fast as over all axes at once.
        pixels = pixels + part.sum(0, dtype=np.uint32).astype(np.int64)
        squares = squares + np.square(part, dtype=np.uint16).sum(0, dtype=np.uint32).sum(
            (0, 1), dtype=np.int64
        )
    return Sums(count, np.asarray(pixels), np.asarray(squares))


def total(images: NDArray | Pictures) -> NDArray:
    """The sum of images (N, H, W, C): int64 (H, W, C) of bytes, float64 of floats."""
    if images.dtype == np.uint8:
        return _sums(images).pixels
    assert isinstance(images, np.ndarray)
    parts = (np.ascontiguousarray(chunk).sum(0, dtype=np.float64) for chunk in chunks(images))
    return np.asarray(sum(parts))


def channel_statistics(images: NDArray | Pictures) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel over all pixels of images (N, H, W, C), as `Pixels` takes them.

    uint8 images count as [0, 1], float32 images as they are. A channel of one value has deviation 1, so that it
    becomes zero.
    """
    if images.dtype == np.uint8:
        sums = _sums(images)
        count = sums.count * math.prod(sums.pixels.shape[:2])
        pairs = [(int(s), int(q)) for s, q in zip(sums.pixels.sum((0, 1)), sums.squares, strict=True)]
        mean = [s / (255 * count) for s, _ in pairs]
        variance = [(count * q - s * s) / (255 * count) ** 2 for s, q in pairs]  # of whole numbers: exact
    else:
        assert isinstance(images, np.ndarray)
        count = math.prod(images.shape[:3])
        first = images[0, 0, 0].astype(np.float64)  # far from zero, squares would swallow the deviations
        totals = np.zeros((2, len(first)))
        for chunk in chunks(images):
            apart = np.ascontiguousarray(chunk) - first
            totals += np.stack([apart.sum(0), np.square(apart).sum(0)]).sum((1, 2))
        means = totals / count
        mean = (first + means[0]).tolist()
        variance = (means[1] - means[0] ** 2).tolist()
    return mean, [math.sqrt(v) if v > 0 else 1.0 for v in variance]


def _sums(images: NDArray | Pictures) -> Sums:
    known = getattr(images, "sums", None)  # pictures on the disk have been read through
    return known if known is not None else summed(chunks(images))  # type: ignore[arg-type]
