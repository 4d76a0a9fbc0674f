"""The loss as a function of the weights: values, gradients, products with the Hessian, and its curvature."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from mixbench.optim.vectors import dot, norm
from mixbench.seams import Loss

Weights = list[Tensor]


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Of each example, (B,)."""
    return F.cross_entropy(outputs, labels, reduction="none")


class Surface:
    """The mean loss of a model on `batches`, in evaluation mode and in the precision of its weights, as a function of
    all weights that have gradients.

    Batch by batch, so that memory holds the graph of one. The weights are where they were after every call, and have
    no gradients. `losses` maps outputs and labels to one loss per example.
    """

    def __init__(
        self, model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], losses: Loss = cross_entropy
    ) -> None:
        self.model, self.batches, self.losses = model.eval(), batches, losses
        self.weights: Weights = [p for p in model.parameters() if p.requires_grad]
        self.n = sum(len(labels) for _, labels in batches)
        self._start = [p.detach().clone() for p in self.weights]

    @contextlib.contextmanager
    def moved(self, change: Sequence[Tensor]) -> Iterator[None]:
        """The weights with `change` added; put back bit for bit."""
        with torch.no_grad():
            torch._foreach_add_(self.weights, [*change])
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self.weights, self._start)

    @torch.no_grad()
    def value(self, change: Sequence[Tensor] | None = None) -> float:
        """The loss, at the weights or at a `change` from them."""
        if change is not None:
            with self.moved(change):
                return self.value()
        total = sum(self.losses(self.model(x).float(), y).double().sum().item() for x, y in self.batches)
        return total / self.n

    def gradient(self, change: Sequence[Tensor] | None = None) -> tuple[float, Weights]:
        """The loss and its gradient there."""
        if change is not None:
            with self.moved(change):
                return self.gradient()
        total, slope = 0.0, [torch.zeros_like(p) for p in self.weights]
        for loss in self._parts():
            torch._foreach_add_(slope, torch.autograd.grad(loss, self.weights, materialize_grads=True))
            total += loss.item()
        return total, slope

    def curved(self, direction: Sequence[Tensor]) -> Weights:
        """The product of the Hessian at the weights with a direction, by differentiating twice."""
        product = [torch.zeros_like(p) for p in self.weights]
        with sdpa_kernel(SDPBackend.MATH):  # the fast kernels of attention have no second derivative
            for loss in self._parts():
                slope = torch.autograd.grad(loss, self.weights, create_graph=True, materialize_grads=True)
                along = torch.stack([(s * d).sum() for s, d in zip(slope, direction, strict=True)]).sum()
                torch._foreach_add_(product, torch.autograd.grad(along, self.weights, materialize_grads=True))
        return product

    def _parts(self) -> Iterator[Tensor]:
        """What each batch adds to the loss, 0-dim."""
        for x, y in self.batches:
            with torch.enable_grad():
                yield self.losses(self.model(x).float(), y).sum() / self.n


def scaled(direction: Sequence[Tensor], length: float) -> Weights:
    """The direction with this length; zero where it has none."""
    own = norm(list(direction)).item()
    factor = length / own if own > 0 and math.isfinite(own) else 0.0
    return list(torch._foreach_mul(list(direction), factor))


def rises(surface: Surface, radii: Sequence[float], steps: int) -> Iterator[tuple[float, float]]:
    """Of each of the growing `radii`, how much the loss rises at its distance along the gradient, as SAM assumes
    (Foret et al., ICLR 2021, equation 2); and the most that projected gradient ascent from there finds in the ball,
    `steps` steps of 2.5 radius / steps along the gradient's direction. A smaller ball lies in a larger one.
    """
    here, slope = surface.gradient()
    most = -math.inf
    for radius in radii:
        change = scaled(slope, radius)
        first = None
        for step in range(steps + 1):
            loss, uphill = surface.gradient(change) if step < steps else (surface.value(change), [])
            first = loss if first is None else first
            most = max(most, loss)
            if uphill:
                change = list(torch._foreach_add(change, scaled(uphill, 2.5 * radius / steps)))
                length = norm(change).item()
                change = scaled(change, radius) if length > radius else change
        yield (first or 0.0) - here, most - here


def largest_eigenvalue(surface: Surface, tolerance: float, seed: int) -> tuple[float, int]:
    """The largest eigenvalue of the Hessian, to a relative `tolerance`, by Lanczos' method (ARPACK); and how many
    products it took.
    """
    weights = surface.weights
    size, taken = sum(p.numel() for p in weights), 0

    def product(vector: NDArray[np.float32]) -> NDArray[np.float32]:
        nonlocal taken
        taken += 1
        parts = torch.from_numpy(np.asarray(vector, np.float32).reshape(-1)).to(weights[0].device)
        split = parts.split([p.numel() for p in weights])
        curved = surface.curved([part.view_as(p) for part, p in zip(split, weights, strict=True)])
        return torch.cat([c.float().flatten() for c in curved]).cpu().numpy()

    hessian = LinearOperator((size, size), matvec=product, dtype=np.float32)
    start = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    (found,) = eigsh(hessian, k=1, which="LA", tol=tolerance, v0=start, return_eigenvectors=False)
    return float(found), taken


def trace(surface: Surface, draws: int, generator: torch.Generator) -> tuple[float, float]:
    """Hutchinson's estimate of the Hessian's trace, the mean of z'Hz over vectors z of random signs, and its standard
    error.
    """
    found = []
    for _ in range(draws):
        signs = [(2 * torch.randint(0, 2, p.shape, generator=generator) - 1).to(p) for p in surface.weights]
        found.append(dot(signs, surface.curved(signs)).item())
    return float(np.mean(found)), float(np.std(found, ddof=1) / math.sqrt(draws))


def by_filters(weights: Sequence[Tensor], generator: torch.Generator) -> Weights:
    """A random direction whose filters have the lengths of the network's: Li, Xu, Taylor, Studer, Goldstein (NeurIPS
    2018), section 4. A filter is what makes one output; biases and normalisation, of one dimension, stay.
    """
    direction = []
    for weight in weights:
        drawn = torch.randn(weight.shape, generator=generator).to(weight)
        if weight.dim() < 2:
            direction.append(torch.zeros_like(drawn))
            continue
        own, new = weight.detach().flatten(1).norm(dim=1), drawn.flatten(1).norm(dim=1)
        factor = (own / new.clamp(min=1e-30)).view(-1, *[1] * (weight.dim() - 1))
        direction.append(drawn * factor)
    return direction


def line(direction: Weights, distance: float) -> Weights:
    """`distance` times the direction."""
    return list(torch._foreach_mul(direction, distance))


def plane(one: Weights, other: Weights, x: float, y: float) -> Weights:
    """x times one direction and y times the other."""
    return list(torch._foreach_add(line(one, x), line(other, y)))
