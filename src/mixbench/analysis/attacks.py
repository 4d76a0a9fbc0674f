"""Attacks: the change of an image within a ball that raises the loss most, one step along the gradient or many.

A network is a `forward` from changes d (B, C, H, W) of a batch to logits (B, K). Changes lie between `low` and `high`
(B, C, H, W), which hold 0, so that pixels stay in their range, and within a ball of `size` around 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

Forward = Callable[[Tensor], Tensor]


class Linf:
    """The ball |d_i| <= size."""

    @staticmethod
    def direction(gradient: Tensor) -> Tensor:
        """The longest way up within the ball of size 1."""
        return gradient.sign()

    @staticmethod
    def project(change: Tensor, size: float) -> Tensor:
        """The nearest point of the ball."""
        return change.clamp(-size, size)

    @staticmethod
    def random(like: Tensor, size: float, generator: torch.Generator) -> Tensor:
        """Uniform in the ball."""
        return size * (2 * torch.rand(like.shape, generator=generator).to(like) - 1)


class L2:
    """The ball ||d|| <= size, the norm over all pixels and channels."""

    @staticmethod
    def direction(gradient: Tensor) -> Tensor:
        """The longest way up within the ball of size 1; 0 where there is none."""
        return gradient / _length(gradient).clamp(min=torch.finfo(gradient.dtype).tiny)

    @staticmethod
    def project(change: Tensor, size: float) -> Tensor:
        """The nearest point of the ball."""
        return change * (size / _length(change).clamp(min=size))

    @staticmethod
    def random(like: Tensor, size: float, generator: torch.Generator) -> Tensor:
        """Uniform in the ball: a radius of density r^(d - 1) in a uniform direction."""
        normal = torch.randn(like.shape, generator=generator)
        radius = torch.rand(len(like), 1, 1, 1, generator=generator) ** (1 / like[0].numel())
        return (normal / _length(normal) * radius * size).to(like)


Norm = type[Linf] | type[L2]


def _length(batch: Tensor) -> Tensor:
    """(B, 1, 1, 1)."""
    return batch.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def losses(forward: Forward, change: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The cross-entropy (B,), and which examples are taken for another class, bool (B,)."""
    logits = forward(change).float()
    return F.cross_entropy(logits, labels, reduction="none"), logits.argmax(1) != labels


def gradient(forward: Forward, change: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of the loss by the change; the losses, and which examples are fooled, as above. None is left in the weights."""
    change = change.detach().requires_grad_()
    with torch.enable_grad():
        loss, fooled = losses(forward, change, labels)
        (slope,) = torch.autograd.grad(loss.sum(), change)
    return slope, loss.detach(), fooled


def one_step(slope: Tensor, norm: Norm, size: float, low: Tensor, high: Tensor) -> Tensor:
    """The change of the fast gradient (sign) method from the gradient at 0: Goodfellow, Shlens, Szegedy (ICLR 2015)."""
    return (size * norm.direction(slope)).clamp(low, high)


def climb(
    forward: Forward,
    labels: Tensor,
    start: Tensor,
    norm: Norm,
    size: float,
    low: Tensor,
    high: Tensor,
    *,
    steps: int,
    step: float,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Projected gradient ascent (Madry et al., ICLR 2018): change, losses and fooled examples at the start and after
    each step of length `step`. A clamp to a range that holds 0 shortens a change, so that it stays in the ball.
    """
    change = start
    for _ in range(steps):
        slope, loss, fooled = gradient(forward, change, labels)
        yield change, loss, fooled
        change = norm.project(change + step * norm.direction(slope), size).clamp(low, high)
    with torch.no_grad():
        yield change, *losses(forward, change, labels)
