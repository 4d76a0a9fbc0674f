"""A step on a device without data, where each look at a value fails: so none would wait for a GPU, or end a recording.

Fake CUDA tensors would say more about kernels, but torch 2.15 cannot run a backward pass of theirs without a driver.
"""

from __future__ import annotations

import contextlib
import sys

import pytest
import torch
from probes import OnDevice

from mixbench.bench.subjects import METHODS, configured, made_up
from mixbench.data.images import ImageSet
from mixbench.engine.loop import Loop
from mixbench.schema.specs import find
from mixbench.training import build

META = torch.device("meta")
# What is between drawing and the update asks the generator for its state, which this device has none of.
ASKING = ("PuzzleMix", "Manifold Mixup")
if not torch._C._dispatch_has_kernel_for_dispatch_key("aten::_standard_gamma", "Meta"):  # torch 2.11
    LIBRARY = torch.library.Library("aten", "IMPL", "Meta")
    LIBRARY.impl("_standard_gamma", lambda alpha, generator=None: torch.empty_like(alpha))
TINY = ["dataset=digits", "model=small_cnn", "batch_size=16"]


class Draws(torch.Generator):
    """The CPU's generator, for draws of tensors on the device without data."""

    device = META  # type: ignore[assignment]


@pytest.fixture
def loop_of(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Builds loops on the device without data, which torch knows neither as fused nor as autocast."""
    monkeypatch.setattr(build, "autocast", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(build, "DTYPES", dict.fromkeys(build.DTYPES, torch.float32))
    module = sys.modules[torch.optim.Optimizer.__module__]
    monkeypatch.setattr(module, "_get_fused_kernels_supported_devices", lambda: ["meta"])
    monkeypatch.setattr(ImageSet, "mean_input", lambda self: torch.zeros(1, 8, 8, device=META))

    def made(method: str, overrides: str) -> Loop:
        config = configured(method, [*TINY, *overrides.split()])
        loop = build.build_loop(config, META, made_up(find("digits"), 64))
        vars(loop)["_generator"] = Draws()
        return loop

    return made


@pytest.mark.parametrize(
    ("method", "overrides"),
    [
        *((method, "") for method in METHODS if method not in ASKING),
        ("ERM", "opt=adam clip_norm=1 label_smoothing=0.1"),
        ("ERM", "opt=adamw accumulate=2"),
        ("G-Mix", "precision=fp16 clip_norm=1"),
        ("BG-Mix", "accumulate=2"),
        ("DG-Mix", "accumulate=2 opt.ascent=synchronised"),
        ("Mixup", "augment.per_sample=true augment.prob=0.7 augment.pairing=derange loss=bce_softmax"),
        ("CutMix", "augment.per_sample=true augment.prob=0.5"),
        ("HMix", "augment.gamma=0.5"),
        ("GMix", "augment.variant=paper"),
        ("SAM", "opt.decay_in_ascent=true opt.bn_stats=both opt.perturb=no_norm_bias"),
    ],
)
def test_no_step_waits_for_its_device(method: str, overrides: str, loop_of) -> None:  # type: ignore[no-untyped-def]
    """Oracle: a device without data: no value, no shape that depends on one, no tensor elsewhere; backward too."""
    loop = loop_of(method, overrides)
    (indices,) = next(iter(loop.train.feed(loop._order(0))))
    step = torch.full((), 0, device=META)
    with OnDevice(META):
        for _ in range(3):
            loss = loop._compute((indices,), step)
    assert loss.device == META


@pytest.mark.parametrize(
    ("method", "overrides", "choices"),
    [
        ("PuzzleMix", "", [(2, None), (4, None), (8, None)]),
        ("PuzzleMix", "augment.per_sample=true augment.prob=0.5", [(2, None)]),
        ("PuzzleMix", "opt=looksam", [(4, True), (4, False)]),
        ("Manifold Mixup", "", [(0, None), (1, None), (2, None)]),
        ("Manifold Mixup", "opt=looksam", [(1, True), (1, False)]),
        ("LookSAM", "", [(None, True), (None, False)]),
    ],
)
def test_no_part_of_a_step_waits_whatever_the_host_chooses(
    method: str, overrides: str, choices: list[tuple], loop_of, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    """Oracle: as above, for both parts of a step that are recorded."""
    loop = loop_of(method, overrides)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)  # which asks about this device
    (indices,) = next(iter(loop.train.feed(loop._order(0))))
    step = torch.full((), 0, device=META)
    with OnDevice(META):
        drawn = loop._draw((indices,))
        for chosen in choices:
            loss = loop._update(drawn, step, chosen)
    assert loss.device == META


@pytest.mark.parametrize(
    "look",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.sum() > 0),
        lambda x: x.cpu(),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x * torch.tensor(2.0),
        lambda x: x + torch.tensor([1.0, 2.0]).to(META),
    ],
)
def test_looks_at_a_value_fail_backward_too(look) -> None:  # type: ignore[no-untyped-def]
    """By hand: what a GPU is waited for, or what a recording cannot hold."""

    class Looked(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):  # type: ignore[no-untyped-def]
            return x * 1

        @staticmethod
        def backward(ctx, gradient):  # type: ignore[no-untyped-def]
            look(gradient)
            return gradient

    x = torch.zeros(2, device=META, requires_grad=True)
    with OnDevice(META):
        loss = Looked.apply(x).sum()
        with pytest.raises((AssertionError, RuntimeError, NotImplementedError)):
            loss.backward()
