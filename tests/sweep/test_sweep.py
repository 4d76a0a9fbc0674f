"""Sweeps: checked whole before they start, resumed where they stopped, honest about what failed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mixbench.config.overrides import expand
from mixbench.engine.loop import Loop
from mixbench.record.claim import CLAIM
from mixbench.record.write import OpenRecord

TINY = ("epochs=2", "dataset.train_size=100", "dataset.test_size=50", "batch_size=50", "train_clean_every=0")
GRID = ("-m", "opt=sam", "opt.rho=0.05,0.1", "seed=0,1", *TINY)


def states(root: Path) -> dict[str, str]:
    return {p.parent.name: json.loads(p.read_text())["state"] for p in root.rglob("summary.json")}


def test_a_run_whose_claim_is_lost_is_taken_up_again(
    mixbench: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process works on it then, so it is busy, not failed: once it is free the sweep goes on with it."""
    add, lost = OpenRecord.add_row, list[Path]()

    def lose_once(self: OpenRecord, rows: list) -> None:
        if not lost:
            lost.append(self.directory)
            (self.directory / CLAIM).unlink()
        add(self, rows)

    monkeypatch.setattr(OpenRecord, "add_row", lose_once)
    done = mixbench("train", "-m", "seed=0,1", *TINY)
    assert done.status == 0, done.err
    assert "the claim on the run is gone" in done.err
    assert "waiting for 1 runs" in done.out
    assert len(list(Path("outputs").rglob("model.safetensors"))) == 2


def test_expansion_is_the_product_in_order() -> None:
    """Oracle: the product written by hand."""
    cells = expand(["opt=sam", "opt.rho=0.05,0.1", "seed=0,1"])
    assert cells == [
        ["opt=sam", "opt.rho=0.05", "seed=0"],
        ["opt=sam", "opt.rho=0.05", "seed=1"],
        ["opt=sam", "opt.rho=0.1", "seed=0"],
        ["opt=sam", "opt.rho=0.1", "seed=1"],
    ]


@pytest.mark.fault("kill")
def test_a_killed_sweep_runs_only_what_is_missing(mixbench, workplace: Path, monkeypatch) -> None:
    """Killed in its third run; started again it trains the missing part and nothing else."""
    epochs: list[int] = []
    close = Loop.close_epoch

    def counted(self, position):
        if len(epochs) == 5:
            raise KeyboardInterrupt
        epochs.append(position.epoch)
        return close(self, position)

    monkeypatch.setattr(Loop, "close_epoch", counted)
    with pytest.raises(KeyboardInterrupt):
        mixbench("train", *GRID, "checkpoint_seconds=0")
    assert sorted(states(workplace / "outputs").values()) == ["finished", "finished", "interrupted"]
    monkeypatch.setattr(Loop, "close_epoch", lambda *a: (epochs.append(-1), close(*a))[1])
    again = mixbench("train", *GRID)
    assert again.status == 0, again.err
    assert "2 already finished" in again.out
    assert "4 of 4 runs finished" in again.out
    assert epochs.count(-1) == 3  # one epoch of the third run, two of the fourth
    assert list(states(workplace / "outputs").values()) == ["finished"] * 4
    third = mixbench("train", *GRID)
    assert "4 already finished" in third.out
    assert epochs.count(-1) == 3


@pytest.mark.fault("failure")
def test_a_failing_cell_is_recorded_and_the_rest_goes_on(mixbench, workplace: Path) -> None:
    """A learning rate that makes the loss overflow: that cell fails with epoch and step, the other one ends."""
    result = mixbench("train", "-m", "opt.lr=1e30,0.05", *TINY)
    assert result.status == 1
    assert sorted(states(workplace / "outputs").values()) == ["failed", "finished"]
    assert "1 of 2 runs finished" in result.out
    assert "epoch 1, step" in result.out
    assert "smaller opt.lr" in result.out + result.err
    assert "Traceback" not in result.out + result.err


def test_every_cell_is_checked_before_the_first_starts(mixbench, workplace: Path) -> None:
    """A mistake in the last cell stops the sweep before its first run."""
    result = mixbench("train", "-m", "opt=sam", "opt.rho=0.05,0.1,-1", *TINY)
    assert result.status == 2
    assert "opt.rho=-1" in result.err
    assert not (workplace / "outputs").exists()


def test_a_single_run_is_a_cell_of_the_sweep(mixbench, workplace: Path) -> None:
    """The same config is the same directory, however it was started."""
    assert mixbench("train", "opt=sam", "opt.rho=0.1", "seed=1", *TINY).status == 0
    (single,) = states(workplace / "outputs")
    result = mixbench("train", *GRID)
    assert "1 already finished" in result.out
    assert single in states(workplace / "outputs")
