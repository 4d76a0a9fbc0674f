"""`keep`: the weights of the best epoch on the validation set, whatever stops the run, and `eval` on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from whole_runs import only_run, stopped_after

from mixbench import load_run
from mixbench.engine.loop import Loop
from mixbench.record.run import SavedRun

# A learning rate at which validation accuracy falls again before the end.
RUN = ("epochs=4", "batch_size=25", "dataset.train_size=200", "dataset.test_size=100", "dataset.val_size=100",
       "opt.lr=1", "schedule=constant", "device=cpu", "checkpoint_seconds=0")  # fmt: skip


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> dict[int, dict[str, torch.Tensor]]:
    """A copy of the evaluated weights after every epoch, by its number, taken where the loop evaluates."""
    found = dict[int, dict[str, torch.Tensor]]()
    measured = Loop._measured

    def noted(self, position):
        found[position.epoch + 1] = {k: v.clone() for k, v in self.model.state_dict().items()}
        return measured(self, position)

    monkeypatch.setattr(Loop, "_measured", noted)
    return found


def same(one: dict, two: dict) -> bool:
    return one.keys() == two.keys() and all(torch.equal(t, two[k]) for k, t in one.items())


@pytest.mark.parametrize("extra", [(), ("ema.decay=0.5",)])
def test_the_best_weights_are_kept_over_a_stop(mixbench, workplace: Path, states: dict, extra: tuple) -> None:
    """Oracle: what the loop evaluated in the epoch that summary.json calls best_val; eval gives that epoch's row."""
    for stop in (1, 3):
        with stopped_after(stop):
            mixbench("train", *RUN, *extra, "keep=both")
    done = mixbench("train", *RUN, *extra, "keep=both")
    assert done.status == 0, done.err
    run = SavedRun(only_run(workplace / "outputs"))
    best = run.selections["best_val"]["epoch"]
    assert best < 4  # else this shows nothing
    assert same(load_file(run.directory / "best_val.safetensors"), states[best])
    assert same(load_file(run.weights), states[4])
    assert f"weights of epoch 4 (last) and epoch {best} (best_val)" in done.out
    assert run.damages() == []
    for rule, epoch in (("last", 4), ("best_val", best)):
        asked = (
            "eval",
            str(run.directory),
            "--only=accuracy",
            "--device=cpu",
            "--format=json",
            "--weights",
            rule,
        )
        ((evaluation,),) = (one["evaluations"] for one in json.loads(mixbench(*asked).out))
        assert evaluation["result"]["acc"] == run.rows[epoch - 1]["test_acc"]
    found = load_run(run.directory / "best_val.safetensors")
    assert same(found.model().state_dict(), states[best])


def test_one_of_them_alone(mixbench, workplace: Path, states: dict) -> None:
    """keep=best_val leaves no last weights; what is asked for and was not kept is named."""
    done = mixbench("train", *RUN, "keep=best_val")
    assert done.status == 0, done.err
    run = only_run(workplace / "outputs")
    assert not (run / "model.safetensors").exists()
    assert same(
        load_file(run / "best_val.safetensors"), states[SavedRun(run).selections["best_val"]["epoch"]]
    )
    refused = mixbench("eval", str(run), "--only=accuracy")
    assert refused.status == 1
    assert "kept were those of best_val" in refused.err
    again = mixbench("train", *RUN)
    assert again.out.startswith("finished")
    assert "keep=last: the weights of last were not kept; force=true trains again" in again.out


def test_a_best_epoch_that_was_trained_before_it_was_asked_for_is_gone(mixbench, workplace: Path) -> None:
    """All but the last epoch without keep: the last weights are kept, and a note says why."""
    with stopped_after(3):
        mixbench("train", *RUN)
    done = mixbench("train", *RUN, "keep=best_val")
    assert done.status == 0, done.err
    assert "the best epoch was trained without keep=best_val; its weights are gone" in done.out
    assert SavedRun(only_run(workplace / "outputs")).summary["kept"] == {"last": 4}


def test_without_a_validation_set_it_is_refused(mixbench, workplace: Path) -> None:
    """One message, before anything is made."""
    refused = mixbench("train", *(o for o in RUN if "val_size" not in o), "keep=both")
    assert refused.status == 2
    assert "keep=both: goes by validation accuracy; add dataset.val_size=N" in refused.err
    assert not Path("outputs").exists()
