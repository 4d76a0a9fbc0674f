"""Which of several GPUs a run takes: the one with the fewest runs, whatever started them.

A run holds a lock file of its GPU for as long as it trains: the kernel lets go of it when the process dies, and all
processes of the machine see it. So joblib's workers, submitit's local jobs and runs started by hand spread alike.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

POLL_SECONDS = 1.0


def visible(field: str) -> list[str]:
    """nvidia-smi's `field` of each GPU that CUDA_VISIBLE_DEVICES lets us see, in CUDA's order; empty without any."""
    asked = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader,nounits"]
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        asked.append(f"--id={chosen}")
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.split() if done.returncode == 0 else []


@contextlib.contextmanager
def place(device: str, runs_per_device: int | None) -> Iterator[int | None]:
    """Hold a place on a GPU; gives its number for CUDA, None where there is nothing to choose.

    With `runs_per_device` waits until one has room; several sweeps should agree on it. Only `device` auto and cuda
    choose: another one was chosen by the user.
    """
    found = visible("uuid") if device in ("auto", "cuda") else []
    if not found or (len(found) == 1 and runs_per_device is None):
        yield None
        return
    with contextlib.ExitStack() as held:
        while (gpu := _taken(found, runs_per_device, held)) is None:
            time.sleep(POLL_SECONDS)
        yield gpu


def _taken(gpus: list[str], most: int | None, held: contextlib.ExitStack) -> int | None:
    """The GPU with the fewest runs, now with one more; None where all have `most`."""
    folder = Path(tempfile.gettempdir()) / f"mixbench-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for turn in itertools.count() if most is None else range(most):
        for number, gpu in enumerate(gpus):
            file = open(folder / f"{gpu}.{turn}", "w")  # noqa: SIM115  # stays open, and with it locked
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                continue
            held.callback(file.close)
            return number
    return None
