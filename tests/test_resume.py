"""Stopped anywhere, by anything, and started again: the same bits as never stopped."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch

from mixbench import files
from mixbench.engine import checkpoint
from mixbench.record import read_rows

RUN = (
    "augment=gmix", "opt=sam", "epochs=3", "batch_size=50", "train_mixed_every=1",
    "dataset.train_size=400", "dataset.test_size=100", "dataset.val_size=100",
)  # fmt: skip


def only_run(root: Path) -> Path:
    (summary,) = root.rglob("summary.json")
    return summary.parent


def result(root: Path) -> tuple[dict[str, torch.Tensor], list[dict]]:
    """Final weights and the rows without their times."""
    directory = only_run(root)
    assert json.loads((directory / "summary.json").read_text())["state"] == "finished"
    weights = safetensors.torch.load_file(directory / "model.safetensors")
    rows = [{k: v for k, v in row.items() if "seconds" not in k} for row in read_rows(directory)]
    return weights, rows


def assert_same(one: tuple, two: tuple) -> None:
    assert one[1] == two[1]
    assert one[0].keys() == two[0].keys()
    for name, tensor in one[0].items():
        assert torch.equal(tensor, two[0][name]), name


@pytest.fixture
def reference(mixbench, workplace: Path) -> tuple:
    """The run, never stopped."""
    done = mixbench("train", *RUN, "output_dir=reference")
    assert done.status == 0, done.err
    return result(workplace / "reference")


class Killed(BaseException):
    """Stands in for SIGKILL: no handler of ours may catch it, nothing after it runs."""


def test_stopped_at_every_file_operation(mixbench, workplace: Path, reference: tuple, monkeypatch) -> None:
    """Brute force: die at the n-th write, flush or rename of the process, for n = 1, 2, 3, ... until none is left.

    Oracle: the run that was never stopped, bit for bit. The process dies anew after every restart, so one run
    dies as often as there are operations between two steps forward.
    """
    operations = {name: getattr(os, name) for name in ("replace", "fsync")}
    countdown = [0]

    def counted(name: str):
        def operation(*arguments):
            countdown[0] -= 1
            if countdown[0] == 0:
                raise Killed(name)
            return operations[name](*arguments)

        return operation

    for name in operations:
        monkeypatch.setattr(os, name, counted(name))
    # A dead process writes no summary: cut off what a real kill would never reach.
    monkeypatch.setattr("mixbench.run.write_summary", _unless_dying(files.write_json))
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
    assert deaths > 30
    assert_same(result(workplace / "killed"), reference)


def _unless_dying(write):
    def write_summary(directory: Path, summary: dict) -> None:
        if not isinstance(sys.exc_info()[1], Killed):
            write(directory / "summary.json", summary)

    return write_summary


def start(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "mixbench", "train", *RUN, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_sigkill_at_random_moments(workplace: Path, reference: tuple) -> None:
    """Real kills of real processes, also while they write. Oracle: the run that was never stopped."""
    moments = random.Random(0)
    kills = 0
    for _ in range(40):
        process = start("checkpoint_seconds=0.01", "output_dir=killed", "epochs=3")
        deadline = time.monotonic() + 60
        while not list(workplace.glob("killed/**/last.pt")) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        # After the first checkpoint the process is somewhere between imports, steps and writes.
        time.sleep(moments.uniform(0, 1.5) if kills else 0.05)
        if kills >= 5 or process.poll() is not None:
            assert process.wait(timeout=120) == 0, process.stdout.read()
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    assert kills >= 3
    assert_same(result(workplace / "killed"), reference)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_polite_signal_saves_within_a_step(
    workplace: Path, reference: tuple, number: signal.Signals
) -> None:
    """Exit status 128 + signal, a checkpoint, one message, no traceback; then bit-exact to the end."""
    process = start("output_dir=stopped", "checkpoint_seconds=3600")
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch 1/"):
            break
    process.send_signal(number)
    rest = process.stdout.read()
    assert process.wait(timeout=60) == 128 + number, rest
    assert "Traceback" not in rest
    assert "the same command goes on from there" in rest
    directory = only_run(workplace / "stopped")
    assert json.loads((directory / "summary.json").read_text())["state"] == "interrupted"
    assert checkpoint.read(directory)[0] is not None
    again = start("output_dir=stopped")
    assert again.wait(timeout=120) == 0
    assert_same(result(workplace / "stopped"), reference)


def test_a_full_disk_in_the_middle_keeps_the_last_checkpoint(
    mixbench, workplace: Path, reference: tuple, monkeypatch
) -> None:
    """ENOSPC at a later fsync: status 2, one message; with room again the run goes on, bit for bit."""
    fsync, count = os.fsync, [0]

    def full(handle: int) -> None:
        count[0] += 1
        if count[0] > 12:
            raise OSError(28, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    broken = mixbench("train", *RUN, "output_dir=full", "checkpoint_seconds=0")
    assert broken.status == 2
    assert "no space left on the device" in broken.err
    assert "Traceback" not in broken.err
    monkeypatch.setattr(os, "fsync", fsync)
    assert checkpoint.read(only_run(workplace / "full"))[0] is not None
    assert mixbench("train", *RUN, "output_dir=full").status == 0
    assert_same(result(workplace / "full"), reference)


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


def test_a_second_process_is_refused(mixbench, workplace: Path) -> None:
    """While one process trains a run, another is told which one, with status 75 (EX_TEMPFAIL)."""
    from mixbench.claim import claimed
    from mixbench.config import run_dir, typed
    from mixbench.explain import composed

    with claimed(run_dir(typed(composed([*RUN])))):
        refused = mixbench("train", *RUN)
    assert refused.status == 75
    assert f"process {os.getpid()} on " in refused.err
