"""What a sweep says while it goes on, and the table that it ends with."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from mixbench.config.compose import compose
from mixbench.sweep.job import Job
from mixbench.sweep.tally import Tally, results

ACCURACIES = {("0.1", 0): 50.0, ("0.1", 1): 52.0, ("0.2", 0): 60.0, ("0.2", 1): 54.0}


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    """Four finished runs by hand."""
    found = []
    for (rho, seed), accuracy in ACCURACIES.items():
        own = [f"opt.rho={rho}", f"seed={seed}"]
        job = Job(own, compose(["opt=sam", *own, f"output_dir={tmp_path}"]), " ".join(own))
        row = {"epoch": 1, "test_acc": accuracy, "test_loss": 1.0}
        summary = {
            "state": "finished",
            "config": {},
            "selections": {"last": row, "best_test": row | {"test_acc": accuracy + 1}},
        }
        job.directory.mkdir(parents=True)
        (job.directory / "summary.json").write_text(json.dumps(summary))
        found.append(job)
    return found


def test_each_run_that_ends_is_counted(jobs: list[Job], capsys: pytest.CaptureFixture) -> None:
    """By hand: three end well, one fails; the best so far is the highest mean over seeds, named by its setting."""
    tally = Tally(jobs, 2, bar=True)  # no terminal: lines alone
    for job, status in zip(jobs, (0, 1, 0, 0), strict=True):
        tally.run_ended(job, status)
    tally.close()
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert lines[0].startswith(
        "done: opt.rho=0.1 seed=0  test acc 50.00 %  (1 of 4 ended, 2 running, 0 failed"
    )
    assert lines[1].startswith("FAILED: opt.rho=0.1 seed=1  (2 of 4 ended, 2 running, 1 failed")
    assert lines[2].endswith("best 60.00 %: opt.rho=0.2)")
    assert lines[3] == (
        "done: opt.rho=0.2 seed=1  test acc 54.00 %"
        "  (4 of 4 ended, 0 running, 1 failed, best 57.00 % (mean of 2 runs): opt.rho=0.2)"
    )


def test_the_table_at_the_end(jobs: list[Job]) -> None:
    """Oracle: Python's statistics over the seeds of each setting; the best mean first."""
    head, first, second, foot = results(jobs).splitlines()
    assert head.split("  ")[0] == "setting    "[:7]
    for line, rho in ((first, "0.2"), (second, "0.1")):
        values = [accuracy for (known, _), accuracy in ACCURACIES.items() if known == rho]
        spread = statistics.stdev(values)
        assert line.startswith(f"opt.rho={rho}     2  ")
        assert f"{statistics.fmean(values):.2f} ± {spread:.2f}" in line
        assert f"{statistics.fmean(values) + 1:.2f} ± {spread:.2f}" in line
    assert "best_test is chosen on the test set" in foot


def test_folds_are_averaged_over_like_seeds(tmp_path: Path) -> None:
    """Oracle: Python's statistics over the (seed, fold) pairs of each method: 50, 60, 70 and 58, 59, 60."""
    jobs = []
    for augment, accuracies in {"mixup": (50.0, 60.0, 70.0), "none": (58.0, 59.0, 60.0)}.items():
        for fold, accuracy in enumerate(accuracies):
            own = [f"augment={augment}", f"dataset.fold={fold}"]
            job = Job(
                own,
                compose(["dataset=mutag", "model=gin", *own, f"output_dir={tmp_path}"]),
                " ".join(own),
            )
            row = {"epoch": 1, "test_acc": accuracy, "test_loss": 1.0}
            summary = {"state": "finished", "config": {}, "selections": {"last": row, "best_test": row}}
            job.directory.mkdir(parents=True)
            (job.directory / "summary.json").write_text(json.dumps(summary))
            jobs.append(job)
    _, first, second, foot = results(jobs).splitlines()
    assert first.split() == [
        "augment=mixup",
        "3",
        *["60.00", "±", f"{statistics.stdev((50, 60, 70)):.2f}"] * 2,
    ]
    assert second.split() == ["augment=none", "3", *["59.00", "±", "1.00"] * 2]
    assert "over seeds and folds" in foot
    tally = Tally(jobs, 1, bar=False)
    for job in jobs:
        tally.run_ended(job, 0)
    assert tally._standing().endswith("best 60.00 % (mean of 3 runs): augment=mixup")
    alike = [Job(job.overrides, job.config, job.label.split()[-1]) for job in jobs[:3]]
    assert results(alike).splitlines()[1].startswith("all alike but for the fold  ")
