"""What was edited after a sweep began does not change its later runs without a word."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mixbench.record.read import read_summary
from mixbench.sweep import launch
from mixbench.training import environment, frozen

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


def test_what_lies_around_is_no_option_and_no_source(
    mixbench: Callable, edit_after_first: Callable, workplace: Path
) -> None:
    """An editor's lock, which is a dangling link, a folder with the name of a file, and one that may not be read."""
    edit_after_first(OPTION)
    folder = workplace / "mine" / "opt"
    (folder / ".#mine.yaml").symlink_to("user@host.1234:5678")
    (folder / "other.yaml").mkdir()
    (folder / os.fsdecode(b"caf\xe9.yaml")).write_bytes(b"# \xe9\n")
    done = sweep(mixbench)
    assert done.status == 0, done.err
    assert found() == {(0, 0.1): None, (1, 0.1): None}


def test_bytes_that_are_no_text_are_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: hashlib over what git prints of a tracked file with a byte that is no UTF-8, stripped."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=A", "-c", "user.email=a@b"]
    module = tmp_path / "module.py"
    module.write_text("one\n")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], check=True)
    module.write_bytes(b"caf\xe9\n")
    monkeypatch.setattr(environment, "__file__", str(module))
    found = environment.environment(torch.device("cpu"))
    difference = subprocess.run([*git, "diff", "HEAD"], capture_output=True).stdout.strip()
    assert b"\xe9" in difference
    assert found["uncommitted"] == hashlib.sha256(difference).hexdigest()
    assert re.fullmatch("[0-9a-f]{40}", found["commit"])
