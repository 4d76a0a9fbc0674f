"""What a run was made with: commit, versions, device, command line."""

from __future__ import annotations

import hashlib
import platform
import shlex
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from mixbench import __version__
from mixbench.config import plugins
from mixbench.machine.devices import device_title

PACKAGES = ("torchvision", "numpy", "hydra-core", "omegaconf")


def environment(device: torch.device) -> dict[str, Any]:
    """The content of env.json. Outside a git checkout `commit` is null and the version says what ran."""
    return {
        "mixbench": __version__,
        "commit": commit.decode() if (commit := _git("rev-parse", "HEAD")) else None,
        "uncommitted": _uncommitted(),
        "python": platform.python_version(),
        "plugins": plugins.versions(),
        "packages": {"torch": torch.__version__, **{name: metadata.version(name) for name in PACKAGES}},
        "device": str(device),
        "device_name": device_title(device),
        "cpu": _cpu(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "cudnn": torch.backends.cudnn.version() if device.type == "cuda" else None,
        "driver": _driver() if device.type == "cuda" else None,
        "system": platform.platform(),
        "host": socket.gethostname(),
        "command": shlex.join(["mixbench", *sys.argv[1:]]),
    }


def _git(*arguments: str) -> bytes | None:
    """What git prints; bytes, as a file may hold anything."""
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(["git", "-C", str(here), *arguments], capture_output=True, timeout=20)
        # An installed package may lie inside somebody else's repository: only a tracked file is ours.
        tracked = subprocess.run(
            ["git", "-C", str(here), "ls-files", "--error-unmatch", __file__], capture_output=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 and tracked.returncode == 0 else None


def _uncommitted() -> str | None:
    """SHA-256 of the difference between the working tree and the commit; None where there is none."""
    difference = _git("diff", "HEAD")
    return hashlib.sha256(difference).hexdigest() if difference else None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )


def _driver() -> str | None:
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.splitlines()[0].strip() if done.returncode == 0 and done.stdout else None
