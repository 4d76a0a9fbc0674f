"""HMix. Oracles: its formula in numpy, its limits Mixup (r=0) and CutMix (r=1), mean(M) = lambda."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from probes import probe

from mixbench.augment import CutMix, HMix, Mixup
from mixbench.augment.draws import Draws


def draws(seed: int = 0) -> Draws:
    return Draws(torch.Generator().manual_seed(seed), "cpu")


def ratios(lam: float, n: int) -> torch.Tensor:
    return torch.full((n,), lam, dtype=torch.float64)


@settings(deadline=None, max_examples=100)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    lam=st.floats(0, 1),
    r=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_official_mask_has_mean_lambda_exactly(height, width, lam, r, seed) -> None:
    """mean(M) = lambda for every draw, unless the box covers the whole image; the weight outside the box lies
    in [lambda, lambda / (1 - (1-lambda) r)] and the label is lambda."""
    mask, own = HMix(2, r=r).sample(4, height, width, draws(seed), ratios(lam, 4))
    assert torch.equal(own, ratios(lam, 4))
    assert mask.isfinite().all()
    assert torch.allclose(mask.mean((1, 2, 3)), own, atol=1e-12)
    outside = mask.amax((1, 2, 3))
    assert (outside >= lam - 1e-12).all() or lam == 0
    nominal = 1 - (1 - lam) * r
    assert (outside <= (lam / nominal if nominal > 0 else 0) + 1e-12).all()
    assert (outside <= 1 + 1e-12).all()


def by_the_text(lam: float, r: float, size: int, centre: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Official and paper mask, pixel by pixel."""
    half = int(size * math.sqrt((1 - lam) * r)) // 2
    box = np.zeros((size, size), dtype=bool)
    for i in range(size):
        for j in range(size):
            box[i, j] = abs(i - centre[0] + 0.5) < half and abs(j - centre[1] + 0.5) < half
    official = np.where(box, 0, lam / (1 - box.mean()))
    paper = np.where(box, 0, lam / (1 - (1 - lam) * r))
    return official, paper


@pytest.mark.parametrize("variant", ["official", "paper"])
@pytest.mark.parametrize("centre", [(5, 9), (0, 0), (15, 3)])
@pytest.mark.parametrize(("lam", "r"), [(0.5, 0.5), (0.2, 0.9), (0.65, 0.5)])
def test_equals_the_formula(variant, centre, lam, r, monkeypatch) -> None:
    """Oracle: the definition, in numpy, pixel by pixel."""
    values = iter([torch.tensor([centre[0]]), torch.tensor([centre[1]])])
    monkeypatch.setattr(Draws, "integers", lambda self, high, n: next(values))
    mask, _ = HMix(2, r=r, variant=variant).sample(1, 16, 16, draws(), ratios(lam, 1))
    expected = by_the_text(lam, r, 16, centre)[variant == "paper"]
    assert np.allclose(mask[0, 0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("variant", ["official", "paper"])
def test_r_zero_is_mixup(variant) -> None:
    """Without a box, the weight is lambda everywhere."""
    lam = torch.rand(20, dtype=torch.float64)
    mask, own = HMix(2, r=0.0, variant=variant).sample(20, 8, 8, draws(), lam)
    expected, expected_own = Mixup(2).sample(20, 8, 8, draws(), lam)
    assert torch.equal(mask, expected.expand_as(mask))
    assert torch.equal(own, expected_own)


def test_r_one_is_cutmix() -> None:
    """The paper's mask is then CutMix's, and its mean CutMix's label. The official one only where the border
    clips nothing: elsewhere a share of Mixup stays outside the box."""
    lam = torch.rand(200, dtype=torch.float64)
    cut, cut_own = CutMix(2).sample(200, 16, 16, draws(), lam)
    mask, own = HMix(2, r=1.0, variant="paper", label="mean_mask").sample(200, 16, 16, draws(), lam)
    assert torch.allclose(mask, cut)
    assert torch.allclose(own, cut_own)
    exact = torch.full((200,), 0.75, dtype=torch.float64)  # side 8 of 16: not rounded
    cut, cut_own = CutMix(2).sample(200, 16, 16, draws(), exact)
    mask, own = HMix(2, r=1.0).sample(200, 16, 16, draws(), exact)
    whole = cut_own == 0.75
    assert whole.any()
    assert not whole.all()
    assert torch.equal(mask[whole], cut[whole])
    assert not torch.equal(mask[~whole], cut[~whole])
    assert (own == 0.75).all()


@pytest.mark.parametrize("variant", ["official", "paper"])
def test_a_box_over_the_whole_image_is_the_partner(variant) -> None:
    """lambda = 0 and r = 1 on an even size with the box at the centre: 0/0 outside must become 0."""
    mask, own = HMix(2, r=1.0, variant=variant).sample(500, 4, 4, draws(), ratios(0.0, 500))
    assert torch.equal(mask, torch.zeros(500, 1, 4, 4, dtype=torch.float64))
    assert torch.equal(own, torch.zeros(500, dtype=torch.float64))


def test_border_effect_of_the_two_variants() -> None:
    """At lambda = r = 0.5 on 32x32 the paper's outside weight is 2/3; the official one averages 0.621, between
    0.533 (box in the corner) and 2/3."""
    mask, _ = HMix(2, variant="paper").sample(4000, 32, 32, draws(), ratios(0.5, 4000))
    assert torch.allclose(mask.amax((1, 2, 3)), torch.tensor(2 / 3, dtype=torch.float64))
    mask, _ = HMix(2).sample(4000, 32, 32, draws(), ratios(0.5, 4000))
    outside = mask.amax((1, 2, 3))
    assert outside.mean() == pytest.approx(0.621, abs=0.003)
    assert outside.min() == pytest.approx(0.5333, abs=1e-3)
    assert outside.max() == pytest.approx(2 / 3, abs=1e-9)


def test_labels_of_the_paper_variant() -> None:
    """label="lambda" is lambda; label="mean_mask" the mean of the mask, which clipping makes larger."""
    mask, own = HMix(2, variant="paper").sample(50, 16, 16, draws(), ratios(0.4, 50))
    assert (own == 0.4).all()
    mask, own = HMix(2, variant="paper", label="mean_mask").sample(50, 16, 16, draws(), ratios(0.4, 50))
    assert torch.allclose(own, mask.mean((1, 2, 3)))
    assert (own >= 0.4 - 1e-12).all()
    assert own.max() > 0.45


def test_labels_through_the_whole_call_are_beta_distributed() -> None:
    """alpha = 1: labels uniform on [0, 1], and equal to the mean of what is shown. 2000 batches, 4 standard
    deviations on mean and variance."""
    mix, generator = HMix(2, pairing="flip"), torch.Generator().manual_seed(0)
    drawn = [probe(mix, 2, 16, 16, generator=generator) for _ in range(2000)]
    own = torch.stack([y[0, 0] for _, y in drawn]).double()
    assert torch.allclose(own, torch.stack([x[0, 0].mean() for x, _ in drawn]), atol=1e-6)
    assert abs(own.mean() - 0.5) < 4 * math.sqrt(1 / 12 / 2000)
    assert abs(own.var() - 1 / 12) < 4 * math.sqrt((1 / 80 - 1 / 144) / 2000)


# ------------------------------------------------------------------------------------------------ random r


@pytest.mark.parametrize("variant", ["official", "paper"])
def test_a_random_r_is_one_draw_for_each_mask(variant) -> None:
    """Oracle: the definition with a fixed r, pixel by pixel, for r ~ Beta(gamma, gamma) and centres drawn in this
    order. All 30 draws of r differ."""
    mask, own = HMix(2, gamma=0.7, variant=variant).sample(30, 16, 16, draws(3), ratios(0.4, 30))
    same = draws(3)
    r, rows, columns = same.beta(0.7, 30), same.integers(16, 30), same.integers(16, 30)
    assert len(r.unique()) == 30
    for i in range(30):
        expected = by_the_text(0.4, float(r[i]), 16, (int(rows[i]), int(columns[i])))[variant == "paper"]
        assert np.allclose(mask[i, 0].numpy(), expected, atol=1e-12)
    assert torch.equal(own, ratios(0.4, 30))


@pytest.mark.parametrize("per_sample", [False, True])
def test_a_batch_has_one_random_r_or_one_per_example(per_sample) -> None:
    """The paper's weight outside the box, lambda / (1 - (1-lambda) r), tells r: one of them or 20."""
    mix = HMix(20, gamma=1.0, variant="paper", pairing="flip", per_sample=per_sample)
    x, _ = probe(mix, 20, 12, 12, lam=0.7, generator=torch.Generator().manual_seed(0))
    outside = x.diagonal(dim1=0, dim2=1).amax((0, 1))
    assert len(outside.unique()) == (20 if per_sample else 1)


def test_without_gamma_nothing_more_is_drawn() -> None:
    """Oracle: the generator after a ratio and a centre; another state with gamma."""
    same = draws(4)
    same.beta(1.0, 5)
    same.integers(8, 5)
    same.integers(8, 5)
    for gamma, equal in ((None, True), (1.0, False)):
        used = draws(4)
        HMix(2, gamma=gamma).sample(5, 8, 8, used)
        assert torch.equal(used.generator.get_state(), same.generator.get_state()) is equal


def test_r_is_a_coin_between_mixup_and_cutmix_as_gamma_vanishes() -> None:
    """Limit gamma -> 0 (Park et al., section 4): Stochastic Mixup & CutMix. 4000 masks at lambda = 0.4, each Mixup's or
    that of CutMix around the same pixel, half of each (4 standard deviations)."""
    mask, _ = HMix(2, gamma=1e-7, variant="paper").sample(4000, 12, 12, draws(5), ratios(0.4, 4000))
    used = draws(5)
    used.beta(1e-7, 4000)
    cut, _ = CutMix(2).sample(4000, 12, 12, used, ratios(0.4, 4000))
    is_mixup = ((mask - 0.4).abs() < 1e-9).flatten(1).all(1)
    is_cutmix = ((mask - cut).abs() < 1e-9).flatten(1).all(1)
    assert (is_mixup ^ is_cutmix).all()
    assert abs(is_mixup.double().mean() - 0.5) < 4 * math.sqrt(0.25 / 4000)


@pytest.mark.parametrize("variant", ["official", "paper"])
def test_r_is_one_half_as_gamma_grows(variant) -> None:
    """Limit: the masks of the fixed r = 1/2 around the same pixels."""
    mask, own = HMix(2, gamma=1e12, variant=variant).sample(50, 16, 16, draws(6), ratios(0.4, 50))
    used = draws(6)
    used.beta(1e12, 50)
    expected, expected_own = HMix(2, r=0.5, variant=variant).sample(50, 16, 16, used, ratios(0.4, 50))
    assert torch.allclose(mask, expected, atol=1e-5)
    assert torch.equal(own, expected_own)


@settings(deadline=None, max_examples=50)
@given(
    lam=st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0])),
    gamma=st.floats(-9, 3).map(lambda e: 10**e),
    size=st.integers(1, 20),
    seed=st.integers(0, 1000),
)
def test_a_random_r_keeps_the_mean_of_the_mask(lam, gamma, size, seed) -> None:
    """mean(M) = lambda for every draw of r, 0 and 1 included: the official variant's identity."""
    mask, own = HMix(2, gamma=gamma).sample(6, size, size, draws(seed), ratios(lam, 6))
    assert mask.isfinite().all()
    assert torch.allclose(mask.mean((1, 2, 3)), own, atol=1e-12)
