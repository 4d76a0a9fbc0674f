"""Mixup with lambdas outside [0, 1]: the equation written out, and the cross-entropy far from its usual place."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mixbench.analysis.unbounded import LABELS, UniformMixup

IMAGES, ONES = torch.randn(6, 3, 4, 4), torch.arange(6)


@pytest.mark.parametrize("rule", list(LABELS))
@pytest.mark.parametrize("lam", [-0.75, -0.2, 0.0, 0.3, 1.0, 1.5])
def test_images_and_labels_follow_the_equation(rule: str, lam: float) -> None:
    """lambda x_i + (1 - lambda) x_j as written, with the partner of reverse pairing; weights of the label by hand: they
    sum to 1, and are lambda itself in [0, 1].
    """
    mixed, targets = UniformMixup(6, lam, lam, rule, pairing="flip")(IMAGES, ONES)
    torch.testing.assert_close(mixed, lam * IMAGES + (1 - lam) * IMAGES.flip(0))
    weight = {"as is": lam, "clipped": min(max(lam, 0), 1), "absolute": abs(lam) / (abs(lam) + abs(1 - lam))}[
        rule
    ]
    expected = weight * torch.eye(6) + (1 - weight) * torch.eye(6).flip(0)
    torch.testing.assert_close(targets, expected)
    if 0 <= lam <= 1:
        assert weight == pytest.approx(lam)


def test_lambda_is_uniform_on_the_interval() -> None:
    """The mean and the ends of a uniform distribution on [-0.75, 0.75), within five standard errors of 4,000 draws."""
    images = torch.stack([torch.ones(2000, 1, 1, 1), torch.zeros(2000, 1, 1, 1)]).flatten(0, 1)
    mix = UniformMixup(2, -0.75, 0.75, pairing="flip", per_sample=True)
    found = mix(images, torch.zeros(4000, dtype=torch.int64), generator=torch.Generator().manual_seed(0))[0][
        :2000
    ]
    assert found.mean().item() == pytest.approx(0, abs=5 * 1.5 / 12**0.5 / 2000**0.5)
    assert -0.75 <= found.min() < -0.74
    assert 0.74 < found.max() < 0.75


def test_a_negative_weight_has_no_least_loss_and_a_bounded_gradient() -> None:
    """Limiting case: as the own logit falls to -t the cross-entropy with labels as is falls like -t / 2 at lambda =
    -1/2, that of the other rules does not; the gradient by the logits is p - y, within 3/2.
    """
    labels = torch.tensor([0, 1])
    for rule, slope in {"as is": -0.5, "clipped": 0.0, "absolute": 0.25}.items():
        _, targets = UniformMixup(2, -0.5, -0.5, rule, pairing="flip")(torch.zeros(2, 1, 1, 1), labels)
        logits = [torch.tensor([-t, 0.0], requires_grad=True) for t in (100.0, 200.0)]
        losses = [F.cross_entropy(given, targets[0]) for given in logits]
        assert (losses[1] - losses[0]).item() == pytest.approx(100 * slope, abs=1e-4)
        losses[1].backward()
        torch.testing.assert_close(logits[1].grad, torch.tensor([0.0, 1.0]) - targets[0])


@pytest.mark.parametrize(
    ("low", "high", "rule"), [(1, 0, "as is"), (0, float("inf"), "as is"), (0, 1, "other")]
)
def test_what_is_not_allowed(low: float, high: float, rule: str) -> None:
    with pytest.raises(ValueError, match=r"low|label"):
        UniformMixup(2, low, high, rule)
