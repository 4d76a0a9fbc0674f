"""How many runs train at a time, and on which GPUs; and what NVIDIA's MPS, by a stand-in, has to do with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import stand_in_mps
from stand_in_mps import StandIn

from mixbench.errors import ConfigError
from mixbench.machine import mps
from mixbench.sweep.room import GPU_MIB_PER_RUN, Room, room


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make nvidia-smi report GPUs with so many MiB free, on a machine of 16 cores."""

    def pretend(*mib: int) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text("#!/bin/sh\n" + "".join(f"echo {m}\n" for m in mib))
        program.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    return pretend


@pytest.mark.parametrize(
    ("free", "jobs", "expected"),
    [
        ([], None, [""]),
        ([], 3, ["", "", ""]),
        ([140_000], None, ["", "", "", ""]),
        ([2 * GPU_MIB_PER_RUN], None, ["", ""]),
        ([100], None, [""]),
        ([140_000], 6, [""] * 6),
        ([140_000, GPU_MIB_PER_RUN], None, ["0", "1", "0", "0", "0"]),
        ([140_000, 140_000], 3, ["0", "1", "0"]),
    ],
)
def test_room(gpus: Callable, free: list[int], jobs: int | None, expected: list[str]) -> None:
    """By hand: at most four a GPU, by its free memory; spread by turns; one at a time on a CPU."""
    gpus(*free)
    with room(jobs, "auto", 1) as found:
        assert found.slots == [[f"device=cuda:{gpu}"] if gpu else [] for gpu in expected]
        assert found.sentence.startswith(f"{len(expected)} runs side by side" if len(expected) > 1 else "")
    with room(None, "cpu", 10) as found:
        assert found == Room([[]], {}, "")


def test_few_cores_share_less(gpus: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run needs a core of its own."""
    gpus(140_000, 140_000)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    with room(None, "auto", 2) as found:
        assert len(found.slots) == 4
    with room(None, "auto", 2, runs_per_device=3) as found:
        assert len(found.slots) == 6


def test_no_jobs_is_no_number() -> None:
    """One message with the key and the limit."""
    with pytest.raises(ConfigError, match=r"--jobs 0: must be >= 1 and <= 1000\."), room(0, "auto", 1):
        pass


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    return stand_in_mps.install(tmp_path / "mps", monkeypatch)


def test_runs_share_a_gpu_under_mps(gpus: Callable, daemon: StandIn) -> None:
    """By hand: it is started for runs that share a GPU, of which there must be more than GPUs, and ended after them."""
    gpus(140_000, GPU_MIB_PER_RUN)
    with room(None, "auto", 3) as found:
        assert [slot[0][-1] for slot in found.slots] == ["0", "1", "0", "0", "0"]
        assert found.environment["CUDA_VISIBLE_DEVICES"] == "GPU-aa,GPU-bb"
        free = "145 GiB free on 2 GPUs; --jobs N sets another number"
        assert found.sentence == f"5 runs side by side ({free}), under NVIDIA's MPS, started for them"
    assert daemon.commands == ["get_server_list", "-d", "get_server_list", "quit"]


@pytest.mark.parametrize(
    ("jobs", "device", "runs", "each"), [(None, "auto", 2, None), (2, "auto", 9, None), (None, "cuda", 9, 1)]
)
def test_nothing_is_started_where_nothing_is_shared(
    gpus: Callable, daemon: StandIn, jobs: int | None, device: str, runs: int, each: int | None
) -> None:
    """By hand: two GPUs and two runs, however they come about."""
    gpus(140_000, 140_000)
    with room(jobs, device, runs, each) as found:
        assert [slot[0][-1] for slot in found.slots[:2]] == ["0", "1"]
        assert found.environment == {}
    with room(2, "cpu", 9) as found:
        assert found == Room([[], []], {}, "2 runs side by side")
    assert daemon.calls == []


@pytest.mark.parametrize(
    ("free", "slots", "begins"),
    [
        ([140_000], [[]], "one run after another: "),
        (
            [140_000, 140_000],
            [["device=cuda:0"], ["device=cuda:1"]],
            "2 runs side by side, one on each GPU: ",
        ),
    ],
)
def test_without_mps_runs_take_turns_unless_asked(
    gpus: Callable, daemon: StandIn, free: list[int], slots: list, begins: str
) -> None:
    """By hand: one a GPU, and the reason; as many as --jobs or runs_per_device say, where they say so."""
    gpus(*free)
    daemon.refuses()
    why = "without NVIDIA's MPS (nvidia-cuda-mps-control -d: You are not allowed to.)"
    with room(None, "auto", 9) as found:
        assert found.slots == slots
        assert found.environment == {}
        assert found.sentence == f"{begins}{why} several would take turns on a GPU; --jobs N has them do so"
    with room(4, "auto", 9) as found:
        assert len(found.slots) == 4
        assert found.sentence == f"4 runs side by side (as asked), {why}"
    with room(None, "auto", 9, runs_per_device=3) as found:
        assert len(found.slots) == 3 * len(free)
        assert found.sentence.endswith(f", {why}")


def test_on_a_gpu_by_number(daemon: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: --jobs with device=cuda:1 has runs share that one."""
    with room(3, "cuda:1", 9) as found:
        assert found.slots == [[], [], []]
        assert found.environment["CUDA_MPS_PIPE_DIRECTORY"]
    monkeypatch.setattr(mps.shutil, "which", lambda name: None)
    with room(3, "cuda:1", 9) as found:
        assert found.environment == {}
        assert found.sentence.endswith("without NVIDIA's MPS (nvidia-cuda-mps-control is not there)")
