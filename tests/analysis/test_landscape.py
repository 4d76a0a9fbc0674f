"""Sharpness and curvature, against quadratic losses whose Hessian is known, and a Hessian written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import Small, images, networks
from torch import Tensor, nn
from torch.nn import functional as F

from mixbench.analysis.landscape import hessian, sharpness, slices
from mixbench.analysis.sample import drawn
from mixbench.analysis.surface import Surface, by_filters, largest_eigenvalue, line, plane, rises, trace


class Bowl(nn.Module):
    """The loss w'Aw / 2 + b'w of every example, as its output; w in two parts, A in float64."""

    def __init__(self, curvature: Tensor, slope: Tensor, place: Tensor) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(place[:2].clone()), nn.Parameter(place[2:].clone())
        self.curvature, self.slope = curvature, slope

    def forward(self, x: Tensor) -> Tensor:
        w = torch.cat([self.first, self.second])
        return (w @ self.curvature @ w / 2 + self.slope @ w) + 0 * x


def bowl(seed: int, size: int = 6) -> tuple[Surface, Tensor, Tensor]:
    """A quadratic surface with a symmetric matrix; the matrix and the gradient."""
    generator = torch.Generator().manual_seed(seed)
    half, slope, place = (
        torch.randn(*shape, generator=generator) for shape in ((size, size), (size,), (size,))
    )
    matrix = (half + half.T) / 2
    batches = [(torch.zeros(n), torch.zeros(n, dtype=torch.int64)) for n in (3, 2)]
    surface = Surface(Bowl(matrix, slope, place), batches, lambda outputs, _: outputs)
    return surface, matrix, matrix @ place + slope


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6))
def test_a_quadratic_loss(seed: int) -> None:
    """Closed forms: the gradient; Hv = Av; the largest eigenvalue by numpy; z'Az, whose mean over all z is the trace;
    rho |g| + rho^2 / 2 g'Ag / |g|^2 after one step.
    """
    surface, matrix, slope = bowl(seed)
    loss, found = surface.gradient()
    torch.testing.assert_close(torch.cat(found), slope)
    assert loss == pytest.approx(surface.value())
    direction = torch.randn(6, generator=torch.Generator().manual_seed(seed + 1))
    curved = surface.curved([direction[:2], direction[2:]])
    torch.testing.assert_close(torch.cat(curved), matrix @ direction, atol=1e-5, rtol=1e-4)
    eigenvalue, products = largest_eigenvalue(surface, 1e-5, seed)
    assert eigenvalue == pytest.approx(np.linalg.eigvalsh(matrix.numpy())[-1], rel=1e-3, abs=1e-3)
    assert products >= 6
    unit = slope / slope.norm()
    radii = (0.01, 0.3, 2.0)
    for radius, (one_step, ascent) in zip(radii, rises(surface, radii, 5), strict=True):
        expected = radius * slope.norm() + radius**2 / 2 * unit @ matrix @ unit
        assert one_step == pytest.approx(expected.item(), rel=1e-3, abs=1e-4)
        assert ascent >= one_step


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 10**6))
def test_ascent_finds_the_top_of_the_ball(seed: int) -> None:
    """Brute force: 20,000 random points of the sphere are never higher than many steps of the ascent by more than a
    thousandth, of a convex quadratic loss, whose largest value lies on the sphere.
    """
    surface, matrix, slope = bowl(seed)
    shift = np.abs(np.linalg.eigvalsh(matrix.numpy())).max()
    surface.model.curvature = matrix + shift * torch.eye(6)
    slope = slope + shift * torch.cat([p.detach() for p in surface.weights])
    ((_, ascent),) = rises(surface, [0.1], 60)
    points = torch.randn(20_000, 6, generator=torch.Generator().manual_seed(seed))
    points = 0.1 * points / points.norm(dim=1, keepdim=True)
    heights = points @ slope + (points @ surface.model.curvature * points).sum(1) / 2
    assert ascent >= 0.999 * heights.max().item() - 1e-4


def test_the_trace_of_a_quadratic_loss() -> None:
    """Closed form: z'Az has mean tr A and variance 2 sum of the squares off the diagonal; 400 draws."""
    surface, matrix, _ = bowl(0)
    estimate, error = trace(surface, 400, torch.Generator().manual_seed(0))
    spread = math.sqrt(2 * (matrix**2).sum() - 2 * (matrix.diag() ** 2).sum()) / math.sqrt(400)
    assert error == pytest.approx(spread, rel=0.2)
    assert estimate == pytest.approx(matrix.trace().item(), abs=4 * spread)


def written_out(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """(P, P): the Hessian of the mean cross-entropy by torch.func."""
    names, values = zip(*model.named_parameters(), strict=True)
    sizes, shapes = [v.numel() for v in values], [v.shape for v in values]

    def loss(flat: Tensor) -> Tensor:
        parts = [p.view(s) for p, s in zip(flat.split(sizes), shapes, strict=True)]
        outputs = torch.func.functional_call(model, dict(zip(names, parts, strict=True)), (inputs,))
        return F.cross_entropy(outputs, labels)

    return torch.func.hessian(loss)(torch.cat([v.detach().flatten() for v in values]))


def test_a_small_network_against_its_whole_hessian() -> None:
    """Brute force: torch.func.hessian of a network with convolution, BatchNorm and ReLU, on all examples at once; ours
    in batches of seven. Its trace lies within four standard errors, and no gradient is left.
    """
    _, model = networks(1)
    network, examples = Small(model), images(20)
    ((inputs, labels),) = drawn(examples, 20, 20)
    matrix = written_out(model, inputs, labels)
    found = hessian(network, examples, n=100, tolerance=1e-4, draws=20)
    expected = torch.linalg.eigvalsh(matrix.double())[-1].item()
    assert found["eigenvalue"] == pytest.approx(expected, rel=1e-3)
    assert abs(found["trace"] - matrix.trace().item()) < 4 * found["trace_error"]
    assert (found["weights"], found["n"]) == (len(matrix), 20)
    assert all(p.grad is None for p in model.parameters())


def test_weights_are_put_back() -> None:
    """Bit for bit, statistics of BatchNorm as well; the same numbers a second time, and in other batches."""
    _, model = networks(2)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    options = {"n": 15, "rho": [0.1, 0.5], "steps": 3}
    found = sharpness(Small(model), images(30), **options)
    assert sharpness(Small(model), images(30), **options) == found
    others = sharpness(Small(model, batch_size=4), images(30), **options)
    assert all(others[key] == pytest.approx(found[key], rel=1e-3) for key in found)
    slices(Small(model), images(30), n=9, reach=1.0, points=3, grid=3)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_directions_have_the_lengths_of_the_filters() -> None:
    """Closed form: each filter of the direction is as long as the network's; one dimension does not move."""
    _, model = networks(0)
    weights = [*model.parameters()]
    direction = by_filters(weights, torch.Generator().manual_seed(0))
    for own, new in zip(weights, direction, strict=True):
        expected = own.detach().flatten(1).norm(dim=1) if own.dim() > 1 else torch.zeros(())
        torch.testing.assert_close(new.flatten(1).norm(dim=1) if new.dim() > 1 else new.norm(), expected)


def test_slices_against_moved_weights() -> None:
    """Brute force: copies of the network with the weights moved by hand; the middle is the network itself."""
    _, model = networks(0)
    network, examples = Small(model), images(12)
    found = slices(network, examples, n=100, reach=0.5, points=5, grid=3)
    surface = Surface(model, drawn(examples, 100, 12))
    here = surface.value()
    assert found["line"]["x"] == [-0.5, -0.25, 0, 0.25, 0.5]
    assert found["line"]["losses"][2] == pytest.approx(here, rel=1e-6)
    assert found["plane"]["losses"][1][1] == pytest.approx(here, rel=1e-6)
    ends = found["line"]["losses"][0] + found["line"]["losses"][-1]
    assert found["rise"] == pytest.approx(ends / 2 - here, rel=1e-6)
    # The plane's first axis is the line.
    assert found["plane"]["losses"][1][2] == pytest.approx(found["line"]["losses"][-1], rel=1e-5)
    one, other = [torch.ones_like(p) for p in surface.weights], [p.detach() for p in surface.weights]
    moved = [p.detach() + 0.2 * a - 0.3 * b for p, a, b in zip(surface.weights, one, other, strict=True)]
    found_there = surface.value(plane(one, other, 0.2, -0.3))
    with torch.no_grad():
        for p, m in zip(surface.weights, moved, strict=True):
            p.copy_(m)
    assert found_there == pytest.approx(surface.value(), rel=1e-5)
    assert line(one, 0.0)[0].abs().max() == 0
