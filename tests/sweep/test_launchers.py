"""The launchers of the extras: what fails is recorded and the rest goes on; signals and preemption lose nothing."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from mixbench.record.claim import holder
from mixbench.record.read import read_rows, read_summary

TINY = ("dataset.train_size=200", "dataset.test_size=50", "batch_size=50", "train_clean_every=0")
LAUNCHERS = {
    "joblib": ("hydra_plugins.hydra_joblib_launcher", ["hydra.launcher.n_jobs=2"]),
    "submitit_local": ("hydra_plugins.hydra_submitit_launcher", []),
    "ray": ("ray", ["hydra.launcher.num_cpus=2"]),
}

pytestmark = pytest.mark.long


def start(launcher: str, *arguments: str) -> subprocess.Popen:
    module, knobs = LAUNCHERS[launcher]
    try:
        importlib.import_module(module)
    except ImportError:
        pytest.skip(f"{launcher} is not installed")
    command = [sys.executable, "-m", "mixbench", "train", "-m", *TINY, *arguments]
    with open("out.txt", "a") as out:
        return subprocess.Popen(
            [*command, f"hydra/launcher={launcher}", *knobs],
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def summaries() -> list[dict]:
    return [read_summary(p.parent) or {} for p in sorted(Path("outputs").rglob("summary.json"))]


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline, Path("out.txt").read_text()
        time.sleep(0.05)


def under_way() -> int:
    return sum(len(read_rows(p.parent)) > 1 for p in Path("outputs").rglob("epochs.csv"))


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.fault("failure")
def test_a_failing_run_is_recorded_and_the_rest_goes_on(workplace: Path, launcher: str) -> None:
    """A learning rate that overflows: two runs fail with their error on record, two finish; then nothing is left."""
    sweep = ("epochs=1", "opt.lr=1e30,0.05", "seed=0,1")
    assert start(launcher, *sweep).wait(timeout=120) == 1
    text = Path("out.txt").read_text()
    assert sorted(s["state"] for s in summaries()) == ["failed", "failed", "finished", "finished"]
    assert "sweep: 2 of 4 runs finished" in text, text
    assert text.rpartition("sweep:")[2].count("epoch 1, step") == 2
    assert [s["starts"] for s in summaries()] == [1] * 4


@pytest.mark.fault("signals")
def test_a_preempted_job_of_submitit_goes_on_from_its_step(workplace: Path) -> None:
    """SIGUSR2, submitit's warning: saved within a step, queued again, resumed there; the sweep ends well. force=true
    in its command line has been done by then, and is not done again.
    """
    process = start("submitit_local", "epochs=150", "seed=0,1", "checkpoint_seconds=1000", "force=true")
    wait_until(lambda: under_way() == 2)
    directory = next(p.parent for p in Path("outputs").rglob("claim"))
    os.kill(holder(directory).pid, signal.SIGUSR2)
    assert process.wait(timeout=120) == 0, Path("out.txt").read_text()
    assert [s["state"] for s in summaries()] == ["finished"] * 2
    assert sorted(s["starts"] for s in summaries()) == [1, 2]
    assert "resume   after epoch" in (directory / "train.log").read_text()
    assert len(read_rows(directory)) == 150
    assert not list(Path("outputs").rglob("*.old*"))


@pytest.mark.parametrize("launcher", ["ray", "submitit_local"])
@pytest.mark.fault("signals")
def test_a_stopped_sweep_leaves_checkpoints_and_no_process(workplace: Path, launcher: str) -> None:
    """SIGTERM to the sweep: its two runs save their state, status 143, and soon none of its processes is there."""
    process = start(launcher, "epochs=5000", "seed=0,1", "checkpoint_seconds=1000")
    wait_until(lambda: under_way() == 2)
    below = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=90) == 128 + signal.SIGTERM
    assert "Traceback" not in Path("out.txt").read_text()
    assert [s["state"] for s in summaries()] == ["interrupted"] * 2
    assert len(list(Path("outputs").rglob("last.pt"))) == 2
    assert psutil.wait_procs(below, timeout=30)[1] == []
