"""Readers whose run dies in their first milliseconds; what they do later is in test_own_data.py."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time

import pytest

from mixbench.machine.readers import begin_reader, starting_readers

linux = pytest.mark.skipif(sys.platform != "linux", reason="no parent-death signal")


def _reader(run: int) -> None:
    begin_reader(run, 0)
    time.sleep(60)


@linux
def test_a_reader_whose_run_is_gone_before_it_begins_ends_at_once() -> None:
    """A process that is not the parent stands for a dead one: after its death a reader's parent is another, too."""
    reader = multiprocessing.get_context("fork").Process(target=_reader, args=(os.getppid(),))
    reader.start()
    reader.join(20)
    assert reader.exitcode == 1


@linux
def test_a_reader_whose_run_lives_goes_on_until_the_run_ends_it() -> None:
    reader = multiprocessing.get_context("fork").Process(target=_reader, args=(os.getpid(),))
    with starting_readers():
        reader.start()
    reader.join(0.5)
    assert reader.is_alive()
    reader.terminate()
    reader.join(20)
    assert reader.exitcode == 0
