"""The run directory: rows, selections, atomic files."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_records import opened

from mixbench import files
from mixbench.errors import OutputError
from mixbench.record import checksum
from mixbench.record.claim import RunBusy, claimed
from mixbench.record.read import damages, read_rows
from mixbench.record.select import selections, with_gaps
from mixbench.record.write import move_aside

floats = st.floats(allow_nan=True, allow_infinity=True)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 10**9), floats, floats), min_size=1, max_size=5, unique_by=lambda v: v[0]
    )
)
def test_rows_come_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, values: list) -> None:
    """Oracle: identity. Every float, infinities and NaN included, survives epochs.csv."""
    directory = tmp_path_factory.mktemp("rows")
    rows = [{"epoch": e, "test_acc": a, "loss": b} for e, a, b in sorted(values)]
    with opened(directory) as record:
        record.write_rows(rows)
    for before, after in zip(rows, read_rows(directory), strict=True):
        for key, value in before.items():
            assert after[key] == value or (math.isnan(after[key]) and math.isnan(value))


@given(st.lists(st.tuples(floats, st.floats(0, 100)), min_size=1, max_size=20))
def test_selections_agree_with_pandas(values: list) -> None:
    """Oracle: pandas' idxmax (first of equals) and max."""
    rows = [{"epoch": i + 1, "test_acc": acc, "loss": loss} for i, (loss, acc) in enumerate(values)]
    frame = pd.DataFrame(rows)
    chosen = selections(rows)
    assert chosen["last"]["epoch"] == len(rows)
    assert chosen["best_test"]["epoch"] == frame["epoch"][frame["test_acc"].idxmax()]
    assert chosen["max"]["test_acc"] == frame["test_acc"].max()
    if not frame["loss"].isna().all():
        assert chosen["max"]["loss"] == np.nanmax(frame["loss"])


def test_best_val_is_chosen_on_the_validation_set() -> None:
    """By hand: the best validation epoch is not the best test epoch."""
    rows = [
        {"epoch": 1, "test_acc": 90.0, "val_acc": 80.0},
        {"epoch": 2, "test_acc": 80.0, "val_acc": 85.0},
        {"epoch": 3, "test_acc": 85.0, "val_acc": 85.0},
    ]
    chosen = selections(rows)
    assert (chosen["best_test"]["epoch"], chosen["best_val"]["epoch"]) == (1, 2)


def test_gap_is_test_minus_train_for_each_definition() -> None:
    """Equation: gap = test accuracy - train accuracy, in points."""
    row = with_gaps({"test_acc": 75.5, "train_acc_weighted": 60.25, "train_acc_clean": 99.0})
    assert row["gap_weighted"] == 15.25
    assert row["gap_clean"] == -23.5


@pytest.mark.fault("disk")
def test_atomic_write_keeps_the_old_file_when_the_disk_is_full(tmp_path: Path, monkeypatch) -> None:
    """A failing fsync (ENOSPC): the old content stays, no temporary file is left, the message says why."""
    path = tmp_path / "summary.json"
    files.write_atomic(path, b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OutputError, match="no space left"):
        files.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]


def test_moving_aside_deletes_nothing_and_respects_a_claim(tmp_path: Path) -> None:
    """Numbered names; a run under way is not moved."""
    run = tmp_path / "abc"
    for number in (1, 2):
        run.mkdir()
        (run / "mark").write_text(str(number))
        aside = move_aside(run)
        assert aside is not None
        assert aside.name == f"abc.old{number}"
        assert sorted(p.name for p in aside.iterdir()) == ["mark"]
        assert (aside / "mark").read_text() == str(number)
    run.mkdir()
    with claimed(run), pytest.raises(RunBusy):
        move_aside(run)
    assert run.exists()
    assert move_aside(tmp_path / "none") is None


def test_a_checkpoint_that_cannot_be_gone_on_from_is_damage(tmp_path: Path) -> None:
    """Oracle: SHA-256 over all but the last 64 bytes. Only of runs that would go on from it."""
    content = b"weights" * 300_000
    for name, tail in {"last.pt": hashlib.sha256(content).hexdigest(), "previous.pt": "0" * 64}.items():
        (tmp_path / name).write_bytes(content + tail.encode())
    assert checksum.of_checkpoint(tmp_path / "last.pt") == (hashlib.sha256(content).hexdigest(),) * 2
    (tmp_path / "next.pt").write_bytes(b"")
    with opened(tmp_path) as record:
        record.write_summary({"state": "failed", "config": {}})
    lines = damages(tmp_path)
    assert [line.partition(" ")[0] for line in lines] == [
        str(tmp_path / n) for n in ("previous.pt", "next.pt")
    ]
