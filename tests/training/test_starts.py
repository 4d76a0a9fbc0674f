"""Under what a run's starts trained: kept for each, and a difference is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from run_records import opened
from whole_runs import RUN, only_run, stopped_after

from mixbench import train as training
from mixbench.record.run import SavedRun
from mixbench.record.summary import differences
from mixbench.training import checkpoint


def test_a_difference_between_starts_is_said_in_log_and_table(
    mixbench, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another commit and number of threads at the second start; the third is as the second. Oracle: what was set."""
    commits, threads, environment = iter("abb"), iter([2, 1, 1]), training.environment

    def changing(device: Any) -> dict[str, Any]:
        torch.set_num_threads(next(threads))
        return environment(device) | {"commit": next(commits) * 40, "uncommitted": None}

    monkeypatch.setattr(training, "environment", changing)
    for epochs in (1, 2):
        with stopped_after(epochs):
            mixbench("train", *RUN, "checkpoint_seconds=0", "device=cpu")
    done = mixbench("train", *RUN, "device=cpu")
    assert done.status == 0, done.err
    run = SavedRun(only_run(workplace / "outputs"))
    assert [(start["commit"], start["threads"]) for start in run.summary["history"]] == [
        ("a" * 20, 2),
        ("b" * 20, 1),
        ("b" * 20, 1),
    ]
    log = (run.directory / "train.log").read_text()
    said = f"commit {'a' * 20}, then {'b' * 20}; threads 2, then 1"
    assert log.count(f"note     not as at the start before: {said}") == 1
    assert f"starts  not alike: {said}" in done.out
    assert f"starts  not alike: {said}" in mixbench("train", *RUN).out


def test_a_checkpoint_of_an_earlier_version_is_gone_on_from(mixbench, workplace: Path) -> None:
    """Without the part about starts, and with the rows themselves, which epochs.csv then need not have: the run goes
    on, and its record begins with this start.
    """
    with stopped_after(1):
        mixbench("train", *RUN, "checkpoint_seconds=0")
    directory = only_run(workplace / "outputs")
    state, _ = checkpoint.read(directory)
    assert state is not None
    assert len(state.pop("starts")["history"]) == 1
    first, _ = state["position"]["rows"], (directory / "epochs.csv").unlink()
    with opened(directory) as record:
        checkpoint.write(record, state | {"identity": directory.name})
    done = mixbench("train", *RUN)
    assert done.status == 0, done.err
    assert "resume   after epoch 1" in done.out
    assert len(SavedRun(directory).summary["history"]) == 1
    assert SavedRun(directory).rows[:1] == first


@given(st.lists(st.fixed_dictionaries({"at": st.integers(), "a": st.integers(0, 2), "b": st.booleans()})))
def test_what_is_alike_is_not_listed(history: list[dict]) -> None:
    """Oracle: the sets of values of each key; the time of a start is no difference."""
    listed = {line.partition(" ")[0] for line in differences(history)}
    assert listed == {key for key in ("a", "b") if len({start[key] for start in history}) > 1}
