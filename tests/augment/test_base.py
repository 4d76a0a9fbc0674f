"""What all mask-based methods share. Oracles: equation (1) of Park et al. 2022 seen through probe images,
scipy's Beta distribution, and limiting cases."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from probes import NoHostSync, probe
from scipy import stats
from torch import nn

from mixbench.augment import AUGMENTS, CutMix, GMix, HMix, Mixup, MixupCutMix, NoMix, PuzzleMix
from mixbench.augment.draws import PAIRINGS, Draws

MASKED = [
    Mixup,
    CutMix,
    lambda k, alpha=1.0, **kw: MixupCutMix(k, alpha, alpha, **kw),
    HMix,
    lambda k, alpha=1.0, **kw: HMix(k, alpha, beta=0.5, gamma=0.3, **kw),
    lambda k, alpha=1.0, **kw: HMix(k, alpha, variant="paper", label="mean_mask", **kw),
    GMix,
    lambda k, alpha=1.0, **kw: GMix(k, alpha, variant="paper", label="mean_mask", **kw),
]
TOLERANCE = {torch.float64: 1e-6, torch.float32: 2e-5, torch.bfloat16: 2e-2}  # y is float32 in all cases


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(deadline=None, max_examples=150)
@given(
    make=st.sampled_from(MASKED),
    batch=st.integers(2, 6),
    height=st.integers(1, 17),
    width=st.integers(1, 17),
    alpha=st.floats(-6, 1).map(lambda e: 10**e),
    pairing=st.sampled_from(PAIRINGS),
    per_sample=st.booleans(),
    prob=st.sampled_from([0.0, 0.5, 1.0]),
    dtype=st.sampled_from(sorted(TOLERANCE, key=str)),
    seed=st.integers(0, 1000),
)
def test_mixes_two_images_and_labels_with_the_same_mean_weight(
    make, batch, height, width, alpha, pairing, per_sample, prob, dtype, seed
) -> None:
    """Equation (1): at every pixel and in the label, weights of one image and one partner that sum to 1; and
    for every method here the label's weight is the mask's mean."""
    mix = make(batch, alpha, pairing=pairing, per_sample=per_sample, prob=prob)
    x, y = probe(mix, batch, height, width, dtype, generator=seeded(seed))
    assert x.dtype == dtype
    assert y.dtype == torch.float32
    assert x.shape == (batch, batch, height, width)
    assert y.shape == (batch, batch)
    tolerance = TOLERANCE[dtype]
    x = x.double()
    assert (x >= 0).all()
    assert (x.sum(1) - 1).abs().max() <= tolerance
    assert (y.sum(1) - 1).abs().max() <= 1e-6
    assert (x.mean((2, 3)) - y).abs().max() <= tolerance
    assert ((y > 0).sum(1) <= 2).all()
    if prob == 0:
        assert torch.equal(y, torch.eye(batch))


@pytest.mark.parametrize("make", MASKED)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("per_sample", [False, True])
def test_keeps_the_memory_format_and_the_inputs(make, layout, per_sample) -> None:
    """The layout of the output is that of the input, and the inputs are what they were."""
    images = torch.rand(5, 3, 7, 9).contiguous(memory_format=layout)
    labels = torch.randint(4, (5,))
    before, before_labels = images.clone(), labels.clone()
    x, _ = make(4, per_sample=per_sample)(images, labels)
    assert x.is_contiguous(memory_format=layout)
    assert x.stride() == images.stride()
    assert torch.equal(images, before)
    assert torch.equal(labels, before_labels)


@pytest.mark.parametrize("make", MASKED)
@pytest.mark.parametrize("pairing", PAIRINGS)
def test_batch_of_one_meets_itself(make, pairing) -> None:
    """With nobody else to mix with, any mask gives the image back, and its label."""
    images, labels = torch.rand(1, 3, 8, 8, dtype=torch.float64), torch.tensor([2])
    x, y = make(4, pairing=pairing)(images, labels, generator=seeded())
    assert torch.allclose(x, images, atol=1e-12)
    assert torch.allclose(y, torch.tensor([[0.0, 0.0, 1.0, 0.0]]), atol=1e-7)


@pytest.mark.parametrize("make", MASKED)
def test_ratio_one_is_the_image_and_ratio_zero_mostly_the_partner(make) -> None:
    """lambda = 1 leaves image and label exactly as they are. lambda = 0 gives the partner where the method has
    no border effect: all but CutMix's clipped box and the paper's Gaussian."""
    x, y = probe(make(3, pairing="derange"), 3, 8, 8, lam=1.0, generator=seeded())
    assert torch.equal(y, torch.eye(3))
    assert torch.equal(x, torch.eye(3, dtype=torch.float64)[:, :, None, None].expand(3, 3, 8, 8))
    if make in (Mixup, HMix, GMix):
        x, y = probe(make(3, pairing="derange"), 3, 8, 8, lam=0.0, generator=seeded())
        assert torch.equal(y.diagonal(), torch.zeros(3))
        assert torch.equal(x.mean((2, 3)).float(), y)


def test_no_mixing_is_the_batch_itself() -> None:
    """The identity, with one-hot labels."""
    images, labels = torch.rand(4, 1, 5, 5), torch.tensor([0, 2, 1, 2])
    x, y = NoMix(3)(images, labels, lam=0.2)
    assert x is images
    assert torch.equal(y, torch.eye(3)[labels])
    rows = torch.rand(4, 7)
    x, y = NoMix(3)(rows, labels)
    assert x is rows
    assert torch.equal(y, torch.eye(3)[labels])


# ------------------------------------------------------------------------------------------------ ratios


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5, 1.0, 2.0, 50.0])
def test_ratios_follow_the_beta_distribution(alpha) -> None:
    """Oracle: scipy.stats.beta; Kolmogorov-Smirnov over 20000 draws, p > 0.001 with a fixed seed. Done on
    the lower half and by symmetry, because float64 cannot tell ratios within 1e-16 of 1 from 1."""
    lam = Draws(seeded(1), "cpu").beta(alpha, 20_000)
    assert lam.dtype == torch.float64
    beta = stats.beta(alpha, alpha)
    lower = lam[lam < 0.5].numpy()
    assert stats.kstest(lower, lambda t: 2 * beta.cdf(t)).pvalue > 1e-3
    assert abs(len(lower) / 20_000 - 0.5) < 4 * math.sqrt(0.25 / 20_000)
    assert abs(lam.mean() - 0.5) < 4 * beta.std() / math.sqrt(20_000)


def test_a_small_alpha_does_not_underflow() -> None:
    """At alpha = 0.001, a quarter of all ratios lie below 1e-300, and so does every Gamma variable they are made of
    in half of the draws. Oracle: scipy.stats.beta at thresholds far down, 4 standard deviations."""
    lam = Draws(seeded(2), "cpu").beta(1e-3, 20_000)
    assert lam.isfinite().all()
    for threshold in (1e-200, 1e-100, 1e-10, 0.1, 0.5):
        expected = stats.beta(1e-3, 1e-3).cdf(threshold)
        assert abs((lam < threshold).double().mean() - expected) < 4 * math.sqrt(0.25 / 20_000)


@pytest.mark.parametrize("alpha", [1e-6, 1e-9, 1e-300])
def test_ratios_become_a_coin_as_alpha_vanishes(alpha) -> None:
    """Limit alpha -> 0: Beta(alpha, alpha) is 0 or 1 with probability 1/2 (4 standard deviations allowed)."""
    lam = Draws(seeded(3), "cpu").beta(alpha, 10_000)
    assert ((lam < 1e-9) | (lam > 1 - 1e-9)).double().mean() > 0.9999
    assert abs((lam > 0.5).double().mean() - 0.5) < 4 * math.sqrt(0.25 / 10_000)


def test_given_ratios_per_batch_and_per_example() -> None:
    """A float and a 0-dim tensor are one ratio for all; (B,) gives each example its own."""
    mix = Mixup(4, pairing="flip")
    for lam in (0.3, torch.tensor(0.3, dtype=torch.float64)):
        _, y = probe(mix, 4, 2, 2, lam=lam)
        assert torch.allclose(y.diagonal(), torch.full((4,), 0.3))
    ratios = torch.tensor([0.1, 0.2, 0.3, 0.4])
    x, y = probe(mix, 4, 2, 2, lam=ratios)
    assert torch.allclose(y.diagonal(), ratios)
    assert torch.allclose(x.mean((2, 3)).diagonal().float(), ratios)


@pytest.mark.parametrize("make", MASKED)
def test_per_sample_draws_a_mask_for_every_example(make) -> None:
    """Per batch, all masks are one mask; per sample, nearly all of 20 differ (their ratios are continuous)."""
    mix = make(20, pairing="flip")
    x, _ = probe(mix, 20, 16, 16, generator=seeded(5))
    own = x.diagonal(dim1=0, dim2=1).permute(2, 0, 1)
    assert (own == own[0]).all()
    mix = make(20, pairing="flip", per_sample=True)
    x, _ = probe(mix, 20, 16, 16, generator=seeded(5))
    own = x.diagonal(dim1=0, dim2=1).permute(2, 0, 1).flatten(1)
    assert len(own.unique(dim=0)) >= 15


@pytest.mark.parametrize("per_sample", [False, True])
def test_prob_is_the_share_of_mixed_batches_or_examples(per_sample) -> None:
    """Oracle: a Bernoulli(0.3) share, 4 standard deviations over 2000 decisions."""
    mix = Mixup(2, pairing="flip", per_sample=per_sample, prob=0.3)
    generator = seeded(6)
    labels = torch.tensor([0, 1]) if not per_sample else torch.arange(2).repeat_interleave(1000)
    calls = 2000 if not per_sample else 1
    images = torch.zeros(len(labels), 1, 1, 1)
    own = torch.cat([mix(images, labels, generator=generator)[1].amax(1) for _ in range(calls)])
    mixed = (own < 1).double()
    assert abs(mixed.mean() - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 2000)
    if not per_sample:
        assert torch.equal(mixed[0::2], mixed[1::2])


# ------------------------------------------------------------------------------------------------ partners


@settings(deadline=None, max_examples=50)
@given(n=st.integers(1, 40), seed=st.integers(0, 1000))
def test_partners_are_permutations(n, seed) -> None:
    """Definitions: a permutation each; "flip" reverses; "derange" is one cycle through the whole batch."""
    draws = Draws(seeded(seed), "cpu")
    for pairing in PAIRINGS:
        assert torch.equal(draws.partners(pairing, n).sort().values, torch.arange(n))
    assert torch.equal(draws.partners("flip", n), torch.arange(n).flip(0))
    partner, seen, at = draws.partners("derange", n).tolist(), set(), 0
    while at not in seen:
        seen.add(at)
        at = partner[at]
    assert len(seen) == n


@pytest.mark.parametrize(("pairing", "choices"), [("randperm", [0, 1, 2, 3]), ("derange", [1, 2, 3])])
def test_partners_are_uniform(pairing, choices) -> None:
    """Oracle: chi-square against the uniform distribution for image 0 of 4, p > 0.001 with a fixed seed."""
    draws = Draws(seeded(7), "cpu")
    first = torch.stack([draws.partners(pairing, 4)[0] for _ in range(4000)])
    counts = torch.bincount(first, minlength=4)
    assert counts[[i for i in range(4) if i not in choices]].sum() == 0
    assert stats.chisquare(counts[choices].numpy()).pvalue > 1e-3


# ------------------------------------------------------------------------------------------------ randomness


@pytest.mark.parametrize("make", MASKED)
def test_all_randomness_comes_from_the_generator(make) -> None:
    """Equal seeds give equal mixes, other seeds others, and the default generator is not touched."""
    state = torch.get_rng_state()
    mix = make(6, per_sample=True)
    first, second, other = (probe(mix, 6, 9, 9, generator=seeded(s))[0] for s in (8, 8, 9))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())


def test_without_a_generator_the_default_one_is_used() -> None:
    """torch.manual_seed fixes a mix that is given no generator."""
    mixes = []
    for _ in range(2):
        torch.manual_seed(10)
        mixes.append(probe(GMix(4), 4, 8, 8)[0])
    assert torch.equal(*mixes)


@pytest.mark.parametrize("make", [*MASKED, NoMix])
def test_nothing_waits_for_the_device(make) -> None:
    """No operation in a call reads a value back to the host."""
    images, labels = torch.rand(6, 3, 8, 8), torch.randint(4, (6,))
    options = {} if make is NoMix else {"per_sample": True, "prob": 0.5, "pairing": "derange"}
    mix = make(4, **options)
    with NoHostSync():
        mix(images, labels, generator=seeded())
        mix(images, labels, lam=0.4)
        mix(images, labels, lam=torch.rand(6))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("make", [*MASKED, NoMix])
@pytest.mark.parametrize("source", ["cpu", "cuda"])
def test_on_cuda_nothing_waits_and_a_cpu_generator_gives_the_mix_of_the_cpu(make, source) -> None:
    """Oracles: CUDA's synchronisation debug mode; the same call on the CPU."""
    images, labels = torch.rand(6, 3, 8, 8), torch.randint(4, (6,))
    options = {} if make is NoMix else {"per_sample": True, "prob": 0.5, "pairing": "derange"}
    mix = make(4, **options)
    on_gpu, labels_on_gpu = images.cuda(), labels.cuda()
    generator = torch.Generator(source).manual_seed(0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        x, y = mix(on_gpu, labels_on_gpu, generator=generator)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    if source == "cpu":
        expected, targets = mix(images, labels, generator=seeded())
        assert torch.allclose(x.cpu(), expected, atol=1e-6)
        assert torch.allclose(y.cpu(), targets, atol=1e-6)


# ------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Mixup(1), "num_classes=1"),
        (lambda: NoMix(0), "num_classes=0"),
        (lambda: Mixup(3, 0.0), "alpha=0.0"),
        (lambda: Mixup(3, -1.0), "alpha=-1.0"),
        (lambda: GMix(3, math.nan), "alpha=nan"),
        (lambda: CutMix(3, math.inf), "alpha=inf"),
        (lambda: MixupCutMix(3, alpha_cutmix=0.0), "alpha_cutmix=0.0"),
        (lambda: MixupCutMix(3, mixup_prob=1.5), "mixup_prob=1.5"),
        (lambda: HMix(3, r=1.01), "r=1.01"),
        (lambda: HMix(3, r=-0.1), "r=-0.1"),
        (lambda: HMix(3, variant="code"), "variant=code"),
        (lambda: HMix(3, label="area"), "label=area"),
        (lambda: GMix(3, variant="gaussian"), "variant=gaussian"),
        (lambda: GMix(3, label="area"), "label=area"),
        (lambda: CutMix(3, label="lambda"), "label=lambda"),
        (lambda: Mixup(3, pairing="roll"), "pairing=roll"),
        (lambda: Mixup(3, prob=-0.5), "prob=-0.5"),
        (lambda: Mixup(3, prob=math.nan), "prob=nan"),
    ],
)
def test_arguments_outside_their_range_are_refused(make, named) -> None:
    """A ValueError that names the argument and what was given."""
    with pytest.raises(ValueError, match=named):
        make()


@pytest.mark.parametrize(
    "make", [CutMix, HMix, GMix, MixupCutMix, lambda k: PuzzleMix(k, model=nn.Flatten())]
)
@pytest.mark.parametrize("shape", [(2,), (2, 5), (2, 8, 8), (2, 3, 8, 8, 8)])
def test_masks_refuse_what_is_no_image(make, shape) -> None:
    """A ValueError with the shape that was given and the one that is allowed, whatever the number of labels."""
    with pytest.raises(ValueError, match=r"images: shape \(2,.*allowed: \(B, C, H, W\)"):
        make(4)(torch.zeros(shape), torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"images": torch.zeros(3, 8, 8)}, "images"),
        ({"images": torch.zeros(2, 3, 8, 8, dtype=torch.uint8)}, "images: torch.uint8"),
        ({"labels": torch.zeros(3, dtype=torch.int64)}, "labels"),
        ({"labels": torch.zeros(2)}, "labels: torch.float32"),
        ({"lam": 1.1}, "lam=1.1"),
        ({"lam": math.nan}, "lam=nan"),
        ({"lam": torch.rand(5)}, r"lam: shape \(5,\)"),
    ],
)
def test_calls_with_other_tensors_are_refused(change, named) -> None:
    """A ValueError that names the argument and what was given."""
    call = {"images": torch.zeros(2, 3, 8, 8), "labels": torch.zeros(2, dtype=torch.int64)} | change
    with pytest.raises(ValueError, match=named):
        CutMix(4)(**call)


def test_a_label_beyond_the_classes_is_refused() -> None:
    """torch's own index check; on CUDA it is a device assertion."""
    with pytest.raises(RuntimeError, match="out of bounds"):
        AUGMENTS["mixup"](3)(torch.zeros(2, 1, 4, 4), torch.tensor([0, 3]))
