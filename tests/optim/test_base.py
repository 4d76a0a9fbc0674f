"""The plain rule and the tools of the two-pass rules. Oracles: torch's optimizers in a loop written out."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from probes import assert_same_state, batches, make_net
from torch import nn

from mixbench.losses import cross_entropy
from mixbench.optim import Descent
from mixbench.optim.base import frozen_statistics, random_state
from mixbench.optim.build import build_rule

SGD = {"lr": 0.1, "momentum": 0.9, "nesterov": False, "weight_decay": 5e-4}
ADAM = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 1e-2}


@pytest.mark.parametrize(
    ("name", "knobs", "reference"),
    [
        ("sgd", SGD, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=5e-4)),
        ("sgd", SGD | {"nesterov": True}, lambda p: torch.optim.SGD(p, 0.1, 0.9, 0, 5e-4, nesterov=True)),
        ("adam", ADAM, lambda p: torch.optim.Adam(p, lr=1e-3, weight_decay=1e-2)),
        ("adamw", ADAM, lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=1e-2)),
    ],
)
def test_descent_is_the_torch_optimizer(name: str, knobs: dict, reference: Callable) -> None:
    """Oracle: the usual loop around torch.optim, without fusing, over 5 steps. In float64: the gradient of the bias
    before BatchNorm is zero but for rounding, which in float32 Adam makes as large as the others."""
    net = make_net().double()
    twin = copy.deepcopy(net)
    rule, optimizer = build_rule(name, net, **knobs), reference(twin.parameters())
    for x, y in batches(5):
        loss = rule.step(lambda: cross_entropy(net(x.double()), y.double()))  # noqa: B023
        optimizer.zero_grad()
        expected = cross_entropy(twin(x.double()), y.double()).mean()
        expected.backward()
        optimizer.step()
        assert not loss.requires_grad
        assert loss.shape == ()
        assert torch.allclose(loss, expected)
    for a, b in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-12)


def test_a_scaler_changes_nothing_but_skips_a_step_that_overflows() -> None:
    """A power of two as loss scale cancels bit for bit; an infinite loss leaves the weights and halves the
    scale."""
    net = make_net()
    twin = copy.deepcopy(net)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    scaled, plain = build_rule("sgd", net, scaler=scaler, **SGD), build_rule("sgd", twin, **SGD)
    for x, y in batches(3):
        scaled.step(lambda: cross_entropy(net(x), y))  # noqa: B023
        plain.step(lambda: cross_entropy(twin(x), y))  # noqa: B023
    assert_same_state(net, twin)
    before = [p.clone() for p in net.parameters()]
    x, y = batches(1)[0]
    scaled.step(lambda: cross_entropy(net(x), y) * torch.inf)
    assert all(torch.equal(p, b) for p, b in zip(net.parameters(), before, strict=True))
    assert scaler.get_scale() == 2.0**9


@pytest.mark.parametrize("momentum", [0.1, None])
def test_frozen_statistics(momentum: float | None) -> None:
    """Inside: normalised by the batch, as in training, and buffers untouched. Afterwards, also after an error,
    and for modules in evaluation mode: as before."""
    net = nn.Sequential(nn.BatchNorm2d(3, momentum=momentum), nn.BatchNorm2d(3))
    net[1].eval()
    x = torch.randn(8, 3, 4, 4) * 3 + 1
    expected = copy.deepcopy(net)(x)
    before = copy.deepcopy(net.state_dict())

    def broken() -> None:
        with frozen_statistics(net):
            assert torch.equal(net(x), expected)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert all(torch.equal(a, before[k]) for k, a in net.state_dict().items())
    assert net[0].track_running_stats
    net(x)
    assert net[0].num_batches_tracked == 1
    assert net[1].num_batches_tracked == 0


def test_random_state_replays_the_dropout_mask() -> None:
    """Two passes with the state put back drop the same units; without, others."""
    net = nn.Linear(1, 1)
    replay = random_state(net)
    first = torch.nn.functional.dropout(torch.ones(200))
    other = torch.nn.functional.dropout(torch.ones(200))
    replay()
    assert torch.equal(torch.nn.functional.dropout(torch.ones(200)), first)
    assert not torch.equal(first, other)


def test_unknown_knobs_are_refused() -> None:
    """A knob that no constructor knows is a TypeError, not silence."""
    with pytest.raises(TypeError, match="rho"):
        build_rule("sgd", make_net(), rho=0.1, **SGD)
    assert type(build_rule("sgd", make_net(), **SGD)) is Descent
