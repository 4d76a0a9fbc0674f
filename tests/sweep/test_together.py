"""Runs side by side: that all of them run, and that a signal loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import stand_in_mps

from mixbench.machine.signals import Interrupted
from mixbench.record.read import read_rows, read_summary
from mixbench.sweep import together
from mixbench.sweep.room import room
from mixbench.sweep.together import pool, train_together

TINY = ["dataset.train_size=200", "dataset.test_size=50", "batch_size=50", "train_clean_every=0"]


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
    seeds = [*TINY, "-m", "epochs=2", "seed=0,1"]
    sweep = [*seeds, "opt.lr=0.1,1e30"]
    alone = mixbench("train", *sweep, "output_dir=alone")
    together = mixbench("train", *sweep, "output_dir=together", "--jobs=2")
    assert (alone.status, together.status) == (1, 1)
    assert "2 runs side by side" in together.out
    assert (together.out.count("done: "), together.out.count("FAILED: ")) == (2, 2)
    assert "sweep: 2 of 4 runs finished" in together.out

    def results(root: str) -> dict:
        rows = {p.parent.name: read_rows(p.parent) for p in (workplace / root).rglob("epochs.csv")}
        return {run: [r["test_loss"] for r in row] for run, row in rows.items()}

    assert results("alone") == results("together")
    again = mixbench("train", *seeds, "opt.lr=0.1", "output_dir=together", "--jobs=2")  # those that finished
    assert (again.status, again.out.count("done: ")) == (0, 0)


# In training's place: `run FILE STATUS SLOT ...` notes in FILE its slot, whether another run has it at the same time,
# and every signal; it ends after a while with STATUS, or after a signal with 143. With STATUS "never" it waits for one.
STAND_IN = """
noted() { echo "$1" >> "$file"; asked=1; }
file=$1 status=$2 asked= i=0
trap 'noted INT' INT; trap 'noted TERM' TERM
mkdir "${file%/*}/$3" || echo taken >> "$file"; trap 'rmdir "${file%/*}/$3"' EXIT
echo "$3 threads $OMP_NUM_THREADS" >> "$file"
while [ -z "$asked" ] && { [ "$status" = never ] || [ $i -lt 3 ]; }; do sleep 0.03; i=$((i + 1)); done
[ -z "$asked" ] && exit "$status"
sleep 0.3; exit 143
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[str]]]:
    """`stand_in(status, ...)`: the overrides of runs that end with these, and make notes in tmp_path/0, 1, ..."""
    monkeypatch.setattr(together, "TRAIN", ("sh", "-c", STAND_IN, "run"))
    return lambda *statuses: [[str(tmp_path / str(i)), str(status)] for i, status in enumerate(statuses)]


def noted(folder: Path, i: int) -> list[str]:
    """What run i has noted, once it has noted something."""
    deadline = time.monotonic() + 30
    while not (folder / str(i)).exists() or not (folder / str(i)).read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return (folder / str(i)).read_text().splitlines()


def test_every_run_has_a_slot_of_its_own(stand_in: Callable, tmp_path: Path, monkeypatch) -> None:
    """Oracle: mkdir, which fails where two runs have one slot. Seven runs, three slots, two of seven cores for each."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    ended: dict[int, int] = {}
    statuses = train_together(stand_in(*range(7)), [["a"], ["b"], ["c"]], {}, ended.__setitem__)
    assert statuses == list(range(7))
    assert ended == {i: i for i in range(7)}
    notes = [noted(tmp_path, i) for i in range(7)]
    assert notes[:3] == [["a threads 2"], ["b threads 2"], ["c threads 2"]]
    assert all(note in notes[:3] for note in notes)


def test_files_of_the_current_folder_are_no_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A random.py there, which `python -m mixbench` would import for Python's own and fail."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    Path("random.py").write_text("raise SystemExit(3)\n")
    assert train_together([["--help"]], [[]], {}, lambda i, status: None) == [0]


@pytest.mark.fault("signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_each_run_once(
    stand_in: Callable, tmp_path: Path, capsys: pytest.CaptureFixture, number: int
) -> None:
    """By hand: one run has ended, two go on for ever, six wait. Those two get it, once, and none of the six begins."""

    def send() -> None:
        noted(tmp_path, 0)
        noted(tmp_path, 2)
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    with pytest.raises(Interrupted) as stopped:
        train_together(stand_in("never", 1, *["never"] * 7), [["a"], ["b"]], {}, lambda i, status: None)
    sender.join()
    assert stopped.value.exit_status == 128 + number
    assert (
        capsys.readouterr().err == "stopping: the runs save their state\n"
    )  # said before they are waited for
    name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    kept = "the runs under way have saved their state"
    assert str(stopped.value) == f"stopped by {name}: {kept}; the same command goes on from there."
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["0", "1", "2"]
    name = signal.Signals(number).name.removeprefix("SIG")
    assert [noted(tmp_path, i)[1:] for i in range(3)] == [[name], [], [name]]


def test_who_was_told_to_stop_is_not_told_again(stand_in: Callable, tmp_path: Path) -> None:
    """A run that was stopped alone (a trial that is pruned) and then a signal for all: one signal each."""
    first, second = stand_in("never", "never")
    with pytest.raises(Interrupted), pool([["a"], ["b"]], {}) as places:  # noqa: PT012
        trainings = [places.start(first), places.start(second)]
        assert places.free == 0
        for i in range(2):
            noted(tmp_path, i)
        trainings[0].stop(signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert places.stopped
    assert [run.status for run in trainings] == [143, 143]
    assert [noted(tmp_path, i)[1:] for i in range(2)] == [["TERM"], ["INT"]]


def test_an_error_leaves_no_process(stand_in: Callable, tmp_path: Path) -> None:
    """What fails in the block ends it: the runs under way save and end before the error goes on."""
    overrides = stand_in("never")[0]
    with pytest.raises(ZeroDivisionError), pool([["a"]], {}) as places:  # noqa: PT012
        training = places.start(overrides)
        noted(tmp_path, 0)
        raise ZeroDivisionError
    assert training.status == 143


@pytest.mark.fault("signals")
def test_a_signal_ends_what_runs_share_a_gpu_under(
    stand_in: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand: Ctrl-C in a sweep whose runs share a GPU under MPS. They save first, then the daemon is told to quit."""
    daemon = stand_in_mps.install(tmp_path / "mps", monkeypatch)
    runs = stand_in("never", "never", "never")
    training = STAND_IN.replace("threads $OMP_NUM_THREADS", "pipes ${CUDA_MPS_PIPE_DIRECTORY##*/}")
    monkeypatch.setattr(together, "TRAIN", ("sh", "-c", training, "run"))

    def send() -> None:
        noted(tmp_path, 0)
        noted(tmp_path, 1)
        os.kill(os.getpid(), signal.SIGINT)

    sender = threading.Thread(target=send)
    sender.start()
    with pytest.raises(Interrupted), room(2, "cuda:0", len(runs)) as found:
        train_together(runs, [["a"], ["b"]], found.environment, lambda i, status: None)
    sender.join()
    assert [noted(tmp_path, i) for i in range(2)] == [["a pipes pipe", "INT"], ["b pipes pipe", "INT"]]
    assert daemon.commands == ["get_server_list", "-d", "get_server_list", "quit"]


@pytest.mark.slow
@pytest.mark.fault("signals")
def test_a_signal_is_passed_on_and_nothing_is_lost(workplace: Path) -> None:
    """SIGTERM to a sweep with two long runs under way, four waiting: both save, status 143, none is begun after it."""
    command = [
        sys.executable,
        "-m",
        "mixbench",
        "train",
        *TINY,
        "-m",
        "--jobs=2",
        "epochs=2000",
        "seed=0,1,2,3,4,5",
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
