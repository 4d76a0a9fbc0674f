"""Processes that read data ahead of the training: they end with it, and with nothing else.

Ctrl-C, and a batch system's warning, reach all processes of a job. The run answers them: it finishes its step and saves
its state, for which it needs its readers. So these follow no signal but a SIGTERM of the run itself, and die with it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mixbench.machine.parent import end_with
from mixbench.machine.signals import SIGNALS


@contextmanager
def starting_readers() -> Iterator[None]:
    """Processes that are started in this block never see a signal; this one sees it when the block ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_reader(run: int, _number: int) -> None:
    """What a reader of the process `run` does first (`partial(begin_reader, os.getpid())` as a `worker_init_fn`)."""
    if sys.platform != "linux":  # no telling who has sent a signal
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        return
    end_with(run, signal.SIGKILL)
    threading.Thread(target=_end_with, args=(run,), daemon=True).start()


def _end_with(run: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != run:
        pass
    os._exit(0)
