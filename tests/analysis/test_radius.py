"""Many small networks at once, against autograd, torch.nn and the closed form of random directions."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import nn

from mixbench.analysis.radius import initial, outputs_and_gradients, problems, radii, trained


def made(count: int = 3, widths: tuple[int, ...] = (4, 6, 5, 1), n: int = 7):
    generator = torch.Generator().manual_seed(0)
    return problems(count, n, widths[0], generator), initial(count, widths, generator)


def plain(weights: list[torch.Tensor], network: int) -> nn.Sequential:
    """One of the networks, as torch.nn has it."""
    layers: list[nn.Module] = []
    for weight in weights:
        layers += [nn.Linear(*weight.shape[1:], bias=False, dtype=torch.float64), nn.ReLU()]
        with torch.no_grad():
            layers[-2].weight.copy_(weight[network].T)
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("widths", [(4, 1), (4, 6, 1), (4, 6, 5, 1)])
def test_outputs_and_gradients_are_autograds(widths: tuple[int, ...]) -> None:
    """Oracle: torch.autograd on each network alone; and f(x) = grad f(x) . x without biases (Zhang et al., 3.2)."""
    problem, weights = made(widths=widths)
    outputs, gradients = outputs_and_gradients(weights, problem.inputs)
    for network in range(3):
        inputs = problem.inputs[network].clone().requires_grad_()
        alone = plain(weights, network)(inputs)[:, 0]
        (gradient,) = torch.autograd.grad(alone.sum(), inputs)
        torch.testing.assert_close(outputs[network], alone.detach())
        torch.testing.assert_close(gradients[network], gradient)
    torch.testing.assert_close((gradients * problem.inputs).sum(2), outputs)


def test_training_all_is_training_each() -> None:
    """Oracle: torch.nn and torch.optim.SGD on one network alone, the same order of examples."""
    problem, weights = made()
    *_, last = trained(weights, problem, 5, 0.1, 0.9, 3, torch.Generator().manual_seed(1))
    for network in range(3):
        alone, generator = plain(weights, network), torch.Generator().manual_seed(1)
        optimizer = torch.optim.SGD(alone.parameters(), lr=0.1, momentum=0.9)
        for _ in range(5):
            for batch in torch.randperm(7, generator=generator).split(3):
                optimizer.zero_grad()
                output = alone(problem.inputs[network, batch])[:, 0]
                nn.functional.binary_cross_entropy_with_logits(
                    output, problem.labels[network, batch]
                ).backward()
                optimizer.step()
        for weight, layer in zip(last, alone[::2], strict=True):
            torch.testing.assert_close(weight[network].T, layer.weight)


def test_radii_of_random_directions() -> None:
    """Closed form: the squared cosine of two independent directions in d dimensions is Beta(1/2, (d - 1) / 2)."""
    problem, weights = made(200, (10, 1), 1)
    found = radii(weights, problem.inputs).square().flatten().numpy()
    assert stats.kstest(found, stats.beta(0.5, 4.5).cdf).pvalue > 0.01


def test_labels_are_the_sides_of_a_plane() -> None:
    """Limiting case: a linear model that trains long enough separates every set, and its R_i are cosines."""
    problem, weights = made(5, (4, 1), 20)
    *_, last = trained(weights, problem, 400, 1.0, 0.9, 20, torch.Generator())
    outputs, _ = outputs_and_gradients(last, problem.inputs)
    assert torch.equal((outputs > 0).double(), problem.labels)
    x, theta = problem.inputs[2, 3], last[0][2, :, 0]
    assert radii(last, problem.inputs)[2, 3].item() == pytest.approx(
        abs((x @ theta / x.norm() / theta.norm()).item())
    )
