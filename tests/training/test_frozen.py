"""What was edited after a sweep began does not change its later runs without a word."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mixbench.record.read import read_summary
from mixbench.sweep import launch
from mixbench.training import frozen

TINY = ("epochs=1", "dataset.train_size=100", "dataset.test_size=50", "batch_size=50", "train_clean_every=0")
OPTION = "defaults: [/schema/opt/sam@_here_, /opt/sam@_here_]\nrho: 0.1\n"


@pytest.fixture
def edit_after_first(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replace the option file opt/mine.yaml of the user's own folder when the sweep's first run has ended."""
    option = workplace / "mine" / "opt" / "mine.yaml"
    option.parent.mkdir(parents=True)
    option.write_text(OPTION)

    def plan(text: str) -> None:
        def execute(config, run=launch.execute):
            run(config)
            option.write_text(text)

        monkeypatch.setattr(launch, "execute", execute)

    return plan


def sweep(mixbench: Callable):
    return mixbench("train", "-m", "--config-dir=mine", "opt=mine", "seed=0,1", *TINY)


def found() -> dict[tuple, list[str] | None]:
    summaries = [read_summary(p.parent) or {} for p in Path("outputs").rglob("summary.json")]
    return {(s["config"]["seed"], s["config"]["opt.rho"]): s.get("changed_since_start") for s in summaries}


def test_nothing_edited_nothing_said(mixbench: Callable, edit_after_first: Callable) -> None:
    """The same content again is no change."""
    edit_after_first(OPTION)
    assert sweep(mixbench).status == 0
    assert found() == {(0, 0.1): None, (1, 0.1): None}
    assert frozen.VARIABLE not in os.environ


def test_an_edited_comment_is_said(mixbench: Callable, edit_after_first: Callable) -> None:
    """The run is the one that was asked for; its log and summary say that conf changed."""
    edit_after_first(OPTION + "# tried more\n")
    done = sweep(mixbench)
    assert done.status == 0
    assert found() == {(0, 0.1): None, (1, 0.1): ["conf"]}
    logs = {p.parent: p.read_text() for p in Path("outputs").rglob("train.log")}
    assert sum("changed since this sweep was started: conf" in text for text in logs.values()) == 1


def test_an_edited_value_is_another_run_and_the_sweep_is_not_complete(
    mixbench: Callable, edit_after_first: Callable
) -> None:
    """The second run is that of the new value, under its own id; the one that was asked for counts as missing."""
    edit_after_first(OPTION.replace("0.1", "0.3"))
    done = sweep(mixbench)
    assert done.status == 1
    assert found() == {(0, 0.1): None, (1, 0.3): ["conf"]}
    assert "sweep: 1 of 2 runs finished" in done.out
    assert "not started" in done.out


def test_other_source_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose package differs from that of the sweep's process."""
    with frozen.frozen():
        assert frozen.changed_since_start() == []
        start = json.loads(os.environ[frozen.VARIABLE])
        monkeypatch.setenv(frozen.VARIABLE, json.dumps(start | {"source": "another"}))
        assert frozen.changed_since_start() == ["source"]
    assert frozen.changed_since_start() == []
