"""Deformed test images against scipy, torchvision, exact rotations and a loop over pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.ndimage
import torch
import torchvision.transforms.v2.functional as tv
from hypothesis import given, settings
from hypothesis import strategies as st

from mixbench.analysis.deformations import DEFORMATIONS
from mixbench.analysis.warp import deformed, matrices, warp


def picture(height: int, width: int, n: int = 1) -> torch.Tensor:
    """Every pixel of every image has a value of its own, none of them 0."""
    return torch.arange(1.0, n * 3 * height * width + 1).view(n, 3, height, width)


def rotation(degrees: float) -> torch.Tensor:
    a = math.radians(degrees)
    return torch.tensor([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]], dtype=torch.float64)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(DEFORMATIONS)), st.integers(1, 20), st.integers(1, 20), st.integers(1, 5))
def test_scipy(name: str, height: int, width: int, n: int) -> None:
    """Oracle: scipy.ndimage.affine_transform with order 0 and a constant 0 outside, about H/2 + 1/2, W/2 + 1/2.

    Without the places that lie on a border to the last bit: which side they fall to depends on the order of sums.
    """
    images, matrix = picture(height, width, n), matrices(name, n)
    centre = np.array([height / 2 + 0.5, width / 2 + 0.5])
    places = np.stack(np.mgrid[:height, :width], -1)
    for image, m, ours in zip(images, matrix.numpy(), warp(images, matrix), strict=True):
        doubled = 2 * ((places - centre) @ m.T + centre)  # edges at whole numbers, midpoints at odd ones
        clear = (np.abs(doubled - np.round(doubled)) > 1e-9).all(-1)
        for channel, found in zip(image.numpy(), ours.numpy(), strict=True):
            expected = scipy.ndimage.affine_transform(
                channel, m, offset=centre - m @ centre, order=0, mode="constant", cval=0.0
            )
            np.testing.assert_array_equal(found[clear], expected[clear])


@pytest.mark.parametrize("degrees", [-33.0, 7.5, 20.0])
def test_torchvision_rotates_the_same_way(degrees: float) -> None:
    """Oracle: torchvision's rotate, turning the other way about the same centre; a few pixels round differently."""
    image = picture(32, 32)
    # torchvision counts from the corner of the first pixel, half a pixel before its middle.
    theirs = tv.rotate(image[0], -degrees, center=[17.0, 17.0])
    ours = warp(image, rotation(degrees)[None])[0]
    assert (theirs == ours).float().mean() > 0.95
    assert (theirs == warp(image, rotation(-degrees)[None])[0]).float().mean() < 0.3


def test_quarter_turns_are_exact() -> None:
    """Oracle: torch.rot90 of the 31x31 pixels that stay about the centre, pixel (16.5, 16.5) of 32x32."""
    image = picture(32, 32)
    ours = warp(image, rotation(90)[None].round())  # exact zeros and ones
    assert torch.equal(ours[..., 2:, 2:], torch.rot90(image[..., 2:, 2:], -1, (2, 3)))


def test_nothing_to_do() -> None:
    """Limiting cases: the angle 0 and the factor 1."""
    image = picture(7, 5, n=2)
    assert torch.equal(warp(image, torch.eye(2, dtype=torch.float64).expand(2, 2, 2)), image)


def test_zoom_below_one_shows_a_part_and_above_one_leaves_a_border() -> None:
    """Closed form: at factor z the pixel at distance d from the centre comes from z d."""
    image = picture(32, 32)
    assert (warp(image, matrices("zoom_60", 1)) > 0).all()
    small = warp(image, matrices("zoom_140", 1))[0, 0] > 0
    # 0 <= 1.4 (x - 16.5) + 16.5 <= 31 for x = 5 ... 26
    assert small.any(0).nonzero().flatten().tolist() == list(range(5, 27))


@pytest.mark.parametrize(
    ("name", "limit"), [("rotation_40", 40.0), ("shear_28.6", 28.65), ("shear_57.3", 57.3)]
)
def test_angles_are_uniform_between_their_limits(name: str, limit: float) -> None:
    """Closed form: angles of Uniform(-limit, limit), read off the matrices; Kolmogorov's distance at 1 in 1000."""
    matrix = matrices(name, 5000)
    angle = torch.rad2deg(torch.atan2(-matrix[:, 0, 1], matrix[:, 1, 1]))
    assert scipy.stats.kstest(angle.numpy(), "uniform", (-limit, 2 * limit)).statistic < 1.95 / math.sqrt(
        5000
    )
    fixed = (matrix[:, 0, 0] - 1).abs().max() if "shear" in name else (matrix.det() - 1).abs().max()
    assert fixed < 1e-12


def test_the_same_images_however_they_are_batched() -> None:
    """Oracle: the whole set in one batch; a smaller test set is the beginning of a larger one."""
    images, labels = picture(8, 8, n=7), torch.arange(7)
    whole = next(deformed([(images, labels)], "rotation_40", 7))[0]
    batches = zip(images.split(3), labels.split(3), strict=True)
    assert torch.equal(torch.cat([x for x, _ in deformed(batches, "rotation_40", 7)]), whole)
    assert torch.equal(matrices("shear_57.3", 3), matrices("shear_57.3", 7)[:3])


def test_columns_are_those_of_the_published_table() -> None:
    """Oracle: the columns that the table's spec reads."""
    from mixbench.papers.library import load

    columns = [column for metric in load("zou2023/table8").metrics for column in metric.column]
    assert columns == [f"deformations/{name}" for name in DEFORMATIONS]
