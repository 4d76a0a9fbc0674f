"""Coefficients a_jk: closed forms against loops over pixels and against all places that a box or a bump can have."""

from __future__ import annotations

import math

import pytest
import torch

from mixbench.analysis import coefficients as c
from mixbench.augment import CutMix, GMix, HMix
from mixbench.augment.draws import Draws

N = 8
MIDDLE = N - 1


def test_the_map_against_a_loop() -> None:
    """Brute force: the mean of all products of two pixels that an offset joins."""
    weights = torch.rand(3, 4, 5, dtype=torch.float64)
    found = c.over_offsets(weights)
    for down in range(-3, 4):
        for right in range(-4, 5):
            pairs = [
                (weights[:, i, j] * weights[:, i + down, j + right]).mean()
                for i in range(4)
                for j in range(5)
                if 0 <= i + down < 4 and 0 <= j + right < 5
            ]
            torch.testing.assert_close(found[3 + down, 4 + right], torch.stack(pairs).mean())


def box(row: int, column: int, half: int) -> torch.Tensor:
    pixel = torch.arange(N)
    rows = (pixel >= row - half) & (pixel < row + half)
    columns = (pixel >= column - half) & (pixel < column + half)
    return (rows[:, None] & columns).double()


@pytest.mark.parametrize("lam", [0.0, 0.1, 0.3, 0.5, 0.8, 0.99])
def test_clipped_boxes_are_all_boxes(lam: float) -> None:
    """Brute force: every centre, drawn as CutMix does."""
    half = int(N * math.sqrt(1 - lam)) // 2
    expected = c.by_enumeration(lambda row, column: box(row, column, half), N)
    torch.testing.assert_close(c.separable(c.box_clipped(1 - lam, N)), expected)


@pytest.mark.parametrize("lam", [0.1, 0.4, 0.7])
def test_equation_10_is_every_box_that_lies_inside(lam: float) -> None:
    """Brute force: a corner on the first n - b pixels of each axis."""
    side = math.floor(math.sqrt(1 - lam) * N)
    corners = range(N - side)
    masks = torch.zeros(len(corners) ** 2, N, N)
    for i, (row, column) in enumerate((row, column) for row in corners for column in corners):
        masks[i, row : row + side, column : column + side] = 1
    torch.testing.assert_close(c.separable(c.box_inside(lam, N)), c.over_offsets(masks))


@pytest.mark.parametrize("size", [3.0, 20.0, 200.0])
def test_clipped_bumps_are_all_bumps(size: float) -> None:
    """Brute force over the centres."""
    pixel = torch.arange(N, dtype=torch.float64)

    def bump(row: int, column: int) -> torch.Tensor:
        return torch.exp(-math.pi * ((pixel[:, None] - row) ** 2 + (pixel - column) ** 2) / size)

    torch.testing.assert_close(c.separable(c.bump_clipped(size, N)), c.by_enumeration(bump, N))


def test_bumps_in_the_plane_are_equation_11() -> None:
    """Closed form: (1 - lam) exp(-pi |i - j|^2 / (4 (1 - lam) N^2)); and far from the border, a clipped small bump."""
    lam = 0.7
    joint = c.bump_in_plane(2 * (1 - lam) * N**2, N)
    for offset in (0, 1, 5):
        expected = (1 - lam) * math.exp(-math.pi * 2 * offset**2 / (4 * (1 - lam) * N**2))
        found = c.separable(joint)[MIDDLE + offset, MIDDLE - offset]
        assert found.item() == pytest.approx(expected)
    small, wide = c.bump_in_plane(20.0, 60), c.bump_clipped(20.0, 60)
    torch.testing.assert_close(small[30, 28:33], wide[30, 28:33], rtol=1e-9, atol=0)


@pytest.mark.parametrize(("lam", "r"), [(0.5, 0.5), (0.2, 0.9), (0.7, 0.0), (0.6, 1.0)])
def test_hmix_of_the_text_is_all_boxes(lam: float, r: float) -> None:
    """Brute force over the centres; r=0 is Mixup, (1 - lam)^2, and r=1 CutMix."""
    half = int(N * math.sqrt((1 - lam) * r)) // 2
    outside = 1 - lam / (1 - (1 - lam) * r)

    def mask(row: int, column: int) -> torch.Tensor:
        inside = box(row, column, half)
        return inside + (1 - inside) * outside

    found = c.hmix(lam, r, N, c.box_clipped)
    torch.testing.assert_close(found, c.by_enumeration(mask, N))
    if r == 0:
        torch.testing.assert_close(found, torch.full_like(found, (1 - lam) ** 2))
    if r == 1:
        torch.testing.assert_close(found, c.separable(c.box_clipped(1 - lam, N)))


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (CutMix(2), lambda lam: c.separable(c.box_clipped(1 - lam, N))),
        (HMix(2, r=0.5, variant="paper"), lambda lam: c.hmix(lam, 0.5, N, c.box_clipped)),
        (GMix(2, variant="paper"), lambda lam: c.separable(c.bump_clipped(2 * (1 - lam) * N**2, N))),
        (GMix(2), lambda lam: c.separable(c.bump_clipped((1 - lam) * N**2, N))),
    ],
)
def test_the_samplers_that_train(method, expected) -> None:
    """Oracle: the samplers themselves, by Monte Carlo: 4,000 masks, within five standard errors everywhere."""
    lam = 0.6
    masks, _ = method.sample(
        4000, N, N, Draws(torch.Generator().manual_seed(0), "cpu"), torch.full((4000,), lam).double()
    )
    parts = torch.stack([c.over_offsets(1 - part[:, 0]) for part in masks.split(100)])
    error = parts.std(0) / math.sqrt(len(parts))
    assert ((parts.mean(0) - expected(lam)).abs() <= 5 * error + 1e-9).all()
