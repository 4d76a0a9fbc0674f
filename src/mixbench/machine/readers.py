"""Processes that read data ahead of the training: they end with it, and with nothing else."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading

PR_SET_PDEATHSIG = 1  # prctl(2)


def begin_reader(_number: int) -> None:
    """What a reading process does first (a `worker_init_fn` of torch's DataLoader).

    Ctrl-C, and a batch system's warning, reach all processes of a job. The run answers them: it finishes its step and
    saves its state, for which it needs its readers. So these only follow a SIGTERM of the run itself, and die with it.
    """
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(run: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != run:
        pass
    os._exit(0)
