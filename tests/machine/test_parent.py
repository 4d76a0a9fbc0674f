"""Processes whose parent dies, before and after they have asked to be told."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

import pytest

from mixbench.machine.parent import end_with_launcher
from mixbench.machine.signals import LAUNCHER

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="no parent-death signal")


def child(work: Callable[[], None]) -> int:
    """The number of a process that does this and ends with 0, whatever happens."""
    number = os.fork()
    if number == 0:
        try:
            work()
        finally:
            os._exit(0)
    return number


def test_a_process_whose_launcher_is_gone_before_it_begins_ends_at_once(monkeypatch) -> None:
    """A process that is not the parent stands for a dead one: after its death the worker's parent is another, too."""
    monkeypatch.setenv(LAUNCHER, str(os.getppid()))
    worker = child(end_with_launcher)
    assert os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) == 1


def test_a_process_is_asked_to_save_when_its_launcher_is_killed(monkeypatch) -> None:
    """SIGKILL to the one in the middle: the one below gets a SIGTERM, as from a sweep that is stopped."""
    reader, writer = os.pipe()

    def work() -> None:
        signal.signal(signal.SIGTERM, lambda number, frame: (os.write(writer, b"saved"), os._exit(0)))
        end_with_launcher()
        os.write(writer, b"ready")
        time.sleep(30)

    def launch() -> None:
        monkeypatch.setenv(LAUNCHER, str(os.getpid()))
        child(work)
        time.sleep(30)

    launcher = child(launch)
    os.close(writer)
    assert os.read(reader, 5) == b"ready"
    os.kill(launcher, signal.SIGKILL)
    os.waitpid(launcher, 0)
    assert os.read(reader, 5) == b"saved"
    os.close(reader)
