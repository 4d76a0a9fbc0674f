"""NVIDIA's MPS: started, used, refused and ended, by a stand-in that notes its calls; on a GPU the real one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import stand_in_mps
import torch
from stand_in_mps import StandIn

from mixbench.machine import mps
from mixbench.machine.mps import service


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    return stand_in_mps.install(tmp_path / "mps", monkeypatch)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where folders for pipes are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(mps.tempfile, "tempdir", str(folder))
    return folder


def test_started_and_ended(daemon: StandIn, place: Path) -> None:
    """By hand: asked for, started with a folder of its own that nobody else may read, tried, told to quit, removed."""
    before = dict(os.environ)
    with service() as found:
        assert found.words == "under NVIDIA's MPS, started for them"
        assert found.environment is not None
        (folder,) = place.iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
        assert found.environment == {
            "CUDA_MPS_PIPE_DIRECTORY": str(folder / "pipe"),
            "CUDA_MPS_LOG_DIRECTORY": str(folder / "log"),
            "CUDA_VISIBLE_DEVICES": "GPU-aa,GPU-bb",
        }
        assert dict(os.environ) == before
        assert "quit" not in daemon.commands
    own = "pipes=pipe log=log gpus=GPU-aa,GPU-bb"
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    assert daemon.calls == [
        f"get_server_list pipes=default log= gpus={seen}",
        f"-d {own}",
        f"get_server_list {own}",
        f"quit {own}",
    ]
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_ended_after_an_error(daemon: StandIn, place: Path, error: type[BaseException]) -> None:
    """By hand: what goes wrong in the block, or Ctrl-C, ends it as well."""
    with pytest.raises(error), service():
        raise error
    assert daemon.commands[-1] == "quit"
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_ended_with_a_process_that_is_killed(daemon: StandIn, place: Path, number: int) -> None:
    """By hand: nobody is left to say so, and it ends all the same."""
    code = f"""import sys, tempfile, time
sys.path[:0] = {sys.path!r}
from mixbench.machine import mps
tempfile.tempdir, mps.PROBE, mps.visible = {str(place)!r}, {mps.PROBE!r}, lambda field: []
with mps.service() as found:
    print(found.words, flush=True)
    time.sleep(60)"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("under NVIDIA's MPS, started")
    process.send_signal(number)
    process.communicate()
    deadline = time.monotonic() + 20
    while list(place.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert daemon.commands[-1] == "quit"


def test_one_that_runs_is_used_and_left(daemon: StandIn, place: Path) -> None:
    """By hand: nothing is set, nothing started, nothing ended."""
    daemon.runs_already()
    with service() as found:
        assert found.environment == {}
        assert found.words == "under NVIDIA's MPS, which runs already"
    assert daemon.commands == ["get_server_list"]
    assert (daemon.folder / "default" / "daemon").exists()
    assert list(place.iterdir()) == []


def test_refused(daemon: StandIn, place: Path) -> None:
    """By hand: the first line of what it says is the reason."""
    daemon.refuses()
    with service() as found:
        assert found.environment is None
        assert found.words == "without NVIDIA's MPS (nvidia-cuda-mps-control -d: You are not allowed to.)"
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("probe", [("false",), ("true",), ("/nowhere/python",)])
def test_started_but_of_no_use(
    daemon: StandIn, place: Path, monkeypatch: pytest.MonkeyPatch, probe: tuple[str, ...]
) -> None:
    """By hand: no context under it, or one without a server, which is one past it; it is ended again."""
    monkeypatch.setattr(mps, "PROBE", probe)
    with service() as found:
        assert found.environment is None
        assert found.words == "without NVIDIA's MPS (it has started, but no process can use a GPU under it)"
    assert daemon.commands[-1] == "quit"
    assert list(place.iterdir()) == []


def test_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: Path) -> None:
    """By hand: a PATH without it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with service() as found:
        assert found.environment is None
        assert found.words == "without NVIDIA's MPS (nvidia-cuda-mps-control is not there)"
    assert list(place.iterdir()) == []


def test_the_probe_fails_without_a_driver() -> None:
    """By hand: a machine without libcuda.so.1."""
    if torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    assert subprocess.run(mps.PROBE, capture_output=True).returncode != 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_a_gpu() -> None:
    """Oracle: a program that computes under what was started, or already there; a reason where there is neither."""
    with service() as found:
        if found.environment is None:
            assert found.words.startswith("without NVIDIA's MPS (")
            return
        code = "import torch; assert torch.ones(3, device='cuda').sum().item() == 3"
        subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | found.environment)
        assert mps._answer("get_server_list", os.environ | found.environment)
