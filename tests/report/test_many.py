"""The report about many runs: a summary whose size is bounded, with a file of all runs, made in time linear in them."""

from __future__ import annotations

import collections
import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from run_records import leave

from mixbench.papers.cells import plan
from mixbench.papers.library import load
from mixbench.record.read import read_rows, read_summary
from mixbench.report import page, papers, plots
from mixbench.summarize.settings import METHOD, PLACE, SEAMS, Labels, collect, settings

COLUMN = "CIFAR-100, WRN-16-4"


def leave_runs(seeds: int, key: str = "li2023/table2") -> None:
    """Finished runs of a shipped spec, the last seed of each method failed."""
    for run in plan(load(key), columns=[COLUMN], seeds=seeds, epochs=1):
        failed = run.cell.seed == seeds - 1
        leave(run, [float(run.cell.seed)], "failed" if failed else "finished", error="no" if failed else "")


def test_of_many_runs_some_have_sections_and_all_are_in_the_file(
    mixbench, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand: as many sections as allowed, from every method and state; links lead to sections; the CSV has each."""
    leave_runs(seeds=4)
    runs = collect([workplace / "outputs"])
    monkeypatch.setattr(page, "MOST_RUNS", 14)
    monkeypatch.setattr(page, "MOST_SETTINGS", 2)
    made = mixbench("report", "--out", "a b.html")
    assert "written: a b.runs.csv" in made.out
    text = (workplace / "a b.html").read_text()
    assert 'href="a%20b.runs.csv"' in text
    anchors = re.findall(r'<details id="(\w+)"', text)
    assert len(anchors) == 14 < len(runs)
    assert set(re.findall(r'href="#(run\d+)"', text)) <= set(anchors)
    assert f"14 of {len(runs)} runs" in text
    assert "settings with lower accuracies are not shown" in text
    shown = page.telling(runs, 14)
    kinds = {(run.summary["method"], run.state) for run in runs}
    assert {(run.summary["method"], run.state) for run in shown} == kinds
    with (workplace / "a b.runs.csv").open() as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert rows.keys() == {run.id for run in runs}
    for run in runs:
        assert rows[run.id]["state"] == run.state
        assert rows[run.id]["seed"] == str(run.values["seed"])
        assert run.state == "failed" or float(rows[run.id]["test_acc"]) == run.metric("test_acc")


def test_runs_that_differ_in_their_seeds_are_compared_once(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A count: the comparisons with the cells of a table are the same for two seeds as for eight."""
    calls = collections.Counter[int]()
    differences = papers._differences

    for seeds in (2, 8):
        leave_runs(seeds)

        def counted(*given, seeds=seeds):
            calls[seeds] += 1
            return differences(*given)

        monkeypatch.setattr(papers, "_differences", counted)
        runs = papers.alike(collect([workplace / "outputs"]))
        (planned,) = papers.belonging(load("li2023/table2"), "paper", runs)
        assert sum(run.state != "missing" for run in planned) == sum(map(len, runs))
    assert calls[2] == calls[8] > 0


def test_labels_are_the_knobs_that_differ(workplace: Path) -> None:
    """Brute force: every pair of settings of the place, for the seams those of the same method."""
    leave_runs(seeds=2)
    leave_runs(seeds=2, key="li2023/fig5")
    (found,) = settings(collect([workplace / "outputs"])).values()
    labels = Labels(found)
    for setting in found:
        for without in ("", "opt.rho"):
            expected = set[str]()
            for key, value in setting.config.items():
                for other in found:
                    seam = key.startswith(SEAMS)
                    if (not seam or other.method == setting.method) and other.config.get(key) != value:
                        expected.add(key)
            expected -= {*PLACE, *METHOD, without}
            words = labels.of(setting, without).removeprefix(setting.method).strip().split(", ")
            assert {word.split()[0] for word in words if word} == {k.rpartition(".")[2] for k in expected}


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 2000, 123_456])
def test_long_lines_are_thinned(count: int) -> None:
    """By hand: at most MOST_POINTS, evenly spaced, the last one among them; short ones as they are."""
    points = range(count)
    thinned = list(plots.thinned(points))
    assert len(thinned) <= plots.MOST_POINTS
    assert thinned[-1] == count - 1
    assert len(set(np.diff(thinned))) <= 1
    assert count > plots.MOST_POINTS or thinned == list(points)


def test_rows_are_believed_by_the_summary_that_is_there(workplace: Path) -> None:
    """A summary read before the run was trained again: its checksum is no damage, the rows are the new ones."""
    (run,) = plan(load("li2023/table2"), columns=[COLUMN], rows=["SAM"], seeds=1, epochs=2)
    leave(run, [1.0, 2.0])
    before = read_summary(run.directory)
    leave(run, [3.0, 4.0])
    assert json.dumps(before) != json.dumps(read_summary(run.directory))
    assert [row["test_acc"] for row in read_rows(run.directory, before)] == [3.0, 4.0]
