"""Runs spread over the GPUs of a machine, and share one when they are told to."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mixbench.machine import gpus
from mixbench.machine.gpus import place


@pytest.fixture(autouse=True)
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An nvidia-smi that knows two GPUs, of which --id may choose; lock files in a folder of this test."""
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\ncase "$*" in *--id=1*) echo GPU-b;; *) echo GPU-a; echo GPU-b;; esac\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(gpus, "POLL_SECONDS", 0.05)


HOLD = "from mixbench.machine.gpus import place\nwith place('auto', {most}) as gpu:\n print(gpu, flush=True)\n input()"


def hold(most: int | None = None) -> subprocess.Popen:
    """Another process that holds a place until it is killed."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD.format(most=most)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_runs_go_where_the_fewest_are() -> None:
    """By hand: a, b, a, b; when both of a have ended, a and a again."""
    with place("auto", None) as first, place("cuda", None) as second:
        assert (first, second) == (0, 1)
        with place("auto", None) as third, place("auto", None) as fourth:
            assert (third, fourth) == (0, 1)
        with place("auto", None) as third:
            assert third == 0
    with place("auto", None) as again:
        assert again == 0


def test_a_dead_process_holds_nothing() -> None:
    """Killed with SIGKILL, its place is free at once."""
    other = hold()
    assert other.stdout.readline() == "0\n"
    with place("auto", None) as gpu:
        assert gpu == 1
    other.send_signal(signal.SIGKILL)
    other.wait()
    with place("auto", None) as gpu:
        assert gpu == 0


def test_with_runs_per_device_a_run_waits_for_room() -> None:
    """Two GPUs with one place each are taken; the third run begins when one of them ends, on that one's GPU."""
    with place("auto", 1) as first:
        other = hold(1)
        assert (first, other.stdout.readline()) == (0, "1\n")
        third = hold(1)
        assert not select.select([third.stdout], [], [], 1.5)[0]
        other.communicate("\n")
        assert third.stdout.readline() == "1\n"
        third.communicate("\n")


def test_nothing_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that the user chose; one GPU that CUDA_VISIBLE_DEVICES leaves, unless it is shared by number."""
    for device in ("cpu", "cuda:1"):
        with place(device, 1) as gpu:
            assert gpu is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with place("auto", None) as gpu:
        assert gpu is None
    with place("auto", 1) as gpu:
        assert gpu == 0
