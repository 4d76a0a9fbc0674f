"""What the second term of mixing's loss says of the first layer (Park, Yun, Chun, NeurIPS 2022, section 3).

A network is f(x) = F(theta_1 x + b), F with smooth hidden layers. `networks` of them are trained and looked at at once:
`weights` are (M, in + 1, out) from layer to layer, the last row of each the bias, as in `approximation`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "softplus": torch.nn.functional.softplus,
    "ReLU": torch.relu,
}


def outputs(weights: Sequence[Tensor], inputs: Tensor, activation: str) -> Tensor:
    """f(x) (M, n) for inputs (M, n, d)."""
    hidden = inputs
    for weight in weights[:-1]:
        hidden = ACTIVATIONS[activation](torch.baddbmm(weight[:, -1:], hidden, weight[:, :-1]))
    return torch.baddbmm(weights[-1][:, -1:], hidden, weights[-1][:, :-1])[..., 0]


def gradients(weights: Sequence[Tensor], inputs: Tensor, activation: str) -> tuple[Tensor, Tensor]:
    """Of each example, by autograd: the gradient by the input (M, n, d), and by theta_1 without its bias (M, n, d, h).

    The second is taken by a theta_1 of each example's own, so that no example's gradient is summed with another's.
    """
    first = weights[0].detach()[:, None].expand(-1, inputs.shape[1], -1, -1).clone().requires_grad_()
    x = inputs.detach().clone().requires_grad_()
    hidden = ACTIVATIONS[activation](torch.einsum("mnd,mndh->mnh", x, first[:, :, :-1]) + first[:, :, -1])
    for weight in weights[1:-1]:
        hidden = ACTIVATIONS[activation](torch.baddbmm(weight[:, -1:], hidden, weight[:, :-1]))
    output = torch.baddbmm(weights[-1][:, -1:], hidden, weights[-1][:, :-1])[..., 0]
    by_input, by_first = torch.autograd.grad(output.sum(), [x, first])
    return by_input, by_first[:, :, :-1]


def left(by_input: Tensor, inputs: Tensor, partner: Tensor) -> Tensor:
    """((1 - M) * grad f(x)) . x (M, n, K), for K masks whose 1 - M is `partner` (K, d)."""
    return (by_input * inputs) @ partner.T


def right(by_first: Tensor, first: Tensor, partner: Tensor) -> Tensor:
    """tr((grad_theta_1 F)^T theta_1 diag(1 - M)) (M, n, K), for theta_1 (M, d, h)."""
    return (by_first * first[:, None]).sum(3) @ partner.T


def flattened(
    weights: Sequence[Tensor],
    inputs: Tensor,
    activation: str,
    joint: Tensor,
    covariance: Tensor,
    steps: int,
    lr: float,
) -> tuple[Tensor, Tensor]:
    """Minimise sum_jk a_jk d_j f d_k f (Sigma_jk + x_j x_k) over theta_1 and its bias alone, by Adam.

    `joint` (d, d) are a_jk, `covariance` (d, d) is Sigma; with zeros for it the sum is E[(((1 - M) * grad f(x)) .
    x)^2]. Returns the ratios (M,) of after over before of the sum and of |theta_1^T grad_theta_1 F|^2 (Frobenius), of
    the means over the examples.
    """
    first, rest = weights[0].clone().requires_grad_(), list(weights[1:])
    optimizer = torch.optim.Adam([first], lr=lr)
    moved = (inputs[..., None] * inputs[..., None, :] + covariance) * joint

    def terms(create_graph: bool) -> tuple[Tensor, Tensor]:
        x = inputs.clone().requires_grad_()
        output = outputs([first, *rest], x, activation)
        (slope,) = torch.autograd.grad(output.sum(), x, create_graph=create_graph)
        whole = ((slope[:, :, None] @ moved)[:, :, 0] * slope).sum(2).mean(1)
        # theta_1^T grad_theta_1 F = grad f x^T has rank one
        return whole, (slope.square().sum(2) * x.square().sum(2)).mean(1)

    start = [value.detach() for value in terms(False)]
    for _ in range(steps):
        optimizer.zero_grad()
        (terms(True)[0] / start[0]).sum().backward()  # the networks share nothing
        optimizer.step()
    end = [value.detach() for value in terms(False)]
    return end[0] / start[0], end[1] / start[1]
