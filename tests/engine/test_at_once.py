"""Small operations of all layers made at once: nothing changes but their number."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from epochs import train_epochs
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mixbench.bench.subjects import METHODS, configured, made_up
from mixbench.engine.at_once import AtOnce
from mixbench.engine.loop import Loop
from mixbench.engine.position import Position
from mixbench.engine.progress import Progress
from mixbench.schema.specs import find
from mixbench.training.build import build_loop

CPU = torch.device("cpu")
BF16 = torch.bfloat16
TINY = ["dataset=digits", "model=wrn16_4", "model.depth=10", "model.width=1", "model.stem_stride=1"]


class Calls(TorchDispatchMode):
    """Counts the calls of each of torch's operations."""

    def __init__(self) -> None:
        super().__init__()
        self.of: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.of[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def loop_of(method: str, *overrides: str) -> Loop:
    """Epochs of four steps of 16 images."""
    return build_loop(
        configured(method, [*TINY, "batch_size=16", *overrides]), CPU, made_up(find("digits"), 64)
    )


def trained(loop: Loop) -> list[Tensor]:
    """Weights, statistics, counters, metrics and the optimizer's memory after an epoch."""
    train_epochs(loop)
    return loop._changing()


@pytest.mark.parametrize(
    ("method", "overrides"),
    [
        *((method, "precision=bf16") for method in METHODS),
        *((method, "precision=float32") for method in ("ERM", "G-Mix", "MixupE")),
        *((method, "precision=fp16") for method in ("G-Mix", "MixupE, exact")),
        ("DG-Mix", "precision=bf16 accumulate=2"),
        ("SAM", "precision=bf16 opt.bn_stats=both clip_norm=0.1 channels_last=true"),
    ],
)
def test_a_step_is_the_one_of_autocast_alone(method: str, overrides: str) -> None:
    """Oracle: the same steps, each layer casting and counting for itself, bit for bit."""
    together, alone = (loop_of(method, *overrides.split()) for _ in range(2))
    alone.at_once = None
    for one, other in zip(trained(together), trained(alone), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("method", "precision"), [("ERM", "float32"), ("G-Mix", "bf16"), ("DG-Mix", "bf16")])
def test_more_layers_do_not_mean_more_casts(method: str, precision: str) -> None:
    """By hand: a network of three more blocks has as many copies between dtypes and one addition to all counters."""

    def calls(depth: int) -> Counter[str]:
        loop = loop_of(method, f"model.depth={depth}", f"precision={precision}")
        with Calls() as counted, Progress(1, 0, loop.steps, 16, shown=False) as progress:
            next(loop.run_epoch(Position(), progress))
        return counted.of

    shallow, deep = calls(10), calls(16)
    assert shallow["convolution"] < deep["convolution"]
    for name in ("_to_copy", "_foreach_copy_", "_foreach_add_"):
        assert shallow[name] == deep[name], name
    assert shallow["add_"] == deep["add_"]


class Odd(nn.Module):
    """What a network may do with its layers: share a weight, leave one out, read one, count without a momentum."""

    def __init__(self) -> None:
        super().__init__()

        class Own(nn.Linear):
            def forward(self, x: Tensor) -> Tensor:
                assert self.weight.dtype == torch.float32
                return super().forward(x * self.weight.sum())

        self.first, self.second, self.unused = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.frozen, self.own = nn.Linear(4, 4).requires_grad_(False), Own(4, 4)
        self.twice, self.mean, self.idle = (
            nn.BatchNorm1d(4),
            nn.BatchNorm1d(4, momentum=None),
            nn.BatchNorm1d(4),
        )

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.twice(self.second(self.twice(self.first(x))))
        return self.own(self.mean(self.frozen(hidden)))


def test_what_a_network_may_do_with_its_layers() -> None:
    """Oracle: autocast alone: gradients, those that are None too, and counters; also of a second derivative."""
    found = []
    for at_once in (False, True):
        torch.manual_seed(0)
        net = Odd()
        x = torch.randn(8, 4, requires_grad=True)
        passes = AtOnce(net, BF16).passes()
        with torch.autocast("cpu", BF16):
            if at_once:
                with passes:
                    loss = net(x).square().mean() + net(-x).mean()
            else:
                loss = net(x).square().mean() + net(-x).mean()
        (slope,) = torch.autograd.grad(loss, x, create_graph=True)
        (loss + slope.square().sum()).backward()
        found.append(([p.grad for p in net.parameters()], list(net.buffers())))
    (grads, buffers), (expected, counted) = found
    assert [g is None for g in grads] == [g is None for g in expected]
    assert sum(g is None for g in grads) == 6  # of the unused layer, the frozen one and the idle BatchNorm
    for one, other in zip([*grads, *buffers], [*expected, *counted], strict=True):
        assert one is other or torch.equal(one, other)


def test_the_gradient_of_a_gradient() -> None:
    """Oracle: autocast alone, for the product of a loss's second derivative by the weights with a vector."""
    products = []
    for at_once in (False, True):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))
        x, weights = torch.randn(8, 4), list(net.parameters())
        with torch.autocast("cpu", BF16):
            if at_once:
                with AtOnce(net, BF16).passes():
                    loss = net(x).square().mean()
            else:
                loss = net(x).square().mean()
        slopes = torch.autograd.grad(loss, weights, create_graph=True)
        products.append(torch.autograd.grad(sum(s.sum() for s in slopes), weights))
    for one, other in zip(*products, strict=True):
        assert torch.equal(one, other)


def test_the_layers_are_whole_again_after_an_error() -> None:
    """By hand: parameters and counters in their places, and nothing counted."""
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    before = net.state_dict(keep_vars=True)
    with pytest.raises(ValueError, match="more than 1 value per channel"), AtOnce(net, BF16).passes():
        net(torch.ones(1, 4, dtype=BF16))
    after = net.state_dict(keep_vars=True)
    assert all(after[name] is tensor for name, tensor in before.items())
    assert net[1].num_batches_tracked == 0
