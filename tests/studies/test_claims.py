"""Verdicts: every claim that comes with mixbench has its judge, and what judges are made of is right.

For the judges themselves see test_verdicts_on_*.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from mixbench.studies import claims
from mixbench.studies.judging import agreed, interval, paired, quantile_of, sided
from mixbench.studies.library import load, names
from mixbench.studies.store import place, stored
from mixbench.studies.study import CONFIRMED, CORRECTED, REFUTED, UNDECIDED

RESULTS = Path(__file__).parents[2] / "results"


@pytest.mark.parametrize("paper", claims.PAPERS)
def test_every_claim_is_judged_by_something_that_exists(paper: str, tmp_path: Path) -> None:
    """Without numbers all are undecided, and say what decides them."""
    for row in claims.of_paper(paper, tmp_path):
        assert row.judgement.verdict == UNDECIDED
        assert row.judgement.remark


def test_every_judge_decides_a_claim() -> None:
    """A judge that no claim names would be dead code."""
    used = {
        (load(claim.key).study.about, claim.judge.partition(" ")[2])
        for paper in claims.PAPERS
        for claim in claims.claims(paper)
        if claim.judge
    }
    assert {(load(key).study.about, judge) for key in names() for judge in load(key).study.judges} == used


def test_the_interval_is_that_of_resampled_seeds() -> None:
    """Brute force: a loop over samples with replacement, to the error of resampling."""
    values = np.random.default_rng(3).normal(size=60)
    found = interval(values, np.median)
    random = np.random.default_rng(1)
    medians = [np.median(random.choice(values, len(values))) for _ in range(4000)]
    assert np.allclose(found, np.quantile(medians, [0.025, 0.975]), atol=0.05)
    assert interval([2.0, 2.0], np.mean) == (2, 2)
    assert quantile_of(2, [1, 2, 3, 4]) == 0.25
    assert (agreed([CONFIRMED, CONFIRMED]), agreed([CONFIRMED, REFUTED])) == (CONFIRMED, UNDECIDED)


def test_a_paired_interval_is_students() -> None:
    """scipy's own for related samples; of equal differences, that difference."""
    values, others = np.random.default_rng(0).normal(size=(2, 6))
    expected = stats.ttest_rel(values, others).confidence_interval(0.9)
    assert paired(values, others, 0.9) == pytest.approx((expected.low, expected.high))
    assert paired([3, 4], [1, 2]) == (2, 2)


@pytest.mark.parametrize(
    ("intervals", "verdict"),
    [
        ([(1, 2), (3, 4)], CONFIRMED),
        ([(-2, -1), (-4, -3)], REFUTED),
        ([(1, 2), (-4, -3)], CORRECTED),
        ([(1, 2), (-1, 3)], UNDECIDED),
        ([(-2, 0), (-4, -3)], UNDECIDED),
    ],
)
def test_sides_of_zero(intervals: list[tuple[float, float]], verdict: str) -> None:
    """By hand."""
    assert sided(intervals) == verdict


def test_from_the_command_to_the_verdict(mixbench: Callable, workplace: Path) -> None:
    """A study in small: computed once, drawn, judged; claims reads it; figure computes nothing by itself."""
    small = ["zhang2021/fig3", "--set", "networks=4", "--set", "n=8", "--set", "epochs=2"]
    refused = mixbench("figure", *small)
    assert refused.status == 1
    assert "has not been computed with these parameters" in refused.err
    done = mixbench("analyze", *small)
    assert done.status == 0, done.err
    assert done.out.count("Figure 3") == 3
    (picture,) = Path("outputs").rglob("figure.png")
    first = picture.read_bytes()
    assert mixbench("figure", *small).status == 0
    assert picture.read_bytes() == first
    spec = load("zhang2021/fig3")
    for options, width, titled, footed in (
        ([], "515.52pt", True, True),
        (["--style", "column"], "252pt", True, True),
        (["--style", "slide", "--no-title"], "864pt", False, True),
        (["--plain"], "515.52pt", False, False),
    ):  # as figures of runs: 7.16, 3.5 and 12 inches of 72 points, and the words that are asked for
        assert mixbench("figure", *small, *options, "--out", "mine.svg").status == 0
        drawn = Path("mine.svg").read_text()
        assert f'width="{width}"' in drawn
        assert (f"{spec.title[:20]}" in drawn, f">{spec.source[:20]}" in drawn) == (titled, footed)
    wrong = mixbench("figure", *small, "--out", "mine.jpeg")
    assert (wrong.status, ".svg, .pgf" in wrong.err) == (2, True)
    listed = mixbench("claims", "zhang2021")
    assert listed.status == 0
    assert "not computed" in listed.out  # with the published parameters
    assert "| where |" in mixbench("claims", "--format", "md").out


@pytest.mark.parametrize("damage", ["a digit", "other parameters"])
def test_numbers_that_cannot_be_used_are_said_to_be_there(
    damage: str, mixbench: Callable, workplace: Path
) -> None:
    """By hand: a committed study whose numbers or parameters were changed is undecided, with the place, the cause, and
    what to do; so says the figure. Of a study that is not there, it is said that it has not been computed.
    """
    spec = load("kimura2021/theorem4")
    there = place(workplace / "outputs", spec)
    shutil.copytree(place(RESULTS, spec), there)
    (whole,) = (
        row for row in claims.of_paper("kimura2021", workplace / "outputs") if row.claim.key == spec.key
    )
    assert whole.judgement.verdict != UNDECIDED
    name, old = ("numbers.csv", "1") if damage == "a digit" else ("about.json", '"samples": 20')
    text = (there / name).read_text()
    assert old in text
    (there / name).write_text(text.replace(old, old[:-1] + "3", 1))
    done = mixbench("claims", "kimura2021")
    said = " ".join(done.out.split())
    cause = "another checksum" if damage == "a digit" else "of other parameters: samples"
    assert f"outputs/studies/{spec.key}: " in said
    assert cause in said
    assert "Computed anew by `mixbench analyze kimura2021/theorem4`" in said
    assert "Computed by `mixbench analyze kimura2021/theorem4`" not in said
    assert "Computed by `mixbench analyze kimura2021/fig2`" in said
    drawn = mixbench("figure", spec.key)
    assert drawn.status == 1
    assert "has no numbers that can be used. Add --run to compute them anew" in drawn.err


def test_a_verdict_takes_all_that_the_spec_lists(mixbench: Callable, workplace: Path) -> None:
    """Of an empty set everything is true: without networks, a claim about networks is not confirmed."""
    done = mixbench(
        "analyze", "kimura2021/fig2", *("--set", "of=[linear]", "--set", "samples=2", "--set", "draws=100")
    )
    assert done.status == 0, done.err
    assert "undecided: Theorem 3" in done.out
    assert "not judged: of without network" in done.out


def test_a_verdict_takes_the_specs_own_parameters(mixbench: Callable, workplace: Path) -> None:
    """Two samples of two hundred numbers are noise: what they would say is told, and is no verdict."""
    done = mixbench("analyze", "kimura2021/theorem4", "--set", "numbers=200", "--set", "samples=2")
    assert done.status == 0, done.err
    said = " ".join(done.out.split())
    assert "undecided: Theorem 4" in said
    assert (
        "With numbers 200, not 100000; samples 2, not 20: refuted. The spec's own parameters decide." in said
    )


def subsets() -> Iterator[tuple[str, str]]:
    """Studies with one entry alone of a list that says which parts they have."""
    for key in names():
        spec = load(key)
        for field in fields(spec.parameters):
            value = getattr(spec.parameters, field.name)
            for entry in value if isinstance(value, list) and isinstance(value[0], str) else ():
                changed = replace(spec.parameters, **{field.name: [entry]})
                if len(spec.study.parts(changed)) < len(spec.study.parts(spec.parameters)):
                    yield key, f"{field.name}=['{entry}']"


@pytest.mark.parametrize(("key", "change"), [*subsets()])
def test_some_parts_alone_can_be_drawn(key: str, change: str) -> None:
    """The committed numbers of those parts: every line that is drawn has as many places as values."""
    numbers = stored(RESULTS, load(key))
    if numbers is None:
        pytest.skip(f"{key}: its numbers are not all there")
    spec = load(key, [change])
    of = numbers[numbers["part"].isin(spec.study.parts(spec.parameters))]
    for plot in spec.study.draw(of, spec.parameters):
        for line in getattr(plot, "lines", ()):
            assert len(line.x) == len(line.mean) == len(line.std)
