"""How the cost of a step grows: with the batch, the classes, the image, and with runs side by side on one device."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import queue
import time
from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from typing import Any

import torch

from mixbench.bench.measure import WARM_UP, settle
from mixbench.bench.subjects import IMAGES, Subject, configured, made_up, subject
from mixbench.errors import ConfigError, MixbenchError
from mixbench.machine import mps
from mixbench.machine.devices import synchronize

BATCH_SIZES = (32, 64, 128, 256, 512)
CLASSES = (10, 100, 200, 1000)
PIXELS = (32, 64, 96)
PROCESSES = (1, 2, 4)
MARK, AHEAD = 10, 2  # steps from mark to mark; marks that the host may be ahead of the device
POLL, GRACE = 1.0, 10.0  # seconds between two looks at the processes, and until they have ended by themselves


def varied(method: str, overrides: Sequence[str], device: torch.device) -> list[Subject]:
    """`method` as it is, then with other batch sizes, numbers of classes and image sizes, one changed at a time."""
    config = configured(method, overrides)
    spec = config.dataset.spec()
    if spec.kind != "image":
        raise ConfigError(f"dataset={spec.name}: batch and image sizes are varied for images alone.")

    def variant(name: str, batch_size: int, **changes: Any) -> Subject:
        shape = dataclasses.replace(spec, **changes)
        images = max(batch_size, IMAGES * spec.shape[0] ** 2 // shape.shape[0] ** 2)
        return subject(
            name, dataclasses.replace(config, batch_size=batch_size), device, made_up(shape, images)
        )

    base, side, channels = config.batch_size, spec.shape[0], spec.shape[2]
    found = [variant(f"{method}: {base} images, {spec.num_classes} classes, {side} pixels", base)]
    found += [variant(f"{n} images", n) for n in BATCH_SIZES if n != base]
    found += [variant(f"{n} classes", base, num_classes=n) for n in CLASSES if n != spec.num_classes]
    found += [variant(f"{n} pixels", base, shape=(n, n, channels)) for n in PIXELS if n != side]
    return found


def side_by_side(
    method: str, overrides: Sequence[str], device: torch.device, seconds: float
) -> tuple[dict[int, float], str]:
    """Images per second of 1, 2 and 4 processes together that each train `method` on one device.

    On a CPU the processes share its threads, at least one each. On a GPU they share it as a sweep's do, and the words
    say whether that is under NVIDIA's MPS; empty on a CPU.
    """
    threads = torch.get_num_threads()
    with mps.service() if device.type == "cuda" else nullcontext() as service:
        environment = {} if service is None else dict(service.environment or {})
        rates = {
            n: _together(n, method, overrides, device, seconds, max(1, threads // n), environment)
            for n in PROCESSES
        }
    return rates, "" if service is None else service.words


def _together(
    n: int,
    method: str,
    overrides: Sequence[str],
    device: torch.device,
    seconds: float,
    threads: int,
    environment: dict[str, str],
) -> float:
    context = multiprocessing.get_context("spawn")
    barrier, rates = context.Barrier(n), context.Queue()
    arguments = (method, list(overrides), str(device), seconds, threads, environment, barrier, rates)
    processes = [context.Process(target=_worker, args=arguments) for _ in range(n)]
    for process in processes:
        process.start()
    try:
        return sum(_rate(rates, processes) for _ in processes)
    finally:
        for process in processes:
            process.join(GRACE)
            process.kill()  # one that has failed leaves the others at the barrier


def _rate(rates: Any, processes: Sequence[BaseProcess]) -> float:
    """The rate of the process that has measured next. Raises MixbenchError where one has ended without."""
    while True:
        ended = [process.exitcode for process in processes if process.exitcode]
        try:
            return rates.get(timeout=POLL)
        except queue.Empty:
            if ended:
                raise MixbenchError(
                    f"one of {len(processes)} processes side by side ended with status {ended[0]}, see above."
                ) from None


def _worker(
    method: str,
    overrides: list[str],
    device_name: str,
    seconds: float,
    threads: int,
    environment: dict[str, str],
    barrier: Barrier,
    rates: Any,
) -> None:
    os.environ.update(environment)  # before CUDA is asked for anything
    torch.set_num_threads(threads)
    device = torch.device(device_name)
    one = subject(method, configured(method, overrides), device)
    # On a GPU an epoch as well, at whose end we think that kernels are loaded: measured from its first epoch on, one
    # process came to 0.88 of the rate of later bursts, on an H100 and on an H200.
    settle(one, least=WARM_UP if device.type == "cpu" else IMAGES // one.batch_size + WARM_UP)
    synchronize(device)
    barrier.wait()
    started, count, lead = time.perf_counter(), 0, Lead(device)
    while time.perf_counter() - started < seconds:
        next(one.steps)
        count += 1
        if device.type != "cpu" and count % MARK == 0:
            lead.mark()
    synchronize(device)
    rates.put(count * one.batch_size / (time.perf_counter() - started))


class Lead:
    """Keeps the host from running away from a device, which would then compute long after the time is up, and never
    waits until the device has nothing left to do.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.marks = deque[torch.Event]()

    def mark(self) -> None:
        """Wait until the device has come to the mark before the last AHEAD ones."""
        self.marks.append(torch.Event(self.device))
        self.marks[-1].record()
        if len(self.marks) > AHEAD:
            self.marks.popleft().synchronize()
