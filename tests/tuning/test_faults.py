"""`mixbench tune` stopped and killed for real, in processes of its own, and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

optuna = pytest.importorskip("optuna")

STAND_IN = Path(__file__).parents[1] / "support/training_stand_in.py"
COMMAND = ["opt.lr=tag(log,interval(0.001,1))", "dataset.val_size=300", "epochs=8", "--trials", "4"]


def start(folder: Path) -> subprocess.Popen:
    """The search below `folder`, whose epochs take some time; its trainings are processes too."""
    return subprocess.Popen(
        [sys.executable, str(STAND_IN), "tune", *COMMAND, f"output_dir={folder}"],
        # Commands that have run in this process may have set the second, which hides the modules beside the script.
        env=os.environ | {"STAND_IN_SECONDS": "0.1", "PYTHONSAFEPATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def trials(folder: Path) -> list[tuple]:
    """Number, state, value, values tried and reports of every trial."""
    (file,) = folder.rglob("study.db")
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{file}")
    return [(t.number, t.state.name, t.value, t.params, t.intermediate_values) for t in study.trials]


def starts(folder: Path) -> Sequence[int]:
    """How often each run was begun or taken up."""
    return [json.loads(path.read_text())["starts"] for path in folder.rglob("summary.json")]


def wait_for_second_trial(search: subprocess.Popen, folder: Path) -> None:
    """Return in the middle of the second trial."""
    while len(list(folder.rglob("epochs.csv"))) < 2:
        assert search.poll() is None, search.communicate()[0]
        time.sleep(0.02)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> list[tuple]:
    """The same search, left alone."""
    folder = tmp_path_factory.mktemp("reference")
    search = start(folder)
    out, _ = search.communicate(timeout=120)
    assert search.returncode == 0, out
    return trials(folder)


@pytest.mark.fault("signals")
@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_search_and_its_runs(tmp_path: Path, reference: list[tuple], number: int) -> None:
    """Status 128 + signal, no process left; the same command gives what the search gives that was left alone."""
    search = start(tmp_path)
    wait_for_second_trial(search, tmp_path)
    trainings = psutil.Process(search.pid).children()
    search.send_signal(number)
    out, _ = search.communicate(timeout=60)
    assert search.returncode == 128 + number, out
    assert "the same command goes on" in out
    assert "Traceback" not in out
    assert trainings
    assert not any(training.is_running() for training in trainings)
    assert start(tmp_path).wait(timeout=120) == 0
    assert trials(tmp_path) == reference
    assert sorted(starts(tmp_path))[-1] == 2  # the run under way was taken up


@pytest.mark.fault("kill")
@pytest.mark.long
@pytest.mark.parametrize("alone", [True, False], ids=["search", "search and training"])
def test_a_killed_search_goes_on(tmp_path: Path, reference: list[tuple], alone: bool) -> None:
    """SIGKILL of the search, whose training then saves and ends, or of both; the same command, the same trials."""
    search = start(tmp_path)
    wait_for_second_trial(search, tmp_path)
    victims = [psutil.Process(search.pid), *([] if alone else psutil.Process(search.pid).children())]
    for victim in victims:
        victim.kill()
    search.communicate(timeout=60)
    assert start(tmp_path).wait(timeout=120) == 0
    assert trials(tmp_path) == reference
