"""BG-Mix. Oracles: losses of one weight each by hand, algorithm 2 of Li & Tang written out, SAM as its limit."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from probes import NoHostSync, assert_same_state, batches, make_net
from torch import Tensor, nn

from mixbench.losses import cross_entropy
from mixbench.optim import SAM, BGMix, Descent, DGMix
from mixbench.optim.selective import kept


class Separate(nn.Module):
    """Example i has a weight of its own: l_i = c_i w_i^2 / 2. Calling it gives the (B, 1) losses as outputs."""

    def __init__(self, weights: list[float], curvatures: list[float]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weights, dtype=torch.float64))
        self.c = torch.tensor(curvatures, dtype=torch.float64)

    def forward(self, example: Tensor) -> Tensor:
        return (self.c * self.weight**2 / 2)[example][:, None]


def sgd(net: nn.Module, lr: float = 0.1, **options: float) -> torch.optim.SGD:
    return torch.optim.SGD(net.parameters(), lr=lr, **options)


@pytest.mark.parametrize("compute", ["masked", "subset"])
def test_by_hand(compute: str) -> None:
    """w = (1, 1, 1, 1), c = (1, 2, 3, 4): g = c/4, ||g|| = sqrt(30)/4, delta = rho c / sqrt(30). The loss of
    example i rises by c_i (delta_i + delta_i^2 / 2), so B+ = the last two at gamma = 1/2, whose weights move
    against c_i (1 + delta_i) / 2; the others stay."""
    net = Separate([1.0] * 4, [1.0, 2.0, 3.0, 4.0])
    loss = BGMix(net, sgd(net), rho=0.5, gamma=0.5, compute=compute).step(lambda: net(torch.arange(4))[:, 0])
    assert loss.item() == pytest.approx(10 / 8)
    expected = [1.0, 1.0] + [1 - 0.1 * c * (1 + 0.5 * c / 30**0.5) / 2 for c in (3.0, 4.0)]
    assert net.weight.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("compute", ["masked", "subset"])
@pytest.mark.parametrize(("gamma", "moved"), [(0.01, 1), (0.3, 2), (0.5, 4), (0.9, 7), (1.0, 8)])
def test_ties_are_cut_to_the_exact_number(compute: str, gamma: float, moved: int) -> None:
    """Eight equal examples are equally sensitive; round(8 gamma) of them, at least one, are learnt from."""
    net = Separate([1.0] * 8, [1.0] * 8)
    BGMix(net, sgd(net), gamma=gamma, compute=compute).step(lambda: net(torch.arange(8))[:, 0])
    assert (net.weight != 1).sum() == moved


@given(gamma=st.floats(1e-6, 1), batch=st.integers(1, 1000))
def test_number_of_kept_examples(gamma: float, batch: int) -> None:
    """The nearest whole number to gamma B, but never none."""
    k = kept(gamma, batch)
    assert 1 <= k <= batch
    assert abs(k - gamma * batch) <= 0.5 or k == 1


def textbook_step(
    net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, rho: float, k: int
) -> None:
    """Algorithm 2, one tensor after the other; B+ by a stable sort, gradient by slicing the losses."""
    net.zero_grad()
    before = cross_entropy(net(x), y)
    before.mean().backward()
    statistics = copy.deepcopy(net[1].state_dict())
    weights = [p.detach().clone() for p in net.parameters()]
    norm = torch.cat([p.grad.flatten() for p in net.parameters()]).norm()
    for p in net.parameters():
        p.data = p.data + rho * p.grad / norm
    net.zero_grad()
    after = cross_entropy(net(x), y)
    order = torch.argsort(after.detach() - before.detach(), descending=True)
    after[order[:k]].mean().backward()
    for p, w in zip(net.parameters(), weights, strict=True):
        p.data = w
    net[1].running_mean.copy_(statistics["running_mean"])
    net[1].running_var.copy_(statistics["running_var"])
    optimizer.step()


@pytest.mark.parametrize("gamma", [0.2, 0.5, 0.8])
def test_masked_equals_the_textbook(gamma: float) -> None:
    """5 steps in float64 of a net with BatchNorm: masking the losses is slicing them."""
    net = make_net().double()
    twin = copy.deepcopy(net)
    rule, optimizer = BGMix(net, sgd(net, momentum=0.9), gamma=gamma), sgd(twin, momentum=0.9)
    for x, y in batches(5):
        rule.step(lambda: cross_entropy(net(x.double()), y.double()))  # noqa: B023
        textbook_step(twin, optimizer, x.double(), y.double(), 0.5, round(gamma * 6))
    for a, b in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-12)


def without_norm() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.ReLU(), nn.Linear(10, 3)).double()


def one_call(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return cross_entropy(net(x), y)


def two_calls(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """A loss with a second forward, as MixupE has, and a factor that depends on all losses of the batch."""
    losses = cross_entropy(net(x), y) + 0.1 * net(x.flip(3)).square().sum(1)
    return losses / losses.detach().mean()


def doubled(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The same, with both batches in one forward."""
    logits, others = net(torch.cat([x, x.flip(3)])).chunk(2)
    losses = cross_entropy(logits, y) + 0.1 * others.square().sum(1)
    return losses / losses.detach().mean()


@pytest.mark.parametrize("losses", [one_call, two_calls, doubled])
@pytest.mark.parametrize("gamma", [0.2, 0.5, 1.0])
def test_without_batchnorm_masked_equals_subset(losses: Callable, gamma: float) -> None:
    """Examples do not see each other, so computing B+ alone gives the same gradient; 3 steps in float64."""
    masked = without_norm()
    subset = copy.deepcopy(masked)
    rules = [
        BGMix(net, sgd(net), gamma=gamma, compute=c) for net, c in ((masked, "masked"), (subset, "subset"))
    ]
    for x, y in batches(3):
        for rule in rules:
            rule.step(lambda: losses(rule.model, x.double(), y.double()))  # noqa: B023
    for a, b in zip(masked.parameters(), subset.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-13)


def test_subset_runs_only_the_kept_examples() -> None:
    """Batch sizes that the model's first layer sees: the whole batch twice, then round(gamma B) examples."""
    net = make_net()
    seen: list[int] = []
    net[0].register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    x, y = batches(1)[0]
    BGMix(net, sgd(net), gamma=0.5, compute="subset").step(lambda: cross_entropy(net(x), y))
    assert seen == [6, 6, 3]
    assert net[1].num_batches_tracked == 1


RULES = [
    lambda net, base, **o: BGMix(net, base, **o),
    lambda net, base, **o: BGMix(net, base, compute="subset", **o),
    lambda net, base, **o: DGMix(net, base, **o),
    lambda net, base, **o: DGMix(net, base, decompose="logit", **o),
]


@pytest.mark.parametrize("make", RULES)
def test_gamma_one_is_sam_bit_for_bit(make: Callable) -> None:
    """Limit gamma = 1, on Mixup batches G-Mix: BG-Mix and DG-Mix in all forms, BatchNorm and dropout."""
    net = make_net(dropout=0.3)
    twin = copy.deepcopy(net)
    rule, sam = (
        make(net, sgd(net, momentum=0.9), rho=0.3, gamma=1.0),
        SAM(twin, sgd(twin, momentum=0.9), rho=0.3),
    )
    states = []
    for model, which in ((net, rule), (twin, sam)):
        torch.manual_seed(3)
        for x, y in batches(5):
            which.step(lambda: cross_entropy(model(x), y))  # noqa: B023
        states.append(torch.get_rng_state())
    assert_same_state(net, twin)
    assert torch.equal(*states)


@pytest.mark.parametrize("make", RULES)
def test_gamma_one_and_rho_zero_is_the_base_optimizer_bit_for_bit(make: Callable) -> None:
    """Both limits at once."""
    net = make_net(dropout=0.3)
    twin = copy.deepcopy(net)
    rule, plain = make(net, sgd(net), rho=0.0, gamma=1.0), Descent(twin, sgd(twin))
    for model, which in ((net, rule), (twin, plain)):
        torch.manual_seed(3)
        for x, y in batches(3):
            which.step(lambda: cross_entropy(model(x), y))  # noqa: B023
    assert_same_state(net, twin)


@pytest.mark.parametrize("make", RULES)
def test_nothing_of_the_ascent_stays_behind(make: Callable) -> None:
    """With a learning rate of zero: weights bit for bit, one move of the statistics, no hook on the model; and
    the same, except for the statistics' move, when the second pass raises."""
    net = make_net()
    once = copy.deepcopy(net)
    before = [p.clone() for p in net.parameters()]
    x, y = batches(1)[0]
    once(x)
    rule = make(net, sgd(net, lr=0.0), rho=3.0)
    rule.step(lambda: cross_entropy(net(x), y))
    assert_same_state(net, once)
    calls = []

    def closure() -> Tensor:
        calls.append(0)
        return cross_entropy(net(x), y) if len(calls) == 1 else 1 / torch.zeros(())[3]

    with pytest.raises(IndexError):
        rule.step(closure)
    assert all(torch.equal(p, b) for p, b in zip(net.parameters(), before, strict=True))
    assert not net._forward_hooks
    assert not net._forward_pre_hooks


@pytest.mark.parametrize("make", RULES)
def test_the_loss_scale_cancels(make: Callable) -> None:
    """With a power of two as scale, 3 steps are bit for bit those without a scaler."""
    net = make_net()
    twin = copy.deepcopy(net)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    scaled, plain = make(net, sgd(net), rho=0.1, scaler=scaler), make(twin, sgd(twin), rho=0.1)
    for x, y in batches(3):
        scaled.step(lambda: cross_entropy(net(x), y))  # noqa: B023
        plain.step(lambda: cross_entropy(twin(x), y))  # noqa: B023
    assert_same_state(net, twin)


@pytest.mark.parametrize("make", RULES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_the_step_is_close_to_float32(make: Callable, dtype: torch.dtype) -> None:
    """Relative error of the update below 5 %, where rounding does not change the selection."""
    net = make_net()
    twin, start = copy.deepcopy(net), copy.deepcopy(net)
    x, y = batches(1)[0]
    scaler = torch.amp.GradScaler("cpu") if dtype == torch.float16 else None

    def low() -> Tensor:
        with torch.autocast("cpu", dtype):
            return cross_entropy(net(x), y)

    make(net, sgd(net), rho=0.5, scaler=scaler).step(low)
    make(twin, sgd(twin), rho=0.5).step(lambda: cross_entropy(twin(x), y))

    def update(model: nn.Module) -> Tensor:
        pairs = zip(model.parameters(), start.parameters(), strict=True)
        return torch.cat([(a - b).detach().flatten() for a, b in pairs])

    assert (update(net) - update(twin)).norm() < 0.05 * update(twin).norm()


@pytest.mark.parametrize("make", RULES)
def test_nothing_waits_for_the_device(make: Callable) -> None:
    """No operation of a step reads a value back to the host."""
    net = make_net(dropout=0.1)
    rule = make(net, torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, fused=True))
    x, y = batches(1)[0]
    with NoHostSync():
        rule.step(lambda: cross_entropy(net(x), y))


@pytest.mark.parametrize("make", RULES)
@pytest.mark.parametrize("gamma", [0.0, -0.5, 1.01, float("nan")])
def test_gamma_outside_its_range_is_refused(make: Callable, gamma: float) -> None:
    """A ValueError that names the argument and what was given."""
    net = make_net()
    with pytest.raises(ValueError, match=f"gamma={gamma}"):
        make(net, sgd(net), gamma=gamma)


@pytest.mark.parametrize("make", [RULES[1], RULES[3]])
def test_a_closure_around_the_model_is_an_error(make: Callable) -> None:
    """The forms that need the model's outputs say so when its hooks do not run."""
    net = make_net()
    x, y = batches(1)[0]
    with pytest.raises(RuntimeError, match="did not call the model"):
        make(net, sgd(net)).step(lambda: cross_entropy(net.forward(x), y))


def test_a_second_pass_around_the_model_is_an_error() -> None:
    """The subset form notices when the hooks run while it selects and not afterwards."""
    net = make_net()
    x, y = batches(1)[0]
    forwards = iter([net, net, net.forward])
    with pytest.raises(RuntimeError, match="did not call the model"):
        BGMix(net, sgd(net), compute="subset").step(lambda: cross_entropy(next(forwards)(x), y))


def test_unknown_forms_are_refused() -> None:
    """A ValueError that names the argument and what was given."""
    net = make_net()
    with pytest.raises(ValueError, match="compute=sliced"):
        BGMix(net, sgd(net), compute="sliced")
    with pytest.raises(ValueError, match="decompose=loss"):
        DGMix(net, sgd(net), decompose="loss")
