"""SAM and ASAM. Oracles: a quadratic by hand, the algorithm as its papers write it, finite differences."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from probes import NoHostSync, assert_same_state, batches, make_net
from torch import Tensor, nn

from mixbench.bench.measure import Operations
from mixbench.losses import cross_entropy
from mixbench.optim import SAM, Descent
from mixbench.optim.vectors import clear_unless, dot, norm


class Weights(nn.Module):
    """One weight vector in float64, for losses written out by hand."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(values, dtype=torch.float64))


def sgd(net: nn.Module, lr: float = 0.1, **options: float) -> torch.optim.SGD:
    return torch.optim.SGD(net.parameters(), lr=lr, **options)


def test_a_quadratic_by_hand() -> None:
    """L = (w1^2 + 4 w2^2) / 2 at w = (3, 1): g = (3, 4), ||g|| = 5, rho = 1/2: delta = (0.3, 0.4); the gradient
    at (3.3, 1.4) is (3.3, 5.6), so a step of 0.1 ends at (2.67, 0.44). The loss at w is 6.5."""
    net = Weights(3.0, 1.0)
    curvature = torch.tensor([1.0, 4.0], dtype=torch.float64)

    def losses() -> Tensor:  # two examples around the mean loss
        loss = (curvature * net.weight**2).sum() / 2
        return torch.stack([loss - 1, loss + 1])

    loss = SAM(net, sgd(net), rho=0.5).step(losses)
    assert loss.item() == pytest.approx(6.5)
    assert not loss.requires_grad
    assert net.weight.tolist() == pytest.approx([2.67, 0.44])


def test_the_adaptive_step_by_hand() -> None:
    """The same with T = |w| = (3, 1) (eta = 0): T g = (9, 4), T^2 g = (27, 4), delta = rho T^2 g / sqrt(97)."""
    net = Weights(3.0, 1.0)
    curvature = torch.tensor([1.0, 4.0], dtype=torch.float64)
    SAM(net, sgd(net), rho=0.5, adaptive=True, eta=0.0).step(
        lambda: (curvature * net.weight**2)[None].sum(1) / 2
    )
    perturbed = [3 + 0.5 * 27 / math.sqrt(97), 1 + 0.5 * 4 / math.sqrt(97)]
    assert net.weight.tolist() == pytest.approx([3 - 0.1 * perturbed[0], 1 - 0.1 * 4 * perturbed[1]])


def textbook_step(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    rho: float,
    form: str,
    decay: float,
) -> None:
    """SAM as the papers write it: one tensor after the other, nothing shared with the class under test."""

    def gradient() -> dict[str, Tensor]:
        net.zero_grad()
        cross_entropy(net(x), y).mean().backward()
        return {name: p.grad.clone() for name, p in net.named_parameters()}

    weights = {name: p.detach().clone() for name, p in net.named_parameters()}
    g = gradient()
    statistics = {name: b.clone() for name, b in net.named_buffers()}
    if form == "no_norm_bias":
        g = {name: v if v.dim() > 1 else torch.zeros_like(v) for name, v in g.items()}
    if form == "decay":
        g = {name: v + decay * weights[name] for name, v in g.items()}
    t = {name: torch.ones_like(v) for name, v in g.items()}
    if form == "adaptive":
        t = {name: weights[name].abs() + 0.01 if name.endswith("weight") else v for name, v in t.items()}
    norm = math.sqrt(sum(float(((t[name] * v) ** 2).sum()) for name, v in g.items()))
    for name, p in net.named_parameters():
        p.data = weights[name] + rho * t[name] ** 2 * g[name] / norm
    gradient()
    for name, p in net.named_parameters():
        p.data = weights[name]
    for name, b in net.named_buffers():
        b.copy_(statistics[name])
    optimizer.step()


@pytest.mark.parametrize("form", ["plain", "adaptive", "no_norm_bias", "decay"])
def test_equals_the_textbook(form: str) -> None:
    """Oracle: the algorithm written out, 5 steps in float64 of a net with BatchNorm under SGD with momentum and
    weight decay; all weights and running statistics."""
    net = make_net().double()
    twin = copy.deepcopy(net)
    options: dict = {
        "plain": {},
        "adaptive": {"adaptive": True},
        "no_norm_bias": {"perturb": "no_norm_bias"},
        "decay": {"decay_in_ascent": True},
    }[form]
    rule = SAM(net, sgd(net, momentum=0.9, weight_decay=0.1), rho=0.2, **options)
    optimizer = sgd(twin, momentum=0.9, weight_decay=0.1)
    for x, y in batches(5):
        rule.step(lambda: cross_entropy(net(x.double()), y.double()))  # noqa: B023
        textbook_step(twin, optimizer, x.double(), y.double(), 0.2, form, 0.1)
    for (name, a), b in zip(net.state_dict().items(), twin.state_dict().values(), strict=True):
        assert torch.allclose(a, b, atol=1e-12, rtol=1e-10), name


@pytest.mark.parametrize("form", ["plain", "adaptive"])
def test_parameters_of_several_dtypes(form: str) -> None:
    """Oracle: the algorithm written out, all in float64, to the rounding of the first layer, which is float32 where the
    others are float64."""

    class Cast(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.double()

    net = nn.Sequential(nn.Linear(64, 5), Cast(), nn.BatchNorm1d(5), nn.Linear(5, 3))
    net[2:].double()
    twin = copy.deepcopy(net).double()
    rule = SAM(net, sgd(net, momentum=0.9), rho=0.2, adaptive=form == "adaptive")
    optimizer = sgd(twin, momentum=0.9)
    for x, y in batches(3):
        x = x.flatten(1)
        rule.step(lambda: cross_entropy(net(x), y.double()))  # noqa: B023
        textbook_step(twin, optimizer, x.double(), y.double(), 0.2, form, 0.0)
    for a, b in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(a.double(), b, atol=1e-6)
    assert net[0].weight.dtype == torch.float32


@pytest.mark.parametrize("first", [torch.float16, torch.float32])
def test_lengths_and_products_are_in_the_widest_dtype(first: torch.dtype) -> None:
    """Oracle: the vectors in float64 as one. In float16, squares of 300 are infinite."""
    tensors = [torch.full((4,), 300.0, dtype=first), torch.rand(3, 2, dtype=torch.float64)]
    whole = torch.cat([t.double().flatten() for t in tensors])
    assert norm(tensors).item() == pytest.approx(whole.norm().item(), rel=1e-14)
    assert dot(tensors, tensors).item() == pytest.approx((whole @ whole).item(), rel=1e-14)
    assert dot(tensors[:1], tensors[:1]).item() == 4 * 300.0**2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_what_is_kept_keeps_its_bits_and_the_rest_is_zero(dtype: torch.dtype) -> None:
    """By hand: minus zero, infinity, NaN and the smallest number stay what they are, or all become plus zero."""
    values = torch.tensor([-0.0, math.inf, -math.inf, math.nan, torch.finfo(dtype).tiny, -3.5], dtype=dtype)
    whole = {2: torch.int16, 4: torch.int32, 8: torch.int64}[values.itemsize]
    for keep in (True, False):
        given = [values.clone(), values.repeat(3, 2).t(), torch.ones(2, dtype=torch.float32)]
        clear_unless(torch.tensor(keep), given)
        assert torch.equal(given[0].view(whole), values.view(whole) * keep)
        assert torch.equal(given[1].view(whole), values.repeat(3, 2).t().view(whole) * keep)
        assert given[2].tolist() == 2 * [float(keep)]


def test_the_ascent_takes_as_many_operations_however_many_weights() -> None:
    """By hand: a network of twice the layers has lists of twice the length, not twice the operations."""

    def operations(layers: int) -> int:
        net = nn.Sequential(*(nn.Linear(3, 3) for _ in range(layers)))
        net(torch.ones(1, 3)).sum().backward()
        with Operations() as counted:
            SAM(net, sgd(net)).displacement()
        return counted.calls

    assert operations(2) == operations(4)


def test_the_adaptive_scale_goes_by_the_full_name() -> None:
    """Oracle: the official code, `if 'weight' in n`: weight_norm keeps its length and direction as
    parametrizations.weight.original0 and original1, and both are scaled; biases are not."""
    net = nn.utils.parametrizations.weight_norm(nn.Linear(6, 3))
    x, y = torch.randn(5, 6), torch.rand(5, 3).softmax(1)
    rule = SAM(net, sgd(net), rho=0.5, adaptive=True, eta=0.1)
    gradients = torch.autograd.grad(cross_entropy(net(x), y).mean(), list(net.parameters()))
    named = dict(net.named_parameters())
    scales = [p.abs() + 0.1 if "weight" in name else torch.ones_like(p) for name, p in named.items()]
    length = torch.cat([(t * g).flatten() for t, g in zip(scales, gradients, strict=True)]).norm()
    before = [p.detach().clone() for p in named.values()]
    for p, g in zip(named.values(), gradients, strict=True):
        p.grad = g
    with rule.perturbed():
        for p, w, t, g in zip(named.values(), before, scales, gradients, strict=True):
            assert torch.allclose(p, w + 0.5 * t**2 * g / length, atol=1e-6)


def test_the_final_gradient_is_that_of_the_loss_at_the_perturbed_weights() -> None:
    """Central differences in float64, one weight at a time, of the mean loss around w + delta."""
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x, y = torch.randn(5, 3, dtype=torch.float64), torch.rand(5, 2, dtype=torch.float64).softmax(1)
    with torch.no_grad():
        twin = copy.deepcopy(net)
    grads = torch.autograd.grad(cross_entropy(net(x), y).mean(), list(net.parameters()))
    norm = torch.cat([g.flatten() for g in grads]).norm()
    SAM(net, sgd(net, lr=0.0), rho=0.3).step(lambda: cross_entropy(net(x), y))
    with torch.no_grad():
        for p, g in zip(twin.parameters(), grads, strict=True):
            p += 0.3 * g / norm
        for p, q in zip(net.parameters(), twin.parameters(), strict=True):
            for i in range(q.numel()):
                kept = q.view(-1)[i].item()
                q.view(-1)[i] = kept + 1e-6
                high = cross_entropy(twin(x), y).mean()
                q.view(-1)[i] = kept - 1e-6
                low = cross_entropy(twin(x), y).mean()
                q.view(-1)[i] = kept
                assert p.grad is not None
                assert p.grad.view(-1)[i].item() == pytest.approx(((high - low) / 2e-6).item(), abs=1e-7)


@pytest.mark.parametrize(
    "base", [lambda n: sgd(n, momentum=0.9, weight_decay=5e-4), lambda n: torch.optim.AdamW(n.parameters())]
)
@pytest.mark.parametrize("adaptive", [False, True])
def test_rho_zero_is_the_base_optimizer_bit_for_bit(base, adaptive: bool) -> None:
    """5 steps with BatchNorm and dropout: weights, running statistics, optimizer state, generator state."""
    net = make_net(dropout=0.3)
    twin = copy.deepcopy(net)
    rule, plain = SAM(net, base(net), rho=0.0, adaptive=adaptive), Descent(twin, base(twin))
    states = []
    for model, which in ((net, rule), (twin, plain)):
        torch.manual_seed(3)
        for x, y in batches(5):
            which.step(lambda: cross_entropy(model(x), y))  # noqa: B023
        states.append(torch.get_rng_state())
    assert_same_state(net, twin)
    assert torch.equal(*states)
    for a, b in zip(rule.base.state.values(), plain.base.state.values(), strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) for k in a)


def test_batchnorm_statistics_move_in_the_first_pass_only() -> None:
    """After a step they are those of one forward at w; with bn_stats="both", two forwards have moved them."""
    x, y = batches(1)[0]
    for bn_stats, forwards in (("first", 1), ("both", 2)):
        net = make_net()
        once = copy.deepcopy(net)
        once(x)
        SAM(net, sgd(net), rho=0.5, bn_stats=bn_stats).step(lambda: cross_entropy(net(x), y))  # noqa: B023
        assert net[1].num_batches_tracked == forwards
        same = torch.equal(net[1].running_mean, once[1].running_mean)
        assert same == (bn_stats == "first")
        assert net[1].track_running_stats


def test_both_passes_drop_the_same_units() -> None:
    """Same dropout mask at w and at w + delta, and another one in the next step."""
    net = make_net(dropout=0.5)
    masks: list[Tensor] = []
    net[4].register_forward_hook(lambda module, inputs, output: masks.append(output != 0))
    x, y = batches(1)[0]
    x = x.abs() + 1  # some ReLU outputs are positive in both passes
    rule = SAM(net, sgd(net), rho=1e-3)
    rule.step(lambda: cross_entropy(net(x), y))
    rule.step(lambda: cross_entropy(net(x), y))
    assert torch.equal(masks[0], masks[1])
    assert torch.equal(masks[2], masks[3])
    assert not torch.equal(masks[0], masks[2])


def test_weights_come_back_bit_for_bit() -> None:
    """With a learning rate of zero nothing changes, and the weights are the same tensors in the same memory."""
    net = make_net()
    before = [(p.data_ptr(), p.clone()) for p in net.parameters()]
    x, y = batches(1)[0]
    SAM(net, sgd(net, lr=0.0), rho=3.0).step(lambda: cross_entropy(net(x), y))
    for p, (address, value) in zip(net.parameters(), before, strict=True):
        assert p.data_ptr() == address
        assert torch.equal(p, value)


def test_an_error_in_the_second_pass_leaves_the_weights_at_w() -> None:
    """Weights and BatchNorm's switch are restored when the closure raises at w + delta."""
    net = make_net()
    before = [p.clone() for p in net.parameters()]
    x, y = batches(1)[0]
    calls = []

    def closure() -> Tensor:
        calls.append(net[0].weight.clone())
        if len(calls) == 2:
            raise KeyboardInterrupt
        return cross_entropy(net(x), y)

    with pytest.raises(KeyboardInterrupt):
        SAM(net, sgd(net), rho=0.5).step(closure)
    assert not torch.equal(*calls)
    assert all(torch.equal(p, b) for p, b in zip(net.parameters(), before, strict=True))
    assert net[1].track_running_stats


@pytest.mark.parametrize("factor", [0.0, math.inf, math.nan])
@pytest.mark.parametrize("adaptive", [False, True])
def test_without_a_usable_norm_there_is_no_ascent(factor: float, adaptive: bool) -> None:
    """First pass with a zero, infinite or undefined gradient: the second one runs at w, so the step is the base
    optimizer's."""
    net = make_net()
    twin = copy.deepcopy(net)
    x, y = batches(1)[0]
    factors = iter([factor, 1.0])
    SAM(net, sgd(net), rho=0.5, adaptive=adaptive).step(lambda: cross_entropy(net(x), y) * next(factors))
    Descent(twin, sgd(twin)).step(lambda: cross_entropy(twin(x), y))
    assert_same_state(net, twin)


def test_parameters_without_a_gradient_stay_out() -> None:
    """A frozen layer and one that the loss does not reach neither move nor count."""
    net = make_net()
    net.unused = nn.Linear(2, 2)
    net.forward = lambda x: net[:6](x)
    net[0].weight.requires_grad_(False)
    before = [net[0].weight.clone(), net.unused.weight.clone()]
    seen: list[Tensor] = []
    x, y = batches(1)[0]

    def closure() -> Tensor:
        seen.append(net[0].weight.clone())
        return cross_entropy(net(x), y)

    SAM(net, sgd(net, weight_decay=0.1), rho=0.5).step(closure)
    assert torch.equal(*seen)
    assert torch.equal(net[0].weight, before[0])
    assert torch.equal(net.unused.weight, before[1])


def test_losses_of_another_model_are_an_error() -> None:
    """A readable one, when no parameter of the optimizer gets a gradient."""
    net, other = make_net(), make_net()
    x, y = batches(1)[0]
    with pytest.raises(RuntimeError, match="none of the base optimizer's parameters"):
        SAM(net, sgd(net)).step(lambda: cross_entropy(other(x), y))


def test_nothing_of_the_ascent_is_in_the_optimizers_state() -> None:
    """The state dict has the base optimizer's entries and no copy of the weights."""
    net = make_net()
    rule = SAM(net, sgd(net, momentum=0.9), rho=0.5)
    x, y = batches(1)[0]
    rule.step(lambda: cross_entropy(net(x), y))
    assert {key for state in rule.base.state_dict()["state"].values() for key in state} == {"momentum_buffer"}


@pytest.mark.parametrize("options", [{}, {"decay_in_ascent": True}, {"adaptive": True}])
def test_the_loss_scale_cancels(options: dict) -> None:
    """With a power of two as scale, 3 steps are bit for bit those without a scaler."""
    net = make_net()
    twin = copy.deepcopy(net)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    scaled = SAM(net, sgd(net, momentum=0.9, weight_decay=0.01), rho=0.1, scaler=scaler, **options)
    plain = SAM(twin, sgd(twin, momentum=0.9, weight_decay=0.01), rho=0.1, **options)
    for x, y in batches(3):
        scaled.step(lambda: cross_entropy(net(x), y))  # noqa: B023
        plain.step(lambda: cross_entropy(twin(x), y))  # noqa: B023
    assert_same_state(net, twin)


def test_an_overflow_under_a_scaler_skips_the_step() -> None:
    """Gradients too large for the scale: weights stay, finite, and the scale is halved."""
    net = make_net()
    before = [p.clone() for p in net.parameters()]
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    x, y = batches(1)[0]
    SAM(net, sgd(net), scaler=scaler).step(lambda: cross_entropy(net(x), y) * 1e38)
    assert all(torch.equal(p, b) for p, b in zip(net.parameters(), before, strict=True))
    assert scaler.get_scale() == 2.0**11


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_the_step_is_close_to_float32(dtype: torch.dtype) -> None:
    """Relative error of the update below 5 %, with float32 weights and gradients."""
    net = make_net()
    twin, start = copy.deepcopy(net), copy.deepcopy(net)
    x, y = batches(1)[0]
    scaler = torch.amp.GradScaler("cpu") if dtype == torch.float16 else None

    def low() -> Tensor:
        with torch.autocast("cpu", dtype):
            return cross_entropy(net(x), y)

    SAM(net, sgd(net), rho=0.1, scaler=scaler).step(low)
    SAM(twin, sgd(twin), rho=0.1).step(lambda: cross_entropy(twin(x), y))

    def update(model: nn.Module) -> Tensor:
        pairs = zip(model.parameters(), start.parameters(), strict=True)
        return torch.cat([(a - b).detach().flatten() for a, b in pairs])

    assert (update(net) - update(twin)).norm() < 0.05 * update(twin).norm()


def test_autocast_around_the_whole_step_sees_the_perturbed_weights() -> None:
    """The same step as with autocast inside the closure, although autocast keeps copies of the weights."""
    net = make_net()
    twin = copy.deepcopy(net)
    x, y = batches(1)[0]

    def low() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return cross_entropy(twin(x), y)

    SAM(twin, sgd(twin), rho=2.0).step(low)
    with torch.autocast("cpu", torch.bfloat16):
        SAM(net, sgd(net), rho=2.0).step(lambda: cross_entropy(net(x), y))
    assert_same_state(net, twin)


@pytest.mark.parametrize(
    "options", [{}, {"adaptive": True, "perturb": "no_norm_bias", "decay_in_ascent": True}]
)
def test_nothing_waits_for_the_device(options: dict) -> None:
    """No operation of a step reads a value back to the host."""
    net = make_net(dropout=0.1)
    rule = SAM(net, torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, fused=True), **options)
    x, y = batches(1)[0]
    with NoHostSync():
        rule.step(lambda: cross_entropy(net(x), y))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"rho": -0.1}, "rho=-0.1"),
        ({"rho": math.nan}, "rho=nan"),
        ({"eta": -1.0}, "eta=-1.0"),
        ({"perturb": "weights"}, "perturb=weights"),
        ({"bn_stats": "second"}, "bn_stats=second"),
    ],
)
def test_arguments_outside_their_range_are_refused(options: dict, named: str) -> None:
    """A ValueError that names the argument and what was given."""
    net = make_net()
    with pytest.raises(ValueError, match=named):
        SAM(net, sgd(net), **options)
    with pytest.raises(ValueError, match="decay_in_ascent=True: AdamW"):
        SAM(net, torch.optim.AdamW(net.parameters()), decay_in_ascent=True)
    with pytest.raises(ValueError, match="perturb=no_norm_bias"):
        SAM(Weights(1.0), sgd(Weights(1.0)), perturb="no_norm_bias")
