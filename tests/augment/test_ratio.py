"""Where ratios come from, and methods without any. Oracles: scipy's Beta distribution and its limits, the formula for
one shape, brute force pixel by pixel."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from probes import NoHostSync, probe
from scipy import stats
from torch import Tensor, nn

from mixbench.augment import CutMix, GMix, HMix, ManifoldMixup, Mixup, MixupCutMix
from mixbench.augment.base import MaskMix
from mixbench.augment.cutmix import random_box
from mixbench.augment.draws import Draws

SHAPES = [(5.0, 0.5), (0.5, 5.0), (0.2, 2.0), (1.0, 3.0), (2.0, 0.05), (0.05, 2.0), (30.0, 20.0)]
# Methods whose label weight is lambda itself.
NOMINAL = [
    Mixup,
    lambda k, alpha, **kw: CutMix(k, alpha, label="nominal", **kw),
    HMix,
    lambda k, alpha, **kw: HMix(k, alpha, gamma=0.3, **kw),
    lambda k, alpha, **kw: GMix(k, alpha, label="lambda", **kw),
    lambda k, alpha, **kw: ManifoldMixup(k, alpha, model=nn.Flatten(), stages=0, **kw),
]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class NoCopyFromTheHost(NoHostSync):
    """Also raise where a tensor is made of Python numbers in a list, which a device would have copied to it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func.overloadpacket.__name__ != "lift_fresh", "a list is copied to the device"
        return super().__torch_dispatch__(func, types, args, kwargs)


# ------------------------------------------------------------------------------------------------ two shapes


@pytest.mark.parametrize(("alpha", "beta"), SHAPES)
def test_ratios_follow_the_beta_distribution(alpha: float, beta: float) -> None:
    """Oracle: scipy.stats.beta. Kolmogorov-Smirnov on the lower half of 20000 draws, where float64 can tell all ratios
    apart (the upper half is the lower one of the swapped shapes), p > 0.001 with a fixed seed; the share of the lower
    half, mean and variance within 4 standard deviations."""
    lam = Draws(seeded(1), "cpu").beta(alpha, 20_000, beta)
    oracle = stats.beta(alpha, beta)
    lower, share = lam[lam < 0.5].numpy(), oracle.cdf(0.5)
    assert abs(len(lower) / 20_000 - share) <= 4 * math.sqrt(share * (1 - share) / 20_000)
    assert stats.kstest(lower, lambda t: oracle.cdf(t) / share).pvalue > 1e-3
    assert abs(lam.mean() - alpha / (alpha + beta)) < 4 * oracle.std() / math.sqrt(20_000)
    fourth = float(oracle.expect(lambda t: (t - oracle.mean()) ** 4))
    assert abs(lam.var() - oracle.var()) < 4 * math.sqrt((fourth - oracle.var() ** 2) / 20_000)


@pytest.mark.parametrize(("alpha", "beta"), [(1e-3, 5e-4), (5e-4, 1e-3), (1e-3, 2.0), (1e-4, 1e-3)])
def test_small_shapes_do_not_underflow(alpha: float, beta: float) -> None:
    """Oracle: scipy.stats.beta at thresholds below any Gamma variable of float64; 4 standard deviations."""
    lam = Draws(seeded(2), "cpu").beta(alpha, 20_000, beta)
    assert lam.isfinite().all()
    for threshold in (1e-200, 1e-100, 1e-10, 0.1, 0.5):
        expected = stats.beta(alpha, beta).cdf(threshold)
        assert abs((lam < threshold).double().mean() - expected) < 4 * math.sqrt(0.25 / 20_000)


@pytest.mark.parametrize(("alpha", "beta"), [(3e-6, 1e-6), (1e-9, 4e-9), (2e-300, 1e-300)])
def test_ratios_become_a_coin_as_both_shapes_vanish(alpha: float, beta: float) -> None:
    """Limit: 1 with probability alpha / (alpha + beta), else 0 (4 standard deviations allowed)."""
    lam = Draws(seeded(3), "cpu").beta(alpha, 10_000, beta)
    assert ((lam < 1e-9) | (lam > 1 - 1e-9)).double().mean() > 0.9998
    heads = alpha / (alpha + beta)
    assert abs((lam > 0.5).double().mean() - heads) < 4 * math.sqrt(heads * (1 - heads) / 10_000)


@pytest.mark.parametrize("alpha", [1e-300, 1e-3, 0.2, 1.0, 7.3])
@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_equal_shapes_draw_the_same_bits_as_one(alpha: float, n: int) -> None:
    """Oracle: the formula for Beta(alpha, alpha), with one tensor of one shape; bit for bit, and the generator after
    it in the same state. beta=None and beta=alpha are the same."""
    generator = seeded(4)
    gamma = torch._standard_gamma(torch.full((2, n), alpha + 1, dtype=torch.float64), generator=generator)
    uniform = torch.rand(2, n, generator=generator, dtype=torch.float64)
    log_gamma = gamma.log() + torch.log1p(-uniform) / alpha
    expected = torch.sigmoid(log_gamma[0] - log_gamma[1])
    for beta in (None, alpha):
        again = seeded(4)
        assert torch.equal(Draws(again, "cpu").beta(alpha, n, beta), expected)
        assert torch.equal(again.get_state(), generator.get_state())


@pytest.mark.parametrize("make", NOMINAL)
def test_labels_through_the_whole_call_follow_alpha_and_beta(make: Any) -> None:
    """Oracle: scipy.stats.beta(5, 0.5), with which Zhang et al. 2021 train; Kolmogorov-Smirnov over 2000 examples."""
    mix = make(2, 5.0, beta=0.5, pairing="flip", per_sample=True)
    labels = torch.arange(2).repeat_interleave(2000)
    _, y = mix(torch.zeros(4000, 1, 2, 2), labels, generator=seeded(5))
    assert stats.kstest(y[:2000, 0].numpy(), stats.beta(5, 0.5).cdf).pvalue > 1e-3


@pytest.mark.parametrize("make", [*NOMINAL, CutMix, GMix])
@pytest.mark.parametrize("per_sample", [False, True])
def test_beta_equal_to_alpha_is_the_default(make: Any, per_sample: bool) -> None:
    """Images and labels bit for bit."""
    images, labels = torch.rand(6, 3, 8, 8, generator=seeded()), torch.arange(6) % 4
    one, two = (make(4, 0.7, beta=beta, per_sample=per_sample) for beta in (None, 0.7))
    first, second = one(images, labels, generator=seeded(6)), two(images, labels, generator=seeded(6))
    assert all(map(torch.equal, first, second))


@pytest.mark.parametrize("make", NOMINAL)
def test_nothing_waits_for_the_device_and_nothing_is_copied_to_it(make: Any) -> None:
    """Two shapes reach the device with the kernels that fill their tensors, so that a CUDA graph can record them."""
    images, labels = torch.rand(6, 3, 8, 8), torch.randint(4, (6,))
    with pytest.raises(AssertionError, match="list"), NoCopyFromTheHost():
        torch.tensor([1.0, 2.0])
    for per_sample in (False, True):
        mix = make(4, 5.0, beta=0.5, per_sample=per_sample)
        with NoCopyFromTheHost():
            mix(images, labels, generator=seeded())


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Mixup(3, beta=0.0), "beta=0.0"),
        (lambda: CutMix(3, beta=-1.0), "beta=-1.0"),
        (lambda: GMix(3, beta=math.nan), "beta=nan"),
        (lambda: HMix(3, beta=math.inf), "beta=inf"),
        (lambda: HMix(3, gamma=0.0), "gamma=0.0"),
        (lambda: HMix(3, gamma=math.nan), "gamma=nan"),
    ],
)
def test_shapes_outside_their_range_are_refused(make: Any, named: str) -> None:
    """A ValueError that names the argument and what was given."""
    with pytest.raises(ValueError, match=named):
        make()


def test_mixup_cutmix_has_its_own_shapes_only() -> None:
    """There is no alpha and no beta that would mean nothing."""
    assert not {"alpha", "beta"} & set(vars(MixupCutMix(3)))
    with pytest.raises(TypeError, match="beta"):
        MixupCutMix(3, beta=1.0)


# ------------------------------------------------------------------------------------------------ no ratio


class Stripes(MaskMix):
    """Every second column is the partner's, from a random one of the first two on; so is half of the label."""

    def sample(self, n: int, height: int, width: int, draws: Draws) -> tuple[Tensor, ...]:
        first = draws.integers(2, n)
        own = (torch.arange(width) + first[:, None]) % 2
        return own[:, None, None, :].double(), own.double().mean(1)


class Shrunk(MaskMix):
    """The partner, made smaller, in a random box (as ResizeMix, Qin et al. 2020); the label follows the box's area."""

    def sample(self, n: int, height: int, width: int, draws: Draws) -> tuple[Tensor, ...]:
        scale = 0.1 + 0.7 * draws.uniform(n)
        inside, share = random_box(scale.square(), height, width, draws)
        return (
            (~inside).double(),
            1 - share,
            shrinking(inside[:, 0, :, :].any(2)),
            shrinking(inside.any(2)[:, 0]),
        )

    def mixed(self, images: Tensor, mask: Tensor, partners: Tensor, *extra: Tensor) -> Tensor:
        rows, columns = (places.expand(len(images), -1) for places in extra)
        small = images[partners[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        return torch.lerp(small, images, mask.to(images.dtype))


def shrinking(inside: Tensor) -> Tensor:
    """(n, length): which pixel of the whole side is shown at each pixel of a side's interval (n, length)."""
    nth = (inside.cumsum(1) - 1).clamp_min(0)
    return nth * inside.shape[1] // inside.sum(1, keepdim=True).clamp_min(1)


def test_a_method_without_a_ratio_mixes_through_its_masks() -> None:
    """Oracle: equation 1 with stripes written out. No alpha is needed, and none is taken."""
    mix = Stripes(4, pairing="flip", per_sample=True)
    x, y = probe(mix, 4, 3, 6, generator=seeded(7))
    assert torch.equal(y, (torch.eye(4) + torch.eye(4).flip(0)) / 2)
    for i in range(4):
        first = x[i, i, 0, 0]
        assert torch.equal(x[i, i], torch.stack([first, 1 - first] * 3).expand(3, 6))
        assert torch.equal(x[i, 3 - i], 1 - x[i, i])
    with pytest.raises(TypeError, match="alpha"):
        Stripes(4, alpha=1.0)  # type: ignore[call-arg]


@pytest.mark.parametrize("lam", [0.3, torch.tensor(0.3), torch.rand(4)])
def test_a_method_without_a_ratio_refuses_one(lam: float | Tensor) -> None:
    """A ValueError that names what has no ratio."""
    with pytest.raises(ValueError, match=r"lam=.*Stripes has no ratio"):
        probe(Stripes(4), 4, 3, 6, lam=lam)


@pytest.mark.parametrize(("per_sample", "prob"), [(False, 1.0), (True, 1.0), (True, 0.5), (False, 0.0)])
@pytest.mark.parametrize(("height", "width"), [(12, 12), (9, 14), (1, 5)])
def test_what_was_drawn_besides_the_mask_reaches_the_mixing(
    per_sample: bool, prob: float, height: int, width: int
) -> None:
    """Oracle: the smaller partner by nearest pixels, in a loop over those that are not the image's own; the label's
    weight is the share of these that are. Examples that `prob` leaves out are what they were."""
    images = torch.rand(8, 3, height, width, generator=seeded(8))
    mix = Shrunk(8, pairing="flip", per_sample=per_sample, prob=prob)
    with NoHostSync():
        x, y = mix(images, torch.arange(8), generator=seeded(9))
    changed = 0
    for i in range(8):
        pasted = (x[i] != images[i]).all(0)
        changed += bool(pasted.any())
        assert y[i, i] == pytest.approx(1 - float(pasted.float().mean()), abs=1e-6)
        rows, columns = pasted.any(1).nonzero().flatten(), pasted.any(0).nonzero().flatten()
        for r in rows.tolist():
            for c in columns.tolist():
                up, left = (
                    (r - int(rows[0])) * height // len(rows),
                    (c - int(columns[0])) * width // len(columns),
                )
                assert torch.equal(x[i, :, r, c], images[7 - i, :, up, left])
    if prob < 1 or height == 1:
        assert changed < 8
    else:
        assert changed >= 4
