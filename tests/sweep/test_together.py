"""Runs side by side: where there is room, that all of them run, and that a signal loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mixbench.errors import ConfigError
from mixbench.record.read import read_rows, read_summary
from mixbench.sweep.together import GPU_MIB_PER_RUN, slots

TINY = ["dataset.train_size=200", "dataset.test_size=50", "batch_size=50", "train_clean_every=0"]


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make nvidia-smi report GPUs with so many MiB free, on a machine of 16 cores."""

    def pretend(*mib: int) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text("#!/bin/sh\n" + "".join(f"echo {m}\n" for m in mib))
        program.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    return pretend


@pytest.mark.parametrize(
    ("free", "jobs", "expected"),
    [
        ([], None, [""]),
        ([], 3, ["", "", ""]),
        ([140_000], None, ["", "", "", ""]),
        ([2 * GPU_MIB_PER_RUN], None, ["", ""]),
        ([100], None, [""]),
        ([140_000], 6, [""] * 6),
        ([140_000, GPU_MIB_PER_RUN], None, ["0", "1", "0", "0", "0"]),
        ([140_000, 140_000], 3, ["0", "1", "0"]),
    ],
)
def test_room(gpus: Callable, free: list[int], jobs: int | None, expected: list[str]) -> None:
    """By hand: at most four a GPU, by its free memory; spread by turns; one at a time on a CPU."""
    gpus(*free)
    found, sentence = slots(jobs, "auto")
    assert found == [[f"device=cuda:{gpu}"] if gpu else [] for gpu in expected]
    assert sentence.startswith(f"{len(expected)} runs side by side" if len(expected) > 1 else "")
    assert slots(None, "cpu") == ([[]], "")


def test_few_cores_share_less(gpus: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run needs a core of its own."""
    gpus(140_000, 140_000)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert len(slots(None, "auto")[0]) == 4
    assert len(slots(None, "auto", runs_per_device=3)[0]) == 6


def test_no_jobs_is_no_number() -> None:
    """One message with the key and the limit."""
    with pytest.raises(ConfigError, match=r"--jobs 0: must be >= 1 and <= 1000\."):
        slots(0, "auto")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--jobs=2", "seed=0"], "--jobs: a single run is one process"),
        (["-m", "--jobs=0", "seed=0,1"], "--jobs 0: must be >= 1 and <= 1000"),
    ],
)
def test_mistakes_are_one_message(mixbench: Callable, arguments: list[str], message: str) -> None:
    """Exit status 2, nothing trained."""
    done = mixbench("train", *TINY, *arguments)
    assert done.status == 2
    assert message in done.err
    assert not Path("outputs").exists()


def test_a_sweep_side_by_side_is_the_same_sweep(mixbench: Callable, workplace: Path) -> None:
    """Oracle: the sweep one after another, row by row; a failing cell is counted, the others finish."""
    sweep = [*TINY, "-m", "epochs=2", "seed=0,1,2", "opt.lr=0.1,1e30"]
    alone = mixbench("train", *sweep, "output_dir=alone")
    together = mixbench("train", *sweep, "output_dir=together", "--jobs=2")
    assert (alone.status, together.status) == (1, 1)
    assert "2 runs side by side" in together.out
    assert (together.out.count("done: "), together.out.count("FAILED: ")) == (3, 3)
    assert "sweep: 3 of 6 runs finished" in together.out

    def results(root: str) -> dict:
        rows = {p.parent.name: read_rows(p.parent) for p in (workplace / root).rglob("epochs.csv")}
        return {run: [r["test_loss"] for r in row] for run, row in rows.items()}

    assert results("alone") == results("together")
    assert mixbench("train", *sweep, "output_dir=together", "--jobs=2").out.count("done: ") == 0


@pytest.mark.slow
@pytest.mark.fault("signals")
def test_a_signal_is_passed_on_and_nothing_is_lost(workplace: Path) -> None:
    """SIGTERM to a sweep with two long runs under way: both save, status 143, and none is begun after it."""
    command = [
        sys.executable,
        "-m",
        "mixbench",
        "train",
        *TINY,
        "-m",
        "--jobs=2",
        "epochs=2000",
        "seed=0,1,2",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(list(Path("outputs").rglob("epochs.csv"))) < 2:
        assert time.monotonic() < deadline, process.poll()
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "the same command goes on" in err
    assert "Traceback" not in err
    states = [(read_summary(p.parent) or {})["state"] for p in Path("outputs").rglob("summary.json")]
    assert states == ["interrupted", "interrupted"]
    assert len(list(Path("outputs").rglob("last.pt"))) == 2
