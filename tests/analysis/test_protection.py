"""Theorem 3: the quadratic form and the attack, against closed forms of linear models and the theorem's own
inequality.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from mixbench.analysis import protection as t
from mixbench.analysis.approximation import second_order
from mixbench.analysis.radius import initial, outputs_and_gradients, problems


def made(widths: tuple[int, ...]):
    generator = torch.Generator().manual_seed(0)
    problem = problems(3, 8, widths[0], generator)
    inputs = problem.inputs - problem.inputs.mean(1, keepdim=True)
    return initial(3, widths, generator), inputs, problem.labels


def test_the_quadratic_form_is_that_of_approximation() -> None:
    """Oracle: `approximation.second_order` of the same networks with zero biases."""
    weights, inputs, labels = made((4, 6, 1))
    joint = torch.rand(4, 4, dtype=torch.float64)
    joint = joint + joint.T
    with_biases = [torch.cat([weight, torch.zeros_like(weight[:, :1])], 1) for weight in weights]
    found = t.quadratic(weights, inputs, labels, 0.3, joint)
    torch.testing.assert_close(found, second_order(with_biases, inputs, labels, 0.3, joint))


def test_attacks_on_linear_models() -> None:
    """Closed form: softplus of the margin less size |theta|; size 0 is the loss; the second order at size 0 too."""
    weights, inputs, labels = made((4, 1))
    size = torch.rand(3, 8, dtype=torch.float64)
    output, slope = outputs_and_gradients(weights, inputs)
    away = torch.where(labels > 0, -1.0, 1.0) * size * slope.norm(dim=2)
    worst = (F.softplus(output + away) - labels * (output + away)).mean(1)
    torch.testing.assert_close(t.attacked(weights, inputs, labels, size, 20), worst)
    plain = (F.softplus(output) - labels * output).mean(1)
    torch.testing.assert_close(t.attacked(weights, inputs, labels, 0 * size, 3), plain)
    torch.testing.assert_close(t.attacked_second_order(weights, inputs, labels, 0 * size), plain)


def test_the_theorem_where_all_examples_are_right() -> None:
    """The inequality itself, on labels that the network gives, for a mask with a_jk >= (1 - lambda)^2."""
    weights, inputs, _ = made((4, 6, 5, 1))
    labels = (outputs_and_gradients(weights, inputs)[0] > 0).double()
    joint = torch.full((4, 4), 1 / 9, dtype=torch.float64) + 0.05 * torch.eye(4, dtype=torch.float64)
    mixing = t.quadratic(weights, inputs, labels, 1 / 3, joint)
    size = t.sizes(weights, inputs, 1 / 3)
    assert (mixing > t.attacked_second_order(weights, inputs, labels, size)).all()
    wrong = t.quadratic(weights, inputs, 1 - labels, 1 / 3, joint)
    assert (wrong < t.attacked_second_order(weights, inputs, 1 - labels, size)).all()
