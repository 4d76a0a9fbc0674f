"""What a process does first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mixbench.cli import main
from mixbench.machine import process


@pytest.fixture
def hang_up() -> Iterator[None]:
    """What SIGHUP does is put back after the test."""
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hang_up")
@pytest.mark.parametrize(("given", "found"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_threads_sleep_unless_the_user_wants_them_to_spin(
    monkeypatch: pytest.MonkeyPatch, given: str | None, found: str
) -> None:
    """OMP_WAIT_POLICY of OpenMP 5.0, section 6.7, as it stands after any command, for all processes that it starts."""
    monkeypatch.setenv("OMP_WAIT_POLICY", given or "")
    if given is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    with pytest.raises(SystemExit):
        main(["--version"])
    assert os.environ["OMP_WAIT_POLICY"] == found


def test_files_of_the_current_folder_are_no_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A json.py there, which Python would take for its own in `python -m`."""
    (tmp_path / "json.py").write_text("raise SystemExit(3)\n")
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    command = [sys.executable, "-m", "mixbench", "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("hang_up")
@pytest.mark.skipif(sys.version_info < (3, 11), reason="no safe path")
def test_nor_are_they_in_what_others_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Joblib's workers, and those of multiprocessing, are `python -m` and `python -c`."""
    (tmp_path / "random.py").write_text("raise SystemExit(3)\n")
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    monkeypatch.delenv("PYTHONSAFEPATH")
    process.begin()
    assert subprocess.run([sys.executable, "-c", "import random"], cwd=tmp_path).returncode == 0


def test_it_is_set_before_openmp_reads_it() -> None:
    """Oracle: sys.modules of a fresh process, in a command and in what a launcher's worker imports to get there."""
    code = (
        "import sys, mixbench.cli, mixbench.sweep.launch; from mixbench.machine import process; process.begin()\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
