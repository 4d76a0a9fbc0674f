"""DG-Mix: what it does for gamma < 1. Oracles: the projection in both readings written out, orthogonality.

Limits, scaling and precision are tested together with BG-Mix.
"""

from __future__ import annotations

import copy

import pytest
import torch
from probes import batches, make_net
from torch import Tensor, nn

from mixbench.losses import cross_entropy
from mixbench.optim import DGMix


def sgd(net: nn.Module, lr: float = 0.1, **options: float) -> torch.optim.SGD:
    return torch.optim.SGD(net.parameters(), lr=lr, **options)


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([t.flatten() for t in tensors])


def at_perturbed(
    net: nn.Module, x: Tensor, y: Tensor, rho: float, k: int
) -> tuple[nn.Module, Tensor, Tensor]:
    """A copy of the net at w + delta, its logits there, and which k examples are sensitive."""
    twin = copy.deepcopy(net)
    parameters = list(twin.parameters())
    before = cross_entropy(twin(x), y)
    gradient = torch.autograd.grad(before.mean(), parameters)
    with torch.no_grad():
        for p, g in zip(parameters, gradient, strict=True):
            p += rho * g / flat(list(gradient)).norm()
    logits = twin(x)
    rise = cross_entropy(logits, y).detach() - before.detach()
    order = rise.argsort(descending=True)
    return twin, logits, torch.isin(torch.arange(len(x)), order[:k])


@pytest.mark.parametrize("gamma", [0.2, 0.5, 0.8])
def test_gradient_form_equals_the_projection_written_out(gamma: float) -> None:
    """g = g+ + g- - (<g-, g+> / ||g+||^2) g+ in float64, on a net with BatchNorm; and g - g+ is orthogonal to
    g+."""
    net = make_net().double()
    x, y = (t.double() for t in batches(1)[0])
    twin, logits, chosen = at_perturbed(net, x, y, 0.4, round(gamma * 6))
    losses, parameters = cross_entropy(logits, y), list(twin.parameters())
    plus = flat(list(torch.autograd.grad(losses[chosen].mean(), parameters, retain_graph=True)))
    minus = flat(list(torch.autograd.grad(losses[~chosen].mean(), parameters)))
    DGMix(net, sgd(net, lr=0.0), rho=0.4, gamma=gamma).step(lambda: cross_entropy(net(x), y))
    result = flat([p.grad for p in net.parameters()])
    across = minus - (minus @ plus) / (plus @ plus) * plus
    assert torch.allclose(result, plus + across, atol=1e-12)
    assert abs((result - plus) @ plus) < 1e-10 * plus.norm() * across.norm()
    assert across.norm() > 0.1 * minus.norm()


@pytest.mark.parametrize("gamma", [0.2, 0.5, 0.8])
def test_logit_form_equals_the_projection_written_out(gamma: float) -> None:
    """d_i = p_i - y_i by the closed form of cross-entropy; those of B- lose their part along the mean of B+."""
    net = make_net().double()
    x, y = (t.double() for t in batches(1)[0])
    y = y / y.sum(1, keepdim=True)
    twin, logits, chosen = at_perturbed(net, x, y, 0.4, round(gamma * 6))
    d = logits.detach().softmax(1) - y
    mean = d[chosen].mean(0)
    upstream = torch.empty_like(d)
    upstream[chosen] = d[chosen] / chosen.sum()
    upstream[~chosen] = (d[~chosen] - torch.outer(d[~chosen] @ mean, mean) / (mean @ mean)) / (~chosen).sum()
    expected = torch.autograd.grad(logits, list(twin.parameters()), upstream)
    DGMix(net, sgd(net, lr=0.0), rho=0.4, gamma=gamma, decompose="logit").step(
        lambda: cross_entropy(net(x), y)
    )
    assert torch.allclose(flat([p.grad for p in net.parameters()]), flat(list(expected)), atol=1e-12)
    assert (upstream[~chosen] @ mean).abs().max() < 1e-15


@pytest.mark.parametrize("batched", [False, True])
def test_logit_form_with_two_forwards(batched: bool) -> None:
    """With a second forward in the loss, the logits of both belong to the example: one row of 2K numbers."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).double()
    x, y = (t.double() for t in batches(1)[0])
    y = y / y.sum(1, keepdim=True)

    def losses(model: nn.Module) -> Tensor:
        if batched:
            one, two = model(torch.cat([x, x.flip(3)])).chunk(2)
        else:
            one, two = model(x), model(x.flip(3))
        return cross_entropy(one, y) + two.square().sum(1) / 2

    twin = copy.deepcopy(net)
    gradient = torch.autograd.grad(losses(twin).mean(), list(twin.parameters()))
    before = losses(twin).detach()
    with torch.no_grad():
        for p, g in zip(twin.parameters(), gradient, strict=True):
            p += 0.4 * g / flat(list(gradient)).norm()
    chosen = torch.zeros(6, dtype=torch.bool)
    chosen[(losses(twin).detach() - before).topk(3).indices] = True
    one, two = twin(x), twin(x.flip(3))
    d = torch.cat([one.softmax(1) - y, two], dim=1).detach()
    mean = d[chosen].mean(0)
    upstream = d / 3
    upstream[~chosen] -= torch.outer(d[~chosen] @ mean, mean) / (mean @ mean) / 3
    expected = torch.autograd.grad([one, two], list(twin.parameters()), list(upstream.split(3, dim=1)))
    DGMix(net, sgd(net, lr=0.0), rho=0.4, decompose="logit").step(lambda: losses(net))
    assert torch.allclose(flat([p.grad for p in net.parameters()]), flat(list(expected)), atol=1e-12)


@pytest.mark.parametrize("decompose", ["gradient", "logit"])
def test_without_a_direction_nothing_is_taken_off(decompose: str) -> None:
    """If the mean gradient of B+ is zero there is no direction to project on: finite, and B- counts whole.
    Two examples with opposite gradients are made the sensitive ones, by a loss that rises in the second pass."""
    net = nn.Linear(1, 1, bias=False).double()
    slopes = torch.tensor([1.0, -1.0, 0.5, 0.5], dtype=torch.float64)
    rises = iter([0.0, 10.0])

    def closure() -> Tensor:
        rise = torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=torch.float64) * next(rises)
        return slopes * net(torch.ones(4, 1, dtype=torch.float64))[:, 0] + rise

    DGMix(net, sgd(net, lr=0.0), rho=0.1, decompose=decompose).step(closure)
    assert net.weight.grad is not None
    assert net.weight.grad.item() == pytest.approx(0.5)


def test_gradient_form_has_a_second_backward_and_no_second_forward() -> None:
    """Two forwards and three backwards per step; with logits two of each."""
    for decompose, backwards in (("gradient", 3), ("logit", 2)):
        net = make_net()
        count = {"forward": 0, "backward": 0}
        net[0].register_forward_hook(lambda *a: count.__setitem__("forward", count["forward"] + 1))  # noqa: B023
        net[5].weight.register_hook(lambda g: count.__setitem__("backward", count["backward"] + 1))  # noqa: B023
        x, y = batches(1)[0]
        DGMix(net, sgd(net), decompose=decompose).step(lambda: cross_entropy(net(x), y))  # noqa: B023
        assert count == {"forward": 2, "backward": backwards}
        assert all(p.isfinite().all() for p in net.parameters())
