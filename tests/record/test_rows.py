"""epochs.csv while it grows: a line for each epoch, whatever happens to the process or the disk meanwhile."""

from __future__ import annotations

import csv
import errno
import io
import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_records import opened, rows_of

from mixbench.errors import OutputError
from mixbench.record.claim import CLAIM, Claim, ClaimLost
from mixbench.record.read import Row, read_rows
from mixbench.record.rows import marked
from mixbench.record.write import OpenRecord

ROWS = rows_of([10.0, 30.0, 20.0])
numbers = st.one_of(st.integers(0, 10**9), st.floats())


def growing(record: OpenRecord, rows: list[Row]) -> None:
    for count in range(1, len(rows) + 1):
        record.add_row(rows[:count])


def by_hand(rows: list[Row]) -> bytes:
    """The whole file as csv.DictWriter writes it."""
    text = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {k: "" if isinstance(v, float) and math.isnan(v) else repr(v) for k, v in row.items()}
        )
    return text.getvalue().encode()


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.dictionaries(st.sampled_from("abc"), numbers, max_size=3), min_size=1, max_size=6), st.data()
)
def test_a_file_that_grew_is_the_one_written_at_once(
    tmp_path_factory, rows: list, data: st.DataObject
) -> None:
    """Oracle: csv.DictWriter over all rows. Columns may come later; the mark of any moment finds its rows again."""
    rows = [{"epoch": number, **row} for number, row in enumerate(rows, 1)]
    directory, marks = tmp_path_factory.mktemp("run"), []
    with opened(directory) as record:
        for count in range(1, len(rows) + 1):
            record.add_row(rows[:count])
            marks.append(record.rows_mark)
    assert (directory / "epochs.csv").read_bytes() == by_hand(rows)
    found = read_rows(directory)
    for count, mark in enumerate(marks, 1):
        again = marked(found, mark)
        assert again is not None
        assert by_hand(again) == by_hand(rows[:count])
    count = data.draw(st.integers(0, len(rows) - 1))
    found[count] = {**found[count], "epoch": -1}
    assert [marked(found, mark) is None for mark in marks] == [n > count for n in range(1, len(rows) + 1)]


def test_one_line_is_written_for_one_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the number of rows before. Oracle: the bytes that reach the disk."""
    written: list[int] = []
    pwrite = os.pwrite

    def noted(handle: int, data: bytes, at: int) -> int:
        written.append(len(data))
        return pwrite(handle, data, at)

    with opened(tmp_path) as record:
        record.add_row(ROWS[:1])
        monkeypatch.setattr(os, "pwrite", noted)
        monkeypatch.setattr(OpenRecord, "write_rows", None)
        rows = list(ROWS[:1])
        for epoch in range(2, 200):
            rows.append({**ROWS[1], "epoch": epoch})
            record.add_row(rows)
    assert sum(written) == (tmp_path / "epochs.csv").stat().st_size - len(by_hand(ROWS[:1]))


@pytest.mark.fault("disk")
@pytest.mark.parametrize("fails", ["pwrite", "fsync"])
def test_a_full_disk_leaves_the_rows_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """Half of the line fits, then ENOSPC, at once or when it is flushed: the file is as it was, and can grow again."""
    pwrite, full = os.pwrite, OSError(errno.ENOSPC, "No space left on device")

    def half(handle: int, data: bytes, at: int) -> int:
        if not refused:
            refused.append(at)
            return pwrite(handle, data[: len(data) // 2], at)
        raise full

    def refuse(handle: int) -> None:
        raise full

    with opened(tmp_path) as record:
        growing(record, ROWS[:2])
        refused: list[int] = []
        with monkeypatch.context() as patch:
            patch.setattr(os, fails, half if fails == "pwrite" else refuse)
            with pytest.raises(OutputError, match="no space left"):
                record.add_row(ROWS)
        assert (tmp_path / "epochs.csv").read_bytes() == by_hand(ROWS[:2])
        record.add_row(ROWS)
    assert (tmp_path / "epochs.csv").read_bytes() == by_hand(ROWS)


@pytest.mark.fault("kill")
def test_no_reader_sees_half_a_line(tmp_path: Path) -> None:
    """Brute force: the last line cut off after every byte of it, as a kill or a power cut may leave it."""
    with opened(tmp_path) as record:
        record.write_rows(ROWS)
    path = tmp_path / "epochs.csv"
    whole, before = path.read_bytes(), len(by_hand(ROWS[:2]))
    for size in range(before, len(whole)):
        path.write_bytes(whole[:size])
        assert read_rows(tmp_path) == ROWS[:2]
    path.write_bytes(whole)
    assert read_rows(tmp_path) == ROWS


@pytest.mark.fault("claims")
@pytest.mark.parametrize("lost", ["deleted", "taken over"])
def test_without_the_claim_no_line_is_added(tmp_path: Path, lost: str) -> None:
    """Rows were written while it held; the file stays, byte for byte."""
    with opened(tmp_path) as record:
        growing(record, ROWS[:2])
        (tmp_path / CLAIM).unlink()
        if lost == "taken over":
            (tmp_path / CLAIM).write_text("another")
        with pytest.raises(ClaimLost):
            record.add_row(ROWS)
    assert (tmp_path / "epochs.csv").read_bytes() == by_hand(ROWS[:2])
    (tmp_path / CLAIM).unlink(missing_ok=True)


@pytest.mark.fault("claims")
def test_a_line_that_comes_late_is_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Suspended between its look at the claim and its line, while another process takes the run over and goes on."""
    check, others = Claim.check, [{**row, "lr": 7.0} for row in ROWS]

    def suspended(claim: Claim) -> None:
        check(claim)
        monkeypatch.setattr(Claim, "check", check)
        (tmp_path / CLAIM).unlink()
        with opened(tmp_path) as other:
            other.write_rows(others[:2])

    with opened(tmp_path) as record:
        growing(record, ROWS[:2])
        monkeypatch.setattr(Claim, "check", suspended)
        record.add_row(ROWS)
        assert (tmp_path / "epochs.csv").read_bytes() == by_hand(others[:2])
        with pytest.raises(ClaimLost):
            record.add_row([*ROWS, ROWS[-1]])
    assert (tmp_path / "epochs.csv").read_bytes() == by_hand(others[:2])


MEDDLING: dict[str, Callable[[Path], object]] = {
    "deleted": lambda path: path.unlink(),
    "replaced": lambda path: (path.rename(path.with_name("old")), path.write_bytes(by_hand(ROWS[:1]))),
    "cut": lambda path: os.truncate(path, 100),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"4,5\n"),
}


@pytest.mark.parametrize("how", MEDDLING)
def test_rows_that_somebody_took_away_are_written_again(tmp_path: Path, how: str) -> None:
    """Between two epochs. Oracle: the file of an undisturbed run."""
    with opened(tmp_path) as record:
        growing(record, ROWS[:2])
        MEDDLING[how](tmp_path / "epochs.csv")
        record.add_row(ROWS)
    assert (tmp_path / "epochs.csv").read_bytes() == by_hand(ROWS)
