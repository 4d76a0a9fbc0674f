"""The loss of mixing and its quadratic form: against loops, Beta and Dirichlet moments, and autograd's Hessian."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional as F

from mixbench.analysis import expansion as e
from mixbench.analysis.approximation import initial
from mixbench.analysis.approximation import moments as of_mixup
from mixbench.analysis.first_layer import outputs
from mixbench.augment import CutMix, GMix
from mixbench.augment.draws import Draws

N = 2


def made(examples: int = 2) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, examples, N * N, generator=generator, dtype=torch.float64)
    labels = torch.randint(2, (2, examples), generator=generator).double()
    return initial(2, [N * N, 3, 3, 1], generator), inputs - inputs.mean(1, keepdim=True), labels


@pytest.mark.parametrize("name", e.TWO)
@pytest.mark.parametrize("lam", [0.0, 0.2, 0.5, 0.77, 1.0])
def test_masks_have_the_mean_that_the_theorem_asks_for(name: str, lam: float) -> None:
    """Equation 1: E[M] = lambda at every pixel, of all masks with their probabilities."""
    masks, chance = e.masks(name, lam, 4)
    assert chance.sum().item() == pytest.approx(1)
    torch.testing.assert_close(chance @ masks, torch.full((16,), lam, dtype=torch.float64))


def test_the_loss_is_a_loop_over_pairs_and_masks() -> None:
    """Brute force of equation 4, each mixture and its soft label spelled out."""
    weights, inputs, labels = made()
    found = e.exact(weights, inputs, labels, e.two("quadrants", N, 2, 1, 5))
    for network in range(2):
        own = [weight[network : network + 1] for weight in weights]
        total = 0.0
        for lam, share in zip(*e.nodes(2, 1, N, 5), strict=True):
            masks, chances = e.masks("quadrants", lam, N)
            for (mask, chance), i, j in itertools.product(
                zip(masks, chances, strict=True), range(2), range(2)
            ):
                mixed = mask * inputs[network, i] + (1 - mask) * inputs[network, j]
                label = lam * labels[network, i] + (1 - lam) * labels[network, j]
                output = outputs(own, mixed[None, None], "tanh")
                total += share * chance.item() / 4 * (F.softplus(output) - label * output).item()
        assert found[network].item() == pytest.approx(total)


def test_the_quadratic_form_is_that_of_the_equations() -> None:
    """Oracle: equations 7 and 8 with autograd's Hessian of one example, and the mean over partners spelled out."""
    weights, inputs, labels = made(3)
    masks, chance = e.masks("quadrants", 0.3, N)
    partner = 1 - masks
    joint = (partner.T * chance) @ partner
    first = torch.full((N * N,), 0.7, dtype=torch.float64)
    found = e.quadratic(weights, inputs, labels, e.Moments(first, joint, joint))
    total = 0.0
    for i in range(3):
        x, y = inputs[1, i], labels[1, i]

        def f(given: torch.Tensor) -> torch.Tensor:
            return outputs([w[1:] for w in weights], given[None, None], "tanh")[0, 0]

        slope = torch.autograd.functional.jacobian(f, x)
        hessian = torch.autograd.functional.hessian(f, x)
        chance_of_1 = torch.sigmoid(f(x))
        g = h = 0.0
        for mask, share in zip(partner, chance, strict=True):
            for r in inputs[1]:
                step = mask * (r - x)
                g += share * (slope @ step) ** 2 / 3
                h += share * (step @ hessian @ step) / 3
        total += F.softplus(f(x)) - y * f(x) + (y - chance_of_1) * (slope @ x) * 0.7
        total += chance_of_1 * (1 - chance_of_1) * g / 2 + (chance_of_1 - y) * h / 2
    assert found[1].item() == pytest.approx((total / 3).item())


@pytest.mark.parametrize("alpha", [1, 2])
def test_moments_of_mixup(alpha: int) -> None:
    """Closed form: E[1 - lambda] and E[(1 - lambda)^2] under D-tilde; of three, with Dirichlet's moments."""
    first, second = of_mixup(alpha)
    for found in (
        e.moments(e.two("Mixup", N, alpha, alpha, 5)),
        e.moments_printed("Mixup", N, alpha, alpha, 5),
    ):
        torch.testing.assert_close(found.first, torch.full((4,), first, dtype=torch.float64))
        for joint in (found.own, found.partners):
            torch.testing.assert_close(joint, torch.full((4, 4), second, dtype=torch.float64))
    a, whole = alpha, 3 * alpha
    square = a * (a + 1) / (whole * (whole + 1))
    cube = square * (a + 2) / (whole + 2)
    mixed = a * a * (a + 1) / (whole * (whole + 1) * (whole + 2))  # E[lambda_1 lambda_2^2]
    found = e.moments(e.three("Mixup of 3", N, alpha, 8))
    torch.testing.assert_close(
        found.own, torch.full((4, 4), 3 * (1 / 3 - 2 * square + cube), dtype=torch.float64)
    )
    torch.testing.assert_close(found.partners, torch.full((4, 4), 6 * mixed, dtype=torch.float64))


@pytest.mark.parametrize("name", ["Mixup", "box", "quadrants of 3"])
def test_the_general_form_leaves_the_third_order(name: str) -> None:
    """Limiting case: with images a quarter as large a 64th of the remainder or less, where a wrong form has a 16th."""
    weights, inputs, labels = made(3)
    weights = [3 * weight for weight in weights]
    mixing = e.two(name, N, 1, 1, 5) if name in e.TWO else e.three(name, N, 1, 8)
    of = e.moments(mixing)

    def left(scale: float) -> torch.Tensor:
        given = weights, scale * inputs, labels
        return e.exact(*given, mixing) - e.quadratic(*given, of)

    assert ((left(1 / 16) / left(1 / 64)).abs() > 40).all()


def test_the_published_gmix_turns_round_and_cutmix_does_not() -> None:
    """What Theorem 1 needs as printed: the same draws give M(lambda) = 1 - M(1 - lambda)."""

    def drawn(method: type, lam: float) -> torch.Tensor:
        draws = Draws(torch.Generator().manual_seed(0), "cpu")
        return method(2).sample(5, 8, 8, draws, torch.full((5,), lam, dtype=torch.float64))[0]

    torch.testing.assert_close(drawn(GMix, 0.3), 1 - drawn(GMix, 0.7))
    assert not torch.allclose(drawn(CutMix, 0.3).mean(), (1 - drawn(CutMix, 0.7)).mean())
