"""Settings: which runs are averaged over, and what a setting and its place are called."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from run_records import leave

from mixbench.config.compose import compose
from mixbench.config.identity import repetitions, run_dir
from mixbench.papers.cells import Planned
from mixbench.papers.spec import Cell
from mixbench.record.run import SavedRun
from mixbench.report import plots
from mixbench.report.page import place
from mixbench.summarize.settings import collect, settings


def left(overrides: list[str], accuracies: list[float]) -> Path:
    """The directory of the finished run that these overrides ask for, with these test accuracies."""
    config = compose(overrides)
    directory = run_dir(config)
    leave(Planned(Cell("", "", 0, ()), config, SavedRun(directory)), accuracies)
    return directory


def test_a_fold_repeats_a_run_like_a_seed(workplace: Path) -> None:
    """Oracle: Python's statistics over the six (seed, fold) pairs of each of two methods."""
    assert repetitions() == ("seed", "dataset.fold")
    accuracies: dict[str, list[float]] = {"none": [], "mixup": []}
    for augment, found in accuracies.items():
        for seed in range(2):
            for fold in range(3):
                found.append(50.0 + 7 * seed + fold * (1 + len(augment)))
                own = ["dataset=mutag", "model=gin", f"augment={augment}", "epochs=2"]
                left([*own, f"seed={seed}", f"dataset.fold={fold}"], [40.0, found[-1]])
    ((title, found_settings),) = settings(collect([workplace / "outputs"])).items()
    assert title == "mutag, gin5x32, 2 epochs"
    assert {s.label: (s.estimate("test_acc").mean, s.estimate("test_acc").n) for s in found_settings} == {
        "erm": (pytest.approx(statistics.fmean(accuracies["none"])), 6),
        "mixup": (pytest.approx(statistics.fmean(accuracies["mixup"])), 6),
    }
    accuracy, _ = plots.convergence(found_settings)
    assert [line.mean[-1] for line in accuracy.lines] == [
        s.estimate("test_acc", "last").mean for s in found_settings
    ]
    shown = place(title, found_settings, {run.directory: "" for s in found_settings for run in s.runs})
    assert shown["head"][1] == "seeds and folds"
    assert [told for told, _ in shown["settings"][0]["runs"]] == ["0/0", "0/1", "0/2", "1/0", "1/1", "1/2"]


def test_each_folder_of_pictures_has_a_section_of_its_own_name(workplace: Path) -> None:
    """By hand: two folders are two places, named as their runs' directories are; of one name, by eight digits."""
    content = {"pets": "a1" * 32, "birds": "b2" * 32, "elsewhere/birds": "c3" * 32}

    def add(path: str) -> Path:
        own = [f"dataset.path={path}", f"dataset.content={content[path]}", "model=small_cnn", "epochs=2"]
        return left(["dataset=folder", *own], [1.0, 2.0])

    places = [add("pets").parts[-4], add("birds").parts[-4]]
    found = settings(collect([workplace / "outputs"]))
    assert list(found) == [f"{name}, small_cnn, 2 epochs" for name in sorted(places)]
    assert [s.label for each in found.values() for s in each] == ["erm", "erm"]
    add("elsewhere/birds")
    found = settings(collect([workplace / "outputs"]))
    assert [s.label for s in found["birds, small_cnn, 2 epochs"]] == [
        "erm content b2b2b2b2",
        "erm content c3c3c3c3",
    ]
