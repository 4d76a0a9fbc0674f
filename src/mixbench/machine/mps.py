"""NVIDIA's Multi-Process Service (MPS): under it processes that share a GPU compute at the same time, not by turns.

One that runs already is used as it is. Else one of our own is started, with a folder of its own for pipes and logs, and
ended with the block that asked for it. Compute mode and MIG stay as they are.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mixbench.inventory.arithmetic import visible
from mixbench.machine.output import printable

CONTROL = "nvidia-cuda-mps-control"
SECONDS = 30.0  # the most that it takes to start, to answer, to end
# What a run does first. It fails where the daemon has begun but can serve nobody, as in some containers.
PROBE = (
    sys.executable,
    "-Ic",
    """import ctypes
cuda, count, context = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), ctypes.c_void_p()
failed = cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count))
raise SystemExit(bool(failed) or any(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), i)
                                     for i in range(count.value)))""",
)
# Its input ends with the block, or with our process, whatever has ended that.
GUARD = f'cat; echo quit | {CONTROL}; rm -r "$0"'


@dataclass(frozen=True)
class Service:
    """`environment` is what processes need to share GPUs under MPS; None where there is none. `words` say which."""

    environment: Mapping[str, str] | None
    words: str


@contextlib.contextmanager
def service() -> Iterator[Service]:
    """MPS for the processes that the block starts. This process should not use a GPU in the block."""
    if shutil.which(CONTROL) is None:
        yield _none(f"{CONTROL} is not there")
    elif _answer("get_server_list", os.environ) is not None:
        yield Service({}, "under NVIDIA's MPS, which runs already")
    else:
        with _folder() as folder:
            # By UUID: numbers would count among those that the daemon sees, not among all.
            own = {
                "CUDA_MPS_PIPE_DIRECTORY": str(folder / "pipe"),
                "CUDA_MPS_LOG_DIRECTORY": str(folder / "log"),
            }
            own["CUDA_VISIBLE_DEVICES"] = ",".join(visible("uuid"))
            with _ended_after(folder, os.environ | own):
                refusal = _refusal(folder, os.environ | own)
                words = "under NVIDIA's MPS, started for them"
                yield _none(refusal) if refusal else Service(own, words)


def _none(why: str) -> Service:
    return Service(None, f"without NVIDIA's MPS ({why})")


def _answer(command: str, environment: Mapping[str, str]) -> str | None:
    """What the daemon answers; None where there is no daemon for us."""
    try:
        done = subprocess.run(
            [CONTROL],
            input=f"{command}\n",
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            timeout=SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="mixbench-mps-"))
    for name in ("pipe", "log"):
        (folder / name).mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # where the guard has not


@contextlib.contextmanager
def _ended_after(folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """The daemon of this environment and the folder go when the block ends, or this process, by whatever."""
    guard = subprocess.Popen(
        ["sh", "-c", GUARD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,  # out of reach of Ctrl-C
    )
    try:
        yield
    finally:
        assert guard.stdin is not None
        guard.stdin.close()
        try:
            guard.wait(SECONDS)
        except subprocess.TimeoutExpired:
            print(
                f"NVIDIA's MPS has not ended after {SECONDS:.0f} seconds; it will by itself", file=sys.stderr
            )


def _refusal(folder: Path, environment: Mapping[str, str]) -> str:
    """Start the daemon; why it cannot be used, empty where it can."""
    said = folder / "said"  # no pipe, which the daemon might keep open
    with said.open("wb") as file:
        try:
            status = subprocess.run(
                [CONTROL, "-d"],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                timeout=SECONDS,
                start_new_session=True,
            ).returncode
        except (OSError, subprocess.TimeoutExpired) as error:
            return printable(f"{CONTROL} -d: {error}")
    if status:
        lines = said.read_text(encoding="utf-8", errors="replace").split("\n")
        return printable(f"{CONTROL} -d: {lines[0].strip() or f'status {status}'}")
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        served = subprocess.run(PROBE, capture_output=True, env=environment, timeout=SECONDS).returncode == 0
        if served and (_answer("get_server_list", environment) or "").strip():
            return ""
    return "it has started, but no process can use a GPU under it"
