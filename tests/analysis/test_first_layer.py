"""The first-layer identity: gradients against torch.nn, the sums against loops over pixels and masks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mixbench.analysis import first_layer as f
from mixbench.analysis.approximation import initial

D, WIDTH = 5, 4


def made(activation: str = "tanh") -> tuple[list[torch.Tensor], torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    weights = initial(2, [D, WIDTH, WIDTH, 1], generator)
    return weights, torch.randn(2, 3, D, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    ("activation", "layer"), [("tanh", nn.Tanh), ("softplus", nn.Softplus), ("ReLU", nn.ReLU)]
)
def test_gradients_of_each_example_are_torch_nns(activation: str, layer: type[nn.Module]) -> None:
    """Oracle: backward of one torch.nn network on one example."""
    weights, inputs = made()
    by_input, by_first = f.gradients(weights, inputs, activation)
    for network in range(2):
        layers: list[nn.Module] = []
        for weight in weights:
            linear = nn.Linear(weight.shape[1] - 1, weight.shape[2], dtype=torch.float64)
            with torch.no_grad():
                linear.weight.copy_(weight[network, :-1].T)
                linear.bias.copy_(weight[network, -1])
            layers += [linear, layer()]
        net = nn.Sequential(*layers[:-1])
        for example in range(3):
            x = inputs[network, example].clone().requires_grad_()
            net.zero_grad()
            output = net(x)
            output.sum().backward()
            found = f.outputs(weights, inputs, activation)[network, example]
            torch.testing.assert_close(found, output.detach()[0])
            torch.testing.assert_close(by_input[network, example], x.grad)
            torch.testing.assert_close(by_first[network, example].T, layers[0].weight.grad)


def test_both_sides_are_loops_over_pixels() -> None:
    """Brute force of both sides as the paper writes them, with the matrices spelled out."""
    weights, inputs = made()
    partner = torch.rand(2, D, dtype=torch.float64)
    by_input, by_first = f.gradients(weights, inputs, "tanh")
    first = weights[0][:, :-1]
    left, right = f.left(by_input, inputs, partner), f.right(by_first, first, partner)
    for k in range(2):
        x, slope = inputs[1, 2], by_input[1, 2]
        torch.testing.assert_close(left[1, 2, k], ((partner[k] * slope) * x).sum())
        theta, grad = first[1].T, by_first[1, 2].T  # (h, d), as in the paper
        torch.testing.assert_close(right[1, 2, k], torch.trace(grad.T @ theta @ torch.diag(partner[k])))
        torch.testing.assert_close(grad.T @ theta, torch.outer(x, slope))  # rank one, as the norm takes it


def test_minimising_lets_the_norm_be_where_the_sum_is_only_a_trace() -> None:
    """Limiting cases: no steps change nothing; with a_jk = 1 the term falls, and adding the identity's |grad f|^2 takes
    more of the norm."""
    weights, inputs = made()
    zeros = torch.zeros(D, D, dtype=torch.float64)
    alone = f.flattened(weights, inputs, "tanh", torch.eye(D, dtype=torch.float64), zeros, 0, 0.01)
    torch.testing.assert_close(torch.stack(alone), torch.ones(2, 2, dtype=torch.float64))
    trace, norm = f.flattened(weights, inputs, "tanh", torch.ones(D, D).double(), zeros, 200, 0.01)
    both, norm_of_both = f.flattened(
        weights, inputs, "tanh", torch.ones(D, D).double(), torch.eye(D).double(), 200, 0.01
    )
    assert (trace < 1e-2).all()
    assert (norm_of_both < norm).all()
    assert (both < 0.2).all()
