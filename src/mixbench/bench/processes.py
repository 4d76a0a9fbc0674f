"""What a processor's speed depends on beside the method: the same training in processes started differently."""

from __future__ import annotations

import ctypes.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from mixbench.bench.measure import rotated, settle
from mixbench.bench.result import quartiles
from mixbench.bench.subjects import configured, subject
from mixbench.errors import MixbenchError
from mixbench.machine.devices import peak_memory

HEAD = ["started with", "images/s", "ratio", "MiB"]
PROGRAM = "from mixbench.bench.processes import report; report({method!r}, {overrides!r}, {seconds!r})"


@dataclass(frozen=True)
class Start:
    """A way to start a run: variables added to the environment, and further overrides."""

    environment: dict[str, str] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What one would type before and behind the command."""
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        return " ".join([*variables, *self.overrides]) or "nothing else"


@dataclass(frozen=True)
class Measured:
    """Of one process: seconds of a step, images in it, and bytes of the whole process at its peak."""

    seconds: float
    images: int
    memory: int


def starts(threads: int) -> list[Start]:
    """The ways that are compared on a machine where a run has `threads` threads; the first is the plain one."""
    found = [
        Start(),
        Start(overrides=("channels_last=false",)),
        Start(overrides=("compile=true",)),
        *([Start({"OMP_NUM_THREADS": str(threads // 2)})] if threads > 1 else []),
        Start({"OMP_WAIT_POLICY": "ACTIVE"}),
        Start({"OMP_WAIT_POLICY": "PASSIVE"}),
        # Freed memory is kept, where glibc would give large blocks back and fetch them anew, page by page.
        Start({"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "2000000000"}),
    ]
    jemalloc = ctypes.util.find_library("jemalloc")
    return [*found, *([Start({"LD_PRELOAD": jemalloc})] if jemalloc else [])]


def compared(
    method: str,
    overrides: Sequence[str],
    ways: Sequence[Start],
    rounds: int,
    seconds: float,
    tell: Callable[[str], None],
) -> list[list[str]]:
    """A row for each of `ways`: images/s, the time of a step relative to the first of them, and memory, as medians over
    `rounds` in which each has a process of its own, by turns.

    A way whose first process fails is told and left out. Raises MixbenchError where the first way fails, or any later.
    """
    usable, found = list[Start](), list[list[Measured]]()
    for way in ways:
        try:
            first = _process(method, overrides, way, seconds)
        except MixbenchError as error:
            if not usable:
                raise
            tell(f"{way.name}: left out, {error}")
            continue
        usable.append(way)
        found.append([first])
        tell(f"{way.name}: {first.images / first.seconds:,.0f} images/s")
    for number in range(1, rounds):
        for i in rotated(len(usable), number):
            found[i].append(_process(method, overrides, usable[i], seconds))
        tell(f"round {number + 1} of {rounds}")
    return [_row(way, of, found[0]) for way, of in zip(usable, found, strict=True)]


def _row(way: Start, of: Sequence[Measured], first: Sequence[Measured]) -> list[str]:
    rate = quartiles([m.images / m.seconds for m in of])[1]
    low, median, high = quartiles([m.seconds / f.seconds for m, f in zip(of, first, strict=True)])
    memory = quartiles([m.memory / 2**20 for m in of])[1]
    return [way.name, f"{rate:,.0f}", f"{median:.2f} ({low:.2f} to {high:.2f})", f"{memory:,.0f}"]


def _process(method: str, overrides: Sequence[str], way: Start, seconds: float) -> Measured:
    program = PROGRAM.format(method=method, overrides=[*overrides, *way.overrides], seconds=seconds)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | way.environment
    )
    if done.returncode:
        last = next(reversed(done.stderr.strip().splitlines()), f"exit status {done.returncode}")
        raise MixbenchError(f"the process of {method} with {way.name} failed: {last}")
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def report(method: str, overrides: Sequence[str], seconds: float) -> None:
    """Train `method` on made-up images for about `seconds` on the CPU, and print a `Measured` as JSON."""
    one = subject(method, configured(method, overrides), torch.device("cpu"))
    settle(one)
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        for _ in range(one.period):
            next(one.steps)
        count += one.period
    spent = (time.perf_counter() - started) / count
    memory = peak_memory(torch.device("cpu"))
    print(json.dumps({"seconds": spent, "images": one.batch_size, "memory": memory}))
