"""CutMix. Oracles: torchvision.transforms.v2.CutMix, exhaustive enumeration of the box's centres, limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from probes import probe
from torchvision.transforms import v2

from mixbench.augment import CutMix
from mixbench.augment.draws import Draws


@settings(deadline=None, max_examples=80)
@given(
    batch=st.integers(1, 5),
    height=st.integers(1, 19),
    width=st.integers(1, 19),
    lam=st.floats(0, 1),
    seed=st.integers(0, 10_000),
)
def test_equals_torchvision(batch, height, width, lam, seed) -> None:
    """Oracle: v2.CutMix with the same ratio, partners and centre; any image size, odd and non-square too."""
    torch.manual_seed(seed)
    images, labels = torch.randn(batch, 3, height, width), torch.randint(5, (batch,))
    row, column = torch.randint(height, (1,)), torch.randint(width, (1,))
    centres, their_centres = iter([row, column]), iter([column, row])
    theirs = v2.CutMix(num_classes=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Draws, "partners", lambda self, pairing, n: torch.arange(n).roll(1))
        patch.setattr(Draws, "integers", lambda self, high, n: next(centres))
        x, y = CutMix(5)(images, labels, lam=lam)
        patch.setattr(theirs._dist, "sample", lambda shape: torch.tensor(lam, dtype=torch.float64))
        patch.setattr(torch, "randint", lambda high, size: next(their_centres))
        expected, targets = theirs(images, labels)
    assert torch.equal(x, expected)
    assert torch.allclose(y, targets, atol=1e-6)


def clipped_share(side: float, height: int, width: int) -> float:
    """Mean share of pixels in the box, by enumeration of all centres; sides int(side * length), made even."""

    def covered(length: int) -> float:
        half = int(length * side) // 2
        return float(np.mean([min(c + half, length) - max(c - half, 0) for c in range(length)])) / length

    return covered(height) * covered(width)


@pytest.mark.parametrize(("lam", "known"), [(0.5, 0.676), (0.0, 0.4375), (1.0, 1.0)])
def test_mean_label_at_a_fixed_ratio(lam, known) -> None:
    """Clipping raises the own label's weight: to 0.676 at lambda = 0.5 on 32x32, by enumeration of all centres.
    4000 draws, 4 standard deviations."""
    expected = 1 - clipped_share(math.sqrt(1 - lam), 32, 32)
    assert expected == pytest.approx(known, abs=5e-4)
    mix, draws = CutMix(2), Draws(torch.Generator().manual_seed(0), "cpu")
    _, own = mix.sample(4000, 32, 32, draws, torch.full((4000,), lam, dtype=torch.float64))
    assert abs(own.mean() - expected) <= 4 * own.std() / math.sqrt(4000)


def test_mean_label_over_all_ratios() -> None:
    """E[label weight] = 0.701 for alpha = 1 on 32x32: the enumeration integrated over lambda. Drawn through
    the whole call 4000 times; 4 standard deviations."""
    grid = (np.arange(4000) + 0.5) / 4000
    expected = np.mean([1 - clipped_share(math.sqrt(1 - lam), 32, 32) for lam in grid])
    assert expected == pytest.approx(0.7008, abs=1e-4)
    mix, generator = CutMix(2, pairing="flip"), torch.Generator().manual_seed(0)
    drawn = [probe(mix, 2, 32, 32, generator=generator) for _ in range(4000)]
    own = torch.stack([y[0, 0] for _, y in drawn]).double()
    shown = torch.stack([x[0, 0].mean() for x, _ in drawn])
    assert torch.allclose(own, shown, atol=1e-6)
    assert abs(own.mean() - expected) < 4 * own.std() / math.sqrt(4000)


@settings(deadline=None, max_examples=40)
@given(height=st.integers(1, 20), width=st.integers(1, 20), lam=st.floats(0, 1), seed=st.integers(0, 1000))
def test_a_single_rectangle_of_pixels_is_pasted(height, width, lam, seed) -> None:
    """The mask is 0 on a rectangle and 1 elsewhere, and the label weight is one minus the pasted share."""
    x, y = probe(
        CutMix(2, pairing="flip"), 2, height, width, lam=lam, generator=torch.Generator().manual_seed(seed)
    )
    pasted = x[0, 1]
    assert ((pasted == 0) | (pasted == 1)).all()
    rows, columns = pasted.amax(1), pasted.amax(0)
    assert torch.equal(pasted, rows[:, None] * columns)
    for side in (rows, columns):
        assert (side.diff().abs().sum() + side[0] + side[-1]) in (0, 2)
    assert y[0, 0] == pytest.approx(1 - float(pasted.mean()), abs=1e-6)
    assert rows.sum() <= height * math.sqrt(1 - lam) + 1e-9
    assert columns.sum() <= width * math.sqrt(1 - lam) + 1e-9


def test_nominal_label_is_the_ratio() -> None:
    """label="nominal": lambda, whatever was clipped."""
    _, y = probe(CutMix(3, label="nominal", pairing="derange"), 3, 32, 32, lam=0.3)
    assert torch.allclose(y.diagonal(), torch.full((3,), 0.3))
