"""A stand-in for NVIDIA's MPS: `nvidia-cuda-mps-control` as its manual has it, which notes what it is called with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mixbench.machine import mps

UUIDS = ("GPU-aa", "GPU-bb")
# A daemon is a file in the folder of pipes; `-d` starts it, commands come on standard input, one a line.
PROGRAM = """#!/bin/sh
pipes=${CUDA_MPS_PIPE_DIRECTORY:-FOLDER/default}
log() { echo "$* pipes=${pipes##*/} log=${CUDA_MPS_LOG_DIRECTORY##*/} gpus=$CUDA_VISIBLE_DEVICES" >> FOLDER/calls; }
if [ "$1" = -d ]; then
    log "$1"
    if [ -e FOLDER/refuses ]; then cat FOLDER/refuses; exit 1; fi
    [ -d "$pipes" ] && [ -d "$CUDA_MPS_LOG_DIRECTORY" ] && touch "$pipes/daemon" && exit 0
    exit 1
fi
while read -r command; do
    log "$command"
    if [ ! -e "$pipes/daemon" ]; then echo "Cannot find MPS control daemon process"; exit 1; fi
    case $command in
        get_server_list) cat "$pipes/server" 2> /dev/null || true ;;
        quit) rm "$pipes/daemon"; exit 0 ;;
    esac
done
"""


class StandIn:
    """What the stand-in in `folder` does from now on, and what it was called with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def calls(self) -> list[str]:
        """Each `COMMAND pipes=NAME log=NAME gpus=LIST`."""
        return (self.folder / "calls").read_text().splitlines()

    @property
    def commands(self) -> list[str]:
        """The commands alone."""
        return [call.split()[0] for call in self.calls]

    def runs_already(self) -> None:
        """A daemon is there at the usual place."""
        (self.folder / "default" / "daemon").touch()

    def refuses(self) -> None:
        """It starts none."""
        (self.folder / "refuses").write_text("You are not allowed to.\nReally.\n")


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Put it on PATH, with two GPUs, and a probe that finds a server where a daemon is, as the first CUDA program."""
    (folder / "default").mkdir(parents=True)
    (folder / "calls").touch()
    program = folder / mps.CONTROL
    program.write_text(PROGRAM.replace("FOLDER", str(folder)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    for name in ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(mps, "visible", lambda field: list(UUIDS))
    serve = '[ -e "$CUDA_MPS_PIPE_DIRECTORY/daemon" ] && echo 4711 > "$CUDA_MPS_PIPE_DIRECTORY/server"'
    monkeypatch.setattr(mps, "PROBE", ("sh", "-c", serve))
    return StandIn(folder)
