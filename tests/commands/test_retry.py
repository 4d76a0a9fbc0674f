"""`mixbench retry`: what failed or was interrupted, from its own config, and nothing else."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_records import opened

from mixbench.config.compose import compose
from mixbench.config.identity import run_dir
from mixbench.record.read import read_summary
from mixbench.record.run import SavedRun
from mixbench.sweep.replay import job

TINY = ("epochs=1", "dataset.train_size=100", "dataset.test_size=50", "batch_size=50", "train_clean_every=0")


def broken(state: str, *overrides: str) -> Path:
    """A run's directory in this state, with nothing trained."""
    config = compose([*TINY, *overrides])
    directory = run_dir(config)
    summary = {"state": state, "config": {"seed": config.seed}, "id": directory.name, "error": "x"}
    if state == "finished":
        summary["selections"] = {"last": {}, "best_test": {}}
    with opened(directory) as record:
        record.write_config(config)
        record.write_summary(summary)
    return directory


names = {
    "augment": ["gmix", "mixup", "none", "puzzlemix"],
    "opt": ["sam", "adamw", "dgmix"],
    "model": ["wrn16_4", "wrn28_2", "preactresnet34", "small_cnn"],
    "schedule": ["step", "cosine"],
    "dataset": ["cifar10", "digits"],
}
values = [
    "seed=7", "label_smoothing=1e-05", "dataset.train_size=null", "dataset.train_size=200", "opt.lr=0.3",
    "schedule.milestones=[0.25,0.5]", "model.width=3", "data_dir='a folder, with=signs'", "output_dir='it\\'s'",
    "precision=bf16", "force=true", "dataset.mirrors=['a:b','c d']", "compile=true",
]  # fmt: skip


@settings(deadline=None, max_examples=15)
@given(st.tuples(*map(st.sampled_from, names.values())), st.lists(st.sampled_from(values), max_size=5))
def test_the_command_line_of_a_config_gives_it_again(tmp_path_factory, chosen: tuple, given: list) -> None:
    """Oracle: the config that was written, but for where it lies and that it does not start over."""
    from mixbench.errors import ConfigError

    try:
        config = compose(
            [*(f"{group}={name}" for group, name in zip(names, chosen, strict=True)), *given, "epochs=3"]
        )
    except ConfigError:  # this option has no such knob
        return
    config.output_dir = str(tmp_path_factory.mktemp("run"))
    directory = run_dir(config)
    with opened(directory) as record:
        record.write_config(config)
    again = job(SavedRun(directory))
    config.force = False
    assert again.config == config
    assert compose(again.overrides) == config


def test_retry_trains_what_failed_and_nothing_else(mixbench: Callable, workplace: Path) -> None:
    """A failed and an interrupted run are finished; one that the query leaves out, and a finished one, stay."""
    failed, interrupted = broken("failed", "seed=0"), broken("interrupted", "seed=1", "opt=sam")
    left, finished = broken("failed", "seed=2"), broken("finished", "seed=3")
    listed = mixbench("retry", "--dry-run", "seed<2")
    assert (listed.status, "2 runs, 2 different: 1 partial, 1 failed" in listed.out) == (0, True), listed.out
    assert read_summary(failed)["state"] == "failed"
    done = mixbench("retry", "seed<2")
    assert done.status == 0, done.err
    assert "sweep: 2 of 2 runs finished" in done.out
    states = [(read_summary(run) or {})["state"] for run in (failed, interrupted, left, finished)]
    assert states == ["finished", "finished", "failed", "finished"]
    assert "starts" not in read_summary(finished)
    assert "nothing to retry" in mixbench("retry", "seed<2").out


def test_a_run_that_cannot_be_retried_does_not_stop_the_others(mixbench: Callable, workplace: Path) -> None:
    """By hand: a config.yaml that is no YAML, another seed in it, data that are damaged: each is named, status 1, and
    the fourth run is trained.
    """
    torn, other, good = broken("failed", "seed=0"), broken("failed", "seed=1"), broken("failed", "seed=2")
    (torn / "config.yaml").write_text("seed: [")
    (other / "config.yaml").write_text((other / "config.yaml").read_text().replace("seed: 1", "seed: 9"))
    np.savez("own.npz", images=np.zeros((200, 8, 8), np.uint8), labels=np.arange(200) % 2)
    broken("failed", "dataset=arrays", "dataset.path=own.npz", "dataset.test_share=0.5")
    Path("own.npz").write_bytes(b"no archive")
    done = mixbench("retry")
    assert done.status == 1
    assert f"{torn}/config.yaml: cannot be read" in done.err
    assert "is now that of another run" in done.err
    assert "own.npz: cannot be read, is damaged" in done.err
    assert "Traceback" not in done.err
    assert read_summary(good)["state"] == "finished"


@pytest.mark.parametrize("arguments", [("--jobs=0",), ("nokey=1",)])
def test_mistakes_are_one_message(mixbench: Callable, workplace: Path, arguments: tuple) -> None:
    """Exit status 2, and the run stays as it was."""
    directory = broken("failed", "seed=0")
    done = mixbench("retry", *arguments)
    assert done.status == 2
    assert arguments[0].split("=")[0] in done.err
    assert read_summary(directory)["state"] == "failed"


@pytest.mark.parametrize("where", ["copy", "a/b/c/d/e/renamed", "outputs2/digits/small_cnn/erm"])
def test_a_run_at_no_runs_place_is_told_how_to_go_on(mixbench: Callable, workplace: Path, where: str) -> None:
    """Status 1 and one message with a command. Oracle: what the command composes to is the run as it was."""
    original = broken("interrupted", "seed=3", "opt=sam", "opt.rho=0.07", "data_dir='a folder'")
    shutil.copytree(original, where)
    for place in (where, str(workplace / where)):
        done = mixbench("retry", "--output-dir", place)
        assert done.status == 1
        assert "Traceback" not in done.err
        assert f"{place}: no place to train this run at" in done.err
        assert f"OUTPUT_DIR/{original.relative_to('outputs')}" in done.err
        command = shlex.split(done.err.splitlines()[-1])
        assert command[:2] == ["mixbench", "train"]
        assert compose(command[2:]) == SavedRun(original).config
    assert read_summary(original)["state"] == "interrupted"


def test_a_single_run_is_trained_where_it_lies(mixbench: Callable, workplace: Path, monkeypatch) -> None:
    """Named by itself: from above, from beside it and from inside; a copy at a run's place is a run of its own."""
    runs = [broken("failed", f"seed={seed}") for seed in range(3)]
    copy = Path("elsewhere", *runs[0].parts[1:])
    shutil.copytree(runs[0], copy)
    assert mixbench("retry", "--output-dir", str(runs[0])).status == 0
    for run, folder, name in ((runs[1], runs[1].parent, runs[1].name), (runs[2], runs[2], ".")):
        monkeypatch.chdir(workplace / folder)
        done = mixbench("retry", "--output-dir", name)
        assert (done.status, "sweep: 1 of 1 runs finished" in done.out) == (0, True), done.err
        assert SavedRun(workplace / run).state == "finished"
    monkeypatch.chdir(workplace)
    assert SavedRun(copy).state == "failed"
    assert mixbench("retry", "--output-dir", "elsewhere").status == 0
    assert SavedRun(copy).state == "finished"
    assert sorted(os.listdir(workplace)) == ["elsewhere", "outputs"]


@pytest.mark.parametrize("jobs", [(), ("--jobs", "2")])
def test_what_stops_a_run_is_said_by_the_command_that_was_given(
    mixbench: Callable, workplace: Path, jobs: tuple[str, ...]
) -> None:
    """Not by `train`, with which each run is started. Oracle: the user's command line."""
    diverging = ("opt.lr=1e30", *TINY)
    assert "mixbench train: " in mixbench("train", "-m", "seed=0,1", *diverging).err
    done = mixbench("retry", *jobs)
    assert done.status == 1
    assert done.err.count("mixbench retry: the training loss became nan in epoch 1") == 2, done.err
    assert "mixbench train: " not in done.err
