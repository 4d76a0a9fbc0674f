"""A batch in several parts. Oracle: the same batch in one part, for every rule that takes parts."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from probes import NoHostSync, assert_same_state, batches, make_net, option_values
from torch import Tensor, nn

from mixbench.losses import cross_entropy
from mixbench.optim import RULES, BGMix, Descent, DGMix
from mixbench.optim.build import build_rule
from mixbench.seams import Closure, Rule

# Passes over the batch in one step, when it comes in several parts.
PASSES = {"sam": 2, "asam": 2, "gsam": 2, "looksam": 2, "bgmix": 3, "dgmix": 4}


def rule_of(name: str, net: nn.Module, **more: Any) -> Any:
    """The rule with its defaults, but a climb and a learning rate for a few steps, and LookSAM with both its steps."""
    own = {"looksam": {"k": 2}, "gsam": {"rho_min": 0.1}}.get(name, {})
    changed = {"lr": 0.05, **({"rho": 0.3} if "rho" in option_values("opt", name) else {}), **own}
    scaler, clip_norm = more.pop("scaler", None), more.pop("clip_norm", None)
    knobs = option_values("opt", name) | changed | more
    return build_rule(name, net, scaler=scaler, clip_norm=clip_norm, **knobs)


def parts_of(net: nn.Module, x: Tensor, y: Tensor, n: int) -> list[Closure]:
    pairs = zip(x.chunk(n), y.chunk(n), strict=True)
    return [lambda a=a, b=b: cross_entropy(net(a), b) for a, b in pairs]


def plain_net() -> nn.Module:
    """Without BatchNorm, in float64: an example's loss does not depend on the others of its part."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).double()


@pytest.mark.parametrize("n", [2, 3, 6])
@pytest.mark.parametrize("name", RULES)
def test_parts_are_one_batch(name: str, n: int) -> None:
    """Without BatchNorm and dropout: the same losses and weights after four steps, and the same state of the rule."""
    net = plain_net()
    twin = copy.deepcopy(net)
    rule, whole = rule_of(name, net), rule_of(name, twin)
    for x, y in batches(4):
        x, y = x.double(), y.double()
        loss = rule.step(*parts_of(net, x, y, n))
        assert torch.allclose(loss, whole.step(*parts_of(twin, x, y, 1)), rtol=1e-13)
        assert loss.shape == ()
        assert not loss.requires_grad
    for a, b in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-11)
    for a, b in zip(rule.tensors(), whole.tensors(), strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", PASSES)
def test_every_pass_has_the_dropout_masks_of_the_first(name: str) -> None:
    """Part by part, in its order; the parts' masks differ, and so do those of the next step."""
    net = make_net(dropout=0.5)
    masks: list[Tensor] = []
    net[4].register_forward_hook(lambda module, inputs, output: masks.append(output != 0))
    x, y = batches(1)[0]
    x = x.abs() + 1  # some ReLU outputs are positive in all passes
    own = {"looksam": {"k": 1}, "gsam": {"rho_min": None}}.get(name, {})
    rule = rule_of(name, net, rho=1e-3, **own)
    for _ in range(2):
        rule.step(*parts_of(net, x, y, 3))
    assert len(masks) == 2 * 3 * PASSES[name]
    for step in (masks[: len(masks) // 2], masks[len(masks) // 2 :]):
        for part in range(3):
            assert all(torch.equal(step[part], again) for again in step[part::3])
        assert not torch.equal(step[0], step[1])
    assert not torch.equal(masks[0], masks[len(masks) // 2])


@pytest.mark.parametrize(("bn_stats", "moves"), [("first", 3), ("both", 6)])
@pytest.mark.parametrize("name", PASSES)
def test_batchnorm_moves_once_for_each_part_of_a_pass(name: str, bn_stats: str, moves: int) -> None:
    """Those of the pass that only selects, and DG-Mix's for the other examples, move nothing."""
    net = make_net()
    rule_of(name, net, bn_stats=bn_stats).step(*parts_of(net, *batches(1)[0], 3))
    assert net[1].num_batches_tracked == moves
    assert net[1].track_running_stats


class Separate(nn.Module):
    """Example i has a weight of its own: l_i = c_i w_i^2 / 2."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, dtype=torch.float64))
        self.c = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)

    def forward(self, examples: Tensor) -> Tensor:
        return (self.c * self.weight**2 / 2)[examples]


def test_the_sensitive_examples_are_those_of_the_whole_batch() -> None:
    """Closed form (as in one part): delta = rho c / sqrt(30), and the last two of four are the sensitive ones, so that
    the first part is not learned from at all."""
    net = Separate()
    rule = BGMix(net, torch.optim.SGD(net.parameters(), lr=0.1), rho=0.5, gamma=0.5)
    loss = rule.step(*(lambda i=i: net(i) for i in (torch.tensor([0, 1]), torch.tensor([2, 3]))))
    assert loss.item() == pytest.approx(10 / 8)
    expected = [1.0, 1.0] + [1 - 0.1 * c * (1 + 0.5 * c / 30**0.5) / 2 for c in (3.0, 4.0)]
    assert net.weight.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("name", RULES)
def test_the_loss_scale_cancels(name: str) -> None:
    """With a power of two as scale, 4 steps in two parts are bit for bit those without a scaler, clipped ones too."""
    net = make_net()
    twin = copy.deepcopy(net)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    scaled, plain = rule_of(name, net, scaler=scaler, clip_norm=0.5), rule_of(name, twin, clip_norm=0.5)
    for x, y in batches(4):
        scaled.step(*parts_of(net, x, y, 2))
        plain.step(*parts_of(twin, x, y, 2))
    assert_same_state(net, twin)


@pytest.mark.parametrize("name", RULES)
def test_nothing_waits_for_the_device(name: str) -> None:
    """No operation of a step, of both kinds where a rule has two, reads a value back to the host."""
    net = make_net(dropout=0.1)
    rule = rule_of(name, net, clip_norm=0.5)
    parts = parts_of(net, *batches(1)[0], 2)
    with NoHostSync():
        rule.step(*parts)
        rule.step(*parts)


FORMS: list[tuple[str, dict[str, Any], int]] = [
    *((name, {}, 3) for name in PASSES),
    ("bgmix", {"compute": "subset"}, 1),
]


@pytest.mark.parametrize(("name", "form", "n"), FORMS)
def test_autocast_around_the_whole_step(name: str, form: dict[str, Any], n: int) -> None:
    """The same step as with autocast inside the closures: no copy of a weight is used that was made without gradient
    or at other weights."""
    net = make_net()
    twin = copy.deepcopy(net)
    x, y = batches(1)[0]

    def low(part: Closure) -> Closure:
        def closure() -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return part()

        return closure

    rule_of(name, twin, **form).step(*map(low, parts_of(twin, x, y, n)))
    with torch.autocast("cpu", torch.bfloat16):
        rule_of(name, net, **form).step(*parts_of(net, x, y, n))
    assert_same_state(net, twin)


@pytest.mark.parametrize(
    ("make", "form"),
    [
        (lambda net, base: BGMix(net, base, compute="subset"), "compute=subset"),
        (lambda net, base: DGMix(net, base, decompose="logit"), "decompose=logit"),
    ],
)
def test_forms_that_need_the_whole_batch_refuse_parts(make: Callable[..., Rule], form: str) -> None:
    """A ValueError that names the form, before a part is computed."""
    net = make_net()
    with pytest.raises(ValueError, match=f"{form}: needs the batch in one part, not in 2"):
        make(net, torch.optim.SGD(net.parameters(), lr=0.1)).step(lambda: 1 / 0, lambda: 1 / 0)


@pytest.mark.parametrize(("shape", "losses"), [(r"\(\)", Tensor.mean), (r"\(6, 1\)", lambda t: t[:, None])])
@pytest.mark.parametrize("name", RULES)
def test_anything_but_losses_is_refused(name: str, shape: str, losses: Callable[[Tensor], Tensor]) -> None:
    """A ValueError with the shape that was given and the one that is expected; the weights stay."""
    net = make_net()
    before = copy.deepcopy(net.state_dict())
    x, y = batches(1)[0]
    with pytest.raises(ValueError, match=rf'shape {shape}; expected .*\(B,\).*reduction="none"'):
        rule_of(name, net).step(lambda: losses(cross_entropy(net(x), y)))
    assert all(torch.equal(p, before[key]) for key, p in net.named_parameters())


def test_unequal_parts_are_refused() -> None:
    """Their mean would not be the mean over the batch."""
    net = make_net()
    x, y = batches(1)[0]
    cut = [lambda i=i: cross_entropy(net(x[i]), y[i]) for i in (slice(4), slice(4, 6))]
    with pytest.raises(ValueError, match="one gave 4 losses, another 2"):
        Descent(net, torch.optim.SGD(net.parameters(), lr=0.1)).step(*cut)
