"""What every process of mixbench does first, whatever has started it: a shell, torchrun, a sweep, a launcher."""

from __future__ import annotations

import os

from mixbench.machine.output import outlive_reader
from mixbench.machine.signals import outlive_terminal


def begin() -> None:
    """Make this process, and those that it starts, bear a busy machine, a closed terminal and any current folder.

    Comes before torch is imported.
    """
    # OpenMP reads it when torch is imported. Its threads would spin where they wait for each other, for milliseconds if
    # one of them has no core: with five other processes on two cores, a step of small_cnn on digits then takes 1 s
    # instead of 0.04 s.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Processes that others start, such as joblib's, import from the current folder too; Python 3.10 does not know it.
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    outlive_reader()
    outlive_terminal()
