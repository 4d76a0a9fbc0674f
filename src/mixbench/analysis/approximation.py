"""Second-order forms of the losses of mixing and of attacks, beside the losses themselves, for many small models.

h(f) - y f is the loss, here the logistic one: h = softplus, y in {0, 1}. Models map (M, P, d) to (M, P), model m on the
examples of its own set. Gradients by the input are written out, so that a step differentiates only by the weights.
Zhang, Deng, Kawaguchi, Ghorbani, Zou (ICLR 2021), Lemmas 3.1 and 3.2; Park, Yun, Chun (NeurIPS 2022), Theorem 1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from scipy.special import roots_jacobi
from torch import Tensor
from torch.nn import functional as F


def biased(weights: Sequence[Tensor], inputs: Tensor) -> tuple[Tensor, Tensor]:
    """f(x) (M, P) and its gradient by the input (M, P, d) of models with ReLU and biases.

    `weights` are (M, in + 1, out) from layer to layer; the last row of each is the bias.
    """
    hidden, active = inputs, []
    for weight in weights[:-1]:
        hidden = torch.baddbmm(weight[:, -1:], hidden, weight[:, :-1])
        active.append(hidden > 0)
        hidden = hidden * active[-1]
    output = torch.baddbmm(weights[-1][:, -1:], hidden, weights[-1][:, :-1])[..., 0]
    gradient = weights[-1][:, :-1].mT.expand(*output.shape, -1)
    for weight, on in zip(reversed(weights[:-1]), reversed(active), strict=True):
        gradient = (gradient * on) @ weight[:, :-1].mT
    return output, gradient


def initial(count: int, widths: Sequence[int], generator: torch.Generator) -> list[Tensor]:
    """Weights and biases of `count` models, uniform within 1 / sqrt(in) as in torch.nn.Linear; float64."""
    drawn = [
        torch.rand(count, i + 1, o, generator=generator, dtype=torch.float64)
        for i, o in itertools.pairwise(widths)
    ]
    return [(2 * weight - 1) / math.sqrt(weight.shape[1] - 1) for weight in drawn]


def logistic(output: Tensor, labels: Tensor) -> Tensor:
    """softplus(f) - y f."""
    return F.softplus(output) - labels * output


def moments(alpha: float) -> tuple[float, float]:
    """E[1 - lambda] and E[(1 - lambda)^2] under Beta(alpha + 1, alpha), the D-tilde of Lemma 3.1 for alpha = beta."""
    first = alpha / (2 * alpha + 1)
    return first, first / 2


def quadrature(alpha: float, nodes: int) -> tuple[Tensor, Tensor]:
    """Nodes lambda in [0, 1] and weights of Gauss-Jacobi, exact under Beta(alpha + 1, alpha) to degree 2 nodes - 1."""
    place, weight = roots_jacobi(nodes, alpha - 1, alpha)
    return torch.from_numpy((place + 1) / 2), torch.from_numpy(weight / weight.sum())


def mixup(weights: Sequence[Tensor], inputs: Tensor, labels: Tensor, alpha: float, nodes: int) -> Tensor:
    """(M,): the expectation of Mixup's loss over all pairs and over lambda, in the form of Lemma 3.1: the label of the
    first example alone, and lambda ~ D-tilde.
    """
    lam, share = quadrature(alpha, nodes)
    first = inputs[:, :, None, None] * lam[:, None] + inputs[:, None, :, None] * (1 - lam[:, None])
    count, n = inputs.shape[:2]
    output, _ = biased(weights, first.reshape(count, -1, inputs.shape[2]))
    loss = logistic(output.view(count, n, n, nodes), labels[:, :, None, None])
    return (loss @ share).mean((1, 2))


def masked(weights: Sequence[Tensor], inputs: Tensor, labels: Tensor, alpha: float) -> Tensor:
    """(M,): the same for a mask of two coordinates that are the first example's with probability lambda each, as the
    CutMix variant of Park et al., section 3: the four masks with their probabilities under D-tilde.
    """
    first, second = moments(alpha)
    both = 1 - 2 * first + second  # E[lambda^2]
    chances = {(1.0, 1.0): both, (1.0, 0.0): first - second, (0.0, 1.0): first - second, (0.0, 0.0): second}
    count, n = inputs.shape[:2]
    total = torch.zeros(count, dtype=inputs.dtype)
    for mask, chance in chances.items():
        own = torch.tensor(mask, dtype=inputs.dtype)
        mixed = inputs[:, :, None] * own + inputs[:, None] * (1 - own)
        output, _ = biased(weights, mixed.reshape(count, -1, 2))
        total = total + chance * logistic(output.view(count, n, n), labels[:, :, None]).mean((1, 2))
    return total


def second_order(
    weights: Sequence[Tensor], inputs: Tensor, labels: Tensor, first: float, coefficients: Tensor
) -> Tensor:
    """(M,): the loss with R_1 and R_2 of Lemma 3.1 or Theorem 1. R_3 is zero where the model is linear or piecewise so.

    `first` is E[1 - lambda], `coefficients` (d, d) are a_jk = E[(1 - M_j)(1 - M_k)]; for Mixup all of them E[(1 -
    lambda)^2]. The means over partners are those of the set itself.
    """
    output, gradient = biased(weights, inputs)
    slope = torch.sigmoid(output)
    mean = inputs.mean(1, keepdim=True)
    toward = mean - inputs
    centred = inputs - mean
    covariance = centred.mT @ centred / inputs.shape[1]
    plain = logistic(output, labels)
    one = first * (slope - labels) * (gradient * toward).sum(2)
    spread = (covariance[:, None] + toward[..., None] * toward[..., None, :]) * coefficients
    curved = torch.einsum("mnj,mnjk,mnk->mn", gradient, spread, gradient)
    return (plain + one + slope * (1 - slope) * curved / 2).mean(1)


def attacked(
    weights: Sequence[Tensor],
    inputs: Tensor,
    labels: Tensor,
    size: float | Tensor,
    steps: int,
    generator: torch.Generator,
) -> Tensor:
    """(M,): the mean of the largest loss within an l2 ball of `size` around each example, a number or of shape (M, 1)
    or (M, P). In closed form for linear models; else by projected gradient ascent from a random place, steps of 2.5
    size / steps.
    """
    output, gradient = biased(weights, inputs)
    if len(weights) == 1:
        worst = torch.sign(torch.sigmoid(output) - labels).detach()
        return logistic(output + worst * size * gradient.norm(dim=2), labels).mean(1)
    size = torch.as_tensor(size, dtype=inputs.dtype)[..., None]
    with torch.no_grad():
        shift = torch.randn(inputs.shape, generator=generator, dtype=inputs.dtype)
        shift = shift / shift.norm(dim=2, keepdim=True) * size
        best, most = shift, logistic(biased(weights, inputs + shift)[0], labels)
        for _ in range(steps):
            output, gradient = biased(weights, inputs + shift)
            ascent = (torch.sigmoid(output) - labels)[..., None] * gradient
            shift = shift + 2.5 * size / steps * ascent / ascent.norm(dim=2, keepdim=True).clamp(min=1e-30)
            shift = shift * (size / shift.norm(dim=2, keepdim=True).clamp(min=1e-30)).clamp(max=1)
            loss = logistic(biased(weights, inputs + shift)[0], labels)
            better = loss > most
            best, most = torch.where(better[..., None], shift, best), torch.maximum(loss, most)
    return logistic(biased(weights, inputs + best)[0], labels).mean(1)


def attacked_second_order(
    weights: Sequence[Tensor], inputs: Tensor, labels: Tensor, size: float | Tensor
) -> Tensor:
    """(M,): l + size |sigma(f) - y| |grad f| + size^2 / 2 sigma (1 - sigma) |grad f|^2 (Zhang et al., equation 5)."""
    output, gradient = biased(weights, inputs)
    slope, norm = torch.sigmoid(output), gradient.norm(dim=2)
    loss = logistic(output, labels) + size * (slope - labels).abs() * norm
    return (loss + size**2 / 2 * slope * (1 - slope) * norm.square()).mean(1)
