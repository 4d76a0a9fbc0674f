"""The plain rule and the tools of the two-pass rules. Oracles: torch's optimizers in a loop written out."""

from __future__ import annotations

import contextlib
import copy
import functools
import re
import weakref
from collections.abc import Callable, Iterator

import pytest
import torch
from probes import assert_same_state, batches, make_net, option_values
from torch import Tensor, nn

from mixbench.losses import cross_entropy
from mixbench.optim import RULES, SAM, Descent
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


@pytest.fixture
def filled_memory() -> Iterator[None]:
    """Uninitialised memory is NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("filled_memory")
@pytest.mark.parametrize("clip_norm", [None, 0.05])
@pytest.mark.parametrize("name", [name for name in RULES if name != "looksam"])  # which counts its steps
def test_a_skipped_first_step_is_as_if_it_had_not_been(name: str, clip_norm: float | None) -> None:
    """Oracle: a twin that never took it, 3 steps later: weights and the optimizer's memory, bit for bit. An
    uninitialised momentum that is used shows as NaN."""
    net = make_net()
    twin = copy.deepcopy(net)
    rules = [
        build_rule(
            name,
            model,
            scaler=torch.amp.GradScaler("cpu", init_scale=2.0**10),
            clip_norm=clip_norm,
            **option_values("opt", name),
        )
        for model in (net, twin)
    ]
    x, y = batches(1)[0]
    before = [p.clone() for p in net.parameters()]
    rules[0].step(lambda: cross_entropy(net(x), y) * torch.inf)
    assert all(map(torch.equal, net.parameters(), before))
    for x, y in batches(3):
        for rule in rules:
            rule.step(lambda: cross_entropy(rule.model(x), y))  # noqa: B023
    assert all(map(torch.equal, net.parameters(), twin.parameters()))
    one, other = (list(rule.base.state.values()) for rule in rules)
    assert all(torch.equal(a[k], b[k]) for a, b in zip(one, other, strict=True) for k in b)


def test_fused_sgd_takes_a_parameter_that_is_first_used_later() -> None:
    """Oracle: torch's SGD without fusing, 4 steps in float64, of which the first two leave one layer out."""
    net = nn.ModuleList([nn.Linear(6, 3), nn.Linear(6, 3)]).double()
    twin = copy.deepcopy(net)
    rules = [
        Descent(model, torch.optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=0.1, fused=fused))
        for model, fused in ((net, True), (twin, False))
    ]
    x, y = torch.randn(5, 6, dtype=torch.float64), torch.rand(5, 3, dtype=torch.float64).softmax(1)
    for used in (1, 1, 2, 2):
        for rule in rules:
            rule.step(lambda: cross_entropy(sum(layer(x) for layer in rule.model[:used]), y))  # noqa: B023
    assert all(
        torch.allclose(a, b, atol=1e-14) for a, b in zip(net.parameters(), twin.parameters(), strict=True)
    )


def test_dampening_that_a_skipped_first_step_would_spoil_is_refused() -> None:
    """A ValueError; allowed without a scaler, and without fusing."""
    net, scaler = make_net(), torch.amp.GradScaler("cpu")

    def base(fused: bool) -> torch.optim.SGD:
        return torch.optim.SGD(net.parameters(), 0.1, 0.9, dampening=0.5, fused=fused)

    with pytest.raises(ValueError, match="dampening"):
        Descent(net, base(True), scaler=scaler)
    Descent(net, base(True))
    Descent(net, base(False), scaler=scaler)


@pytest.mark.parametrize("clip_norm", [0.05, 1e6])
def test_clipping_is_that_of_torch(clip_norm: float) -> None:
    """Oracle: torch.nn.utils.clip_grad_norm_ in the usual loop, 5 steps, bit for bit. A length that no gradient has
    changes nothing."""
    net = make_net()
    twin = copy.deepcopy(net)
    rule = Descent(net, torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9), clip_norm=clip_norm)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9)
    for x, y in batches(5):
        rule.step(lambda: cross_entropy(net(x), y))  # noqa: B023
        optimizer.zero_grad()
        cross_entropy(twin(x), y).mean().backward()
        if clip_norm < 1:
            assert nn.utils.clip_grad_norm_(twin.parameters(), clip_norm) > clip_norm
        optimizer.step()
    assert_same_state(net, twin)


def test_the_gradient_that_the_optimizer_uses_is_the_clipped_one() -> None:
    """SAM's climb is not: oracle, its step without clipping, whose final gradient is then scaled to the length."""
    net = make_net()
    twin = copy.deepcopy(net)
    x, y = batches(1)[0]
    for model, clip_norm in ((net, 0.05), (twin, None)):
        rule = SAM(model, torch.optim.SGD(model.parameters(), lr=0.1), rho=0.5, clip_norm=clip_norm)
        rule.step(lambda: cross_entropy(model(x), y))  # noqa: B023
    clipped, whole = (torch.cat([p.grad.flatten() for p in model.parameters()]) for model in (net, twin))
    assert whole.norm() > 0.1
    assert torch.allclose(clipped, whole * 0.05 / whole.norm(), rtol=1e-4)


@pytest.mark.parametrize("fused", [False, True])
def test_a_scaler_is_undone_before_clipping(fused: bool) -> None:
    """Oracle: the same steps without a scaler, bit for bit. A gradient that is not finite still skips its step and
    halves the scale, and the next one is taken."""
    net = make_net()
    twin = copy.deepcopy(net)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    scaled, plain = (
        Descent(
            model, torch.optim.SGD(model.parameters(), 0.1, 0.9, fused=fused), clip_norm=0.05, scaler=which
        )
        for model, which in ((net, scaler), (twin, None))
    )
    *data, (x, y) = batches(4)
    for a, b in data:
        scaled.step(lambda: cross_entropy(net(a), b))  # noqa: B023
        plain.step(lambda: cross_entropy(twin(a), b))  # noqa: B023
    assert_same_state(net, twin)
    before = [p.clone() for p in net.parameters()]
    scaled.step(lambda: cross_entropy(net(x), y) * torch.inf)
    assert all(map(torch.equal, net.parameters(), before))
    assert scaler.get_scale() == 2.0**9
    scaled.step(lambda: cross_entropy(net(x), y))
    plain.step(lambda: cross_entropy(twin(x), y))
    assert all(map(torch.equal, net.parameters(), twin.parameters()))


@pytest.mark.parametrize("clip_norm", [0.0, -1.0, float("nan"), float("inf")])
def test_a_length_that_is_none_is_refused(clip_norm: float) -> None:
    """A ValueError that names the argument and what was given."""
    with pytest.raises(ValueError, match=f"clip_norm={clip_norm}"):
        build_rule("sam", make_net(), clip_norm=clip_norm, **option_values("opt", "sam"))


@pytest.mark.parametrize("name", RULES)
def test_a_rule_lists_what_it_keeps(name: str) -> None:
    """Brute force: of all tensors in the rule's attributes, those that four steps change are those it lists; a rule
    that lists none has nothing to save, and every rule's saved state loads into a new one."""

    def attributes(rule: Descent) -> list[Tensor]:
        mine = [value for key, value in vars(rule).items() if key not in ("model", "base", "scaler", "ranks")]
        found = [
            item for value in mine for item in (value if isinstance(value, (list, tuple, set)) else [value])
        ]
        return [item for item in found if torch.is_tensor(item) and not isinstance(item, nn.Parameter)]

    net = make_net()
    rule = build_rule(name, net, **option_values("opt", name))
    before = [tensor.clone() for tensor in attributes(rule)]
    for x, y in batches(4):
        rule.step(lambda: cross_entropy(net(x), y))  # noqa: B023
    pairs = zip(attributes(rule), before, strict=True)
    changed = [tensor for tensor, old in pairs if not torch.equal(tensor, old)]
    assert {id(tensor) for tensor in changed} == {id(tensor) for tensor in rule.tensors()}
    assert bool(rule.state_dict()) == bool(rule.tensors())
    other = build_rule(name, net, **option_values("opt", name))
    other.load_state_dict(rule.state_dict())
    assert all(map(torch.equal, other.tensors(), rule.tensors()))
    assert rule.alike


def test_a_first_gradient_that_nobody_reads_is_not_kept() -> None:
    """During the second pass the first pass's gradient is gone under SAM, and there under a rule that reads it."""
    for name, there in (("sam", False), ("gsam", True)):
        net = make_net()
        x, y = batches(1)[0]
        seen: list[weakref.ref] = []

        def closure() -> Tensor:
            assert all((gradient() is not None) == there for gradient in seen)  # noqa: B023
            return cross_entropy(net(x), y)  # noqa: B023

        rule = build_rule(name, net, **option_values("opt", name))
        perturbed = rule.perturbed

        def watched() -> contextlib.AbstractContextManager:
            seen.extend(weakref.ref(p.grad) for p in net.parameters())  # noqa: B023
            return perturbed()  # noqa: B023

        rule.perturbed = watched
        rule.step(closure)
        assert seen


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize(
    "kind", [nn.BatchNorm2d, functools.partial(nn.InstanceNorm2d, track_running_stats=True)]
)
def test_frozen_statistics(kind: Callable[..., nn.Module], momentum: float | None) -> None:
    """Inside: normalised by the batch, as in training, and buffers untouched. Afterwards, also after an error,
    and for modules in evaluation mode: as before."""
    net = nn.Sequential(kind(3, momentum=momentum or 0.1), kind(3))
    net[0].momentum = momentum
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
    moved = [not torch.equal(b, before[k]) for k, b in net.named_buffers() if k.endswith("running_var")]
    # InstanceNorm takes a momentum of None for zero.
    assert moved == [kind is nn.BatchNorm2d or momentum is not None, False]
    assert net[0].num_batches_tracked == (kind is nn.BatchNorm2d)
    assert net[1].num_batches_tracked == 0


@pytest.mark.parametrize("returned", [torch.tensor(1.0), torch.ones(6, 1), torch.ones(6, 3), 1.0])
@pytest.mark.parametrize("name", RULES)
def test_losses_that_are_not_one_per_example_get_one_message(name: str, returned: Tensor | float) -> None:
    """A ValueError that says what came and what is expected, for every rule."""
    net = make_net()
    rule = build_rule(name, net, **option_values("opt", name))
    came = f"shape {tuple(returned.shape)}" if isinstance(returned, Tensor) else "float"
    with pytest.raises(ValueError, match=re.escape(came) + r"; expected are the losses .* \(B,\)"):
        rule.step(lambda: returned)


def test_random_state_replays_the_dropout_mask() -> None:
    """Two passes with the state put back drop the same units; without, others."""
    net = nn.Linear(1, 1)
    replay = random_state(net)
    first = torch.nn.functional.dropout(torch.ones(200))
    other = torch.nn.functional.dropout(torch.ones(200))
    replay()
    assert torch.equal(torch.nn.functional.dropout(torch.ones(200)), first)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_sam_around_adam_is_sam_written_out(name: str, kind: type) -> None:
    """Oracle: two passes by hand and torch's optimizer, without fusing, over 5 steps in float64."""
    net = make_net().double()
    twin = copy.deepcopy(net)
    adam = {"base": name, "lr": 0.01, "beta1": 0.8, "beta2": 0.99, "eps": 1e-6, "weight_decay": 0.1}
    rule = build_rule("sam", net, **option_values("opt", "sam") | adam | {"rho": 0.3})
    optimizer = kind(twin.parameters(), lr=0.01, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1)
    for x, y in batches(5):
        x, y = x.double(), y.double()
        rule.step(lambda: cross_entropy(net(x), y))  # noqa: B023
        parameters = list(twin.parameters())
        gradient = torch.autograd.grad(cross_entropy(twin(x), y).mean(), parameters)
        norm = torch.cat([g.flatten() for g in gradient]).norm()
        climbed = copy.deepcopy(twin)
        for p, g in zip(climbed.parameters(), gradient, strict=True):
            p.data += 0.3 * g / norm
        cross_entropy(climbed(x), y).mean().backward()
        for p, q in zip(parameters, climbed.parameters(), strict=True):
            p.grad = q.grad
        optimizer.step()
    for a, b in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-11)


def test_unknown_knobs_are_refused() -> None:
    """A knob that no constructor knows is a TypeError, not silence."""
    with pytest.raises(TypeError, match="rho"):
        build_rule("sgd", make_net(), rho=0.1, **SGD)
    assert type(build_rule("sgd", make_net(), **SGD)) is Descent
