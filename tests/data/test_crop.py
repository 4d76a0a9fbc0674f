"""The random resized crop: which boxes are drawn, and what becomes of them. Oracle: torchvision."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import kstest
from torchvision import transforms
from torchvision.transforms import functional

from mixbench.data import crop

SIZES = [(500, 375), (120, 300), (64, 64), (900, 40)]  # the last one is wider than any ratio allows


def noise(width: int, height: int) -> Image.Image:
    random = np.random.default_rng(0)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("area", [(0.08, 1.0), (0.25, 0.4), (0.8, 1.0)])
@pytest.mark.parametrize("size", SIZES)
def test_boxes_are_distributed_as_torchvisions(size: tuple[int, int], area: tuple[float, float]) -> None:
    """Kolmogorov-Smirnov on share, logarithm of the ratio and both places: 2000 boxes against 2000 of torchvision."""
    width, height = size
    random, picture = np.random.default_rng(1), noise(width, height)
    torch.manual_seed(2)
    ours = np.array([crop.random_box(random, width, height, area) for _ in range(2000)])
    drawn = [
        transforms.RandomResizedCrop.get_params(picture, list(area), [3 / 4, 4 / 3]) for _ in range(2000)
    ]
    theirs = np.array([(left, top, left + w, top + h) for top, left, h, w in drawn])
    for boxes in (ours, theirs):
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] <= size).all()

    def numbers(boxes: np.ndarray) -> list[np.ndarray]:
        w, h = (boxes[:, 2:] - boxes[:, :2]).T
        return [w * h / (width * height), np.log(w / h), boxes[:, 0], boxes[:, 1]]

    for mine, other in zip(numbers(ours), numbers(theirs), strict=True):
        assert kstest(mine, other).pvalue > 1e-4


@pytest.mark.parametrize("size", [(900, 40), (40, 900)])
def test_a_picture_that_no_box_fits_gives_its_middle(size: tuple[int, int]) -> None:
    """Oracle: torchvision, where no random box of this share is inside either."""
    found = crop.random_box(np.random.default_rng(0), *size, (0.9, 1.0))
    top, left, h, w = transforms.RandomResizedCrop.get_params(noise(*size), [0.9, 1.0], [3 / 4, 4 / 3])
    assert found == (left, top, left + w, top + h)
    assert math.isclose(max(w / h, h / w), 4 / 3, rel_tol=0.02)


def test_pixels_are_those_of_torchvision() -> None:
    """Oracle: resized_crop for boxes that are drawn; Resize and CenterCrop for testing, as 256 and 224 are."""
    random = np.random.default_rng(3)
    for width, height in SIZES:
        picture = noise(width, height)
        for _ in range(5):
            left, top, right, bottom = box = crop.random_box(random, width, height, (0.08, 1.0))
            expected = functional.resized_crop(picture, top, left, bottom - top, right - left, [32, 32])
            np.testing.assert_array_equal(crop.resized_crop(picture, box, 32), expected)
        oracle = transforms.Compose([transforms.Resize(37), transforms.CenterCrop(32)])
        np.testing.assert_array_equal(crop.centre(picture, 32, 37), oracle(picture))


def test_a_crop_depends_on_seed_step_and_row() -> None:
    """Property: the same place in training gives the same numbers, any other one others."""
    draws = {
        (seed, step, row): crop.generator(seed, step, row).random()
        for seed in (0, 1, 2**63)
        for step in (0, 1, 70_000)
        for row in (0, 1, 4095)
    }
    assert len(set(draws.values())) == len(draws)
    assert draws[1, 70_000, 4095] == crop.generator(1, 70_000, 4095).random()
