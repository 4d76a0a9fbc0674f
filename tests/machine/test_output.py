"""Standard output and error that refuse what is printed: nothing ends by it, and nothing is called done that is not."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from pathlib import Path
from typing import TextIO

import pytest
from whole_runs import RUN, forked, only_run, state

from mixbench.cli import run
from mixbench.machine.output import _lossy, outlive_reader

QUICK = ("epochs=1", "dataset.train_size=200", "dataset.test_size=50", "batch_size=50", "train_clean_every=0")


def over(descriptor: int) -> TextIO:
    """What a process prints to, over this descriptor."""
    return _lossy(open(descriptor, "w", encoding="utf-8", closefd=False))


def test_what_a_gone_reader_does_not_take_is_dropped() -> None:
    """Oracle: the pipe. All that was printed before its end is closed comes out; what follows raises nothing."""
    reader, writer = os.pipe()
    printed = over(writer)
    print("first", file=printed, flush=True)
    assert os.read(reader, 100) == b"first\n"
    os.close(reader)
    for _ in range(3):
        print("x" * 100_000, file=printed, flush=True)
    os.close(writer)


def test_a_reader_that_is_slow_gets_everything() -> None:
    """A pipe that another program has made non-blocking refuses nothing, it is only full: a megabyte arrives whole."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    arrived: list[bytes] = []

    def read() -> None:
        while part := os.read(reader, 1 << 16):
            time.sleep(0.001)
            arrived.append(part)

    reading = threading.Thread(target=read)
    reading.start()
    print("x" * 1_000_000, file=over(writer), flush=True)
    os.close(writer)
    reading.join()
    assert len(b"".join(arrived)) == 1_000_001


@pytest.mark.parametrize("place", ["pipe", "full"])
def test_training_goes_on_when_nothing_can_be_printed(place: str, tmp_path: Path, data_dir: Path) -> None:
    """Status 0, finished, train.log to its last line: behind a pipe whose reader has gone, and on a full device."""
    output = Path("/dev/full")
    if place == "pipe":
        output = tmp_path / "pipe"
        os.mkfifo(output)
    process = forked(output, f"output_dir={tmp_path}", f"data_dir={data_dir}", run=QUICK)
    if place == "pipe":
        os.close(os.open(output, os.O_RDONLY))
    process.join()
    assert process.exitcode == 0
    assert state(tmp_path) == "finished"
    directory = only_run(tmp_path)
    assert (directory / "train.log").read_text().splitlines()[-1].split() == ["run", str(directory)]


def test_a_sweep_goes_on_when_nothing_can_be_printed(tmp_path: Path, data_dir: Path) -> None:
    """Both cells are finished; a failing one shows in the status, whoever has seen the sentence."""
    arguments = f"output_dir={tmp_path}", f"data_dir={data_dir}", "-m"
    for option, status in (("seed=0,1", 0), ("opt.lr=0.1,1e30", 1)):
        process = forked(Path("/dev/full"), *arguments, option, run=QUICK)
        process.join()
        assert process.exitcode == status
    assert len(list(tmp_path.rglob("model.safetensors"))) == 2


def test_closed_streams_are_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """After `>&- 2>&-` Python has no sys.stdout at all, on which others, such as tqdm, call methods."""
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    outlive_reader()
    assert [stream.write("dropped") for stream in (sys.stdout, sys.stderr)] == [7, 7]
    assert [stream.name for stream in (sys.stdout, sys.stderr)] == [os.devnull] * 2


@pytest.mark.parametrize("output", ["full", "pipe"])
@pytest.mark.parametrize(("command", "full"), [("methods", 2), ("train --dry-run", 2), ("train", 0)])
def test_a_list_is_asked_for_to_be_seen(
    output: str, command: str, full: int, workplace: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full device it is not there, and that is said; a reader that is gone has seen enough; a run is on record."""
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(
        sys, "stdout", over(os.open("/dev/full", os.O_WRONLY) if output == "full" else writer)
    )
    errors = io.StringIO()
    monkeypatch.setattr(sys, "stderr", errors)
    status = run([*command.split(), *(RUN if "train" in command else ())])
    os.close(sys.stdout.fileno())
    assert status == (full if output == "full" else 0)
    said = "cannot write standard output: no space left on the device.\n"
    assert errors.getvalue().endswith(said) if status else not errors.getvalue()
