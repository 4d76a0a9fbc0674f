"""The energy that a PuzzleMix mask minimises (Kim, Choo, Song, ICML 2020, and its official code)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d


def shares(saliency: Tensor, grid: int) -> Tensor:
    """(B, grid, grid): what part of an image's saliency (B, H, W) lies in each block."""
    # One smallest number more, so that an image without any gradient has its saliency spread evenly.
    pooled = adaptive_avg_pool2d(saliency, grid) + torch.finfo(saliency.dtype).tiny
    return pooled / pooled.sum((1, 2), keepdim=True)


def prior(lam: Tensor, n_labels: int) -> Tensor:
    """(B, n_labels): -log of the binomial probability of k = 0, 1, ... steps from the own image, given lam (B,)."""
    steps = n_labels - 1
    terms = [math.comb(steps, k) * lam ** (steps - k) * (1 - lam) ** k for k in range(n_labels)]
    return -torch.log(torch.stack(terms, dim=1) + 1e-8)


def energy_terms(
    images: Tensor,
    saliency: Tensor,
    partners: Tensor,
    lam: Tensor,
    grid: int,
    *,
    beta: float,
    gamma: float,
    eta: float,
    neigh_size: int,
    n_labels: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Costs for `gridcut`: label k of a block is the mask level m = 1 - k / (n_labels - 1).

    unary = m * saliency of the partner + (1 - m) * own saliency (what is hidden) + eta / grid^2 * prior; the
    weight of neighbours is beta / (16 grid) plus the part of gamma * (jump of colour at the border) that
    counts where they show different images, while the parts that belong to one block are in its unary cost.

    Args:
        images, saliency: (B, C, H, W) and (B, H, W); `grid` divides H and W.
        partners: (B,) indices.
        lam: (B,) ratios in [0, 1].

    Returns:
        unary (B, grid, grid, n_labels), and the weights of vertical (B, grid - 1, grid) and horizontal
        (B, grid, grid - 1) neighbours, >= 0; float32.
    """
    partner_cost = shares(saliency, grid)  # of showing the partner: the own saliency is hidden
    own_cost = partner_cost[partners]
    smooth = beta / (16 * grid)
    deep, wide = (max(1, side // grid // neigh_size) for side in images.shape[2:])
    colours = adaptive_avg_pool2d(images.float(), (grid * deep, grid * wide))
    # The constants are made for pixels in [0, 1], whose standard deviation is about 1/4 (CIFAR: 0.25).
    colours = colours * (0.25 / images.float().std().clamp_min(1e-6)) * (smooth * gamma)
    own, other = colours, colours[partners]
    weights = []
    for dim in (1, 2):
        sizes = (deep, wide) if dim == 1 else (wide, deep)
        both, leave, enter, neither = (
            _jump(before, behind, dim, *sizes)
            for before, behind in ((own, own), (own, other), (other, own), (other, other))
        )
        own_cost.narrow(dim, 0, grid - 1).add_((both + leave) / 2)
        own_cost.narrow(dim, 1, grid - 1).add_((both + enter) / 2)
        partner_cost.narrow(dim, 0, grid - 1).add_((neither + enter) / 2)
        partner_cost.narrow(dim, 1, grid - 1).add_((neither + leave) / 2)
        weights.append((smooth + (leave + enter - both - neither) / 2).clamp_min(0))
    level = 1 - torch.arange(n_labels, device=images.device) / (n_labels - 1)
    unary = level * own_cost[..., None] + (1 - level) * partner_cost[..., None]
    unary = unary + (eta / grid**2) * prior(lam, n_labels)[:, None, None].to(unary.dtype)
    return unary, weights[0], weights[1]


def _jump(before: Tensor, behind: Tensor, dim: int, deep: int, wide: int) -> Tensor:
    """Mean difference in colour from a block of `before` to the next block of `behind`, across their border.

    dim=1: from each block to the one below, (B, grid - 1, grid); dim=2: to the right, (B, grid, grid - 1).
    `deep` and `wide` are the averaged cells per block across and along the border.
    """
    if dim == 2:
        return _jump(before.mT, behind.mT, 1, deep, wide).mT
    difference = (before[:, :, deep - 1 : -1 : deep] - behind[:, :, deep::deep]).abs().mean(1)
    return difference.unflatten(2, (-1, wide)).mean(3)
