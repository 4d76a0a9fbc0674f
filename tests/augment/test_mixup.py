"""Mixup. Oracles: torchvision.transforms.v2.MixUp, the formula, moments of the Beta distribution."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from probes import probe
from torchvision.transforms import v2

from mixbench.augment import Mixup
from mixbench.augment.draws import PAIRINGS, Draws
from mixbench.losses import cross_entropy


def roll(self: Draws, pairing: str, n: int) -> torch.Tensor:
    """torchvision's pairing: each image with the one before it."""
    return torch.arange(n).roll(1)


@settings(deadline=None, max_examples=40)
@given(
    batch=st.integers(1, 7),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    lam=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_equals_torchvision(batch, height, width, lam, seed) -> None:
    """Oracle: v2.MixUp with the same ratio and the same partners."""
    torch.manual_seed(seed)
    images, labels = torch.randn(batch, 3, height, width), torch.randint(5, (batch,))
    theirs = v2.MixUp(num_classes=5)
    theirs.make_params = lambda flat: {"lam": lam}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Draws, "partners", roll)
        x, y = Mixup(5)(images, labels, lam=lam)
    expected, targets = theirs(images, labels)
    assert torch.allclose(x, expected, atol=1e-6)
    assert torch.allclose(y, targets, atol=1e-6)


def test_moments_of_label_and_mask() -> None:
    """Var lambda = 1/(4 (2 alpha + 1)) and E max(lambda, 1-lambda) = 3/4 at alpha = 1, over 4000 batches drawn
    through the whole call; the tolerance is 4 standard deviations."""
    mix, generator = Mixup(2, pairing="flip"), torch.Generator().manual_seed(0)
    own = torch.stack([probe(mix, 2, 1, 1, generator=generator)[1][0, 0] for _ in range(4000)]).double()
    assert abs(own.mean() - 0.5) < 4 * math.sqrt(1 / 12 / 4000)
    assert abs(own.var() - 1 / 12) < 4 * math.sqrt((1 / 80 - 1 / 144) / 4000)
    assert abs(torch.maximum(own, 1 - own).mean() - 0.75) < 4 * math.sqrt(1 / 48 / 4000)


def test_soft_targets_equal_the_two_term_loss() -> None:
    """Cross-entropy is linear in the target: CE(f, y) = lambda CE(f, a) + (1-lambda) CE(f, b), to 1e-6."""
    torch.manual_seed(0)
    labels = torch.randint(10, (16,))
    _, y = Mixup(10, pairing="flip")(torch.rand(16, 1, 2, 2), labels, lam=0.37)
    logits = torch.randn(16, 10)
    ce = torch.nn.functional.cross_entropy
    two_terms = 0.37 * ce(logits, labels, reduction="none") + 0.63 * ce(
        logits, labels.flip(0), reduction="none"
    )
    assert torch.allclose(cross_entropy(logits, y), two_terms, atol=1e-6)


def test_gradient_reaches_both_images() -> None:
    """d x / d image is lambda, d x / d partner is 1 - lambda (finite differences, float64)."""
    images = torch.rand(3, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    mix, labels = Mixup(2, pairing="flip"), torch.tensor([0, 1, 0])
    assert torch.autograd.gradcheck(lambda i: mix(i, labels, lam=0.3)[0], images)


@settings(deadline=None, max_examples=40)
@given(
    shape=st.sampled_from([(), (5,), (7, 4), (3, 4, 4), (2, 3, 4, 2)]),
    batch=st.integers(1, 6),
    pairing=st.sampled_from(PAIRINGS),
    per_sample=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 1000),
)
def test_inputs_of_any_shape(shape, batch, pairing, per_sample, dtype, seed) -> None:
    """lambda x + (1 - lambda) x[partners], written out, for numbers, table rows, sequences, images and volumes, with
    the ratios and partners that the call draws."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(batch, *shape, generator=generator, dtype=dtype)
    twin = Draws(generator.clone_state(), "cpu")
    x, y = Mixup(6, 0.8, pairing=pairing, per_sample=per_sample)(
        inputs, torch.arange(batch), generator=generator
    )
    partners = twin.partners(pairing, batch)
    lam = twin.beta(0.8, batch if per_sample else 1).expand(batch)
    for found, whole in ((x, inputs), (y, torch.eye(6)[:batch])):
        weight = lam.view(batch, *[1] * (whole.dim() - 1))
        assert torch.allclose(
            found, (weight * whole + (1 - weight) * whole[partners]).to(found.dtype), atol=1e-6
        )
    assert x.dtype == dtype
    assert x.shape == inputs.shape


def test_rows_that_are_left_out_or_given_their_ratio() -> None:
    """prob = 0 leaves table rows as they are; a ratio for each row is that row's."""
    rows, labels = torch.randn(4, 9), torch.arange(4)
    x, y = Mixup(4, prob=0.0)(rows, labels)
    assert torch.equal(x, rows)
    assert torch.equal(y, torch.eye(4))
    lam = torch.tensor([0.0, 0.25, 0.5, 1.0])
    x, y = Mixup(4, pairing="flip")(rows, labels, lam=lam)
    assert torch.allclose(x, lam[:, None] * rows + (1 - lam[:, None]) * rows.flip(0))
    assert torch.allclose(y, lam[:, None] * torch.eye(4) + (1 - lam[:, None]) * torch.eye(4).flip(0))


@pytest.mark.parametrize(
    "change", [{"images": torch.tensor(1.0)}, {"images": torch.zeros(2, 3, dtype=torch.int64)}]
)
def test_what_is_no_batch_of_numbers_is_refused(change) -> None:
    """A ValueError that names the argument and what was given."""
    call = {"labels": torch.zeros(2, dtype=torch.int64)} | change
    with pytest.raises(ValueError, match=r"images: torch.* of shape .*allowed: floating, shape \(B, ...\)"):
        Mixup(4)(**call)
