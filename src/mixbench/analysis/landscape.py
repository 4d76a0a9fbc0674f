"""How the loss lies around the weights: what sharpness-aware training is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mixbench.analysis.sample import drawn
from mixbench.analysis.surface import (
    Surface,
    by_filters,
    largest_eigenvalue,
    line,
    plane,
    rises,
    trace,
)
from mixbench.data.order import derived_seed
from mixbench.seams import Examples, Network


def sharpness(
    network: Network, examples: Examples, *, n: int, rho: Sequence[float], steps: int
) -> dict[str, Any]:
    """The rise of the mean cross-entropy within a radius rho of all weights, in nats: `one_step_R` at the end of SAM's
    step along the gradient, `ascent_R` the largest that `steps` more steps find in the ball. `loss` is that at the
    weights, on `n` examples without augmentation or mixing, in float32; BatchNorm keeps its running statistics.
    """
    surface = _surface(network, examples, n)
    radii = sorted(rho)
    found = {"loss": surface.value(), "n": surface.n}
    for radius, (one_step, ascent) in zip(radii, rises(surface, radii, steps), strict=True):
        found |= {f"one_step_{radius:g}": one_step, f"ascent_{radius:g}": ascent}
    return found


def hessian(network: Network, examples: Examples, *, n: int, tolerance: float, draws: int) -> dict[str, Any]:
    """The largest `eigenvalue` of the Hessian of the same loss, and its `trace` with the standard error `trace_error`
    of so many random `draws`; `weights` counts the rows of the Hessian, `products` what the eigenvalue took.
    """
    surface = _surface(network, examples, n)
    eigenvalue, products = largest_eigenvalue(surface, tolerance, derived_seed("start of Lanczos"))
    signs = torch.Generator().manual_seed(derived_seed("signs of Hutchinson"))
    estimate, error = trace(surface, draws, signs)
    return {
        "eigenvalue": eigenvalue,
        "trace": estimate,
        "trace_error": error,
        "weights": sum(p.numel() for p in surface.weights),
        "products": products,
        "n": surface.n,
    }


def slices(
    network: Network, examples: Examples, *, n: int, reach: float, points: int, grid: int
) -> dict[str, Any]:
    """The same loss along a random direction with the lengths of the network's filters, `line`: `x` from -reach to
    reach and the losses there; and in the `plane` of two, `losses[i][j]` at y[i] along the second and x[j] along the
    first. `rise`: the mean of the two ends of the line, less the loss at the weights. Directions are drawn alike for
    all runs of a network.
    """
    surface = _surface(network, examples, n)
    generator = torch.Generator().manual_seed(derived_seed("directions of slices"))
    one, other = (by_filters(surface.weights, generator) for _ in range(2))
    x = np.linspace(-reach, reach, points).tolist()
    losses = [surface.value(line(one, distance)) for distance in x]
    axis = np.linspace(-reach, reach, grid).tolist()
    return {
        "rise": (losses[0] + losses[-1]) / 2 - surface.value(),
        "line": {"x": x, "losses": losses},
        "plane": {
            "x": axis,
            "y": axis,
            "losses": [[surface.value(plane(one, other, a, b)) for a in axis] for b in axis],
        },
        "n": surface.n,
    }


def _surface(network: Network, examples: Examples, n: int) -> Surface:
    return Surface(network.model, drawn(examples, n, network.batch_size))
