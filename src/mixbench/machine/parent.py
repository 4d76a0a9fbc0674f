"""Processes that end with the one that started them, also where that is killed in their first moments."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from mixbench.machine.signals import LAUNCHER

PR_SET_PDEATHSIG = 1  # prctl(2)


def end_with(parent: int, number: int) -> None:
    """Let the kernel send the signal `number` when the process `parent` dies, which has started this one.

    Ends this process at once where that has died already. Only Linux has such signals; elsewhere that is all.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it died before the line above could take effect
        os._exit(1)


def end_with_launcher() -> None:
    """Get a SIGTERM, on which a run saves its state, when the sweep's process dies, which has started this one."""
    end_with(int(os.environ[LAUNCHER]), signal.SIGTERM)
