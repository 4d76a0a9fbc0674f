"""How long a table takes on a processor, and what fits in an hour."""

from __future__ import annotations

import dataclasses
import re
import time
from pathlib import Path

import pytest

from mixbench.bench import estimate
from mixbench.commands import table
from mixbench.papers.cells import Planned, plan
from mixbench.papers.library import load

SPEC = """
kind: table
title: Two columns
source: Somebody
base: [epochs=10, batch_size=50, dataset.test_size=300]
seeds: 2
metrics: [{name: Acc, column: test_acc}]
rows: {Vanilla: [augment=none], SAM: [opt=sam]}
columns: {few: [dataset.train_size=200], many: [dataset.train_size=800]}
"""


@pytest.fixture
def planned(workplace: Path) -> list[Planned]:
    (workplace / "mine.yaml").write_text(SPEC)
    return plan(load("mine.yaml"))


def test_seconds_are_images_times_seconds_per_image(
    planned: list[Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand, 1 s for a training image and 2 s under SAM: 2 seeds, 10 epochs of 200 (800) images, and the forward of
    300 test and of all training images at a third.
    """
    asked = []

    def one_or_two(config):
        asked.append(config.opt.name)
        return 2.0 if config.opt.name == "sam" else 1.0

    monkeypatch.setattr(estimate, "seconds_per_image", one_or_two)
    found, guessed = estimate.seconds_by_column(planned)
    assert guessed == 0
    assert found["few"] == pytest.approx(2 * 10 * (200 + 500 / 3) * 3)
    assert found["many"] == pytest.approx(2 * 10 * (800 + 1100 / 3) * 3)
    assert sorted(asked) == ["sam", "sam", "sgd", "sgd"]  # once for each kind


def test_timing_ends_although_kinds_are_left(
    planned: list[Planned], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """By hand: each step takes half of the time there is and a bit more, so two of four kinds are timed: the first of
    each data set, 1 and 2 s for an image. The other two, which SAM trains, count like those. The bar tells which.
    """
    clock = [0.0]

    def slow(config):
        clock[0] += 0.51 * estimate.TIMED_SECONDS
        return 1.0 if config.dataset.train_size == 200 else 2.0

    monkeypatch.setattr(estimate, "seconds_per_image", slow)
    monkeypatch.setattr(estimate.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    found, guessed = estimate.seconds_by_column(planned)
    assert guessed == 2
    assert found["few"] == pytest.approx(2 * 10 * (200 + 500 / 3) * 2)
    assert found["many"] == pytest.approx(2 * 10 * (800 + 1100 / 3) * 4)
    assert "2 kinds of run" in estimate.advice(found, 10, guessed)
    shown = capsys.readouterr().err
    assert re.search(r"timing: .*0/4.*small_cnn", shown)


def test_a_step_is_measured(planned: list[Planned]) -> None:
    """SAM's two passes take longer than one; both less than the clock says for all of it."""
    started = time.perf_counter()
    runs = planned[0], planned[-1]
    # By turns, the least of each: a busy moment of the machine hits both.
    rounds = [[estimate.seconds_per_image(dataclasses.replace(run.config)) for run in runs] for _ in range(8)]
    plain, sam = map(min, zip(*rounds, strict=True))
    assert 0 < plain < sam < time.perf_counter() - started


@pytest.mark.parametrize(
    ("columns", "epochs", "words"),
    [
        ({"a": 7200.0, "b": 7200.0}, 100, "About 4.0 h on this machine's processor"),
        ({"a": 7200.0, "b": 7200.0}, 100, "In an hour: --budget 0.25"),
        ({"a": 3.6e6, "b": 7200.0}, 100, 'In an hour: --cols "b" --budget 0.5'),
        ({"a": 3.6e6, "b": 1800.0}, 100, 'An hour is enough for --cols "b".'),
        ({"a": 3.6e8}, 100, "Not even one epoch of each run of a fits in an hour"),
    ],
)  # fmt: skip
def test_what_fits_in_an_hour(columns: dict[str, float], epochs: int, words: str) -> None:
    """By hand: the share of the epochs that an hour has, of all columns, else of the cheapest one."""
    assert words in estimate.advice(columns, epochs)


def test_what_takes_less_than_an_hour_is_one_sentence() -> None:
    """By hand: there is nothing to choose."""
    assert (
        estimate.advice({"a": 600.0, "b": 600.0}, 100)
        == "About 20 min on this machine's processor, one run after another."
    )


def test_what_takes_hours_is_asked_for(
    planned: list[Planned], mixbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a terminal "no" trains nothing; --yes does not ask; a log gets the line, and the runs begin."""
    begun = []
    monkeypatch.setattr(estimate, "seconds_by_column", lambda runs: ({"few": 9e5}, 0))
    monkeypatch.setattr(table, "train", lambda *args: begun.append(1) or True)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    for terminal, options, trains in ((True, [], 0), (True, ["--yes"], 1), (False, [], 1)):
        begun.clear()
        monkeypatch.setattr("sys.stdin.isatty", lambda terminal=terminal: terminal, raising=False)
        out = mixbench("table", "mine.yaml", "--run", *options).out
        assert re.search(r"About 10 days on this machine's processor", out)
        assert len(begun) == trains
