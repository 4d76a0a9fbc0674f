"""One small run for the tests that stop it and start it again: overrides, result, processes that train it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import safetensors.torch
import torch

from mixbench.record.read import read_rows, read_summary

RUN = (
    "augment=gmix", "opt=sam", "epochs=3", "batch_size=50", "train_mixed_every=1",
    "dataset.train_size=400", "dataset.test_size=100", "dataset.val_size=100",
)  # fmt: skip
Result = tuple[dict[str, torch.Tensor], list[dict]]


def only_run(root: Path) -> Path:
    """The one run directory below `root`."""
    (summary,) = root.rglob("summary.json")
    return summary.parent


def state(root: Path) -> str:
    """What the one run's record says of it."""
    return (read_summary(only_run(root)) or {})["state"]


def result(root: Path) -> Result:
    """Final weights and the rows without their times, of a finished run."""
    assert state(root) == "finished"
    weights = safetensors.torch.load_file(only_run(root) / "model.safetensors")
    rows = [{k: v for k, v in row.items() if "seconds" not in k} for row in read_rows(only_run(root))]
    return weights, rows


@contextlib.contextmanager
def stopped_after(epochs: int) -> Iterator[None]:
    """A run of this process is stopped by Ctrl-C when so many epochs have a row; the block must train it."""
    from mixbench.engine.loop import Loop

    close = Loop.close_epoch

    def interrupted(self, position):
        if len(position.rows) == epochs:
            raise KeyboardInterrupt
        return close(self, position)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "close_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            yield


def assert_same(one: Result, two: Result) -> None:
    """Bit for bit."""
    assert one[1] == two[1]
    assert one[0].keys() == two[0].keys()
    for name, tensor in one[0].items():
        assert torch.equal(tensor, two[0][name]), name


# A start takes milliseconds: the processes are forked from one that has imported torch, and never trained.
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["mixbench.commands.train", "mixbench.train"])


def forked(output: Path, *arguments: str, run: Sequence[str] = RUN) -> BaseProcess:
    """`mixbench train RUN ARGUMENTS` in a process of its own, which writes what it prints into `output`."""
    process = _forks.Process(target=_train, args=(str(output), [*run, *arguments]))
    process.start()
    return process


def train_to_the_end(output: Path, *arguments: str) -> None:
    """The same, and wait for it: it must succeed."""
    process = forked(output, *arguments)
    process.join()
    assert process.exitcode == 0, output.read_text()


def _train(output: str, arguments: list[str]) -> None:
    from mixbench.cli import main

    sys.argv = ["mixbench", "train", *arguments]
    try:
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
    except KeyboardInterrupt:  # the file was there, and with it the signal, before the program began
        sys.exit(128 + signal.SIGINT)
    main()
