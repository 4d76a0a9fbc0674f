"""A saved run: what it says of whole, damaged and missing directories, and that it is read only when asked."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_records import ENVIRONMENT, leave, opened, rows_of

from mixbench.config.compose import compose
from mixbench.config.identity import flat, run_dir
from mixbench.errors import DataError
from mixbench.papers.cells import Planned
from mixbench.papers.spec import Cell
from mixbench.record import checksum, read
from mixbench.record.run import COST, SavedRun
from mixbench.record.standing import epochs_left, progress, standing

STATES = ("finished", "running", "interrupted", "failed", "unreadable", "missing")


@pytest.fixture
def saved(workplace: Path) -> SavedRun:
    """A finished run of three epochs, the second of which is the best."""
    config = compose(["opt=sam", "epochs=3"])
    found = SavedRun(run_dir(config))
    leave(Planned(Cell("", "", 0, ()), config, found), [10.0, 30.0, 20.0])
    with opened(found.directory) as record:
        record.write_config(config)
    return SavedRun(found.directory)


def test_everything_is_there(saved: SavedRun) -> None:
    """Oracle: json and csv on the files, and the config that the run was made from."""
    config = compose(["opt=sam", "epochs=3"])
    summary = json.loads((saved.directory / "summary.json").read_text())
    with open(saved.directory / "epochs.csv") as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    assert (saved.state, saved.error, saved.id) == ("finished", "", summary["id"])
    assert saved.values == json.loads(json.dumps(flat(config)))
    assert saved.config == config
    assert saved.rows == rows
    assert saved.epochs_done == 3
    assert saved.environment == ENVIRONMENT
    assert (saved.device, saved.commit) == ("Some CPU", "0123456789")
    assert saved.weights == saved.directory / "model.safetensors"
    assert {name: row["test_acc"] for name, row in saved.selections.items()} == {
        "last": 20.0,
        "best_test": 30.0,
        "max": 30.0,
    }
    assert (saved.metric("test_acc"), saved.metric("test_acc", "last")) == (30.0, 20.0)
    assert [saved.metric(key) for key in COST[:2]] == [summary[key] for key in COST[:2]] == [15.0, 3.0]
    assert math.isnan(saved.metric("val_acc"))
    assert math.isnan(saved.metric("test_acc", "best_val"))


def test_a_file_is_read_when_asked_for_and_kept(saved: SavedRun) -> None:
    """What was read stays as it was; another SavedRun looks again."""
    _ = saved.summary
    for name in ("summary.json", "epochs.csv"):
        (saved.directory / name).unlink()
    assert saved.state == "finished"
    assert saved.rows == []
    assert SavedRun(saved.directory).state == "missing"


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    """No exception, and nothing made."""
    run = SavedRun(tmp_path / "none")
    assert (run.state, run.error, run.id, run.values, run.selections) == ("missing", "", "none", {}, {})
    assert (run.rows, run.environment, run.damages()) == ([], {}, [])
    assert (run.device, run.commit, math.isnan(run.metric("test_acc"))) == ("unknown", "unknown", True)
    assert not run.directory.exists()


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["state", "config", "selections", "last", "best_test", "test_acc", "error", "files", "id", "train_seconds"]
    ), inner),
)  # fmt: skip
summaries = st.fixed_dictionaries(
    {"state": st.sampled_from(["finished", "failed", "running"]) | json_values},
    optional=dict.fromkeys(("config", "selections", "error", "files", "id", "train_seconds"), json_values),
)


@pytest.mark.fault("damage")
@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=60) | (summaries | json_values).map(lambda value: json.dumps(value).encode()))
def test_no_summary_is_an_exception(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever summary.json holds, everything can be asked; what is no summary of a run is named as unreadable."""
    directory = tmp_path_factory.mktemp("run")
    (directory / "summary.json").write_bytes(content)
    run = SavedRun(directory)
    assert run.state in STATES
    for key in ("test_acc", "train_seconds"):
        assert isinstance(run.metric(key, "last"), float)
    assert isinstance(run.id, str)
    assert run.epochs_done == 0
    assert isinstance(run.values, dict)
    assert standing(run) in (*STATES, "partial")
    if run.state == "unreadable":
        assert "summary.json" in run.error
        assert run.damages() == [run.error]
    if run.state == "finished":
        assert {"last", "best_test"} <= run.selections.keys()
        assert epochs_left(run, 5) == 0


@pytest.mark.fault("damage")
@pytest.mark.parametrize(
    ("summary", "words"),
    [
        ({"config": {}}, "it has no state"),
        ({"state": "done", "config": {}}, "state is 'done'; expected is one of running, finished"),
        ({"state": "failed"}, "it has no config"),
        ({"state": "failed", "config": {}, "selections": []}, "selections is a list; expected is an object"),
        ({"state": "finished", "config": {}, "selections": {"last": {}}}, "selections last and best_test"),
    ],
)
def test_what_a_summary_lacks_is_said(tmp_path: Path, summary: dict, words: str) -> None:
    """By hand."""
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    assert SavedRun(tmp_path).state == "unreadable"
    assert words in SavedRun(tmp_path).error


@pytest.mark.fault("damage")
@pytest.mark.parametrize(
    "content", ["epoch,test_acc\n1,fast\n", "test_acc\n1\n", "epoch,a\n1\n", "epoch\n\0\n"]
)
def test_rows_that_cannot_be_trusted_are_refused(tmp_path: Path, content: str) -> None:
    """DataError with the file, every time; they count as no epoch."""
    (tmp_path / "epochs.csv").write_text(content)
    run = SavedRun(tmp_path)
    for _ in range(2):
        with pytest.raises(DataError, match=r"epochs\.csv is not a table of epochs"):
            _ = run.rows
    assert run.epochs_done == 0


@pytest.mark.fault("damage")
def test_another_table_than_the_summary_says(saved: SavedRun) -> None:
    """By its checksum, which a finished summary holds."""
    with opened(saved.directory) as record:
        record.write_summary(saved.summary)
    assert SavedRun(saved.directory).damages() == []
    (saved.directory / "epochs.csv").write_text("epoch,test_acc\n1,99.0\n")
    with pytest.raises(DataError, match=r"epochs\.csv is damaged"):
        _ = SavedRun(saved.directory).rows
    (damage,) = SavedRun(saved.directory).damages()
    assert "epochs.csv is damaged" in damage


@pytest.mark.parametrize("name", ["epochs.csv", "summary.json"])
@pytest.mark.parametrize("ends", [True, False])
def test_a_reader_beside_a_writer_sees_no_damage(
    saved: SavedRun, monkeypatch: pytest.MonkeyPatch, name: str, ends: bool
) -> None:
    """Just after the file `name` was read a process ends the run, or goes on with it: new rows, another summary.

    Oracle: the rows before and after.
    """
    before, after = rows_of([10.0, 30.0]), rows_of([10.0, 30.0, 20.0])
    going_on = {**saved.summary, "state": "running"}
    with opened(saved.directory) as record:
        record.write_rows(before)
        record.write_summary(going_on if ends else {**saved.summary, "state": "interrupted"})
        written = list[Path]()

        def beside(look: Callable) -> Callable:
            def looked(path: Path, *more: int) -> object:
                found = look(path, *more)
                if path.name == name and not written:
                    written.append(path)
                    if not ends:
                        record.write_summary(going_on)
                    record.write_rows(after)
                    if ends:
                        record.write_summary(saved.summary)
                return found

            return looked

        monkeypatch.setattr(read, "read_bounded", beside(read.read_bounded))
        monkeypatch.setattr(checksum, "of_file", beside(checksum.of_file))
        assert SavedRun(saved.directory).rows in (before, after)
        assert SavedRun(saved.directory).rows == after
        written.clear()
        assert SavedRun(saved.directory).damages() == []


@pytest.mark.parametrize(
    ("state", "stands", "left", "words"),
    [
        ("finished", "finished", 0, ""),
        ("interrupted", "partial", 3, " (2 of 5 epochs)"),
        ("running", "partial", 3, " (2 of 5 epochs)"),  # by no process
        ("failed", "failed", 5, ""),
    ],
)
def test_how_a_run_stands(tmp_path: Path, state: str, stands: str, left: int, words: str) -> None:
    """By hand: two of five epochs are done."""
    with opened(tmp_path) as record:
        record.write_rows(rows_of([1.0, 2.0]))
        record.write_summary({"state": state, "config": {}, "selections": {"last": {}, "best_test": {}}})
    run = SavedRun(tmp_path)
    assert (standing(run), epochs_left(run, 5), progress(run, 5)) == (stands, left, words)
