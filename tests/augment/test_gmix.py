"""GMix. Oracles: its formula in numpy; known means on 32x32; the gap in its labels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from probes import probe

from mixbench.augment import GMix
from mixbench.augment.draws import Draws


def draws(seed: int = 0) -> Draws:
    return Draws(torch.Generator().manual_seed(seed), "cpu")


def ratios(lam: float, n: int) -> torch.Tensor:
    return torch.full((n,), lam, dtype=torch.float64)


def by_the_text(variant: str, lam: float, height: int, width: int, centre: tuple[int, int]) -> np.ndarray:
    """The mask of the own image."""
    i, j = np.mgrid[:height, :width]
    distance = (i - centre[0]) ** 2 + (j - centre[1]) ** 2
    if variant == "paper":
        return 1 - np.exp(-distance * np.pi / (2 * (1 - lam) * height * width))
    if lam < 0.5:
        return np.exp(-distance * np.pi / (lam * height * width))
    return 1 - np.exp(-distance * np.pi / ((1 - lam) * height * width))


@pytest.mark.parametrize("variant", ["official", "paper"])
@pytest.mark.parametrize(("height", "width", "centre"), [(16, 16, (3, 11)), (9, 14, (8, 0)), (1, 5, (0, 4))])
@pytest.mark.parametrize("lam", [0.1, 0.4999, 0.5, 0.65, 0.9])
def test_equals_the_formula(variant, height, width, centre, lam, monkeypatch) -> None:
    """Oracle: the definition in numpy, on square and other images; the label is the mask's mean."""
    values = iter([torch.tensor([centre[0]]), torch.tensor([centre[1]])])
    monkeypatch.setattr(Draws, "integers", lambda self, high, n: next(values))
    mask, own = GMix(2, variant=variant, label="mean_mask").sample(1, height, width, draws(), ratios(lam, 1))
    expected = by_the_text(variant, lam, height, width, centre)
    assert np.allclose(mask[0, 0].numpy(), expected, atol=1e-12)
    assert own.item() == pytest.approx(expected.mean(), abs=1e-12)


@settings(deadline=None, max_examples=100)
@given(
    variant=st.sampled_from(["official", "paper"]),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    lam=st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0, 1e-300, 1e-12, 1 - 1e-15, 0.5])),
    seed=st.integers(0, 1000),
)
def test_mask_is_finite_and_its_mean_the_label(variant, height, width, lam, seed) -> None:
    """0 <= M <= 1 and label = mean(M) for every ratio, 0, 1 and their neighbourhood included."""
    mask, own = GMix(2, variant=variant, label="mean_mask").sample(
        3, height, width, draws(seed), ratios(lam, 3)
    )
    assert ((mask >= 0) & (mask <= 1)).all()
    assert torch.allclose(mask.mean((1, 2, 3)), own, atol=1e-12)


def test_limits_of_the_ratio() -> None:
    """lambda = 1 shows the own image alone; lambda = 0 the partner alone in the official variant, but not in
    the paper's, whose bump never covers the whole image."""
    for variant in ("official", "paper"):
        mask, own = GMix(2, variant=variant).sample(5, 8, 8, draws(), ratios(1.0, 5))
        assert (mask == 1).all()
        assert (own == 1).all()
    mask, own = GMix(2).sample(5, 8, 8, draws(), ratios(0.0, 5))
    assert (mask == 0).all()
    assert (own == 0).all()
    mask, _ = GMix(2, variant="paper").sample(5, 8, 8, draws(), ratios(0.0, 5))
    assert mask.mean() > 0.3


def test_official_labels_avoid_the_middle() -> None:
    """At most 0.427 of a 32x32 image lies in the widest bump, so no label weight lies in (0.427, 0.573); and
    14 % of the weights lie in (1/4, 3/4) at alpha = 1/2, 21 % at alpha = 1. 8000 draws, 4 deviations."""
    for alpha, middle in ((0.5, 0.14), (1.0, 0.21)):
        _, own = GMix(2, alpha).sample(8000, 32, 32, draws())
        assert not ((own > 0.427) & (own < 0.573)).any()
        assert own[own < 0.5].max() > 0.42
        share = ((own > 0.25) & (own < 0.75)).double().mean()
        assert abs(share - middle) < 0.005 + 4 * math.sqrt(middle * (1 - middle) / 8000)


@pytest.mark.parametrize(("lam", "mean"), [(0.5, 0.699), (0.25, 0.177), (0.75, 0.823), (0.9, 0.919)])
def test_border_effect_of_the_official_variant(lam, mean) -> None:
    """Mean label on 32x32: the formula's mean over all 1024 centres, by symmetry over a quadrant of them."""
    centres = [(i, j) for i in range(16) for j in range(16)]
    expected = np.mean([by_the_text("official", lam, 32, 32, centre).mean() for centre in centres])
    assert expected == pytest.approx(mean, abs=1e-3)
    _, own = GMix(2).sample(8000, 32, 32, draws(), ratios(lam, 8000))
    assert abs(own.mean() - expected) < 4 * own.std() / math.sqrt(8000)


@pytest.mark.parametrize(("lam", "mean"), [(0.05, 0.371), (0.5, 0.531), (0.9, 0.853)])
def test_what_the_papers_mask_shows(lam, mean) -> None:
    """The paper's mask shows far more of the own image than its label lambda says when lambda is small."""
    mask, own = GMix(2, variant="paper").sample(8000, 32, 32, draws(), ratios(lam, 8000))
    assert (own == lam).all()
    assert mask.mean() == pytest.approx(mean, abs=0.004)


def test_far_from_the_border_the_bump_holds_the_partners_share() -> None:
    """On the infinite plane the official kernel integrates to 1 - lambda, the paper's to 2 (1 - lambda)."""
    lam, size = 0.98, 201
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Draws, "integers", lambda self, high, n: torch.full((n,), high // 2))
        _, own = GMix(2).sample(1, size, size, draws(), ratios(lam, 1))
        mask, _ = GMix(2, variant="paper").sample(1, size, size, draws(), ratios(lam, 1))
    assert 1 - own.item() == pytest.approx(1 - lam, rel=1e-3)
    assert 1 - mask.mean().item() == pytest.approx(2 * (1 - lam), rel=1e-3)


def test_the_label_of_each_variant() -> None:
    """None is the variant's own: the mask's mean (official), lambda (paper); a given one holds for either."""
    assert GMix(2).label == "mean_mask"
    assert GMix(2, variant="paper").label == "lambda"
    _, own = GMix(2, label="lambda").sample(4, 8, 8, draws(), ratios(0.3, 4))
    assert (own == 0.3).all()


def test_what_is_shown_is_what_the_label_says() -> None:
    """Through the whole call, on an odd non-square image: mean weight shown = label weight, 500 batches."""
    mix, generator = GMix(2, pairing="flip"), torch.Generator().manual_seed(0)
    for _ in range(500):
        x, y = probe(mix, 2, 11, 7, generator=generator)
        assert torch.allclose(x.mean((2, 3)), y.double(), atol=1e-6)
