"""Several runs at once on one machine, each a process of its own."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from mixbench.errors import ConfigError
from mixbench.machine.gpus import visible
from mixbench.machine.signals import Interrupted, stop_on_signals

MOST_PER_GPU = 4
MOST_JOBS = 1000  # side by side on one machine; more is a slip of the finger
# Of free memory: CUDA itself, a data set of 64-pixel images, a ResNet-50 at 128 images.
GPU_MIB_PER_RUN = 8192


def train_together(
    runs: Sequence[Sequence[str]], slots: Sequence[Sequence[str]], done: Callable[[int, int], None]
) -> list[int]:
    """Train `runs`, lists of overrides, as many at a time as there are `slots`, each with its slot's overrides.

    Returns their exit statuses; `done(i, status)` is called when run i has ended. SIGTERM, SIGUSR1 and Ctrl-C are
    passed on, so that every run saves a checkpoint; then Interrupted is raised, and no further run is begun.
    """
    free: queue.SimpleQueue[Sequence[str]] = queue.SimpleQueue()
    for slot in slots:
        free.put(slot)
    running: set[subprocess.Popen] = set()
    lock = threading.Lock()
    environment = dict(os.environ)
    # Threads of several processes on one core wait for each other: small networks then take 10 to 100 times as long.
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // len(slots))))

    with stop_on_signals() as stop, ThreadPoolExecutor(len(slots)) as pool:

        def one(i: int) -> int:
            slot = free.get()
            command = [sys.executable, "-m", "mixbench", "train", *runs[i], *slot, "progress=false"]
            with lock:  # a signal is passed on to exactly the runs that have begun
                if stop.number is not None:
                    return 128 + stop.number
                # In a session of its own: Ctrl-C at the terminal reaches it once, through us.
                process = subprocess.Popen(
                    command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
                )
                running.add(process)
            status = process.wait()
            running.discard(process)
            free.put(slot)
            done(i, status)
            return status

        ended = [pool.submit(one, i) for i in range(len(runs))]
        while not all(run.done() for run in ended):
            time.sleep(0.1)
            if stop.number is not None:
                with lock:
                    for process in list(running):
                        with contextlib.suppress(ProcessLookupError):
                            process.send_signal(stop.number)
                break
    if stop.number is not None:
        raise Interrupted(
            f"stopped by signal {stop.number}; the runs have saved their state, and the same command goes on.",
            stop.number,
        )
    return [run.result() for run in ended]


def check_jobs(jobs: int | None) -> None:
    """Raise ConfigError unless `jobs` is None or 1 to MOST_JOBS."""
    if jobs is not None and not 1 <= jobs <= MOST_JOBS:
        raise ConfigError(f"--jobs {jobs}: must be >= 1 and <= {MOST_JOBS}.")


def slots(jobs: int | None, device: str, runs_per_device: int | None = None) -> tuple[list[list[str]], str]:
    """Overrides for each of `jobs` runs that share this machine, and a sentence that says how many and why.

    Without `jobs`, `runs_per_device` runs share each GPU, else as many as its memory and the cores allow, at most
    four; a CPU has one at a time.
    With several GPUs and device=auto, runs are spread over them. Raises ConfigError unless `jobs` is 1 to MOST_JOBS.
    """
    check_jobs(jobs)
    free = _free_gpu_memory() if device in ("auto", "cuda") else {}
    if not free:
        return [[] for _ in range(jobs or 1)], f"{jobs} runs side by side" if jobs and jobs > 1 else ""
    if jobs is None:
        each = min(MOST_PER_GPU, max(1, (os.cpu_count() or 1) // len(free)))
        counts = {
            gpu: runs_per_device or max(1, min(each, mib // GPU_MIB_PER_RUN)) for gpu, mib in free.items()
        }
        gpus = f"{len(free)} GPU{'s' if len(free) > 1 else ''}"
        why = f"{sum(free.values()) / 1024:.0f} GiB free on {gpus}; --jobs N sets another number"
    else:
        counts = {gpu: jobs // len(free) + (i < jobs % len(free)) for i, gpu in enumerate(free)}
        why = "as asked"
    # By turns, so that the first runs go to different GPUs.
    places = [gpu for turn in range(max(counts.values())) for gpu, n in counts.items() if turn < n]
    chosen = [[f"device=cuda:{gpu}"] if len(free) > 1 else [] for gpu in places]
    return chosen, f"{len(chosen)} runs side by side ({why})" if len(chosen) > 1 else ""


def _free_gpu_memory() -> dict[int, int]:
    """MiB by number of the GPUs that CUDA_VISIBLE_DEVICES lets us see; empty where there is none."""
    return {i: int(mib) for i, mib in enumerate(visible("memory.free")) if mib.isdigit()}
