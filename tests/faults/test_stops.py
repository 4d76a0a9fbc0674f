"""Signals and kills, sent to real processes; then the same command again. Oracle: the run that was never stopped."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from whole_runs import RUN, assert_same, forked, only_run, result, state

from mixbench.optim.sam import SAM
from mixbench.training import checkpoint

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


def wait_for(condition: Callable[[], object], process: BaseProcess) -> None:
    """Until the condition holds or the process ends, at most a minute."""
    deadline = time.monotonic() + 60
    while process.is_alive() and not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.fault("kill")
@pytest.mark.parametrize("kills", [8, pytest.param(50, marks=pytest.mark.long)])
def test_sigkill_at_random_moments(
    tmp_path: Path, data_dir: Path, reference: tuple, kills: int, record_property
) -> None:
    """At moments drawn from the time that a run takes, which writes a checkpoint after every step.

    A run that gets to its end between two kills is compared too, and the next one is begun. No writer's half file
    stays behind.
    """
    moments, longest, done, finished = random.Random(kills), 1.5, 0, 0
    while done <= kills:
        root, begun = tmp_path / f"run{finished}", time.monotonic()
        process = forked(
            tmp_path / "printed", f"output_dir={root}", f"data_dir={data_dir}", "checkpoint_seconds=0.001"
        )
        process.join(moments.uniform(0, longest) if done < kills else None)
        if process.is_alive():
            process.kill()
            process.join()
            done += 1
            continue
        assert process.exitcode == 0, (tmp_path / "printed").read_text()
        longest = max(longest, time.monotonic() - begun)
        assert_same(result(root), reference)
        assert not [path.name for path in only_run(root).iterdir() if path.name.startswith(".")]
        finished += 1
        done += done == kills
    record_property("faults", kills)


@pytest.mark.fault("signals")
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("moment", ["starting", "training"])
def test_a_signal_saves_and_asks_for_a_requeue(
    tmp_path: Path, data_dir: Path, reference: tuple, number: signal.Signals, moment: str
) -> None:
    """Status 128 + signal, or death by it before there is anything to save; one message, no traceback."""
    places = f"output_dir={tmp_path}", f"data_dir={data_dir}"
    printed = tmp_path / "printed"
    process = forked(printed, *places, "checkpoint_seconds=3600")
    wait_for(
        lambda: printed.exists() if moment == "starting" else list(tmp_path.rglob("epochs.csv")), process
    )
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join()
    words = printed.read_text()
    assert "Traceback" not in words
    if moment == "training":
        assert process.exitcode == 128 + number, words
        assert "the same command goes on from there" in words
        assert state(tmp_path) == "interrupted"
        assert checkpoint.read(only_run(tmp_path))[0] is not None
    assert process.exitcode in (128 + number, -number), words
    again = forked(printed, *places)
    again.join()
    assert again.exitcode == 0, printed.read_text()
    assert_same(result(tmp_path), reference)


@pytest.mark.fault("signals")
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_data_are_being_fetched_ends_at_once(
    mixbench, workplace: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """The first one: a download that could take an hour does not go on. Status 128 + signal, `interrupted`."""

    def download(*arguments) -> None:
        os.kill(os.getpid(), number)
        time.sleep(5)
        raise AssertionError("the download went on")

    monkeypatch.setattr("mixbench.train.load_splits", download)
    stopped = mixbench("train", *RUN)
    assert stopped.status == 128 + number, stopped.err
    assert "training had not begun, what was there before is kept; the same command goes on" in stopped.err
    assert state(workplace) == "interrupted"


@pytest.mark.fault("signals")
def test_a_closed_terminal_does_not_end_training(tmp_path: Path, data_dir: Path, reference: tuple) -> None:
    """SIGHUP in the middle: the run goes on to its end, with the result of one that never got it."""
    process = forked(tmp_path / "printed", f"output_dir={tmp_path}", f"data_dir={data_dir}")
    wait_for(lambda: list(tmp_path.rglob("epochs.csv")), process)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGHUP)
    process.join()
    assert process.exitcode == 0, (tmp_path / "printed").read_text()
    assert_same(result(tmp_path), reference)


@pytest.mark.fault("signals")
@pytest.mark.parametrize("number", SIGNALS)
def test_the_step_under_way_is_the_last(
    mixbench, workplace: Path, reference: tuple, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """A signal inside the ninth step: no tenth one is taken, and the checkpoint stands right behind the ninth."""
    steps, step = [0], SAM.step

    def interrupted(self, *arguments):
        steps[0] += 1
        if steps[0] == 9:
            os.kill(os.getpid(), number)
        return step(self, *arguments)

    monkeypatch.setattr(SAM, "step", interrupted)
    stopped = mixbench("train", *RUN)
    assert (stopped.status, steps[0]) == (128 + number, 9), stopped.err
    saved, _ = checkpoint.read(only_run(workplace))
    assert saved is not None
    assert saved["position"]["epoch"] * 8 + saved["position"]["step"] == 9
    monkeypatch.setattr(SAM, "step", step)
    assert mixbench("train", *RUN).status == 0
    assert_same(result(workplace), reference)


READY = "from mixbench.cli import main; print('ready', flush=True); main()"


@pytest.mark.slow
@pytest.mark.fault("signals")
@pytest.mark.parametrize("moment", [0.01, 0.3, 0.8, 2, 4])
def test_ctrl_c_shows_no_traceback(workplace: Path, moment: float) -> None:
    """Ctrl-C so many seconds after our first line: while Hydra and torch are loaded, and in training."""
    command = [sys.executable, "-c", READY, "train", *RUN, "epochs=1000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(moment)
        process.send_signal(signal.SIGINT)
        words, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGINT, words
    assert "Traceback" not in words
