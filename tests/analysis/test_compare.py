"""One evaluation of several runs: the table, the differences, the picture, and what is measured when."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from mixbench.analysis.compare import Group, sheets
from mixbench.analysis.drawn import plots
from mixbench.record.read import directories
from mixbench.summarize.settings import Setting

NAMELESS = SimpleNamespace(
    method="", summary={"method": ""}
)  # a run that is known by the label of its setting
TINY = ("epochs=1", "dataset.train_size=60", "dataset.test_size=30", "batch_size=30", "progress=false")


@pytest.fixture
def four(mixbench) -> list[Path]:
    """Two methods with two seeds each."""
    for seed, augment in itertools.product((0, 1), ("mixup", "none")):
        assert mixbench("train", *TINY, f"seed={seed}", f"augment={augment}").status == 0
    return list(directories(Path("outputs")))


def test_a_table_by_hand() -> None:
    """By hand: means and standard deviations, and those of the differences of equal seeds, not of the means."""
    setting = Setting([NAMELESS], {}, "plain")
    plain = Group(setting, {0: {"acc": 90.0, "n": 5}, 1: {"acc": 80.0, "n": 5}, 2: {"acc": 70.0, "n": 5}})
    mixed = Group(Setting([NAMELESS], {}, "mixed"), {1: {"acc": 81.0, "n": 5}, 2: {"acc": 73.0, "n": 5}})
    whole, differences = sheets("title", [plain, mixed], "command")
    assert whole.head == ["", "plain", "mixed"]
    assert whole.rows[0] == ["acc", "80 ± 10", "77.0 ± 5.7"]
    assert differences.rows[0] == ["acc", "+2.0 ± 1.4"]
    assert sheets("title", [plain], "command")[0].rows == [whole.rows[0][:2]]


def test_a_difference_that_is_sure_has_a_star() -> None:
    """By hand: five seeds, all of them between 1 and 2 better; of four, none has a star."""
    for seeds, star in ((5, "*"), (4, "")):
        one = Group(Setting([NAMELESS], {}, "a"), {s: {"acc": 50.0 + 7 * s} for s in range(seeds)})
        other = Group(Setting([NAMELESS], {}, "b"), {s: {"acc": 51.0 + 7 * s + s / 5} for s in range(seeds)})
        assert sheets("t", [one, other], "c")[1].rows[0][1].endswith(star)
        assert sheets("t", [one, other], "c")[1].rows[0][1].count("*") == len(star)


def test_what_is_printed_and_kept(mixbench, four: list[Path]) -> None:
    """Oracle: the runs' own evaluations. What is missing is measured, the rest read; erm is the first column."""
    done = mixbench("analyze", "accuracy", "seed=1")
    assert done.status == 0, done.err
    assert done.out.count("measured: ") == 2
    done = mixbench("analyze", "accuracy")
    assert (done.out.count("measured: "), done.out.count("read: ")) == (2, 2)
    kept = {run: json.loads((run / "evaluations" / "accuracy.json").read_text())["result"] for run in four}
    plain = [result["loss"] for run, result in kept.items() if "/erm/" in str(run)]
    line = next(line for line in done.out.splitlines() if line.startswith("loss"))
    assert float(line.split()[1]) == pytest.approx(np.mean(plain), abs=10 ** -(len(line.split()[1]) - 2))
    frame = pd.read_csv("outputs/analyses/accuracy/numbers.csv")
    assert sorted(frame[frame.number == "loss"].value) == pytest.approx(
        sorted(r["loss"] for r in kept.values())
    )
    assert set(frame.setting) == {"erm", "mixup"}
    assert any(
        line.split() == ["Vanilla", "(ERM)", "Mixup"] for line in done.out.splitlines()
    )  # as people say


def test_other_options_lie_apart(mixbench, four: list[Path]) -> None:
    """A picture in a folder of its own, the numbers of these options in it; the second time all are read."""
    command = ("analyze", "slices", "seed=0", *["--set", "n=10", "--set", "points=3", "--set", "grid=3"])
    done = mixbench(*command)
    assert done.status == 0, done.err
    written = Path(done.out.splitlines()[-1].removeprefix("written: "))
    assert written.read_bytes()[:4] == b"\x89PNG"
    assert written.parent.name.startswith("slices~")
    kept = {path.name for path in Path("outputs").rglob("evaluations/slices*")}
    assert kept == {f"{written.parent.name}@train.json"}
    assert mixbench(*command).out.count("read: ") == 2


def group(label: str, *results: dict) -> Group:
    return Group(Setting([NAMELESS], {}, label), dict(enumerate(results)))


def test_curves_by_hand() -> None:
    """By hand: means and deviations over two seeds, at the sizes, severities and radii that the results have."""
    robust = [
        {"clean": 90.0 + s, "fgsm_2": 50.0 + 3 * s, "pgd_linf_2": 40.0, "pgd_l2_8": 30.0} for s in (0, 2)
    ]
    fgsm, linf, l2 = plots("robustness", [group("a", *robust)], {"linf": [2], "l2": [8]})
    assert (fgsm.lines[0].x, fgsm.lines[0].mean) == ([0, 2], [91, 53])
    assert fgsm.lines[0].std == pytest.approx([2**0.5, 3 * 2**0.5])
    assert (linf.lines[0].mean, l2.lines[0].mean) == ([91, 40], [91, 30])
    severe = [{"severities": {"x": [5.0, 4, 3, 2, 1], "y": [9.0, 8, 7, 6, 5]}}]
    mean, x, y = plots("corruptions", [group("a", *severe)], {})
    assert [panel.lines[0].mean for panel in (mean, x, y)] == [
        [7, 6, 5, 4, 3],
        [5, 4, 3, 2, 1],
        [9, 8, 7, 6, 5],
    ]
    rises = [{"one_step_0.1": 0.1, "one_step_0.5": 0.2, "ascent_0.1": 0.3, "ascent_0.5": -0.4}]
    one, ball = plots("sharpness", [group("a", *rises)], {"rho": [0.5, 0.1], "steps": 3})
    assert (one.lines[0].mean, one.log_y) == ([0.1, 0.2], True)
    assert (ball.lines[0].mean, ball.log_y) == ([0.3, -0.4], False)
    curvature = plots("hessian", [group("a", {"eigenvalue": 3.0}), group("b", {"eigenvalue": 2.0})], {})
    assert [(line.x, line.mean) for line in curvature[0].lines] == [([1], [3]), ([2], [2])]


def test_reliability_of_seeds_together() -> None:
    """By hand: bins of two seeds, each weighted by its examples; a bin that neither has is left out."""

    def bins(*of_each: tuple[int, int, float, float]) -> dict:
        found = [dict(zip(("bin", "n", "confidence", "acc"), entry, strict=True)) for entry in of_each]
        return {"equal_width": found, "equal_count": found}

    of_seeds = bins((0, 1, 30.0, 0.0), (2, 4, 90.0, 75.0)), bins((2, 12, 94.0, 95.0))
    width, _ = plots("calibration", [group("a", *of_seeds)], {"bins": 3})
    assert (width.lines[1].x, width.lines[1].mean) == ([30, 93], [0, 90])


def test_planes_have_one_scale() -> None:
    """By hand: log10 of all losses between the least and a thousand times it."""
    results = [
        {"line": {"x": [0.0], "losses": [1.0]}, "plane": {"x": [0.0], "y": [0.0], "losses": [[loss]]}}
        for loss in (0.01, 1e4)
    ]
    _, one, other = plots("slices", [group("a", results[0]), group("b", results[1])], {})
    assert (one.low, one.high) == (other.low, other.high) == (-2, 1)
    assert other.values == [[4]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("confusion",), "has no numbers to compare"),
        (("accuracy", "dataset=cifar10"), "no finished run below outputs fits dataset=cifar10."),
        (("accuracy", "dataste=digits"), "dataste: no run has this key"),
        (("accuracy", "--out", "x.gif"), "must end in one of"),
        (("robustness", "--set", "step=3"), "Did you mean 'steps'"),
        (("zhang2021/fig3", "dataset=digits"), "a study is made on no runs"),
        (("--output-dir", "outputs", "accuracy", "dataset=cifar10"), "fits dataset=cifar10"),
        (("calibratoin",), "no such study or evaluation. Did you mean 'calibration'?"),
        (("calibration", "--set", "calibration.bins=0"), "bins=0"),
    ],
)
def test_mistakes_are_named(mixbench, finished: Path, arguments: tuple[str, ...], words: str) -> None:
    """One message, and no traceback."""
    done = mixbench("analyze", *arguments)
    assert done.status in (1, 2)
    assert words in done.err
    assert "Traceback" not in done.err
