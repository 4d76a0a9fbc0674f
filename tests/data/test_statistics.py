"""Mean and deviation of channels, and sums over all images."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixbench.data import statistics
from mixbench.data.statistics import channel_statistics, chunks, summed, total


@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 9), channels=st.integers(1, 4), byte=st.booleans(), seed=st.integers(0, 99))
def test_channel_statistics(n: int, channels: int, byte: bool, seed: int) -> None:
    """Oracle: NumPy over all pixels at once."""
    images = np.random.default_rng(seed).integers(0, 256, (n, 4, 5, channels), dtype=np.uint8)
    images = images if byte else (images / 7).astype(np.float32)
    mean, std = channel_statistics(images)
    pixels = images.reshape(-1, channels).astype(float) / (255 if byte else 1)
    np.testing.assert_allclose(mean, pixels.mean(0), rtol=1e-12)
    np.testing.assert_allclose(std, pixels.std(0), rtol=1e-10)


@pytest.mark.parametrize("value", [0, 7, 255, np.float32(0.1), np.float32(-123456.7)])
def test_a_constant_channel_gets_deviation_1(value: float) -> None:
    images = np.full((3, 7, 2, 1), value)
    images = images.astype(np.uint8) if isinstance(value, int) else images
    (mean,), (deviation,) = channel_statistics(images)
    assert (mean, deviation) == (pytest.approx(value / 255 if isinstance(value, int) else float(value)), 1)


def test_deviations_far_from_zero_are_not_swallowed() -> None:
    """Oracle: the same numbers without the offset, which float32 holds exactly."""
    around = np.random.default_rng(0).integers(-8, 9, (50, 6, 4, 2)).astype(np.float32)
    mean, std = channel_statistics(around)
    far, same = channel_statistics(around + np.float32(2**20))
    np.testing.assert_allclose(np.subtract(far, 2**20), mean, rtol=0, atol=1e-9)
    np.testing.assert_allclose(same, std, rtol=1e-9)


@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 30), cuts=st.lists(st.integers(0, 30)), seed=st.integers(0, 99))
def test_sums_of_bytes_are_exact_however_they_are_cut(n: int, cuts: list[int], seed: int) -> None:
    """Oracle: int64 sums of the whole."""
    images = np.random.default_rng(seed).integers(200, 256, (n, 3, 2, 3), dtype=np.uint8)
    ends = sorted({0, n, *(cut for cut in cuts if cut < n)})
    sums = summed(images[a:b] for a, b in itertools.pairwise(ends))
    assert sums.count == n
    np.testing.assert_array_equal(sums.pixels, images.sum(0, dtype=np.int64))
    np.testing.assert_array_equal(sums.squares, (images.astype(np.int64) ** 2).sum((0, 1, 2)))
    np.testing.assert_array_equal(total(images), sums.pixels)


def test_no_chunk_overflows() -> None:
    """Limiting case: the most images of one pixel that are summed at once, all white."""
    images = np.full((2 * statistics.MOST + 3, 1, 1, 1), 255, np.uint8)
    assert [len(chunk) for chunk in chunks(images)] == [statistics.MOST, statistics.MOST, 3]
    sums = summed(chunks(images))
    assert sums.squares.item() == len(images) * 255**2
    assert sums.pixels.item() == len(images) * 255
