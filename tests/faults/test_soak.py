"""Many runs in one process: no growth of memory, open files, threads or half files."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

import numpy as np
import pytest

TINY = ("epochs=1", "dataset.train_size=100", "dataset.test_size=20", "batch_size=50", "train_clean_every=0")


def resident() -> float:
    """MiB of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
@pytest.mark.parametrize(
    "runs", [pytest.param(20, marks=pytest.mark.long), pytest.param(200, marks=pytest.mark.long)]
)
def test_runs_leave_nothing_behind(mixbench, workplace: Path, runs: int) -> None:
    """Sweeps of ten runs each; every seventh run fails. The second half is compared with the first.

    Memory: the slope of a line through the second half's sizes (Theil and Sen: the median of all slopes between two of
    them) is under 0.1 MiB a run; 200 runs of a network of 0.2 MiB with momentum would otherwise hold 0.6 each.
    """
    memory, files, threads = [], [], []
    for first in range(0, runs, 10):
        seeds = ",".join(map(str, range(first, first + 10)))
        done = mixbench("train", "-m", *TINY, "augment=gmix", "opt=sam", f"seed={seeds}")
        assert done.status == 0, done.err
        assert mixbench("train", *TINY, "opt.lr=1e30", f"seed={first}").status == 1
        gc.collect()
        memory.append(resident())
        files.append(len(os.listdir("/proc/self/fd")))
        threads.append(threading.active_count())
    assert files[-1] == files[0]
    assert threads[-1] == threads[0]
    assert not list(Path("outputs").rglob(".*"))
    assert not list(Path("outputs").rglob("claim*"))
    half = memory[len(memory) // 2 :]
    if len(half) > 2:
        slopes = [(b - a) / (10 * (j - i)) for i, a in enumerate(half) for j, b in enumerate(half) if j > i]
        assert np.median(slopes) < 0.1, memory
