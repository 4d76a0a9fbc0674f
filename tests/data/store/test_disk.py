"""The lock of a data set: whoever waits says so, and a dead holder blocks nobody."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mixbench.data.store.disk import locked

HOLD = """
import sys
from pathlib import Path
from mixbench.data.store.disk import locked
with locked(Path(sys.argv[1]), "digits"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.fault("data")
def test_a_second_process_waits_until_the_first_is_gone(tmp_path: Path, caplog) -> None:
    """With a message that names the lock; SIGKILL of the holder gives it back."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    threading.Timer(0.5, holder.send_signal, [signal.SIGKILL]).start()
    with caplog.at_level(logging.WARNING), locked(tmp_path, "digits"):
        assert holder.wait(10) == -signal.SIGKILL
    assert [r.getMessage() for r in caplog.records if r.name.startswith("mixbench")] == [
        f"waiting for another process that prepares digits (lock {tmp_path}/digits.lock)"
    ]
    with locked(tmp_path, "digits"):
        pass


@pytest.mark.fault("data")
def test_a_waiter_can_be_interrupted(tmp_path: Path) -> None:
    """Ctrl-C ends the process that waits, not the one that holds."""
    with locked(tmp_path, "digits"):
        waiter = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert "waiting for another process" in waiter.stderr.readline()
        waiter.send_signal(signal.SIGINT)
        out, err = waiter.communicate(timeout=20)
    assert (out, "KeyboardInterrupt" in err, waiter.returncode) == ("", True, -signal.SIGINT)


@pytest.mark.fault("data")
def test_a_file_system_without_locks_is_an_error(tmp_path: Path, monkeypatch) -> None:
    """Never a lock that is a file alone, which would outlive its holder."""

    def missing(handle: int, how: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", missing)
    with pytest.raises(OSError, match="Function not implemented"), locked(tmp_path, "digits"):
        pass
