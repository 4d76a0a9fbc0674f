"""What else the processors are busy with: a run that shares its machine cannot say what a method costs."""

from __future__ import annotations

import os
from pathlib import Path

STAT = Path("/proc/stat")
# Of its columns user, nice, system, idle, iowait, irq, softirq, steal: those that are work.
BUSY = (0, 1, 2, 5, 6, 7)


def other_seconds() -> float | None:
    """Processor seconds that all other processes have taken since this machine was started; None where it does not say.

    Child processes count as others until they have ended. The kernel counts in hundredths of a second.
    """
    try:
        total = STAT.read_text().split("\n", 1)[0].split()[1:]
        busy = sum(int(total[place]) for place in BUSY) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None
    own = os.times()
    return busy - own.user - own.system - own.children_user - own.children_system
