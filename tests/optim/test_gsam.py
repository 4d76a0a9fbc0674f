"""GSAM. Oracles: a quadratic by hand, algorithm 1 of Zhuang et al. written out, SAM as its limit."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from probes import assert_same_state, batches, make_net
from torch import Tensor, nn

from mixbench.losses import cross_entropy
from mixbench.optim import GSAM, SAM


def sgd(net: nn.Module, lr: float = 0.1, **options: float) -> torch.optim.SGD:
    return torch.optim.SGD(net.parameters(), lr=lr, **options)


class Weights(nn.Module):
    """One weight vector in float64, for losses written out by hand."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(values, dtype=torch.float64))


def test_a_quadratic_by_hand() -> None:
    """L = (w1^2 + 4 w2^2) / 2 at w = (3, 1): g = (3, 4), and at w + delta = (3.3, 1.4): g_p = (3.3, 5.6), of length
    6.5. <g, g_p> = 32.3, so what is left of g across g_p is g - (32.3 / 42.25) g_p; the loss at w is 6.5."""
    net = Weights(3.0, 1.0)
    curvature = torch.tensor([1.0, 4.0], dtype=torch.float64)
    rule = GSAM(net, sgd(net), rho=0.5, alpha=0.6)
    loss = rule.step(lambda: (curvature * net.weight**2)[None].sum(1) / 2)
    across = [3 - 32.3 / 42.25 * 3.3, 4 - 32.3 / 42.25 * 5.6]
    assert loss.item() == pytest.approx(6.5)
    assert net.weight.tolist() == pytest.approx(
        [3 - 0.1 * (3.3 - 0.6 * across[0]), 1 - 0.1 * (5.6 - 0.6 * across[1])]
    )


def flat(tensors: Any) -> Tensor:
    return torch.cat([t.flatten() for t in tensors])


def at(net: nn.Module, shift: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The mean loss and its gradient, as one vector, where the weights are moved by `shift`."""
    twin = copy.deepcopy(net)
    with torch.no_grad():
        nn.utils.vector_to_parameters(
            nn.utils.parameters_to_vector(twin.parameters()) + shift, twin.parameters()
        )
    loss = cross_entropy(twin(x), y).mean()
    return loss.detach(), flat(torch.autograd.grad(loss, list(twin.parameters())))


def test_equals_the_algorithm_written_out() -> None:
    """The decomposition by lengths and the cosine, as in the authors' code, over 4 steps in float64 of a net with
    BatchNorm under SGD with momentum and weight decay."""
    net = make_net().double()
    rule = GSAM(net, sgd(net, momentum=0.9, weight_decay=0.1), rho=0.3, alpha=0.7)
    twin = copy.deepcopy(net)
    optimizer = sgd(twin, momentum=0.9, weight_decay=0.1)
    for x, y in batches(4):
        x, y = x.double(), y.double()
        rule.step(lambda: cross_entropy(net(x), y))  # noqa: B023
        _, g = at(twin, torch.zeros(()), x, y)
        _, g_p = at(twin, 0.3 * g / g.norm(), x, y)
        cosine = g @ g_p / (g.norm() * g_p.norm())
        vertical = g - cosine * g.norm() * g_p / g_p.norm()
        assert abs(vertical @ g_p) < 1e-12 * g.norm() * g_p.norm()
        assert vertical.norm() > 0.05 * g.norm()
        update = g_p - 0.7 * vertical
        assert torch.allclose(flat(p.grad for p in net.parameters()), update, atol=1e-12)
        for p, part in zip(
            twin.parameters(), update.split([p.numel() for p in twin.parameters()]), strict=True
        ):
            p.grad = part.view_as(p)
        twin(x)  # moves the statistics, once
        optimizer.step()
    for a, b in zip(net.state_dict().values(), twin.state_dict().values(), strict=True):
        assert torch.allclose(a, b, atol=1e-12)


def test_it_closes_the_surrogate_gap() -> None:
    """The paper's reason for the sign: with delta held, the gap L(w + delta) - L(w) falls by lr alpha ||g_across||^2
    more than in a step of SAM, to first order, and L(w + delta) falls as much."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    x, y = (t.double() for t in batches(1)[0])
    (loss, g), lr = at(net, torch.zeros(()), x, y), 1e-5
    delta = 0.5 * g / g.norm()
    above, g_p = at(net, delta, x, y)
    across = g - (g @ g_p) / (g_p @ g_p) * g_p
    found = {}
    for name, make in (("sam", SAM), ("gsam", GSAM)):
        twin = copy.deepcopy(net)
        make(twin, sgd(twin, lr=lr), rho=0.5, **({"alpha": 0.8} if name == "gsam" else {})).step(
            lambda twin=twin: cross_entropy(twin(x), y)
        )
        low, high = at(twin, torch.zeros(()), x, y)[0], at(twin, delta, x, y)[0]
        found[name] = (high - low) - (above - loss), high - above
    more = (found["gsam"][0] - found["sam"][0]) / (lr * 0.8 * across.square().sum())
    assert more.item() == pytest.approx(-1, abs=1e-3)
    assert found["gsam"][1].item() == pytest.approx(found["sam"][1].item(), rel=1e-3)


def test_alpha_zero_is_sam_bit_for_bit() -> None:
    """5 steps with BatchNorm and dropout."""
    net = make_net(dropout=0.3)
    twin = copy.deepcopy(net)
    rules = (net, GSAM(net, sgd(net, momentum=0.9), alpha=0.0)), (twin, SAM(twin, sgd(twin, momentum=0.9)))
    for model, rule in rules:
        torch.manual_seed(3)
        for x, y in batches(5):
            rule.step(lambda: cross_entropy(model(x), y))  # noqa: B023
    assert_same_state(net, twin)


@pytest.mark.parametrize("tensor", [False, True])
def test_rho_follows_the_learning_rate(tensor: bool) -> None:
    """Equation of the paper's step 0 with lr_min = 0: rho_min + (rho - rho_min) lr / lr_max. Under a CUDA graph the
    learning rate is a tensor."""
    net = make_net()
    x, y = batches(1)[0]
    rule = GSAM(net, sgd(net, lr=0.4), rho=0.5, rho_min=0.1)
    for lr, rho in ((0.4, 0.5), (0.1, 0.2), (0.0, 0.1)):
        rule.base.param_groups[0]["lr"] = torch.tensor(lr) if tensor else lr
        seen: list[Tensor] = []

        def closure() -> Tensor:
            seen.append(nn.utils.parameters_to_vector(net.parameters()).detach())  # noqa: B023
            return cross_entropy(net(x), y)

        rule.step(closure)
        assert (seen[1] - seen[0]).norm().item() == pytest.approx(rho, rel=1e-5)


def test_a_first_gradient_of_zero_is_harmless() -> None:
    """Nothing to climb along and nothing across: the step is the base optimizer's, and finite without any gradient."""
    net = make_net()
    before = copy.deepcopy(dict(net.named_parameters()))
    x, y = batches(1)[0]
    GSAM(net, sgd(net)).step(lambda: cross_entropy(net(x), y) * 0)
    assert all(torch.equal(p, before[name]) for name, p in net.named_parameters())


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"alpha": -0.1}, "alpha=-0.1"),
        ({"alpha": float("nan")}, "alpha=nan"),
        ({"rho_min": -0.1}, "rho_min=-0.1"),
        ({"rho_min": 0.06}, "rho_min=0.06: must be >= 0 and at most rho=0.05"),
    ],
)
def test_arguments_outside_their_range_are_refused(options: dict[str, float], named: str) -> None:
    """A ValueError that names the argument and what was given."""
    net = make_net()
    with pytest.raises(ValueError, match=named):
        GSAM(net, sgd(net), **options)
