"""`mixbench tune`: what it may search, what it chooses by, and that a stopped search goes on as if it had not been.

Trainings are stood in for by a formula (training_stand_in), with the records they really leave; one test trains.
"""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import training_stand_in
from training_stand_in import Instant, validation_accuracy

from mixbench.tuning.search import search
from mixbench.tuning.space import Choice, Interval, parse

optuna = pytest.importorskip("optuna")
from sqlalchemy import event  # noqa: E402  # Optuna's
from sqlalchemy.engine import Engine  # noqa: E402

LR = "opt.lr=tag(log,interval(0.001,1))"
VAL = ("dataset.val_size=300", "epochs=8")


@pytest.fixture
def tune(mixbench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable]:
    """`tune(*arguments)`: the command, with trainings that take no time, and no waits for the disk."""
    from mixbench import files
    from mixbench.sweep import together

    monkeypatch.setattr(files.os, "fsync", lambda handle: None)
    monkeypatch.setitem(sys.modules, "mixbench.train", training_stand_in.MODULE)
    monkeypatch.setattr(together, "Popen", Instant)
    monkeypatch.setattr(together, "POLL_SECONDS", 0)
    monkeypatch.setattr(Instant, "started", [])
    event.listen(Engine, "connect", _hasty)
    yield lambda *arguments: mixbench("tune", *arguments)
    event.remove(Engine, "connect", _hasty)


def _hasty(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA synchronous=OFF")


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
    "new key": (["+opt.lr=0.1,0.2"], ["nothing can be added"]),
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
    told = tune(
        values, *VAL, "--trials", "12", "--pruner", "none", "output_dir=test", "--tune-on-the-test-set"
    )
    assert "opt.lr=0.001\n" in told.out.split("best ")[1]
    assert "no estimate for images never seen" in told.out
    assert "chosen on the test set" in told.out
    for _, _, value, values, _, _ in trials(workplace / "val"):
        assert value == pytest.approx(validation_accuracy(float(values["opt.lr"]), 8))


def test_the_search_finds_the_best(tune, workplace: Path) -> None:
    """Closed form: the maximum lies at 0.1; 25 trials come within a factor of 1.5; the best has the largest value."""
    result = tune(LR, *VAL, "--trials", "25")
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


# ---------------------------------------------------------------- what fails


def test_values_that_fail_are_recorded_and_avoided(tune, workplace: Path) -> None:
    """The stand-in fails above 1: such trials count, say why, and are the search's worst, so it leaves them alone."""
    result = tune("opt.lr=tag(log,interval(0.01,100))", *VAL, "--trials", "25", "--pruner", "none")
    assert result.status == 0, result.err
    found = trials(workplace)
    failed = [t[0] for t in found if t[5]]
    assert failed == [t[0] for t in found if t[3]["opt.lr"] > 1]
    assert "the training loss became nan" in result.out
    assert f"{len(failed)} failed" in result.out
    late = [number for number in failed if number >= 10]  # ten are drawn at random, half of them above 1
    assert len(late) / 15 < len(set(failed) - set(late)) / 10


def test_values_that_do_not_go_together_are_a_failed_trial(tune, workplace: Path) -> None:
    """Each is right beside the other's first value, but not both: known only when the trial's config is made."""
    result = tune(
        "augment=none,manifold_mixup", "opt=bgmix", "opt.compute=masked,subset", *VAL, "--trials", "8"
    )
    assert result.status == 0, result.err
    failed = {tuple(t[3].values()) for t in trials(workplace) if t[5]}
    assert failed == {("manifold_mixup", "subset")}


def test_nothing_finished_is_an_exit_status(tune) -> None:
    """All values fail: 1, and the table says so."""
    result = tune("opt.lr=2,3", *VAL, "--trials", "2")
    assert result.status == 1
    assert "2 of 2 trials: 2 failed" in result.out


def test_a_damaged_study_is_named_and_not_touched(tune, workplace: Path) -> None:
    """Garbage in study.db: one message that names the file; it stays as it is."""
    file = workplace / search([LR, *VAL]).directory / "study.db"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"garbage" * 1000)
    for option in ((), ("--dry-run",)):
        result = tune(LR, *VAL, *option)
        assert result.status == 1
        assert "study.db cannot be used" in result.err
        assert "Traceback" not in result.err
    assert file.read_bytes() == b"garbage" * 1000


def test_what_stops_every_run_stops_the_search(mixbench, workplace: Path) -> None:
    """A device that is not there, found by the run itself (a real one): its message, once, and status 1."""
    result = mixbench("tune", LR, *VAL, "device=cuda:63", "--trials", "5")
    assert result.status == 1
    assert result.err.count("cuda:63") == 1
    assert "trial 0 cannot be trained" in result.err
    assert [t[1] for t in trials(workplace)] == ["RUNNING"]


# ---------------------------------------------------------------- going on

SEARCH = (LR, "opt.momentum=interval(0,0.9)", *VAL)


class Killed(BaseException):
    """Stands in for SIGKILL: no handler of ours may catch it."""


@pytest.mark.slow
def test_killed_at_every_write_to_the_study(tune, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Brute force: die before and after the n-th change of the study, n = 1, 2, ..., and start again.

    Oracle: the same search, never stopped: every trial's values, reports and end. With 14 trials both kinds of draw
    are met, the sampler's random ones and the joint ones after ten.
    """
    assert tune(*SEARCH, "--trials", "14", "output_dir=reference").status == 0
    expected = trials(workplace / "reference")
    storage = optuna.storages.RDBStorage
    countdown = [0]

    def die_when_counted(name: str) -> None:
        countdown[0] -= 1
        if countdown[0] == 0:
            raise Killed(name)

    def mortal(name: str):
        whole = getattr(storage, name)

        def change(*arguments, **named):
            die_when_counted(name)
            result = whole(*arguments, **named)
            die_when_counted(name)
            return result

        monkeypatch.setattr(storage, name, change)

    for name in (
        "create_new_trial",
        "set_trial_param",
        "set_trial_intermediate_value",
        "set_trial_state_values",
    ):
        mortal(name)
    deaths = 0
    while True:
        countdown[0] = deaths % 7 + 1  # far enough to get on, near enough to meet every kind of change
        try:
            assert tune(*SEARCH, "--trials", "14", "output_dir=killed").status == 0
            break
        except Killed:
            deaths += 1
    assert deaths > 20
    assert trials(workplace / "killed") == expected


def test_a_lost_study_is_made_again_without_training(tune, workplace: Path) -> None:
    """study.db moved away: the same trials from the runs that are there, and no process is started."""
    assert tune(*SEARCH, "--trials", "12").status == 0
    expected = trials(workplace)
    (file,) = workplace.rglob("study.db")
    file.unlink()
    Instant.started.clear()
    assert tune(*SEARCH, "--trials", "12").status == 0
    assert Instant.started == []
    assert trials(workplace) == expected


def test_more_trials_are_the_same_study(tune, workplace: Path) -> None:
    """4 and then 8 are 8; a further look with --dry-run changes nothing."""
    tune(*SEARCH, "--trials", "8", "output_dir=whole")
    tune(*SEARCH, "--trials", "4", "output_dir=parts")
    again = tune(*SEARCH, "--trials", "8", "output_dir=parts")
    assert "4 trials are there" in again.out
    assert trials(workplace / "parts") == trials(workplace / "whole")
    shown = tune(*SEARCH, "--trials", "8", "output_dir=parts", "--dry-run")
    assert shown.status == 0
    assert shown.out.splitlines()[-8:] == again.out.splitlines()[-8:]


def test_two_trials_with_the_same_values_share_a_run(tune, workplace: Path) -> None:
    """Two values, six trials, three at a time: each value is trained once."""
    result = tune("opt.lr=0.01,0.1", *VAL, "--trials", "6", "--jobs", "3", "--pruner", "none")
    assert result.status == 0, result.err
    assert len(Instant.started) == 2
    assert "6 of 6 trials: 6 finished" in result.out


def test_values_that_have_failed_are_not_trained_again(tune, workplace: Path) -> None:
    """The stand-in fails above 1: a trial that has these values again ends with the first one's error."""
    result = tune("opt.lr=0.1,2", *VAL, "--trials", "8", "--pruner", "none", "--sampler", "random")
    assert result.status == 0, result.err
    failed = [t for t in trials(workplace) if t[3]["opt.lr"] == "2"]
    assert len(failed) > 1
    assert len({t[5]["error"] for t in failed}) == 1
    assert len(Instant.started) == 2


# ---------------------------------------------------------------- the claim


@pytest.mark.fault("claims")
def test_a_search_that_was_taken_over_begins_no_trial(workplace: Path) -> None:
    """Oracle: the study of its own file, which has the trial from before and no other; without a claim one may look."""
    from mixbench.record.claim import CLAIM, ClaimLost, claimed
    from mixbench.tuning.study import Study

    asked = search([LR, *VAL])
    with claimed(asked.directory) as claim:
        study = Study(asked, claim)
        assert study.next(9) is not None
        (asked.directory / CLAIM).write_text("another's")
        with pytest.raises(ClaimLost):
            study.next(9)
    assert [trial[0] for trial in trials(workplace)] == [0]
    looking = Study(asked)
    assert len(looking.trials()) == 1
    with pytest.raises(RuntimeError, match="only the process that holds the study"):
        looking.next(9)
