"""Per-example losses. Oracles: torch's own losses, the two-term form of mixed labels, finite differences."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from probes import NoHostSync
from torch.nn import functional as F

from mixbench.losses import LOSSES, bce_softmax, cross_entropy


def batch(size: int, classes: int, seed: int, scale: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and soft targets."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(size, classes, generator=generator)
    return logits, torch.rand(size, classes, generator=generator).softmax(1)


@settings(deadline=None, max_examples=50)
@given(
    size=st.integers(1, 9),
    classes=st.integers(2, 12),
    smoothing=st.sampled_from([0.0, 0.1, 0.9]),
    seed=st.integers(0, 99),
)
def test_cross_entropy_equals_torch(size, classes, smoothing, seed) -> None:
    """Oracle: F.cross_entropy with class probabilities and its label_smoothing."""
    logits, targets = batch(size, classes, seed)
    expected = F.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)
    assert torch.allclose(cross_entropy(logits, targets, smoothing), expected, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(lam=st.floats(0, 1), seed=st.integers(0, 99))
def test_mixed_labels_equal_the_two_term_loss(lam, seed) -> None:
    """Both losses are linear in the target: loss(f, mixed) = lambda loss(f, a) + (1-lambda) loss(f, b)."""
    logits, _ = batch(6, 5, seed)
    a, b = torch.eye(5)[torch.arange(6) % 5], torch.eye(5)[torch.arange(6).flip(0) % 5]
    for loss in LOSSES.values():
        mixed = loss(logits, lam * a + (1 - lam) * b)
        assert torch.allclose(mixed, lam * loss(logits, a) + (1 - lam) * loss(logits, b), atol=1e-6)


@settings(deadline=None, max_examples=50)
@given(
    size=st.integers(1, 9),
    classes=st.integers(2, 12),
    smoothing=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 99),
)
def test_bce_equals_torch(size, classes, smoothing, seed) -> None:
    """Oracle: nn.BCELoss on the softmax in float64; its mean over B * K is the mean of the B losses."""
    logits, targets = batch(size, classes, seed)
    smoothed = targets.double() * (1 - smoothing) + smoothing / classes
    expected = F.binary_cross_entropy(logits.double().softmax(1), smoothed, reduction="none")
    losses = bce_softmax(logits, targets, smoothing)
    assert torch.allclose(losses, expected.mean(1).float(), atol=1e-5)
    assert losses.mean().item() == pytest.approx(expected.mean().item(), abs=1e-5)


def test_extreme_logits_stay_finite_and_exact() -> None:
    """Logits a thousand apart: cross-entropy is their difference, and so are the two terms of the binary one,
    where nn.BCELoss cuts at 100. Gradients are finite."""
    for wrong in (True, False):
        logits = torch.tensor([[1000.0, 0.0, 0.0]], requires_grad=True)
        targets = torch.tensor([[0.0, 1.0, 0.0]]) if wrong else torch.tensor([[1.0, 0.0, 0.0]])
        for loss, value in ((cross_entropy, 1000.0), (bce_softmax, 2000.0 / 3)):
            result = loss(logits, targets)
            assert result.item() == pytest.approx(value if wrong else 0.0, rel=1e-2, abs=1e-6)
            assert torch.autograd.grad(result.sum(), logits)[0].isfinite().all()


@pytest.mark.parametrize("loss", LOSSES.values())
def test_gradients(loss) -> None:
    """Finite differences in float64, with ties among the logits left out."""
    logits, targets = batch(4, 5, seed=1)
    assert torch.autograd.gradcheck(
        lambda f: loss(f, targets.double(), 0.1), logits.double().requires_grad_(), atol=1e-7
    )


@pytest.mark.parametrize("loss", LOSSES.values())
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_computed_in_float32(loss, dtype) -> None:
    """The same numbers as for the logits converted first."""
    logits, targets = batch(5, 10, seed=2)
    low = logits.to(dtype)
    assert loss(low, targets).dtype == torch.float32
    assert torch.equal(loss(low, targets), loss(low.float(), targets))


@pytest.mark.parametrize("loss", LOSSES.values())
def test_nothing_waits_for_the_device(loss) -> None:
    """No value is read back to the host."""
    logits, targets = batch(5, 10, seed=2)
    with NoHostSync():
        loss(logits, targets, 0.1)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("shape", [(4, 1), (4, 9), (4, 10, 1), (1, 10)])
def test_other_shapes_are_not_broadcast(loss, shape) -> None:
    """Limiting case: the softmax of one logit is 1, so that broadcast to all classes it would cost nothing."""
    with pytest.raises(ValueError, match=r"logits .* for targets \(4, 10\): need the same shape"):
        loss(torch.zeros(shape), torch.full((4, 10), 0.1))
