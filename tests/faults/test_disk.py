"""Disks that fill up, or cannot be written any more, in the middle of a run: real file systems, real processes."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from whole_runs import RUN, assert_same, forked, only_run, result, state

from mixbench.training import checkpoint


@pytest.mark.fault("disk")
def test_a_limit_on_the_size_of_files_is_named(tmp_path: Path, data_dir: Path, reference: tuple) -> None:
    """RLIMIT_FSIZE is lowered below the size of a checkpoint while the run stands still: status 2, nothing lost.

    Oracle: the run that was never stopped, bit for bit.
    """
    printed, places = tmp_path / "printed", (f"output_dir={tmp_path}", f"data_dir={data_dir}")
    process = forked(printed, *places, "checkpoint_seconds=0.001")
    assert process.pid is not None
    while not list(tmp_path.rglob("last.pt")):
        assert process.is_alive(), printed.read_text()
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGSTOP)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (20_000, 20_000))
    os.kill(process.pid, signal.SIGCONT)
    process.join()
    words = printed.read_text()
    assert process.exitcode == 2, words
    assert "the limit on the size of a file (ulimit -f) is reached" in words
    assert "the same command goes on" in words
    assert "Traceback" not in words
    assert state(tmp_path) == "failed"
    assert checkpoint.read(only_run(tmp_path))[1] == []
    again = forked(printed, *places)
    again.join()
    assert again.exitcode == 0, printed.read_text()
    assert_same(result(tmp_path), reference)


# A file system of the test's own, in a name space of its own: needs no root where the kernel lets users have one.
ALONE = ["unshare", "--user", "--map-root-user", "--mount"]
MOUNT = 'mkdir -p "$1" && mount -t tmpfs -o size=4m tmpfs "$1"'


def can_mount(folder: Path) -> bool:
    """True where this user may mount a tmpfs in a name space of its own."""
    try:
        done = subprocess.run([*ALONE, "sh", "-c", MOUNT, "sh", folder / "probe"], capture_output=True)
    except FileNotFoundError:
        return False
    return done.returncode == 0


SCRIPT = f"""
set -e
{MOUNT}
run() {{ "$PYTHON" -m mixbench train {" ".join(RUN)} checkpoint_seconds=0.001 output_dir="$1" "data_dir=$DATA"; }}
run "$1" > "$2" 2>&1 & child=$!
until [ -n "$(find "$1" -name last.pt)" ]; do kill -0 $child || exit 4; sleep 0.01; done
kill -STOP $child
REFUSE
kill -CONT $child
wait $child && exit 4 || echo "status $?" >> "$2"
RELENT
cp -r "$1" "$1.broken"
run "$1" >> "$2.again" 2>&1
cp -r "$1" "$1.done"
"""
FAULTS = {
    "full": ('cat /dev/zero > "$1/fill" 2>/dev/null || true', 'rm "$1/fill"', "no space left on the device"),
    # Laid over the run, since no file system with open files can be made read-only.
    "read-only": (
        'mount -t tmpfs -o ro tmpfs "$1"/*/*/*/*',
        'umount "$1"/*/*/*/*',
        "the file system is read-only",
    ),
}


@pytest.mark.slow
@pytest.mark.fault("disk")
@pytest.mark.parametrize("fault", ["full", pytest.param("read-only", marks=pytest.mark.long)])
def test_a_file_system_that_refuses_in_the_middle(
    tmp_path: Path, data_dir: Path, reference: tuple, fault: str
) -> None:
    """A tmpfs that fills up, or is mounted read-only, while the run stands still between two checkpoints.

    Status 2, one message, a whole checkpoint; with room again, the end is that of the run that was never stopped.
    """
    if not can_mount(tmp_path):
        pytest.skip("mounting a file system is not allowed here")
    refuse, relent, reason = FAULTS[fault]
    script = SCRIPT.replace("REFUSE", refuse).replace("RELENT", relent)
    environment = {**os.environ, "PYTHON": sys.executable, "DATA": str(data_dir)}
    for attempt in range(10):  # status 4: on a busy machine the run was over before it was stopped
        here = tmp_path / str(attempt)
        here.mkdir()
        command = [*ALONE, "sh", "-c", script, "sh", here / "disk", here / "printed"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        if done.returncode != 4:
            break
    words = (here / "printed").read_text()
    assert done.returncode == 0, done.stderr + words
    assert "status 2" in words
    assert reason in words
    assert "the same command goes on" in words
    assert "Traceback" not in words
    state_then, damaged = checkpoint.read(only_run(here / "disk.broken"))
    assert state_then is not None
    assert damaged == []
    assert_same(result(here / "disk.done"), reference)
