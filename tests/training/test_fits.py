"""Checkpoints whose checksum fits but whose values are not the run's: refused in one message, before any change."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_records import opened, rows_of

from mixbench.engine.average import MovingAverage
from mixbench.engine.metrics import TrainMetrics
from mixbench.engine.position import Position
from mixbench.errors import DataError
from mixbench.machine.ranks import ALONE
from mixbench.record.write import OpenRecord
from mixbench.training import checkpoint
from mixbench.training.best import Best
from mixbench.training.checkpoint import CheckpointError, Snapshot
from mixbench.training.starts import Starts

pytestmark = pytest.mark.fault("hostile")
NOW = {"at": "2026", "commit": "1", "threads": 1, "device": "cpu", "compile": False}


@pytest.fixture
def record(tmp_path: Path) -> Iterator[OpenRecord]:
    """A record that this process holds."""
    with opened(tmp_path) as held:
        yield held


def parts(directory: Path, kind: type[torch.optim.Optimizer] = torch.optim.SGD, steps: int = 3) -> dict:
    """The parts of a run of five epochs of four steps, some steps on."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    knobs: dict[str, Any] = {"momentum": 0.9} if kind is torch.optim.SGD else {}
    optimizer = kind(model.parameters(), lr=0.1, weight_decay=0.01, **knobs)
    average = MovingAverage(model, 0.9)
    for _ in range(steps):
        model(torch.rand(4, 3)).square().sum().backward()
        optimizer.step()
        average.update()
    position = Position(epoch=2 * bool(steps), step=steps, rows=rows_of([10.0, 20.0])[: 2 * bool(steps)])
    best = Best(SimpleNamespace(model=model), True)
    if steps:
        best.load_state_dict({"epoch": 2, "weights": copy.deepcopy(model.state_dict())})
    return {
        "starts": Starts(directory, "digits", {"train_images": "0" * 64}, NOW),
        "best": best,
        "model": model,
        "optimizer": optimizer,
        "metrics": TrainMetrics([8] * 4, torch.device("cpu")),
        "position": position,
        "scaler": torch.amp.GradScaler("cpu", init_scale=8.0),
        "average": average,
    }


def state_of(record: OpenRecord, **kind: Any) -> dict[str, Any]:
    """A whole checkpoint as it is read."""
    saved = parts(record.directory, **kind)
    record.write_rows(saved["position"].rows)
    Snapshot(record, ALONE, **saved).save()
    state, _ = checkpoint.read(record.directory)
    assert state is not None
    return state


def restored(record: OpenRecord, state: dict[str, Any], **kind: Any) -> dict[str, Any]:
    """The parts of a new process after it has read a checkpoint of this content."""
    checkpoint.write(record, state)
    fresh = parts(record.directory, steps=0, **kind)
    Snapshot(record, ALONE, epochs=5, steps=4, **fresh).restore()
    return fresh


def replace(state: Any, path: tuple, value: Any) -> None:
    """Put a value in the place at the end of a way of keys."""
    for key in path[:-1]:
        state = state[key]
    state[path[-1]] = value


def paths(value: Any, way: tuple = ()) -> Iterator[tuple]:
    """The way to every value, containers too."""
    if way:
        yield way
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in inner:
        yield from paths(entry, (*way, key))


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_what_fits_is_taken_but_for_what_the_config_decides(record: OpenRecord, kind: type) -> None:
    """Oracle: the parts that were saved. Groups of another lr, momentum or weight decay give way to the run's own."""
    state, saved = state_of(record, kind=kind), parts(record.directory, kind)
    state["optimizer"]["param_groups"][0] |= {"lr": 9.0, "momentum": 0.0, "weight_decay": 5.0}
    state["scaler"] |= {"growth_factor": 1e9}
    fresh = restored(record, state, kind=kind)
    torch.testing.assert_close(fresh["model"].state_dict(), saved["model"].state_dict(), rtol=0, atol=0)
    ours, theirs = fresh["optimizer"].state_dict(), saved["optimizer"].state_dict()
    assert ours["param_groups"] == theirs["param_groups"]
    torch.testing.assert_close(ours["state"], theirs["state"], rtol=0, atol=0)
    assert fresh["scaler"].state_dict() == saved["scaler"].state_dict()
    assert fresh["position"].rows == saved["position"].rows


NAN = math.nan
WRONG: dict[str, tuple[tuple, Any]] = {
    "epoch -5": (("position", "epoch"), -5),
    "epoch 1.5": (("position", "epoch"), 1.5),
    "epoch 10**9": (("position", "epoch"), 10**9),
    "epoch without its rows": (("position", "epoch"), 3),
    "step beyond the epoch": (("position", "step"), 5),
    "step true": (("position", "step"), True),
    "NaN seconds": (("position", "train_seconds"), NAN),
    "rows of text": (("position", "rows", 0, "test_acc"), "9"),
    "rows twice": (("position", "rows", 1, "epoch"), 1),
    "another name": (("position", "finished"), 1),
    "weights of another shape": (("model", "0.weight"), torch.zeros(3, 2)),
    "weights of another dtype": (("model", "0.weight"), torch.zeros(2, 3, dtype=torch.float16)),
    "weights NaN": (("model", "0.bias"), torch.tensor([1.0, NAN])),
    "weights no tensor": (("model", "0.bias"), [1.0, 2.0]),
    "best of another shape": (("best", "weights", "0.bias"), torch.zeros(3)),
    "best of no weights": (("best", "weights"), {}),
    "best epoch": (("best", "epoch"), 6),
    "momentum of another shape": (("optimizer", "state", 0, "momentum_buffer"), torch.zeros(1)),
    "momentum NaN": (("optimizer", "state", 1, "momentum_buffer"), torch.tensor([NAN, 0.0])),
    "momentum of no parameter": (("optimizer", "state", 99), {}),
    "momentum gone": (("optimizer", "state", 0), {}),
    "groups": (("optimizer", "param_groups"), []),
    "parameters": (("optimizer", "param_groups", 0, "params"), [0]),
    "metrics": (("metrics", "sums"), torch.zeros(4)),
    "average": (("average", "average", 0), torch.zeros(1)),
    "average started": (("average", "started"), 1),
    "scale 0": (("scaler", "scale"), 0.0),
    "history": (("starts", "history"), {"at": 1}),
    "history of tensors": (("starts", "history", 0, "at"), torch.zeros(1)),
    "data": (("starts", "data"), [1]),
}


@pytest.mark.parametrize("kind", WRONG)
def test_values_that_do_not_fit_the_run(record: OpenRecord, kind: str) -> None:
    """By hand. One message with the key and the way on; the parts are as they were, and the file is still there."""
    state, (path, value) = state_of(record), WRONG[kind]
    replace(state, path, value)
    checkpoint.write(record, state)
    fresh = parts(record.directory, steps=0)
    before = copy.deepcopy(fresh["model"].state_dict())
    with pytest.raises(CheckpointError, match=rf"does not fit the run .*{path[0]}(?s:.*)force=true"):
        Snapshot(record, ALONE, epochs=5, steps=4, **fresh).restore()
    torch.testing.assert_close(fresh["model"].state_dict(), before, rtol=0, atol=0)
    assert (fresh["position"].epoch, fresh["optimizer"].state_dict()["state"]) == (0, {})
    assert (record.directory / "last.pt").exists()


@pytest.mark.parametrize("path", [("model", "0.weight"), ("metrics",), ("optimizer", "state")])
def test_what_is_missing(record: OpenRecord, path: tuple) -> None:
    """A weight, a whole part, and the memory of an optimizer."""
    state = state_of(record)
    place = state if len(path) == 1 else state[path[0]]
    del place[path[-1]]
    with pytest.raises(CheckpointError, match="does not fit the run"):
        restored(record, state)


VALUES = st.sampled_from(
    [None, True, -1, 0, 1, 1.5, 10**9, 10**400, -(10**30), NAN, math.inf, "", "finished", "9" * 5000, b"x", [], {},
     [[]], {"epoch": 1}, {1: 2}, (1, 2), torch.zeros(()), torch.zeros(0), torch.full((2,), NAN),
     torch.zeros(2, dtype=torch.int64), torch.zeros(2, 3, dtype=torch.complex64)]
)  # fmt: skip


@pytest.mark.parametrize("examples", [60, pytest.param(3000, marks=pytest.mark.long)])
def test_any_value_at_any_place(record: OpenRecord, examples: int) -> None:
    """The checkpoint is taken, and can train on and be saved again, or refused with one of our errors; nothing else."""
    whole = state_of(record)
    places = sorted(paths(whole), key=str)

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(places), VALUES)
    def any_value(path: tuple, value: Any) -> None:
        state = copy.deepcopy(whole)
        replace(state, path, value)
        try:
            fresh = restored(record, state)
        except CheckpointError:
            return
        except DataError:  # other data than the run's
            assert path[:2] == ("starts", "data")
            return
        assert 0 <= fresh["position"].epoch <= 5
        fresh["model"](torch.rand(4, 3)).sum().backward()
        fresh["optimizer"].step()
        fresh["average"].update()
        record.write_summary({"state": "interrupted", "config": {}, **fresh["starts"].state_dict()})
        Snapshot(record, ALONE, **fresh).save()

    any_value()
