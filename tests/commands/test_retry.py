"""`mixbench retry`: what failed or was interrupted, from its own config, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixbench.config.compose import compose
from mixbench.config.identity import run_dir
from mixbench.record.read import read_summary
from mixbench.record.write import write_config, write_summary
from mixbench.sweep.replay import job

TINY = ("epochs=1", "dataset.train_size=100", "dataset.test_size=50", "batch_size=50", "train_clean_every=0")


def broken(state: str, *overrides: str) -> Path:
    """A run's directory in this state, with nothing trained."""
    config = compose([*TINY, *overrides])
    directory = run_dir(config)
    directory.mkdir(parents=True)
    write_config(directory, config)
    write_summary(
        directory, {"state": state, "config": {"seed": config.seed}, "id": directory.name, "error": "x"}
    )
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


@settings(deadline=None, max_examples=40)
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
    directory.mkdir(parents=True)
    write_config(directory, config)
    again = job(directory)
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
    """A config.yaml that is no YAML, and one with another seed: named, status 1, the third run is trained."""
    torn, other, good = broken("failed", "seed=0"), broken("failed", "seed=1"), broken("failed", "seed=2")
    (torn / "config.yaml").write_text("seed: [")
    (other / "config.yaml").write_text((other / "config.yaml").read_text().replace("seed: 1", "seed: 9"))
    done = mixbench("retry")
    assert done.status == 1
    assert f"{torn}/config.yaml: cannot be read" in done.err
    assert "is now that of another run" in done.err
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
