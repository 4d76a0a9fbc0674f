"""LookSAM. Oracles: a quadratic by hand, algorithm 1 of Liu et al. written out, SAM as its limit."""

from __future__ import annotations

import copy
import io
import math
from typing import Any

import pytest
import torch
from probes import assert_same_state, batches, make_net
from torch import Tensor, nn

from mixbench.losses import cross_entropy
from mixbench.optim import SAM, LookSAM


def sgd(net: nn.Module, lr: float = 0.1, **options: float) -> torch.optim.SGD:
    return torch.optim.SGD(net.parameters(), lr=lr, **options)


class Weights(nn.Module):
    """One weight vector in float64, for losses written out by hand."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(values, dtype=torch.float64))


def test_a_quadratic_by_hand() -> None:
    """L = (w1^2 + 4 w2^2) / 2 at w = (3, 1). First SAM: g = (3, 4), g_s = (3.3, 5.6), the step ends at (2.67, 0.44),
    and g_v = g_s - (32.3 / 25) g = (-0.576, 0.432), of direction (-0.8, 0.6). Then g = (2.67, 1.76), and the step is
    along g + alpha ||g|| (-0.8, 0.6)."""
    net = Weights(3.0, 1.0)
    curvature = torch.tensor([1.0, 4.0], dtype=torch.float64)
    rule = LookSAM(net, sgd(net), rho=0.5, k=2, alpha=0.7)

    def losses() -> Tensor:
        return (curvature * net.weight**2)[None].sum(1) / 2

    rule.step(losses)
    assert net.weight.tolist() == pytest.approx([2.67, 0.44])
    rule.step(losses)
    added = 0.7 * math.sqrt(2.67**2 + 1.76**2)
    assert net.weight.tolist() == pytest.approx(
        [2.67 - 0.1 * (2.67 - 0.8 * added), 0.44 - 0.1 * (1.76 + 0.6 * added)]
    )


def flat(tensors: Any) -> Tensor:
    return torch.cat([t.flatten() for t in tensors])


def test_equals_the_algorithm_written_out() -> None:
    """g_v by length and cosine and with its own length, 7 steps with k = 3 in float64 of a net with BatchNorm under SGD
    with momentum and weight decay."""
    net = make_net().double()
    rule = LookSAM(net, sgd(net, momentum=0.9, weight_decay=0.1), rho=0.3, k=3, alpha=0.5)
    twin = copy.deepcopy(net)
    optimizer = sgd(twin, momentum=0.9, weight_decay=0.1)

    def gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return flat(torch.autograd.grad(cross_entropy(model(x), y).mean(), list(model.parameters())))

    g_v = torch.zeros(())
    for step, (x, y) in enumerate(batches(7)):
        x, y = x.double(), y.double()
        rule.step(lambda: cross_entropy(net(x), y))  # noqa: B023
        g = gradient(twin, x, y)
        if step % 3 == 0:
            moved = copy.deepcopy(twin)
            with torch.no_grad():
                there = nn.utils.parameters_to_vector(twin.parameters()) + 0.3 * g / g.norm()
                nn.utils.vector_to_parameters(there, moved.parameters())
            g_s = gradient(moved, x, y)
            g_v = g_s - g_s.norm() * (g @ g_s / (g.norm() * g_s.norm())) * g / g.norm()
        else:
            g_s = g + 0.5 * g.norm() / g_v.norm() * g_v
        for p, part in zip(twin.parameters(), g_s.split([p.numel() for p in twin.parameters()]), strict=True):
            p.grad = part.view_as(p)
        optimizer.step()
    for a, b in zip(net.state_dict().values(), twin.state_dict().values(), strict=True):
        assert torch.allclose(a, b, atol=1e-11)


def test_k_one_is_sam_bit_for_bit() -> None:
    """5 steps with BatchNorm and dropout."""
    net = make_net(dropout=0.3)
    twin = copy.deepcopy(net)
    rules = (net, LookSAM(net, sgd(net, momentum=0.9), k=1)), (twin, SAM(twin, sgd(twin, momentum=0.9)))
    for model, rule in rules:
        torch.manual_seed(3)
        for x, y in batches(5):
            rule.step(lambda: cross_entropy(model(x), y))  # noqa: B023
    assert_same_state(net, twin)


def test_the_steps_between_cost_one_pass() -> None:
    """Forwards and backwards of five steps with k = 3."""
    net = make_net()
    counts = {"forward": 0, "backward": 0}
    net[0].register_forward_hook(lambda *a: counts.__setitem__("forward", counts["forward"] + 1))
    net[5].weight.register_hook(lambda g: counts.__setitem__("backward", counts["backward"] + 1))
    rule = LookSAM(net, sgd(net), k=3)
    found = []
    for x, y in batches(5):
        rule.step(lambda: cross_entropy(net(x), y))  # noqa: B023
        found.append((counts["forward"], counts["backward"]))
    assert found == [(2, 2), (3, 3), (4, 4), (6, 6), (7, 7)]


@pytest.mark.parametrize("cut", range(1, 7))
def test_a_resume_at_any_step_gives_the_same_bits(cut: int) -> None:
    """Oracle: never having stopped, over 7 steps with k = 3. The state goes through a file that may hold no code."""

    def start() -> tuple[nn.Module, LookSAM]:
        net = make_net()
        return net, LookSAM(net, sgd(net, momentum=0.9), rho=0.3, k=3)

    def trained(net: nn.Module, rule: LookSAM, steps: list[tuple[Tensor, Tensor]]) -> None:
        for x, y in steps:
            rule.step(lambda: cross_entropy(net(x), y))  # noqa: B023

    steps = batches(7)
    whole, rule = start()
    trained(whole, rule, steps)
    first, stopped = start()
    trained(first, stopped, steps[:cut])
    file = io.BytesIO()
    torch.save([first.state_dict(), stopped.base.state_dict(), stopped.state_dict()], file)
    file.seek(0)
    net, resumed = start()
    for part, state in zip((net, resumed.base, resumed), torch.load(file, weights_only=True), strict=True):
        part.load_state_dict(state)
    trained(net, resumed, steps[cut:])
    assert_same_state(net, whole)
    assert all(map(torch.equal, resumed.turn, rule.turn))


def test_the_state_of_another_network_is_refused() -> None:
    """A ValueError or RuntimeError, which a checkpoint reports as not fitting the run."""
    net = make_net()
    state = LookSAM(net, sgd(net)).state_dict()
    with pytest.raises((ValueError, RuntimeError)):
        LookSAM(net[0], sgd(net[0])).load_state_dict(state)


def test_an_overflow_leaves_the_last_turn() -> None:
    """A step of SAM whose gradient is not finite is skipped by the scaler; the steps between go on with the turn of the
    one before."""
    net = make_net()
    rule = LookSAM(net, sgd(net), rho=0.3, k=2, scaler=torch.amp.GradScaler("cpu", init_scale=2.0**10))
    x, y = batches(1)[0]
    rule.step(lambda: cross_entropy(net(x), y))
    rule.step(lambda: cross_entropy(net(x), y))
    turn, weights = [t.clone() for t in rule.turn], [p.clone() for p in net.parameters()]
    rule.step(lambda: cross_entropy(net(x), y) * torch.inf)
    assert all(map(torch.equal, rule.turn, turn))
    assert all(map(torch.equal, net.parameters(), weights))
    rule.step(lambda: cross_entropy(net(x), y))
    assert not torch.equal(net[0].weight, weights[0])
    assert all(p.isfinite().all() for p in net.parameters())


def test_without_a_turn_nothing_is_added() -> None:
    """Limiting case: a step of SAM with a zero gradient has no g_v, so the steps between are the base optimizer's."""
    net = make_net()
    twin = copy.deepcopy(net)
    rule, plain = LookSAM(net, sgd(net), k=2), sgd(twin)
    x, y = batches(1)[0]
    rule.step(lambda: cross_entropy(net(x), y) * 0)
    rule.step(lambda: cross_entropy(net(x), y))
    cross_entropy(twin(x), y).mean().backward()
    plain.step()
    for a, b in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)


def test_parameters_without_a_gradient_stay_out() -> None:
    """A frozen layer and one that the loss does not reach keep their values, and their places in the state."""
    net = make_net()
    net.unused = nn.Linear(2, 2)
    net.forward = lambda x: net[:6](x)
    net[0].weight.requires_grad_(False)
    before = [net[0].weight.clone(), net.unused.weight.clone()]
    rule = LookSAM(net, sgd(net, weight_decay=0.1), k=2)
    for x, y in batches(4):
        rule.step(lambda: cross_entropy(net(x), y))  # noqa: B023
    assert torch.equal(net[0].weight, before[0])
    assert torch.equal(net.unused.weight, before[1])
    moved = [bool(t.any()) for t in rule.turn]
    assert moved == [p.grad is not None for p in net.parameters()]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"rho": 0}, "rho=0: must be > 0"),
        ({"k": 0}, "k=0: must be >= 1"),
        ({"alpha": -1.0}, "alpha=-1.0"),
        ({"alpha": math.inf}, "alpha=inf"),
    ],
)
def test_arguments_outside_their_range_are_refused(options: dict[str, Any], named: str) -> None:
    """A ValueError that names the argument and what was given."""
    net = make_net()
    with pytest.raises(ValueError, match=named):
        LookSAM(net, sgd(net), **options)
