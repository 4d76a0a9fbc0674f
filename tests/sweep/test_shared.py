"""Several processes on one grid: launchers that share it, launchers that are killed, workers that must not stay."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from mixbench.record.claim import claimed, holder
from mixbench.record.read import read_rows, read_summary
from mixbench.sweep.grid import grid

TINY = ("dataset.train_size=200", "dataset.test_size=50", "batch_size=50", "train_clean_every=0")
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
SUBMITIT = ("hydra/launcher=submitit_local",)


def summaries() -> list[dict]:
    return [read_summary(p.parent) or {} for p in Path("outputs").rglob("summary.json")]


def start(*arguments: str, out: str = "out.txt") -> subprocess.Popen:
    """`mixbench train -m` in a process of its own, as a user starts it."""
    for launcher in ("joblib", "submitit"):
        if any(launcher in argument for argument in arguments):
            pytest.importorskip(f"hydra_plugins.hydra_{launcher}_launcher")
    with open(out, "w") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "mixbench", "train", "-m", *TINY, *arguments],
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_until(condition: Callable[[], object], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, Path("out.txt").read_text()
        time.sleep(0.05)


@pytest.mark.fault("claims")
def test_a_run_of_another_process_is_left_to_the_end(mixbench: Callable) -> None:
    """The first of three runs is held until the others are finished, then let go unfinished: it is trained last."""
    sweep = [*TINY, "epochs=1", "seed=0,1,2"]
    first = grid(sweep)[0].directory

    def hold() -> None:
        with claimed(first):
            held.set()
            wait_until(lambda: [s["state"] for s in summaries()].count("finished") == 2)

    held = threading.Event()
    other = threading.Thread(target=hold)
    other.start()
    held.wait()
    done = mixbench("train", "-m", *sweep)
    other.join()
    assert done.status == 0, done.err
    assert "waiting for 1 runs that other processes work on" in done.out
    assert "sweep: 3 of 3 runs finished" in done.out
    assert max(summaries(), key=lambda s: s["ended"])["config"]["seed"] == 0


@pytest.mark.fault("claims")
def test_a_run_that_the_other_process_finishes_is_not_run_again(mixbench: Callable, workplace: Path) -> None:
    """The other process finishes the run that was waited for: both sweeps are complete, and it was started once."""
    sweep = [*TINY, "epochs=1", "seed=0,1"]
    first = grid(sweep)[0].directory
    record = {"state": "finished", "starts": 1, "config": {}, "selections": {"last": {}, "best_test": {}}}

    def work() -> None:
        with claimed(first):
            held.set()
            wait_until(lambda: [s["state"] for s in summaries()].count("finished") == 1)
            (first / "summary.json").write_text(json.dumps(record))

    held = threading.Event()
    other = threading.Thread(target=work)
    other.start()
    held.wait()
    done = mixbench("train", "-m", *sweep)
    other.join()
    assert (done.status, "sweep: 2 of 2 runs finished" in done.out) == (0, True)
    assert read_summary(first) == {**record, "files": {}}


@pytest.mark.long
@pytest.mark.fault("claims")
def test_two_launchers_share_a_grid(workplace: Path) -> None:
    """Both work, no run is started twice, and both report the whole grid."""
    sweep = ["epochs=30", "seed=0,1,2,3,4,5"]
    processes = [start(*sweep, out="a.txt"), start(*sweep, *JOBLIB, out="b.txt")]
    statuses = [process.wait(timeout=240) for process in processes]
    texts = [Path(name).read_text() for name in ("a.txt", "b.txt")]
    assert statuses == [0, 0], texts
    assert all("sweep: 6 of 6 runs finished" in text for text in texts)
    assert [s["starts"] for s in summaries()] == [1] * 6
    trained = [text.count("epoch 30/30") for text in texts]
    assert sum(trained) == 6
    assert min(trained) > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param((), JOBLIB, marks=pytest.mark.long),
        pytest.param(JOBLIB, SUBMITIT, marks=pytest.mark.long),
        pytest.param(SUBMITIT, ("--jobs=2",), marks=pytest.mark.long),
    ],
)
@pytest.mark.fault("kill")
def test_a_killed_grid_goes_on_under_another_launcher(workplace: Path, first: tuple, second: tuple) -> None:
    """kill -9 of the launcher in its second or third run; the next launcher runs what is missing and nothing else."""
    sweep = ["epochs=20", "seed=0,1,2,3"]
    process = start(*sweep, *first)
    wait_until(lambda: "finished" in [s.get("state") for s in summaries()])
    process.kill()
    process.wait()
    done = {s["id"]: s["ended"] for s in summaries() if s["state"] == "finished"}
    assert 0 < len(done) < 5
    again = start(*sweep, *second, out="again.txt")
    assert again.wait(timeout=240) == 0, Path("again.txt").read_text()
    found = summaries()
    assert [s["state"] for s in found] == ["finished"] * 4
    assert all(s["starts"] == 1 for s in found if s["id"] in done)
    assert {s["id"]: s["ended"] for s in found if s["id"] in done} == done
    assert all(len(read_rows(p.parent)) == 20 for p in Path("outputs").rglob("epochs.csv"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "number"),
    [
        pytest.param(JOBLIB, signal.SIGTERM, marks=pytest.mark.long),
        pytest.param(JOBLIB, signal.SIGINT, marks=pytest.mark.long),
        pytest.param(JOBLIB, signal.SIGKILL, marks=pytest.mark.long),
        (("--jobs=2",), signal.SIGKILL),
    ],
)
@pytest.mark.fault("workers")
def test_workers_end_with_their_launcher(workplace: Path, launcher: tuple, number: int) -> None:
    """Both runs under way leave a checkpoint; soon after the launcher no process of its trains any more."""
    process = start("epochs=5000", "seed=0,1,2,3", "checkpoint_seconds=1000", *launcher)
    wait_until(lambda: sum(len(read_rows(p.parent)) > 1 for p in Path("outputs").rglob("epochs.csv")) == 2)
    workers = [
        p for p in psutil.Process(process.pid).children() if "resource_tracker" not in str(p.cmdline())
    ]
    process.send_signal(number)
    process.wait(timeout=60)
    assert psutil.wait_procs(workers, timeout=30)[1] == []
    training = [p for p in Path("outputs").rglob("summary.json") if holder(p.parent)]
    assert not training
    assert len(list(Path("outputs").rglob("last.pt"))) == 2
    assert [s["state"] for s in summaries()] == ["interrupted"] * 2
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        text = Path("out.txt").read_text()
        assert "the same command goes on" in text.lower()
        assert "Traceback" not in text, text


@pytest.mark.long
@pytest.mark.fault("workers")
def test_a_cell_that_kills_its_worker_does_not_end_the_others(workplace: Path) -> None:
    """A worker that is killed from outside: the sweep says so, trains what had not begun, and exits with 1."""
    process = start("epochs=60", "seed=0,1,2,3", *JOBLIB)
    wait_until(lambda: sum(len(read_rows(p.parent)) > 1 for p in Path("outputs").rglob("epochs.csv")) == 2)
    owners = [o.pid for p in Path("outputs").rglob("summary.json") if (o := holder(p.parent))]
    os.kill(owners[0], signal.SIGKILL)
    assert process.wait(timeout=120) == 1
    text = Path("out.txt").read_text()
    assert "sweep: 2 of 4 runs finished" in text, text
