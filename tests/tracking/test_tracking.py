"""Trackers: fed with the record's rows, complete after any stop, never in the way of a run or of its identity."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import os
import signal
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mixbench import tracking
from mixbench.config.compose import compose
from mixbench.config.identity import flat, run_id
from mixbench.errors import ConfigError
from mixbench.record.read import read_rows

QUICK = ("epochs=3", "dataset.train_size=200", "dataset.test_size=50", "batch_size=50", "train_clean_every=2")


def only_run(root: Path) -> Path:
    (summary,) = root.rglob("summary.json")
    return summary.parent


def weights(root: Path) -> str:
    return hashlib.sha256((only_run(root) / "model.safetensors").read_bytes()).hexdigest()


class Fake:
    """Notes what it is told, in a list that outlives it; stops working where `fails` says."""

    def __init__(self, told: list, fails: str, **given: Any) -> None:
        self.told, self.fails = told, fails
        self.note("build", given)

    def note(self, what: str, value: Any) -> None:
        self.told.append((what, value))
        if self.fails == what and (what != "log" or value["epoch"] == 2):
            raise OSError(f"no {what} today")

    def log(self, row: dict) -> None:
        self.note("log", row)

    def close(self, state: str) -> None:
        self.note("close", state)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch):
    """Put a Fake in TensorBoard's place: `told = fake(fails="log")`."""

    def install(fails: str = "") -> list:
        told: list = []
        module = ModuleType("mixbench.tracking.tensorboard")
        module.TensorBoard = lambda **given: Fake(told, fails, **given)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(tracking, "require", lambda name: None)
        return told

    return install


# ---------------------------------------------------------------- what a tracker gets


def test_it_gets_the_rows_of_the_record(mixbench, workplace: Path, fake) -> None:
    """Oracle: epochs.csv and summary.json of the same run."""
    told = fake()
    assert mixbench("train", *QUICK, "tracker=tensorboard").status == 0
    (_, given), *rows, end = told
    assert [what for what, _ in rows] == ["log"] * 3
    assert str([row for _, row in rows]) == str(read_rows(only_run(workplace)))
    assert end == ("close", "finished")
    assert given["directory"] == only_run(workplace).relative_to(workplace)
    summary = json.loads((only_run(workplace) / "summary.json").read_text())
    assert json.loads(json.dumps(given["config"])) == summary["config"]
    assert given["config"]["tracker"] == "tensorboard"


def test_a_resumed_run_goes_on_under_the_same_key(mixbench, workplace: Path, fake, monkeypatch) -> None:
    """Stopped in epoch 2 by SIGTERM: the second start has all rows again; a run from scratch is another one."""
    told = fake()
    steps = []

    def stop(self, *arguments):
        steps.append(1)
        if len(steps) == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr("mixbench.engine.progress.Progress.step", stop)
        assert mixbench("train", *QUICK, "tracker=tensorboard").status == 143
    assert [what for what, _ in told] == ["build", "log", "close"]
    assert told[-1] == ("close", "interrupted")
    assert mixbench("train", *QUICK, "tracker=tensorboard").status == 0
    assert [row["epoch"] for what, row in told[3:] if what == "log"] == [1, 2, 3]
    monkeypatch.setattr(
        "mixbench.training.run._now", lambda: "2026-01-02T03:04:05+00:00"
    )  # later than the first start
    assert mixbench("train", *QUICK, "tracker=tensorboard", "force=true").status == 0
    first, second, anew = (given["key"] for what, given in told if what == "build")
    assert first == second != anew


@pytest.mark.parametrize("sweep", [(), ("-m",)])
def test_a_run_that_is_finished_gets_there_too(mixbench, workplace: Path, fake, sweep: tuple) -> None:
    """Trained without a tracker, asked for with one, alone and in a sweep: all rows, under one key. Oracle: epochs.csv.
    The record stays as it was.
    """
    assert mixbench("train", *QUICK).status == 0
    run = only_run(workplace / "outputs")
    record = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    told = fake()
    again = mixbench("train", *sweep, *QUICK, "tracker=tensorboard")
    assert again.status == 0, again.err
    assert f"tracker tensorboard has the 3 epochs of {run.relative_to(workplace)}" in again.out
    rows = [value for what, value in told if what == "log"]
    assert [{k: v for k, v in row.items() if v == v} for row in rows] == [
        {k: v for k, v in row.items() if v == v} for row in read_rows(run)
    ]
    assert [what for what, _ in told] == ["build", "log", "log", "log", "close"]
    assert told[-1] == ("close", "finished")
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == record


def test_a_tracker_that_fails_leaves_a_finished_run_shown(mixbench, workplace: Path, fake, caplog) -> None:
    """Status 0, and the failure is said."""
    assert mixbench("train", *QUICK).status == 0
    fake(fails="log")
    again = mixbench("train", *QUICK, "tracker=tensorboard")
    assert again.status == 0
    assert again.out.startswith("finished")
    assert "has the 3 epochs" not in again.out
    assert "tracker  tensorboard failed" in caplog.text


def test_a_failed_run_is_closed_as_such(mixbench, workplace: Path, fake) -> None:
    """A learning rate that makes the loss infinite."""
    told = fake()
    assert mixbench("train", *QUICK, "tracker=tensorboard", "opt.lr=1e30").status == 1
    assert told[-1] == ("close", "failed")


@pytest.mark.parametrize(("fails", "calls"), [("build", 1), ("log", 3), ("close", 5)])
def test_a_tracker_that_fails_is_reported_once_and_changes_nothing(
    mixbench, workplace: Path, fake, fails: str, calls: int
) -> None:
    """Oracle: the run without a tracker, bit for bit."""
    told = fake(fails)
    tracked = mixbench("train", *QUICK, "tracker=tensorboard", "output_dir=tracked")
    assert tracked.status == 0
    assert len(told) == calls
    report = "tracker  tensorboard failed and is off from here; the run and its record go on: OSError: no "
    report += f"{fails} today"
    assert tracked.out.count("tracker ") == tracked.out.count(report) == 1
    assert mixbench("train", *QUICK, "output_dir=plain").status == 0
    assert weights(workplace / "tracked") == weights(workplace / "plain")


# ---------------------------------------------------------------- config


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_the_tracker_is_no_part_of_a_runs_identity(name: str) -> None:
    """Oracle: the same config without it. Its name is in the record all the same."""
    plain, config = (compose(["augment=gmix", *extra]) for extra in ([], [f"tracker={name}"]))
    assert run_id(config) == run_id(plain)
    assert not [key for key in flat(config, all_keys=False) if key.startswith("tracker")]
    assert flat(config)["tracker"] == name


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_a_missing_package_is_named_with_its_extra(mixbench, workplace: Path, monkeypatch, name: str) -> None:
    """Status 2 before any data is read; a folder that is called like the package is no package."""
    (workplace / name).mkdir()
    find = importlib.util.find_spec

    def here_alone(wanted: str, *arguments: Any) -> Any:
        return PathFinder.find_spec(name, [str(workplace)]) if wanted == name else find(wanted, *arguments)

    monkeypatch.setattr(importlib.util, "find_spec", here_alone)
    assert here_alone(name) is not None
    with pytest.raises(ConfigError, match=rf"tracker={name}: .* pip install 'mixbench\[{name}\]'"):
        tracking.require(name)
    done = mixbench("train", *QUICK, f"tracker={name}")
    assert (done.status, f"mixbench[{name}]" in done.err, "data " in done.out) == (2, True, False)


def test_every_tracker_has_an_extra() -> None:
    """Oracle: pyproject.toml."""
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    for name in tracking.TRACKERS:
        assert f'\n{name} = ["{name}"]' in text


# ---------------------------------------------------------------- the real packages


def resumed(mixbench, workplace: Path, monkeypatch, name: str) -> Path:
    """A run of three epochs whose process vanishes in the second, and that is then finished."""

    class Killed(BaseException):
        """No handler of ours may catch it."""

    steps = []

    def kill(self, *arguments):
        steps.append(1)
        if len(steps) == 10:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("mixbench.engine.progress.Progress.step", kill)
        patch.setattr(tracking._Guarded, "call", lambda self, what, value, call=tracking._Guarded.call: (
            call(self, what, value) if what != "close" else None
        ))  # fmt: skip
        with pytest.raises(Killed):
            mixbench("train", *QUICK, f"tracker={name}", "checkpoint_seconds=0")
    done = mixbench("train", *QUICK, f"tracker={name}", "checkpoint_seconds=0")
    assert done.status == 0
    assert "tracker  " not in done.out
    return only_run(workplace)


def assert_equal(series: dict[str, list[tuple[int, float]]], directory: Path) -> None:
    """Every finite number of epochs.csv once, at its epoch, and nothing else."""
    expected: dict[str, list[tuple[int, float]]] = {}
    for row in read_rows(directory):
        for column, value in row.items():
            if column != "epoch" and math.isfinite(value):
                expected.setdefault(column, []).append((row["epoch"], pytest.approx(value, rel=1e-6)))
    assert series == expected


def test_tensorboard_shows_the_record(mixbench, workplace: Path, monkeypatch) -> None:
    """Oracle: TensorBoard's own reader against epochs.csv, after a resume."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    directory = resumed(mixbench, workplace, monkeypatch, "tensorboard")
    events = accumulator.EventAccumulator(str(directory / "tensorboard"))
    events.Reload()
    tags = events.Tags()["scalars"]
    assert_equal({tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags}, directory)


@pytest.mark.slow
def test_mlflow_shows_the_record(mixbench, workplace: Path, monkeypatch) -> None:
    """Oracle: MLflow's own client against epochs.csv, after a resume: one run, finished, in a local file."""
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    directory = resumed(mixbench, workplace, monkeypatch, "mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{workplace}/outputs/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("mixbench").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["augment"] == "none"
    history = {key: client.get_metric_history(run.info.run_id, key) for key in run.data.metrics}
    assert_equal({key: [(m.step, m.value) for m in points] for key, points in history.items()}, directory)


@pytest.mark.slow
def test_wandb_writes_offline(mixbench, workplace: Path, monkeypatch) -> None:
    """Every start leaves an offline run under the same id in the run's directory."""
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    directory = resumed(mixbench, workplace, monkeypatch, "wandb")
    folders = [path.name for path in (directory / "wandb").glob("offline-run-*")]
    assert len(folders) == 2
    assert len({name.rpartition("-")[2] for name in folders}) == 1
