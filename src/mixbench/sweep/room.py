"""How many runs train at a time on this machine, and where."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

from mixbench.errors import ConfigError
from mixbench.inventory.arithmetic import visible
from mixbench.machine import mps

MOST_PER_GPU = 4
MOST_JOBS = 1000  # side by side on one machine; more is a slip of the finger
# Of free memory: CUDA itself, a data set of 64-pixel images, a ResNet-50 at 128 images.
GPU_MIB_PER_RUN = 8192


@dataclass(frozen=True)
class Room:
    """Overrides for each of the runs that train at a time, what their processes' environment has besides ours, and a
    sentence that says how many they are and why; empty where there is nothing to say.
    """

    slots: Sequence[Sequence[str]]
    environment: Mapping[str, str]
    sentence: str


def check_jobs(jobs: int | None) -> None:
    """Raise ConfigError unless `jobs` is None or 1 to MOST_JOBS."""
    if jobs is not None and not 1 <= jobs <= MOST_JOBS:
        raise ConfigError(f"--jobs {jobs}: must be >= 1 and <= {MOST_JOBS}.")


@contextmanager
def room(jobs: int | None, device: str, runs: int, runs_per_device: int | None = None) -> Iterator[Room]:
    """The Room for `runs` runs that share this machine, for as long as the block lasts.

    `jobs` of them train at a time; without it `runs_per_device` on each GPU; without that as many as its memory and the
    cores allow, at most four, and one where they would not share it under NVIDIA's MPS: by turns they gain nothing. A
    CPU has one at a time. With several GPUs and device=auto, runs are spread over them. Raises ConfigError unless
    `jobs` is 1 to MOST_JOBS.
    """
    check_jobs(jobs)
    counts, why = _counts(jobs, device, runs_per_device)
    shared = bool(why) and max(counts.values()) > 1 and runs > len(counts)
    with mps.service() if shared else nullcontext() as service:
        if service is None:
            yield _room(counts, f" ({why})" if why else "")
        elif service.environment is not None or jobs is not None or runs_per_device is not None:
            yield _room(counts, f" ({why}), {service.words}", service.environment or {})
        else:
            alone = _room(dict.fromkeys(counts, 1), ", one on each GPU")
            sentence = alone.sentence or "one run after another"
            turns = f"{service.words} several would take turns on a GPU; --jobs N has them do so"
            yield replace(alone, sentence=f"{sentence}: {turns}")


def _room(counts: Mapping[str, int], why: str, environment: Mapping[str, str] | None = None) -> Room:
    # By turns, so that the first runs go to different GPUs.
    places = [gpu for turn in range(max(counts.values())) for gpu, n in counts.items() if turn < n]
    sentence = f"{len(places)} runs side by side{why}" if len(places) > 1 else ""
    return Room([[gpu] if gpu else [] for gpu in places], environment or {}, sentence)


def _counts(jobs: int | None, device: str, runs_per_device: int | None) -> tuple[dict[str, int], str]:
    """Runs at a time by the override that places them, empty where there is nothing to choose; and the reason for the
    number, empty where they share no GPU.
    """
    free = _free_gpu_memory() if device in ("auto", "cuda") else {}
    if not free:
        return {"": jobs or 1}, "as asked" if device.startswith("cuda") else ""
    if jobs is None:
        each = min(MOST_PER_GPU, max(1, (os.cpu_count() or 1) // len(free)))
        counts = [runs_per_device or max(1, min(each, mib // GPU_MIB_PER_RUN)) for mib in free.values()]
        gpus = f"{len(free)} GPU{'s' if len(free) > 1 else ''}"
        why = f"{sum(free.values()) / 1024:.0f} GiB free on {gpus}; --jobs N sets another number"
    else:
        counts = [jobs // len(free) + (i < jobs % len(free)) for i in range(len(free))]
        why = "as asked"
    overrides = [f"device=cuda:{gpu}" for gpu in free] if len(free) > 1 else [""]
    return dict(zip(overrides, counts, strict=True)), why


def _free_gpu_memory() -> dict[int, int]:
    """MiB by number of the GPUs that CUDA_VISIBLE_DEVICES lets us see; empty where there is none."""
    return {i: int(mib) for i, mib in enumerate(visible("memory.free")) if mib.isdigit()}
