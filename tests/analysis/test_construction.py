"""Theorem 2's mask: its moments against drawn masks, the torus against every place of the box."""

from __future__ import annotations

import math

import pytest
import torch

from mixbench.analysis import construction as t


@pytest.mark.parametrize(("lam", "n"), [(0.3, 4), (0.75, 4), (0.0, 3), (0.5, 3), (1.0, 3)])
def test_a_box_on_a_torus_is_all_boxes(lam: float, n: int) -> None:
    """Brute force over sides and corners; the mean of 1 - M is 1 - lambda at every pixel."""
    low = min(math.floor(n * math.sqrt(1 - lam)), n - 1)
    share = ((1 - lam) * n * n - low**2) / ((low + 1) ** 2 - low**2)
    joint, mean = torch.zeros(n * n, n * n, dtype=torch.float64), torch.zeros(n * n, dtype=torch.float64)
    for side, chance in ((low, 1 - share), (low + 1, share)):
        for row in range(n):
            for column in range(n):
                mask = torch.zeros(n, n, dtype=torch.float64)
                for i in range(side):
                    for j in range(side):
                        mask[(row + i) % n, (column + j) % n] = 1
                joint += chance / n**2 * torch.outer(mask.flatten(), mask.flatten())
                mean += chance / n**2 * mask.flatten()
    torch.testing.assert_close(t.box_on_a_torus(lam, n), joint)
    torch.testing.assert_close(mean, torch.full_like(mean, 1 - lam))
    assert t.smallest(t.needed(joint, lam)) > -1e-9  # a covariance


def test_moments_and_share_outside_against_drawn_masks() -> None:
    """Monte Carlo: 200,000 masks of two pixels, as printed and corrected."""
    lam, wanted = 0.3, torch.tensor([[0.7, 0.55], [0.55, 0.6]], dtype=torch.float64)
    covariance = t.needed(wanted, lam)
    torch.testing.assert_close(t.root(covariance) @ t.root(covariance), covariance)
    noise = torch.randn(200_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for mean in (lam, 1 - lam):
        mask = mean + noise @ t.root(covariance)
        found = (1 - mask).T @ (1 - mask) / len(mask)
        torch.testing.assert_close(found, t.coefficients(mean, covariance), atol=0.01, rtol=0)
        share = ((mask < 0) | (mask > 1)).double().mean().item()
        assert t.outside(mean, covariance) == pytest.approx(share, abs=0.003)
    torch.testing.assert_close(t.coefficients(lam, covariance), wanted)


def test_what_cannot_be_had_has_a_negative_eigenvalue() -> None:
    """By hand: a pixel with a_jj < (1 - lambda)^2 would have a negative variance."""
    assert t.smallest(t.needed(torch.diag(torch.tensor([0.1, 0.5], dtype=torch.float64)), 0.5)) < 0
    assert t.outside(0.5, torch.zeros(2, 2, dtype=torch.float64)) == 0
