"""Interleaved timing: every round runs a burst of steps of every subject, so that a busy moment hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from mixbench.bench.subjects import Subject
from mixbench.machine.devices import synchronize

WARM_UP = 3  # steps, or periods of steps; the first one also compiles, tunes and allocates
LONGEST = 10.0  # seconds of a matrix product; on a processor without the precision the largest takes minutes
# Steps: CUDA graphs take 4, one more for each choice of the host and for each step that a loss scale makes skip, and
# some to see that no new choice comes.
SETTLING = 100


@dataclass
class Timing:
    """The measurements of one subject. Times in seconds per step, one entry per round."""

    name: str
    batch_size: int
    first_step: float  # seconds, with compilation and the like
    flops: float  # of a step: convolutions and matrix products, forward and backward
    memory: int | None = None  # bytes at the peak of a step: tensors, with weights, gradients and optimizer
    seconds: list[float] = field(default_factory=list)
    host_seconds: list[float] = field(default_factory=list)  # until the step was handed to the device


def timed(
    subjects: Sequence[Subject],
    device: torch.device,
    *,
    rounds: int,
    burst: float,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Timing]:
    """Measure `subjects` in `rounds` rounds of bursts that take about `burst` seconds each.

    Warm-up comes first and is not part of the rounds. Who begins a round changes from round to round.
    """
    timings, counts = [], []
    for subject in subjects:
        started = time.perf_counter()
        next(subject.steps)
        synchronize(device)
        first = time.perf_counter() - started
        with subject.one_by_one():
            timing = Timing(subject.name, subject.batch_size, first, flops(subject))
            timing.memory = memory(subject, device)
        settle(subject, least=0)
        for _ in range(WARM_UP):
            seconds, _ = _burst(subject, subject.period, device)
        counts.append(subject.period * max(1, round(burst / seconds / subject.period)))
        timings.append(timing)
        tell(f"{subject.name}: warm, {counts[-1]} step{'s' if counts[-1] > 1 else ''} a round")
    for number in range(rounds):
        for i in rotated(len(subjects), number):
            seconds, host = _burst(subjects[i], counts[i], device)
            timings[i].seconds.append(seconds)
            timings[i].host_seconds.append(host)
        tell(f"round {number + 1} of {rounds}")
    return timings


def settle(subject: Subject, least: int = WARM_UP) -> None:
    """Run at least so many steps, until they are what they stay, or it takes too long: steps are then recorded as CUDA
    graphs.
    """
    for number in range(least + SETTLING + 2 * subject.period):
        if number >= least and subject.settled():
            return
        next(subject.steps)


def rotated(n: int, by: int) -> list[int]:
    """0..n-1, beginning at `by` and going round."""
    return [(by + i) % n for i in range(n)]


def _burst(subject: Subject, count: int, device: torch.device) -> tuple[float, float]:
    """Seconds per step, and of these the ones until the host had handed the steps over."""
    synchronize(device)
    started = time.perf_counter()
    for _ in range(count):
        next(subject.steps)
    handed = time.perf_counter() - started
    synchronize(device)
    return (time.perf_counter() - started) / count, handed / count


def flops(subject: Subject) -> float:
    """Floating-point operations of a step, a multiplication and an addition as two."""
    with Operations() as counted:
        _period(subject)
    return counted.total / subject.period


def _period(subject: Subject) -> None:
    for _ in range(subject.period):
        next(subject.steps)


def operations(subject: Subject) -> float:
    """Operations of a step that a GPU would be handed: torch's calls without views and allocations."""
    with Operations() as counted:
        _period(subject)
    return counted.calls / subject.period


class Operations(TorchDispatchMode):
    """Counts floating-point operations, `total`, and torch's operations but views and allocations, `calls`.

    For the former it is torch's FlopCounterMode without its account by module, whose hooks fail inside
    torch.autograd.grad.
    """

    total = 0
    calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.calls += not (func.is_view or func.overloadpacket.__name__.startswith("empty"))
        if func.overloadpacket in flop_registry:
            self.total += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=result)
        return result


def memory(subject: Subject, device: torch.device) -> int | None:
    """Bytes of tensors at the peak of a step, counting the subject's own state and no other's; None on mps."""
    if device.type == "cuda":
        synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        _period(subject)
        return subject.state_bytes + torch.cuda.max_memory_allocated(device) - before
    if device.type != "cpu":
        return None
    with torch.profiler.profile(
        profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]
    ) as profile:
        _period(subject)
    recorded = profile.profiler.kineto_results.events()
    changes = [(e.start_ns(), e.nbytes()) for e in recorded if e.name() == "[memory]"]
    level = peak = 0
    for _, change in sorted(changes):
        level += change
        peak = max(peak, level)
    return subject.state_bytes + peak


def matrix_rate(device: torch.device, dtype: torch.dtype, burst: float = 0.3) -> float:
    """The device's floating-point operations per second in square matrix products, the best of several sizes.

    A size whose product would take longer than LONGEST, at the rate of the one before, is left out.
    """
    best = 0.0
    for n in (1024, 2048, 4096) if device.type == "cpu" else (2048, 4096, 8192, 16384):
        if best and 2 * n**3 > LONGEST * best:
            break
        a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
        torch.mm(a, b)
        synchronize(device)
        started, count = time.perf_counter(), 0
        while count == 0 or time.perf_counter() - started < burst:
            torch.mm(a, b)
            count += 1
            if device.type != "cpu":
                synchronize(device)
        best = max(best, count * 2 * n**3 / (time.perf_counter() - started))
    return best
