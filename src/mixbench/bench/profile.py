"""Where the time of a step goes: the profiler's operators, summed over groups that a reader can act on."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.profiler import ProfilerActivity

from mixbench.bench.measure import settle
from mixbench.bench.subjects import Subject
from mixbench.machine.devices import synchronize

# The first pattern that occurs in an operator's name decides; kernels of a GPU have other names than operators.
GROUPS = {
    "convolution, backward": ("convolution_backward", "dgrad", "wgrad", "bwd"),
    "convolution, forward": ("conv", "fprop", "implicit"),
    "batch normalization": ("batch_norm", "batchnorm", "bn_fw", "bn_bw"),
    "matrix product": ("mm", "gemm", "linear"),
    "activation": ("relu", "threshold", "clamp"),
    "optimizer and SAM": ("_foreach", "_fused_", "multi_tensor", "norm"),
    "casts and copies": (
        "copy",
        "aten::to",
        "contiguous",
        "clone",
        "memcpy",
        "memset",
        "cat",
        "fill",
        "zero",
    ),
    "indexing": ("index", "gather", "scatter", "topk", "sort"),
    "arithmetic": ("add", "mul", "sub", "div", "sum", "mean", "where", "elementwise", "softmax", "reduce"),
}
OTHER = "other"


def group_of(operator: str) -> str:
    """The group of an operator or kernel by its name."""
    name = operator.lower()
    return next((group for group, marks in GROUPS.items() if any(mark in name for mark in marks)), OTHER)


def shares(operators: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """(name, time) of operators to (group, share of all), the largest first."""
    totals: dict[str, float] = {}
    for name, spent in operators:
        totals[group_of(name)] = totals.get(group_of(name), 0.0) + spent
    whole = sum(totals.values())
    return sorted(((group, spent / whole) for group, spent in totals.items()), key=lambda pair: -pair[1])


def profiled(subject: Subject, device: torch.device, count: int = 5) -> list[tuple[str, float]]:
    """Shares of the device's busy time in `count` steps, by group, the largest first."""
    settle(subject)
    synchronize(device)
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with torch.profiler.profile(activities=activities) as profile:
        for _ in range(count):
            next(subject.steps)
        synchronize(device)
    averages = profile.key_averages()
    if on_gpu:
        return shares((a.key, a.self_device_time_total) for a in averages if a.self_device_time_total)
    return shares((a.key, a.self_cpu_time_total) for a in averages)
