"""Which of several GPUs a run takes: the one with the fewest runs, whatever started them.

A run holds the lock of a file of its GPU for as long as it trains: the kernel gives it back when the process dies, and
all processes of the machine see it. So joblib's workers, submitit's local jobs and runs started by hand spread alike.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mixbench.inventory.arithmetic import visible

POLL_SECONDS = 1.0


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
    from filelock import FileLock, Timeout  # here, as a machine without a choice of GPUs does not need it

    folder = Path(tempfile.gettempdir()) / f"mixbench-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for turn in itertools.count() if most is None else range(most):
        for number, gpu in enumerate(gpus):
            # Never softly: a lock that is only a file would outlive a process that dies.
            with contextlib.suppress(Timeout):
                held.enter_context(FileLock(folder / f"{gpu}.{turn}", timeout=0, fallback_to_soft=False))
                return number
    return None
