"""Stopped anywhere, by anything, and started again: the same bits as never stopped."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest
from whole_runs import RUN, assert_same, only_run, result

from mixbench.record.write import OpenRecord
from mixbench.training import checkpoint


class Killed(BaseException):
    """Stands in for SIGKILL: no handler of ours may catch it, nothing after it runs."""


@pytest.mark.fault("kill")
def test_stopped_at_every_file_operation(
    mixbench, workplace: Path, reference: tuple, monkeypatch, record_property
) -> None:
    """Brute force: die at the n-th write, flush or rename of the process, for n = 1, 2, 3, ... until none is left.

    Oracle: the run that was never stopped, bit for bit. The process dies anew after every restart, so one run
    dies as often as there are operations between two steps forward.
    """
    operations = {name: getattr(os, name) for name in ("replace", "fsync", "pwrite")}
    countdown = [0]

    def counted(name: str):
        def operation(*arguments):
            countdown[0] -= 1
            if countdown[0] == 0:
                if name == "pwrite":
                    handle, line, place = arguments
                    operations[name](handle, line[: len(line) // 2], place)
                raise Killed(name)
            return operations[name](*arguments)

        return operation

    for name in operations:
        monkeypatch.setattr(os, name, counted(name))
    # A dead process writes no summary: cut off what a real kill would never reach.
    monkeypatch.setattr(OpenRecord, "write_summary", _unless_dying(OpenRecord.write_summary))
    deaths, limit = 0, 1
    while limit < 200:
        countdown[0] = limit
        try:
            done = mixbench("train", *RUN, "checkpoint_seconds=0.02", "output_dir=killed")
        except Killed:
            deaths += 1
            limit += 1 if deaths % 3 == 0 else 0
            continue
        assert done.status == 0, done.err
        break
    record_property("faults", deaths)
    assert deaths > 30
    assert_same(result(workplace / "killed"), reference)


@pytest.mark.fault("kill")
def test_killed_before_the_checkpoints_are_deleted_it_is_finished(
    mixbench, workplace: Path, reference: tuple, monkeypatch
) -> None:
    """The summary says so before anything that could train again is gone."""

    def killed(record: OpenRecord) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "remove", killed)
        with pytest.raises(Killed):
            mixbench("train", *RUN, "output_dir=late")
    assert_same(result(workplace / "late"), reference)
    assert mixbench("train", *RUN, "output_dir=late").out.startswith("finished")


def _unless_dying(write):
    def write_summary(self: OpenRecord, summary: dict) -> None:
        if not isinstance(sys.exc_info()[1], Killed):
            write(self, summary)

    return write_summary


REASONS = {
    errno.ENOSPC: "no space left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EIO: "Input/output error",
}


@pytest.mark.fault("disk")
@pytest.mark.parametrize("code", REASONS)
def test_a_disk_that_refuses_in_the_middle_keeps_the_last_checkpoint(
    mixbench, workplace: Path, reference: tuple, monkeypatch, code: int
) -> None:
    """An error at a later fsync: status 2, one message; with room again the run goes on, bit for bit."""
    fsync, count = os.fsync, [0]

    def full(handle: int) -> None:
        count[0] += 1
        if count[0] > 12:
            raise OSError(code, os.strerror(code))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    broken = mixbench("train", *RUN, "output_dir=full", "checkpoint_seconds=0")
    assert broken.status == 2
    assert REASONS[code] in broken.err
    assert "Traceback" not in broken.err
    monkeypatch.setattr(os, "fsync", fsync)
    assert checkpoint.read(only_run(workplace / "full"))[0] is not None
    assert mixbench("train", *RUN, "output_dir=full").status == 0
    assert_same(result(workplace / "full"), reference)


@pytest.mark.fault("damage")
def test_a_flipped_bit_in_the_checkpoint_falls_back(
    mixbench, workplace: Path, reference: tuple, monkeypatch
) -> None:
    """Damage in last.pt: named, previous.pt is used, and the end is the same bit for bit."""
    calls = [0]

    def interrupted(self, position):
        calls[0] += 1
        if calls[0] == 3:
            raise KeyboardInterrupt
        return close(self, position)

    from mixbench.engine.loop import Loop

    close = Loop.close_epoch
    monkeypatch.setattr(Loop, "close_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        mixbench("train", *RUN, "output_dir=flipped", "checkpoint_seconds=0")
    monkeypatch.setattr(Loop, "close_epoch", close)
    path = only_run(workplace / "flipped") / "last.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    done = mixbench("train", *RUN, "output_dir=flipped")
    assert done.status == 0, done.err
    assert "last.pt is damaged" in done.out
    assert "after epoch 1" in done.out
    assert_same(result(workplace / "flipped"), reference)


@pytest.mark.fault("claims")
def test_a_second_process_is_refused(mixbench, workplace: Path) -> None:
    """While one process trains a run, another is told which one, with status 75 (EX_TEMPFAIL)."""
    from mixbench.config.compose import compose
    from mixbench.config.identity import run_dir
    from mixbench.record.claim import claimed

    with claimed(run_dir(compose([*RUN]))):
        refused = mixbench("train", *RUN)
    assert refused.status == 75
    assert f"process {os.getpid()} on " in refused.err
