"""The loss of mixing L images and its quadratic form (Park, Yun, Chun, NeurIPS 2022, equation 4 and Theorem 1).

h(f) - y f is the loss, h = softplus; the networks are those of `first_layer`, smooth ones. Images are n x n pixels on
a torus: a box that leaves at one border comes back at the other, so that E[M] = lambda holds at every pixel, which
the theorem needs and boxes that are clipped do not have. All expectations are sums over all masks and nodes of
lambda.

The theorem lets the image whose label stands in the loss be the first of the pair, with lambda ~ D-tilde. Where the
label is the second's, the pair is turned round, and 1 - M(1 - lambda) stands for M(lambda). It is the same in law for
Mixup and for pixels that are drawn one by one, but not for a box: its complement is no box. In general, of any number
of images,

    E sum_l lambda_l (h(f) - y_l f),   x - x_l = -(1 - M_l) x_l + sum_(p != l) M_p r_p

with partners r_p that are drawn independently of each other and have mean zero, which gives `Moments`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from mixbench.analysis.first_layer import outputs

TWO = ("Mixup", "quadrants", "box", "box, either way", "HMix")
THREE = ("Mixup of 3", "quadrants of 3")
R = 0.5  # of HMix
CHUNK = 50_000  # mixed images at once


@dataclass(frozen=True)
class Mixing:
    """All masks (K, L, d) that L images are added with, their probabilities (K,), and E[lambda_l; mask] (K, L)."""

    masks: Tensor
    chance: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Moments:
    """What the quadratic form takes of masks: E[1 - M] (d,), the coefficients (d, d) of x x^T, and those of Sigma."""

    first: Tensor
    own: Tensor
    partners: Tensor


def masks(name: str, lam: float, n: int) -> tuple[Tensor, Tensor]:
    """M(lambda) of two images: all masks (K, n^2) of one of TWO, and their probabilities (K,)."""
    if name == "Mixup":
        return torch.full((1, n * n), lam, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    if name == "quadrants":
        places = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 4)
        return _blocks(places, n), (places * lam + (1 - places) * (1 - lam)).prod(1)
    if name == "HMix":
        share = (1 - lam) * R
        boxes, chance = _boxes(share, n)
        return (1 - boxes) * lam / (1 - share), chance
    if name == "box, either way" and lam < 0.5:
        return _boxes(lam, n)
    boxes, chance = _boxes(1 - lam, n)
    return 1 - boxes, chance


def _blocks(places: Tensor, n: int) -> Tensor:
    """(K, 4) as (K, n^2): the four quadrants of an image."""
    half = n // 2
    whole = places.view(-1, 2, 2).repeat_interleave(half, 1).repeat_interleave(half, 2)
    return whole.flatten(1)


def _boxes(share: float, n: int) -> tuple[Tensor, Tensor]:
    """Boxes on a torus at all places, of the two whole sides around n sqrt(share), so that their mean area is share."""
    low = min(math.floor(n * math.sqrt(share) + 1e-12), n - 1)
    larger = (share * n * n - low**2) / (2 * low + 1)
    pixel = torch.arange(n)
    found, chances = [], []
    for side, chance in ((low, 1 - larger), (low + 1, larger)):
        inside = ((pixel[:, None] - pixel) % n < side).double()  # (pixel, place)
        found.append(torch.einsum("ia,jb->abij", inside, inside).reshape(n * n, n * n))
        chances.append(torch.full((n * n,), chance / n**2, dtype=torch.float64))
    return torch.cat(found), torch.cat(chances)


def nodes(alpha: int, beta: int, n: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Values of lambda and their weights under Beta(alpha, beta): Gauss-Legendre between all places where the side of a
    box changes; exact for polynomials of degree 2 count - alpha - beta + 1.
    """
    areas = {k * k / n**2 for k in range(n + 1)}
    breaks = sorted({0.5} | areas | {1 - a for a in areas} | {1 - a / R for a in areas if a < R})
    place, weight = np.polynomial.legendre.leggauss(count)
    ends = itertools.pairwise(breaks)
    pieces = [((b - a) / 2 * place + (a + b) / 2, (b - a) / 2 * weight) for a, b in ends if b - a > 1e-12]
    lam, share = (np.concatenate([piece[i] for piece in pieces]) for i in (0, 1))
    return lam, share * stats.beta(alpha, beta).pdf(lam)


def two(name: str, n: int, alpha: int, beta: int, count: int) -> Mixing:
    """Two images, lambda ~ Beta(alpha, beta)."""
    found, chances, labels = [], [], []
    for lam, share in zip(*nodes(alpha, beta, n, count), strict=True):
        own, chance = masks(name, lam, n)
        found.append(torch.stack([own, 1 - own], 1))
        chances.append(share * chance)
        labels.append(share * chance[:, None] * torch.tensor([lam, 1 - lam], dtype=torch.float64))
    return _merged(found, chances, labels)


def three(name: str, n: int, alpha: int, count: int) -> Mixing:
    """Three images, lambda ~ Dirichlet(alpha, alpha, alpha): each image, or each quadrant, one of the three."""
    found, chances, labels = [], [], []
    place, weight = np.polynomial.legendre.leggauss(count)
    place, weight = (place + 1) / 2, weight / 2
    for a, share_a in zip(place, weight, strict=True):
        for b, share_b in zip(place, weight, strict=True):
            lam = torch.tensor([a, (1 - a) * b, (1 - a) * (1 - b)], dtype=torch.float64)
            share = share_a * share_b * stats.beta(alpha, 2 * alpha).pdf(a) * stats.beta(alpha, alpha).pdf(b)
            if name == "Mixup of 3":
                shown = lam[None, :, None].expand(1, 3, n * n)
                chance = torch.ones(1, dtype=torch.float64)
            else:
                whose = torch.cartesian_prod(*[torch.arange(3)] * 4)
                shown = torch.stack([_blocks((whose == image).double(), n) for image in range(3)], 1)
                chance = lam[whose].prod(1)
            found.append(shown)
            chances.append(share * chance)
            labels.append(share * chance[:, None] * lam)
    return _merged(found, chances, labels)


def _merged(found: list[Tensor], chances: list[Tensor], labels: list[Tensor]) -> Mixing:
    """The same mask at several lambdas is one."""
    unique, where = torch.unique(torch.cat(found), dim=0, return_inverse=True)
    chance = torch.zeros(len(unique), dtype=torch.float64).index_add_(0, where, torch.cat(chances))
    label = torch.zeros(len(unique), unique.shape[1], dtype=torch.float64)
    return Mixing(unique, chance, label.index_add_(0, where, torch.cat(labels)))


def moments(mixing: Mixing) -> Moments:
    """Of any mixing, as in the module's text."""
    shown, weight = mixing.masks, mixing.labels
    first = torch.einsum("kl,kld->d", weight, 1 - shown)
    own = torch.einsum("kl,kld,kle->de", weight, 1 - shown, 1 - shown)
    others = weight.sum(1, keepdim=True) - weight  # of image p, the labels of all other images
    return Moments(first, own, torch.einsum("kp,kpd,kpe->de", others, shown, shown))


def moments_printed(name: str, n: int, alpha: int, beta: int, count: int) -> Moments:
    """Of two images as Theorem 1 has it: a_jk(lambda) of equation 9 and 1 - lambda under D-tilde."""
    first, joint = 0.0, torch.zeros(n * n, n * n, dtype=torch.float64)
    for share, given in ((alpha, (alpha + 1, beta)), (beta, (beta + 1, alpha))):
        for lam, weight in zip(*nodes(*given, n, count), strict=True):
            own, chance = masks(name, lam, n)
            weighted = weight * share / (alpha + beta)
            first += weighted * (1 - lam)
            joint += weighted * ((1 - own).T * chance) @ (1 - own)
    return Moments(torch.full((n * n,), first, dtype=torch.float64), joint, joint)


def exact(weights: Sequence[Tensor], inputs: Tensor, labels: Tensor, mixing: Mixing) -> Tensor:
    """(M,): equation 4, the mean over all L-tuples of the examples (M, m, d) with labels (M, m)."""
    count, m, d = inputs.shape
    images = mixing.masks.shape[1]
    total = torch.zeros(count, dtype=torch.float64)

    def along(values: Tensor, image: int) -> Tensor:
        """(M, k, m, ...) with the examples on the axis of this image of the tuple."""
        shape = [*values.shape[:2], *(m if axis == image else 1 for axis in range(images)), *values.shape[3:]]
        return values.reshape(shape)

    for part in torch.arange(len(mixing.masks)).split(max(1, CHUNK // m**images)):
        shown = mixing.masks[part]
        mixed = sum(along(shown[:, image, None] * inputs[:, None], image) for image in range(images))
        assert isinstance(mixed, Tensor)
        output = outputs(weights, mixed.reshape(count, -1, d), "tanh").view(mixed.shape[:-1])
        total += F.softplus(output).flatten(2).mean(2) @ mixing.chance[part]
        for image in range(images):
            target = along(labels[:, None].expand(-1, len(part), -1), image)
            total -= (output * target).flatten(2).mean(2) @ mixing.labels[part, image]
    return total


def quadratic(weights: Sequence[Tensor], inputs: Tensor, labels: Tensor, of: Moments) -> Tensor:
    """(M,): L_m + R_1 + R_2 + R_3 of equation 7, for centred examples; Hessians by automatic differentiation."""
    x = inputs.detach().clone().requires_grad_()
    output = outputs(weights, x, "tanh")
    (slope,) = torch.autograd.grad(output.sum(), x, create_graph=True)
    rows = [torch.autograd.grad(slope[..., j].sum(), x, retain_graph=True)[0] for j in range(inputs.shape[2])]
    output, slope, hessian = output.detach(), slope.detach(), torch.stack(rows, 2)
    chance = torch.sigmoid(output)
    sigma = inputs.mT @ inputs / inputs.shape[1]
    moved = of.own * inputs[..., None] * inputs[..., None, :] + (of.partners * sigma)[:, None]
    plain = F.softplus(output) - labels * output
    one = (labels - chance) * (slope * of.first * inputs).sum(2)
    two_ = chance * (1 - chance) * torch.einsum("mnj,mnjk,mnk->mn", slope, moved, slope) / 2
    three_ = (chance - labels) * (hessian * moved).sum((2, 3)) / 2
    return (plain + one + two_ + three_).mean(1)
