"""How much memory is left for a data set, on this machine and on a device."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def free_memory(device: torch.device) -> tuple[int, str]:
    """Bytes that are free for what is to stay on `device`, and whose they are, in words.

    What lies on a GPU goes through the machine's memory on its way, so the smaller one counts.
    """
    machine = machine_memory(), "this machine's free memory"
    if device.type != "cuda":
        return machine
    import torch

    return min(machine, (torch.cuda.mem_get_info(device)[0], "the GPU's free memory"))


def machine_memory() -> int:
    """Bytes that this process may still take."""
    return min([_available(), *_allowed()])


def _available() -> int:
    """What the kernel would give to a new program; where it does not say, all that the machine has."""
    with contextlib.suppress(OSError, KeyError):
        return _numbers(Path("/proc/meminfo"))["MemAvailable:"] * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _allowed() -> Iterator[int]:
    """What is left to each control group that this process is in: those of its container, or of its batch job.

    Cached files count as used there, though the kernel gives them up for programs.
    """
    with contextlib.suppress(OSError):
        for line in OWN_CGROUPS.read_text().splitlines():
            _, kinds, below = line.split(":", 2)
            if kinds and "memory" not in kinds.split(","):
                continue
            limit, used, cached = (
                ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
                if kinds
                else ("memory.max", "memory.current", "inactive_file")
            )
            top = CGROUPS / "memory" if kinds else CGROUPS
            own = top / below.lstrip("/")
            for folder in (own, *own.parents):
                with contextlib.suppress(OSError, ValueError, KeyError):  # no limit: no file, or "max"
                    left = int((folder / limit).read_text()) - int((folder / used).read_text())
                    yield max(0, left + _numbers(folder / "memory.stat")[cached])
                if folder == top:
                    break


def _numbers(file: Path) -> dict[str, int]:
    """The second word of each line by its first."""
    lines = (line.split() for line in file.read_text().splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1}
