"""`mixbench tune`: what it may search, what it chooses by, and that a stopped search goes on as if it had not been.

Trainings are stood in for by a formula (training_stand_in), with the records they really leave; one test trains.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import training_stand_in
from mixbench.errors import ConfigError
from mixbench.record import read_rows
from mixbench.tuning.search import search
from mixbench.tuning.space import Choice, Interval, parse
from training_stand_in import Instant, validation_accuracy

optuna = pytest.importorskip("optuna")

LR = "opt.lr=tag(log,interval(0.001,1))"
VAL = ("dataset.val_size=300", "epochs=8")


@pytest.fixture
def tune(mixbench, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """`tune(*arguments)`: the command, with trainings that take no time."""
    from mixbench.tuning import execute

    monkeypatch.setitem(sys.modules, "mixbench.train", training_stand_in.MODULE)
    monkeypatch.setattr(execute, "Popen", Instant)
    monkeypatch.setattr(execute, "POLL_SECONDS", 0)
    monkeypatch.setattr(Instant, "started", [])
    return lambda *arguments: mixbench("tune", *arguments)


def trials(root: Path) -> list[tuple]:
    """What the only study below `root` knows of its trials."""
    (file,) = root.rglob("study.db")
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{file}")
    return [
        (t.number, t.state.name, t.value, t.params, t.intermediate_values, t.user_attrs) for t in study.trials
    ]


# ---------------------------------------------------------------- what is searched


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("opt.rho=0.05,0.1,0.05", Choice("opt.rho", ("0.05", "0.1"))),
        ("opt=choice(sam,asam)", Choice("opt", ("sam", "asam"))),
        ("batch_size=range(32,97,32)", Choice("batch_size", ("32", "64", "96"))),
        ("opt.nesterov=true,false", Choice("opt.nesterov", ("True", "False"))),
        ("opt.lr=interval(0.01,1)", Interval("opt.lr", 0.01, 1.0, False)),
        (LR, Interval("opt.lr", 0.001, 1.0, True)),
        ("batch_size=int(interval(32,256))", Interval("batch_size", 32, 256, False)),
    ],
)
def test_the_ways_to_write_a_search(written: str, expected: Choice | Interval) -> None:
    """By hand; whole numbers stay whole numbers."""
    fixed, (found,) = parse(["epochs=3", written])
    assert fixed == ["epochs=3"]
    assert found == expected
    assert type(getattr(found, "low", None)) is type(getattr(expected, "low", None))


MISTAKES = {
    "nothing": (["opt.lr=0.1"], ["nothing to search", "interval"]),
    "an end that is not allowed": (["opt.lr=interval(0,1)"], ["opt.lr=0.0", "> 0"]),
    "one of the values": (["opt.lr=0.1,-1"], ["opt.lr=-1", "> 0"]),
    "unknown key": (["opt.rho=0.1,0.2"], ["opt.rho", "no such key"]),
    "unknown option": (["augment=mixup,gmx"], ["augment=gmx", "Did you mean 'gmix'"]),
    "not for all options": (["opt=sam,sgd", "opt.rho=interval(0.1,1)"], ["opt.rho", "sgd"]),
    "whole numbers": (["batch_size=interval(32,64)"], ["a whole number", "int(interval(32, 64))"]),
    "ends": (["opt.lr=interval(2,1)"], ["first end"]),
    "log": (["opt.lr=tag(log,interval(0,1))"], ["logarithmic", "> 0"]),
    "seed": (["seed=0,1"], ["seed", "luck"]),
    "epochs": (["epochs=1,2"], ["epochs", "search once"]),
    "data": (["dataset=digits,kmnist"], ["dataset", "search once"]),
    "held-out images": (["dataset.val_size=100,200"], ["dataset.val_size", "same images"]),
    "device": (["device=cpu,auto"], ["device", "does not decide the result"]),
    "all of a group": (["augment=glob(*)"], ["write the values out"]),
    "twice": (["opt.lr=0.1,0.2", "opt.lr=0.3"], ["opt.lr", "twice"]),
    "new key": (["+opt.lr=0.1,0.2"], ["KEY=VALUES"]),
    "force": (["opt.lr=0.1,0.2", "force=true"], ["force=true"]),
    "no value": (["gmix"], ["gmix", "key=value"]),
    "no trials": (["opt.lr=0.1,0.2", "--trials", "0"], ["--trials 0", ">= 1"]),
    "no sampler": (["opt.lr=0.1,0.2", "--sampler", "grid"], ["grid", "tpe"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_said_in_one_message(tune, workplace: Path, mistake: str) -> None:
    """Exit status 2, what was given, what is allowed; nothing is trained or left behind."""
    given, expected = MISTAKES[mistake]
    validation = [] if any("val_size" in o for o in given) else ["dataset.val_size=300"]
    result = tune(*given, *validation)
    assert result.status == 2, result.err
    for words in expected:
        assert words in result.err
    assert "Traceback" not in result.err
    assert not (workplace / "outputs").exists()


def test_a_missing_package_is_named(tune, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Optuna: which extra to install."""
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "optuna" else found(name))
    result = tune(LR, *VAL)
    assert result.status == 2
    assert "pip install 'mixbench[tune]'" in result.err


def test_help_imports_nothing_heavy() -> None:
    """Oracle: sys.modules of a fresh process after --help and after a mistake."""
    code = (
        "import sys; from mixbench.cli import run\n"
        "try: run(['tune', '--help'])\nexcept SystemExit: pass\n"
        "assert run(['tune', 'opt.lr=0.1']) == 2\n"
        "assert not {'torch', 'optuna', 'pandas'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- by which number


def test_it_refuses_to_choose_on_the_test_set(tune, workplace: Path) -> None:
    """Without held-out images there is no search; no short form of the option is understood."""
    result = tune(LR)
    assert result.status == 2
    assert "dataset.val_size=N" in result.err
    assert "--tune-on-the-test-set" in result.err
    for short in ("--tune", "--tune-on-the-test", "--test"):
        assert tune(LR, short).status == 2
    assert not (workplace / "outputs").exists()


def test_validation_and_test_set_choose_differently(tune, workplace: Path) -> None:
    """The stand-in's validation accuracy is highest at 0.1, its test accuracy at the smallest learning rate.

    Oracle: the formula's best of the values tried; they are two studies, and the second says what it is.
    """
    values = "opt.lr=0.001,0.01,0.1,1"
    chosen = tune(values, *VAL, "--trials", "12", "--pruner", "none", "output_dir=val")
    assert chosen.status == 0, chosen.err
    assert "opt.lr=0.1\n" in chosen.out.split("best ")[1]
    assert "no estimate" not in chosen.out
    told = tune(values, *VAL, "--trials", "12", "--pruner", "none", "output_dir=test", "--tune-on-the-test-set")
    assert "opt.lr=0.001\n" in told.out.split("best ")[1]
    assert "no estimate for images never seen" in told.out
    assert "chosen on the test set" in told.out
    for _, _, value, values, _, _ in trials(workplace / "val"):
        assert value == pytest.approx(validation_accuracy(float(values["opt.lr"]), 8))


def test_the_search_finds_the_best(tune, workplace: Path) -> None:
    """Closed form: the maximum lies at 0.1; 30 trials come within a factor of 1.5, and the best is the largest value."""
    result = tune(LR, *VAL, "--trials", "30")
    assert result.status == 0, result.err
    finished = [t for t in trials(workplace) if t[1] == "COMPLETE"]
    best = max(finished, key=lambda t: t[2])
    assert abs(math.log(best[3]["opt.lr"] / training_stand_in.BEST)) < math.log(1.5)
    assert f"best    trial {best[0]}:" in result.out
    for _, _, value, values, _, _ in finished:
        assert value == pytest.approx(validation_accuracy(values["opt.lr"], 8))


def test_pruning_follows_the_median_rule(tune, workplace: Path) -> None:
    """Brute force from the rows: pruned at the first epoch, after a quarter of them, below the others' median.

    The median is over the trials that had finished before, at least five.
    """
    assert tune(LR, *VAL, "--trials", "20").status == 0
    before: list[tuple] = []
    for number, state, _, values, reported, _ in trials(workplace):
        accuracies = {e: validation_accuracy(values["opt.lr"], e) for e in range(1, 9)}
        stop = next(
            (
                epoch
                for epoch in range(3, 8)
                if len(before) >= 5
                and max(accuracies[e] for e in range(1, epoch + 1))
                < statistics.median(validation_accuracy(lr, epoch) for lr in before)
            ),
            None,
        )
        assert state == ("COMPLETE" if stop is None else "PRUNED"), number
        assert list(reported) == list(range(1, (stop or 8) + 1))
        if state == "COMPLETE":
            before.append(values["opt.lr"])
    assert 5 <= len(before) < 20
