"""Runs under torchrun that are stopped, killed and frozen for real, one of their two ranks or all."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from mixbench.training import checkpoint

# Some 5 s, with checkpoints in the middle of epochs.
RUN = ["augment=mixup", "opt=sam", "devices=2", "epochs=8", "device=cpu", "checkpoint_seconds=0.1"]
Start = Callable[..., subprocess.Popen]


@pytest.fixture
def torchrun(workplace: Path) -> Iterator[Start]:
    """Start a run under torchrun in the folder OUT: `torchrun("OUT", "key=value", options=["--max-restarts", "1"])`."""
    started = []

    def start(out: str, *overrides: str, options: tuple[str, ...] = ()) -> subprocess.Popen:
        # The standalone rendezvous takes a free port.
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        command = [*launcher, *options, "-m", "mixbench", "train", *RUN, *overrides, f"output_dir={out}"]
        process = subprocess.Popen(
            command, cwd=workplace, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        for child in psutil.Process(process.pid).children() if process.poll() is None else []:
            child.kill()
        process.kill()
        process.wait()


def read_until(process: subprocess.Popen, words: str) -> str:
    """What the process prints up to the line with `words`."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return "".join(lines)
    raise AssertionError(f"{words!r} was not printed:\n{''.join(lines)}")


def end_of(process: subprocess.Popen, timeout: float = 90) -> tuple[int, str]:
    """Exit status of torchrun, and the rest of what it and its ranks print."""
    out, _ = process.communicate(timeout=timeout)
    return process.returncode, out


def rank_process(launcher: subprocess.Popen, rank: int) -> psutil.Process:
    """The process of a rank."""
    for child in psutil.Process(launcher.pid).children():
        if child.environ().get("RANK") == str(rank):
            return child
    raise AssertionError(f"no rank {rank}")


def only_run(folder: Path) -> Path:
    (found,) = folder.rglob("summary.json")
    return found.parent


def summary(folder: Path) -> dict:
    return json.loads((only_run(folder) / "summary.json").read_text())


def result(folder: Path) -> tuple[bytes, list[list[str]]]:
    """Weights and rows without times: all that a run must give again, bit for bit."""
    directory = only_run(folder)
    rows = [line.split(",") for line in (directory / "epochs.csv").read_text().splitlines()]
    kept = [i for i, name in enumerate(rows[0]) if not name.endswith("_seconds")]
    return (directory / "model.safetensors").read_bytes(), [[row[i] for i in kept] for row in rows]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> tuple:
    """The same run, left alone."""
    folder = tmp_path_factory.mktemp("reference")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run(
        [*launcher, "-m", "mixbench", "train", *RUN, f"output_dir={folder}"],
        env=os.environ | {"MIXBENCH_DATA": str(data_dir)},
        check=True,
        timeout=120,
    )
    return result(folder)


@pytest.mark.long
def test_only_rank_0_speaks_and_a_finished_run_is_shown(torchrun: Start, workplace: Path) -> None:
    """One record, every line once; the same command again trains nothing."""
    status, out = end_of(torchrun("out", "epochs=1"))
    assert status == 0, out
    assert out.count("epoch 1/1") == 1
    assert "each of 2 ranks takes 64 images" in out
    assert summary(workplace / "out")["state"] == "finished"
    status, out = end_of(torchrun("out", "epochs=1"))
    assert status == 0
    assert out.count("force=true starts over") == 1
    assert summary(workplace / "out")["starts"] == 1


@pytest.mark.fault("signals")
@pytest.mark.long
@pytest.mark.parametrize(
    ("target", "number"),
    [
        ("torchrun", signal.SIGTERM),
        ("torchrun", signal.SIGUSR1),
        ("0", signal.SIGTERM),
        ("1", signal.SIGUSR1),
        ("all", signal.SIGTERM),
    ],
)
def test_a_signal_to_any_rank_or_to_torchrun_stops_all_with_a_checkpoint(
    torchrun: Start, workplace: Path, reference: tuple, target: str, number: int
) -> None:
    """Rank 0 says so, once; its status is 128 + signal; the same command gives the bits of a run left alone.

    All: as SLURM does, and torchrun among them passes it on, so that each rank gets it twice.
    """
    process = torchrun("out", options=("--signals-to-handle", "SIGTERM,SIGINT,SIGUSR1"))
    read_until(process, "epoch 2/")
    launcher, first, second = psutil.Process(process.pid), rank_process(process, 0), rank_process(process, 1)
    targets = {"torchrun": [launcher], "0": [first], "1": [second], "all": [launcher, first, second]}
    for victim in targets[target]:
        victim.send_signal(number)
    status, out = end_of(process)
    assert status != 0
    assert out.count("the same command goes on from there") == 1, out
    assert not psutil.pid_exists(first.pid)
    assert summary(workplace / "out")["state"] == "interrupted"
    assert checkpoint.read(only_run(workplace / "out"))[0] is not None
    if target in "01":  # torchrun, asked itself to stop, does not report how its processes ended
        assert f"exitcode  : {128 + number}" in out
    status, out = end_of(torchrun("out"))
    assert status == 0
    assert "resume   after epoch" in out
    assert result(workplace / "out") == reference


@pytest.mark.fault("workers")
@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
def test_after_a_killed_rank_torchrun_restarts_and_resumes(
    torchrun: Start, workplace: Path, reference: tuple, rank: int
) -> None:
    """SIGKILL of either rank; torchrun's own restart resumes from last.pt and gives the bits of a run left alone.

    force=true starts over once, not at every restart.
    """
    process = torchrun("out", "force=true", options=("--max-restarts", "1"))
    read_until(process, "epoch 3/")
    rank_process(process, rank).kill()
    status, out = end_of(process)
    assert status == 0, out
    assert "resume   after epoch" in out
    assert result(workplace / "out") == reference


@pytest.mark.fault("workers")
@pytest.mark.long
def test_a_killed_rank_is_named(torchrun: Start, workplace: Path) -> None:
    """Without a restart the run is `failed`, names the dead rank's process, and resumes by the same command."""
    process = torchrun("out")
    read_until(process, "epoch 2/")
    victim = rank_process(process, 1)
    killed = time.monotonic()
    victim.kill()
    assert end_of(process)[0] != 0
    assert time.monotonic() - killed < 20
    state = summary(workplace / "out")
    assert state["state"] == "failed"
    assert f"rank 1 of 2 (process {victim.pid} on" in state["error"]
    assert end_of(torchrun("out"))[0] == 0


@pytest.mark.fault("workers")
@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
def test_a_frozen_rank_is_named_within_the_stated_time(torchrun: Start, workplace: Path, rank: int) -> None:
    """SIGSTOP: the other rank ends with an error that names it, after rank_timeout and a roll call of 5 s."""
    process = torchrun("out", "rank_timeout=4")
    read_until(process, "epoch 2/")
    victim, other = rank_process(process, rank), rank_process(process, 1 - rank)
    stopped = time.monotonic()
    victim.send_signal(signal.SIGSTOP)
    out = read_until(process, "it died or hangs")
    assert 4 < time.monotonic() - stopped < 4 + 5 + 10
    assert f"rank {rank} of 2 (process {victim.pid} on" in out
    psutil.wait_procs([other], timeout=20)
    victim.kill()
    assert end_of(process)[0] != 0
    if rank == 1:
        assert summary(workplace / "out")["state"] == "failed"


@pytest.mark.fault("workers")
@pytest.mark.long
def test_a_run_that_diverges_is_failed_on_all_ranks(torchrun: Start, workplace: Path) -> None:
    """All ranks see the same loss, so all end at the same step with the same advice, said once."""
    status, out = end_of(torchrun("out", "opt=sgd", "opt.lr=1e30"))
    assert status != 0
    assert out.count("Try a smaller opt.lr") == 1, out
    assert "died or hangs" not in out
    assert summary(workplace / "out")["state"] == "failed"


@pytest.mark.fault("workers")
@pytest.mark.long
def test_an_error_of_one_rank_is_said_by_rank_0(torchrun: Start, workplace: Path) -> None:
    """Another config on rank 1, as when two machines are started by different commands: refused, with both ids."""
    script = workplace / "odd.py"
    script.write_text(
        "import os, sys\nfrom mixbench.cli import main\n"
        "sys.argv += ['seed=1'] if os.environ['RANK'] == '1' else []\nmain()\n"
    )
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, str(script), "train", *RUN, "rank_timeout=10"],
        cwd=workplace,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "the config of rank 1" in done.stderr
    assert "is not that of rank 0" in done.stderr


LOST = """
import os, signal, sys, time
import torch, torch.distributed as dist
from mixbench.errors import ConfigError
from mixbench.machine import ranks
ranks.ANSWER_SECONDS = 0.5
end = sys.argv[1]
try:
    with ranks.joined("run", timeout=2) as here:
        here.add(torch.ones(1))
        if here.rank == 1:
            if end == "error":
                raise ConfigError("mine")
            print("rank 1 is here", flush=True)
            os.kill(os.getpid(), {"killed": signal.SIGKILL, "frozen": signal.SIGSTOP}[end])
        here.add(torch.ones(1))
except (ranks.RankLost, ConfigError) as error:
    print(type(error).__name__, dist.is_initialized(), flush=True)
"""


@pytest.mark.fault("workers")
@pytest.mark.parametrize(
    "end",
    [
        pytest.param("killed", marks=pytest.mark.slow),
        pytest.param("frozen", marks=pytest.mark.long),
        pytest.param("error", marks=pytest.mark.long),
    ],
)
def test_a_lost_rank_leaves_no_group_behind(end: str) -> None:
    """By hand: whatever ended the exchange, the group of processes is destroyed, at once; no exit waits for it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", LOST, end],
            env={**os.environ, **place, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said, _ = processes[0].communicate(timeout=40)
        assert said.split() == ["RankLost", "False"]
        assert processes[0].returncode == 0
        if end == "error":
            assert processes[1].communicate(timeout=10)[0].split() == ["ConfigError", "False"]
    finally:
        for process in processes:
            process.kill()
            process.wait()
