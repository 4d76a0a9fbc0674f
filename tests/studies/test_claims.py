"""Verdicts: every claim that comes with mixbench has its judge, and made-up numbers lead to each verdict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mixbench.studies import claims
from mixbench.studies.judging import agreed, interval, quantile_of
from mixbench.studies.library import load, names
from mixbench.studies.radius import MODELS, STUDY, Parameters
from mixbench.studies.study import CONFIRMED, REFUTED, UNDECIDED


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


def looks(before: np.ndarray, after: np.ndarray, largest: float = 0.9, above: int = 5) -> pd.DataFrame:
    ends = {0: before, Parameters().epochs: after}
    rows = {"largest": largest, "above_0.8": above, "accuracy": 1.0}
    return pd.concat(
        pd.DataFrame({"part": part, "epoch": epoch, "network": range(len(r)), "R": r, **rows})
        for part in MODELS
        for epoch, r in ends.items()
    )


def test_verdicts_of_the_radius() -> None:
    """By hand: numbers that grow, fall, or do both."""
    small, large = np.geomspace(1e-6, 1e-3, 40), np.geomspace(1e-3, 1, 40)
    mixed = np.where(np.arange(40) % 2, small / 2, small * 2)
    judge = STUDY.judges
    assert judge["grows"](looks(small, large), Parameters()).verdict == CONFIRMED
    assert judge["grows"](looks(large, small), Parameters()).verdict == REFUTED
    assert judge["grows"](looks(small, mixed), Parameters()).verdict == UNDECIDED
    assert judge["printed_pair"](looks(small, large), Parameters()).verdict == CONFIRMED
    assert judge["printed_pair"](looks(large, small), Parameters()).verdict == REFUTED
    assert judge["many_above"](looks(small, large), Parameters()).verdict == CONFIRMED
    assert judge["many_above"](looks(small, large, 0.7, 0), Parameters()).verdict == REFUTED


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
    listed = mixbench("claims", "zhang2021")
    assert listed.status == 0
    assert "not computed" in listed.out  # with the published parameters
    assert "| where |" in mixbench("claims", "--format", "md").out
