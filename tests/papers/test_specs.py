"""The papers' tables and figures as data: every cell composes, every number is the published one."""

from __future__ import annotations

import csv
import functools
import itertools
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from mixbench.commands import figure, table
from mixbench.config.compose import compose
from mixbench.config.identity import run_dir, run_id
from mixbench.config.library import conf_dir
from mixbench.errors import ConfigError
from mixbench.papers.library import load, names
from mixbench.papers.metric import EPOCH_COLUMNS, TRANSFORMS, Metric
from mixbench.papers.spec import Cell, Figure, Protocol, Published, Sweep, Table
from mixbench.record.read import read_rows, read_summary
from mixbench.record.run import COST
from mixbench.schedule import cosine, step
from mixbench.schema.train import Train

CSV = Path(__file__).parents[3] / "shared/papers/tables"
KEYS = names()
TABLES = [f"{path.parent.name}/{path.stem}" for path in (conf_dir() / "paper").glob("*/table*.yaml")]
TABLES += ["zou2023/eta"]
RUNNABLE = [key for key in KEYS if load(key).needs is None]


@functools.cache
def _composed(overrides: frozenset[str]) -> Train:
    return compose(sorted(overrides))


def config(cell: Cell) -> Train:
    """The cell's typed config; cells of several tables are often the same run."""
    return _composed(frozenset(cell.overrides))


def cell(key: str, row: str, column: str, x: float | None = None, protocol: str | None = None) -> Cell:
    """The first seed of one cell."""
    found = load(key).cells(protocol, seeds=1)
    return next(c for c in found if (c.row, c.column, c.x) == (row, column, x))


def value(node: object, key: str) -> object:
    """A dotted key of a typed config."""
    return functools.reduce(getattr, key.split("."), node)


# ---------------------------------------------------------------- the runs


@pytest.mark.slow
@pytest.mark.parametrize("key", RUNNABLE)
def test_every_cell_composes_to_a_run_of_its_own(key: str) -> None:
    """Oracle: the typed schema, and the runs' identities, in every protocol."""
    spec = load(key)
    for protocol in spec.protocols:
        cells = list(spec.cells(protocol, seeds=1))
        ids = {run_id(config(c)) for c in cells}
        assert len(ids) == len(cells), protocol


def test_every_need_is_met() -> None:
    """Only what is still missing may be waited for."""
    assert {load(key).needs for key in KEYS} == {None}


@pytest.mark.parametrize(("key", "peak"), [("zou2023/table3", 1.6), ("zou2023/table3_attention", 1e-3)])
def test_imagenet_is_trained_for_100_000_steps(key: str, peak: float) -> None:
    """Oracle: the paper's text in steps: 0 at the start, the peak after 10,000, a thousandth of it after 100,000, and
    half a cosine between, which has their mean in the middle. The batches of 4096 in an epoch make these epochs.
    """
    for one in load(key).cells(seeds=1):
        run = config(one)
        per_epoch = 1_281_167 // run.batch_size
        assert run.epochs * per_epoch == pytest.approx(100_000, rel=2e-3)
        shape = {name: getattr(run.schedule, name) for name in ("final", "warmup_epochs", "warmup_start")}

        def rate(step: float) -> float:
            return run.opt.lr * cosine(step / per_epoch, run.epochs, **shape)  # noqa: B023

        last = run.epochs * per_epoch
        warm = run.schedule.warmup_epochs * per_epoch
        assert warm == pytest.approx(10_000, rel=2e-3)
        assert rate(0) == 0
        assert rate(warm / 4) == pytest.approx(peak / 4)
        assert rate(warm) == pytest.approx(peak)
        assert rate((warm + last) / 2) == pytest.approx(peak * 1.001 / 2)
        assert rate(last - 1) == pytest.approx(peak / 1000, rel=1e-3)
        assert run.ema.decay == 0.999


MIXING = ["Mixup", "G-Mix", "BG-Mix", "DG-Mix"]


@pytest.mark.parametrize(("protocol", "plain"), [("paper", False), ("logit", False), ("fair", True)])
def test_li2023_base_augmentation_by_protocol(protocol: str, plain: bool) -> None:
    """Fair: the data set's options are the same in all rows. Paper: rows that do not mix have no crop and flip."""
    for column in load("li2023/table1").columns:
        runs = {
            r: config(cell("li2023/table1", r, column, protocol=protocol))
            for r in ("Vanilla", "SAM", *MIXING)
        }
        assert all(runs[row].dataset.base_augment for row in MIXING)
        assert {runs[row].dataset.base_augment for row in ("Vanilla", "SAM")} == {plain}
        if plain:
            assert all(run.dataset == runs["Vanilla"].dataset for run in runs.values())


@pytest.mark.parametrize("key", [k for k in KEYS if k.startswith("zou2023") and "code" in load(k).protocols])
def test_protocol_code_is_the_released_code(key: str) -> None:
    """Oracle: main.py, mixup.py and models/wide_resnet.py of oneHuster/MixupE: ERM alone trains with the binary loss,
    WRN-28-10 is its own, the warm-up ends above the learning rate."""
    spec = load(key)
    for row, column in itertools.product(spec.rows, spec.columns):
        run = config(cell(key, row, column, protocol="code"))
        assert run.loss == ("bce_softmax" if row == "ERM" else "cross_entropy")
        assert getattr(run.model, "variant", "mixupe") == "mixupe"
        assert (run.schedule.warmup_end, run.schedule.warmup_by, run.opt.nesterov) == (1.2, "epoch", True)
        assert getattr(run.regularizer, "variant", "official") == "official"


@pytest.mark.parametrize("key", [k for k in KEYS if "fair" in load(k).protocols])
def test_protocol_fair_overrides_nothing(key: str) -> None:
    """So base, rows and columns alone, which never name base_augment, are the fair comparison."""
    spec = load(key)
    assert spec.protocols["fair"].base == ()
    assert not spec.protocols["fair"].rows
    assert not any("base_augment" in o for c in spec.cells("fair", seeds=1) for o in c.overrides)


def _overrides(key: str, protocol: str, keep: Callable[[Cell], bool] = lambda c: True) -> set[frozenset[str]]:
    return {frozenset(c.overrides) for c in load(key).cells(protocol, seeds=1) if keep(c)}


@pytest.mark.parametrize(
    ("part", "whole", "keep"),
    [
        ("li2023/fig2", ("li2023/table1", "li2023/table2"), lambda c: True),
        ("li2023/fig3", ("li2023/table1", "li2023/table2"), lambda c: True),
        ("li2023/fig4", ("li2023/table1", "li2023/table2"), lambda c: c.x == 128),
        ("li2023/fig5", ("li2023/fig4",), lambda c: c.x == 0.5),
        ("li2023/fig6", ("li2023/fig5",), lambda c: c.x in (0.5, None)),
        ("zou2023/table7", ("zou2023/table1b",), lambda c: c.row != "ERM+additional loss"),
        ("zou2023/eta", ("zou2023/table1b",), lambda c: c.row in ("Mixup", "eta = 1e-4")),
        ("zou2023/fig1", ("zou2023/table1b",), lambda c: True),
        ("kimura2021/fig3", ("kimura2021/table1",), lambda c: True),
        ("kimura2021/fig3_right", ("kimura2021/table1",), lambda c: True),
    ],
)
def test_what_the_papers_share_is_trained_once(part: str, whole: tuple[str, ...], keep: Callable) -> None:
    """The same overrides are the same run: figures and small tables are made from the runs of the large ones."""
    for protocol in load(part).protocols:
        shared = _overrides(part, protocol, keep)
        assert shared
        assert shared <= set().union(*(_overrides(key, protocol) for key in whole))


STATED = [
    (
        ("li2023/table2", "DG-Mix", "Tiny-ImageNet, ResNet-18"),
        {"dataset.name": "tiny_imagenet", "model.name": "resnet18", "epochs": 500, "batch_size": 128, "opt.lr": 0.1,
         "augment.name": "mixup", "augment.alpha": 1, "opt.name": "dgmix", "opt.rho": 0.5, "opt.gamma": 0.5,
         "opt.momentum": 0.9, "opt.weight_decay": 5e-4, "opt.nesterov": False, "model.stem_stride": 2},
    ),
    (
        ("li2023/table1", "G-Mix", "SVHN, MobileNet"),
        {"dataset.name": "svhn", "model.name": "mobilenet", "model.width": 0.35, "epochs": 100, "opt.name": "sam",
         "opt.rho": 0.5, "train_clean_every": 1, "train_mixed_every": 1},
    ),
    (
        ("zou2023/table2b", "MixupE", "PreActResNet-34"),
        {"dataset.name": "tiny_imagenet", "model.depth": 34, "epochs": 200, "batch_size": 100, "opt.lr": 0.1,
         "opt.momentum": 0.9, "opt.weight_decay": 1e-4, "augment.alpha": 0.2, "regularizer.alpha": 0.2,
         "loss": "cross_entropy"},
    ),
    (
        ("zou2023/table1b", "MixupE", "WRN-28-10"),
        {"model.depth": 28, "model.width": 10, "augment.alpha": 1, "regularizer.alpha": 1, "dataset.crop_padding": 2},
    ),
    (
        ("park2022/table2", "HMix", "WRN-28-2"),
        {"epochs": 300, "opt.lr": 0.2, "augment.alpha": 1, "augment.r": 0.5, "model.depth": 28, "model.width": 2},
    ),
    (
        ("zou2023/table3_attention", "MixupE", "ViT-B/16"),
        {"dataset.name": "imagenet", "dataset.size": 224, "batch_size": 4096, "augment.alpha": 0.4, "model.patch": 16,
         "regularizer.eta": 5e-4, "opt.name": "adamw", "opt.beta2": 0.99, "opt.weight_decay": 0.3},
    ),
    (
        ("zou2023/table5", "MixupE", "VGG-13"),
        {"dataset.name": "speech_commands", "epochs": 20, "batch_size": 100, "opt.name": "adam", "opt.lr": 1e-3,
         "augment.alpha": 0.2, "regularizer.alpha": 0.2, "regularizer.eta": 1e-2, "model.depth": 13},
    ),
    (
        ("park2022/table1", "CutMix", "Scenario 2: small crop"),
        {"dataset.name": "imagenet100", "dataset.size": 64, "dataset.crop_area": [0.25, 0.4]},
    ),
    (
        ("park2022/table3", "HMix", "ResNet-50"),
        {"dataset.name": "imagenet", "model.depth": 50, "epochs": 300, "opt.lr": 0.1, "augment.r": 0.75},
    ),
    (("park2022/table2", "GMix", "ResNet-56"), {"augment.name": "gmix", "augment.alpha": 0.5, "model.depth": 56}),
    (
        ("kimura2021/table1", "alpha = 0.4", "STL-10"),
        {"augment.alpha": 0.4, "epochs": 200, "opt.lr": 0.1, "batch_size": 128, "opt.weight_decay": 1e-4},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("place", "stated"), STATED)
def test_runs_are_what_the_papers_state(place: tuple[str, str, str], stated: dict) -> None:
    """Oracle: the papers' sections on experiments, by hand (with the choices where they state nothing)."""
    run = config(cell(*place))
    assert {key: value(run, key) for key in stated} == stated


@pytest.mark.parametrize(
    ("place", "epochs"),
    [
        (("li2023/table1", "Vanilla", "SVHN, MobileNet"), [65, 85]),
        (("li2023/table2", "Vanilla", "CIFAR-100, WRN-16-4"), [130, 170]),
        (("li2023/table2", "Vanilla", "Tiny-ImageNet, WRN-16-4"), [325, 425]),
        (("zou2023/table1a", "ERM", "WRN-28-10"), [100, 150]),
        (("park2022/table2", "Vanilla", "ResNet-56"), [100, 200]),
        (("kimura2021/table1", "alpha = 1", "CIFAR-10"), [100, 150]),
    ],
)
def test_learning_rate_drops_where_the_papers_say(place: tuple[str, str, str], epochs: list[int]) -> None:
    """Oracle: the papers' epochs. Fractions, so that shorter runs keep their drops, must not be a step off."""
    run = config(cell(*place))
    for number, epoch in enumerate(epochs):
        for progress, passed in ((epoch - 1e-3, number), (epoch, number + 1)):
            assert step(progress, run.epochs, milestones=run.schedule.milestones) == pytest.approx(
                0.1**passed
            )


# ---------------------------------------------------------------- the published numbers

# How many numbers a paper prints, their sum, and the sum of their deviations, by hand from the papers.
PRINTED = {
    "li2023/table1": (36, 1855.76, 0),
    "li2023/table2": (48, 1348.64, 0),
    "li2023/table3": (30, 342095.3, 0),
    "zou2023/table1a": (9, 34.97, 0.557),
    "zou2023/table1b": (9, 191.75, 2.780),
    "zou2023/table2a": (9, 23.55, 0.626),
    "zou2023/table2b": (18, 1221.80, 8.03),
    "zou2023/table3": (6, 513.1, 1.4),
    "zou2023/table3_attention": (12, 1054.0, 1.9),
    "zou2023/table5": (9, 59.46, 0.423),
    "zou2023/table7": (4, 90.36, 0),
    "zou2023/table8": (32, 1482.11, 0),
    "zou2023/eta": (5, 105.98, 0),
    "park2022/table1": (4, 257.4, 0),
    "park2022/table2": (34, 2649.04, 0),
    "park2022/table3": (6, 466.14, 0),
    "kimura2021/table1": (28, 4.2425, 0),
}
POINTS = {"li2023/fig2": (4, 280), "li2023/fig4": (4, 301.38), "li2023/fig5": (6, 317.73),
          "kimura2021/fig3_right": (7, 0.41)}  # fmt: skip

IMPLIED = "Train_Acc"


def entries(key: str) -> dict[tuple[str, str, str], Published]:
    """All numbers printed in a table, by row, column and block, but for those that follow from others."""
    spec = load(key)
    assert isinstance(spec, Table)
    return {
        (row, column, block): entry
        for block, lines in spec.printed.items()
        for row, numbers in lines.items()
        for column, entry in zip(spec.columns, numbers, strict=True)
        if entry is not None and block != IMPLIED
    }


@pytest.mark.parametrize("key", ["li2023/table1", "li2023/table2"])
def test_implied_train_accuracies(key: str) -> None:
    """Arithmetic: test accuracy less Gap, in every cell."""
    spec = load(key)
    assert isinstance(spec, Table)
    for (row, column, block), entry in entries(key).items():
        if block == "Test_Acc":
            implied = spec.published(row, column, "Train_Acc (mixed)")
            gap = spec.published(row, column, "Gap (clean)")
            assert implied is not None
            assert gap is not None
            assert implied.value == pytest.approx(entry.value - gap.value)


def test_checksums_of_the_published_numbers() -> None:
    """Oracle: number of entries and sums taken from the papers' tables, not from the specs."""
    assert set(PRINTED) == {key for key in KEYS if isinstance(load(key), Table)}
    for key, (count, total, deviations) in PRINTED.items():
        found = entries(key).values()
        assert len(found) == count, key
        assert sum(e.value for e in found) == pytest.approx(total, abs=1e-6), key
        assert sum(e.std or 0 for e in found) == pytest.approx(deviations, abs=1e-6), key
    for key in KEYS:
        spec = load(key)
        if isinstance(spec, Figure):
            lines = [
                line
                for block in spec.printed.values()
                for panels in block.values()
                for line in panels.values()
            ]
            heights = [y for line in lines for _, y in line]
            assert (len(heights), pytest.approx(sum(heights))) == POINTS.get(key, (0, 0)), key


def _li(row: dict[str, str]) -> tuple[str, str, str]:
    metric = {"test_acc_best": "Test_Acc", "gap_best": "Gap", "running_time_s": "Seconds"}[row["metric"]]
    return row["method"], f"{row['dataset']}, {row['model'].split('(')[0].strip()}", metric


def _zou(row: dict[str, str]) -> tuple[str, str, str]:
    metric = {"test_error": "Test error", "top1_acc": "Top-1", "top5_acc": "Top-5"}[row["metric"]]
    return row["method"], re.sub(r"ResNet(\d)", r"ResNet-\1", row["model"]), metric


def _zou_eta(row: dict[str, str]) -> tuple[str, str, str]:
    exponent = round(math.log10(float(row["method"].removeprefix("MixupE eta="))))
    return f"eta = 1e{exponent}", "PreActResNet-50", "Test error"


def _zou_table8(row: dict[str, str]) -> tuple[str, str, str]:
    method = row["method"].replace("(", " (").replace("ManifoldMixup", "Manifold Mixup")
    kind, size, percent = re.search(r"(Rotation|Shear|Zoom).*[,(]([\d.]+)(%?)", row["dataset"]).groups()
    return method, "CIFAR-100, PreActResNet-18", f"{kind} {size}{percent and ' %'}"


def _park(row: dict[str, str]) -> tuple[str, str, str]:
    column = re.sub(r"ResNet(\d)", r"ResNet-\1", row["model"])
    metric = {"top1_acc": "Top-1", "delta_vs_vanilla": "Difference to Vanilla"}[row["metric"]]
    return row["method"].removesuffix("(Gaussian)"), column, metric


def _park_table1(row: dict[str, str]) -> tuple[str, str, str]:
    column = re.search(r"Scenario \d: \w+ crop", row["dataset"]).group()
    if row["metric"] == "delta":
        return "CutMix", column, "Difference to Mixup"
    return row["method"], column, "Val_Acc"


def _kimura(row: dict[str, str]) -> tuple[str, str, str]:
    return f"alpha = {float(row['method'].removeprefix('Mixup alpha=')):g}", row["dataset"], "Loss gap"


FILES = {
    "li2023/table1": ("gmix_table1", _li),
    "li2023/table2": ("gmix_table2", _li),
    "li2023/table3": ("gmix_table3", _li),
    "zou2023/table1a": ("mixupe_table1a", _zou),
    "zou2023/table1b": ("mixupe_table1b", _zou),
    "zou2023/table2a": ("mixupe_table2a", _zou),
    "zou2023/table2b": ("mixupe_table2b", _zou),
    "zou2023/table3": ("mixupe_table3", _zou),
    "zou2023/table3_attention": ("mixupe_table3", _zou),
    "zou2023/table5": ("mixupe_table5", _zou),
    "zou2023/table7": ("mixupe_table7", _zou),
    "zou2023/table8": ("mixupe_table8", _zou_table8),
    "zou2023/eta": ("mixupe_eta_sensitivity", _zou_eta),
    "park2022/table1": ("msda_table1", _park_table1),
    "park2022/table2": ("msda_table2", _park),
    "park2022/table3": ("msda_table3", _park),
    "kimura2021/table1": ("kimura_table1", _kimura),
}
BESIDES = {"zou2023/eta": {("Mixup", "PreActResNet-50", "Test error")}}  # in the text, not in the transcript

transcribed = pytest.mark.skipif(not CSV.is_dir(), reason="needs the transcribed tables of the papers")


def _rows(file: str) -> list[dict[str, str]]:
    with (CSV / f"{file}.csv").open() as lines:
        return [row for row in csv.DictReader(lines) if row["value"]]


@pytest.mark.realdata
@transcribed
@pytest.mark.parametrize("key", FILES)
def test_published_numbers_are_the_transcribed_ones(key: str) -> None:
    """Oracle: an independent transcript of the papers' tables, in both directions."""
    file, place = FILES[key]
    spec = load(key)
    assert isinstance(spec, Table)
    seen = set()
    for line in _rows(file):
        row, column, name = place(line)
        if file == "mixupe_table3" and column not in spec.columns:
            continue  # two specs have a part of this table each
        metric = next(m for m in spec.metrics if name in (m.name, m.block))
        found = spec.published(row, column, metric.name)
        assert found is not None, (row, column, name)
        assert found.value == pytest.approx(float(line["value"]), abs=1e-9)
        assert found.std == (float(line["std"]) if line["std"] else None)
        if metric.reference is None:  # the others are not stored: they follow
            seen.add((row, column, metric.block))
    assert seen | BESIDES.get(key, set()) == set(entries(key))


@pytest.mark.realdata
@transcribed
def test_published_points_are_the_transcribed_ones() -> None:
    """Oracle: the numbers in Li & Tang's text that belong to figures, by an independent transcript."""
    expected: dict[tuple[str, str, str, str], set] = {}
    for line in _rows("gmix_text_claims"):
        number, column = float(line["value"]), f"{line['dataset']}, {line['model']}"
        if line["table"] == "fig2":
            block, point = "Test_Acc", (number, 70.0)
        elif line["table"] in ("fig4", "fig5"):
            block = {"test_acc_best": "Test_Acc", "gap_best": "Gap"}[line["metric"]]
            point = (float(re.match(r"(?:\|B\||rho)=([\d.]+)", line["note"]).group(1)), number)
        else:
            continue
        expected.setdefault((f"li2023/{line['table']}", line["method"], column, block), set()).add(point)
    found = {
        (key, row, column, block): set(points)
        for key in KEYS
        if key.startswith("li2023/fig")
        for block, lines in load(key).printed.items()
        for row, columns in lines.items()
        for column, points in columns.items()
    }
    assert found == expected


def test_points_of_kimura_figure_3_are_those_of_table_1() -> None:
    """The paper's right half of Figure 3 draws the CIFAR-10 row of Table 1."""
    spec, table = load("kimura2021/fig3_right"), load("kimura2021/table1")
    assert isinstance(spec, Figure)
    assert isinstance(table, Table)
    points = spec.published("Mixup", "CIFAR-10", "Loss gap")
    expected = [(x, table.published(f"alpha = {x:g}", "CIFAR-10", "Loss gap").value) for x in spec.x.values]
    assert list(points) == expected


def test_relative_numbers_follow_from_the_printed_ones() -> None:
    """By hand: DG-Mix takes 9164.8 / 4404.8 of Vanilla's time; HMix is 2.70 points above Vanilla; a bare column."""
    times, park = load("li2023/table3"), load("park2022/table3")
    assert isinstance(times, Table)
    assert isinstance(park, Table)
    column = "CIFAR-10, WRN-16-4"
    assert times.published("DG-Mix", column, "Ratio").value == pytest.approx(2.0806, abs=5e-5)
    assert times.published("DG-Mix", column, "Ratio (training alone)") is None
    assert park.published("HMix", "ResNet-50", "Difference to Vanilla").value == pytest.approx(2.70)
    gap = load("li2023/table2")
    assert gap.published("BG-Mix", "CIFAR-100, ResNet-18", "Gap (clean)") == Published(8.21)


# ---------------------------------------------------------------- metrics and overrides


def test_columns_are_those_of_a_run(mixbench: Callable, workplace: Path) -> None:
    """Oracle: the record of a run with everything measured; seconds of an epoch are no metric, those of a run are."""
    overrides = ["epochs=1", "dataset.train_size=100", "dataset.test_size=50", "batch_size=50"]
    overrides += ["dataset.val_size=50", "train_mixed_every=1"]
    assert mixbench("train", *overrides).status == 0
    directory = run_dir(compose(overrides))
    row, summary = read_rows(directory)[-1], read_summary(directory)
    assert set(EPOCH_COLUMNS) == set(row) - {"epoch", "lr", *(key for key in row if key.endswith("seconds"))}
    assert set(COST) <= set(summary or {})


@given(st.floats(0, 100), st.floats(0, 100))
def test_transforms_are_the_named_arithmetic(a: float, b: float) -> None:
    """Equations; a missing or null column is NaN."""

    def number(transform: str, *columns: str) -> float:
        return Metric("m", columns, transform).value({"a": a, "b": b, "null": None})

    assert number("none", "a") == a
    assert number("error", "a") == 100 - a
    assert number("sum", "a", "b") == a + b
    assert number("abs_difference", "a", "b") == max(a, b) - min(a, b)
    assert math.isnan(number("log", "a")) if a == 0 else math.exp(number("log", "a")) == pytest.approx(a)
    assert math.isnan(number("none", "null"))
    assert math.isnan(number("sum", "a", "missing"))
    assert set(TRANSFORMS) == {"none", "error", "log", "sum", "abs_difference"}


@given(st.floats(0.1, 100), st.floats(0.1, 100))
def test_relative_metrics(value: float, reference: float) -> None:
    """Equations: value / reference, value - reference, or the value itself; no division by zero."""
    ratio, difference = Metric("m", ("a",), ratio_to="r"), Metric("m", ("a",), difference_to="r")
    assert ratio.against(value, reference) == value / reference
    assert difference.against(value, reference) == value - reference
    assert Metric("m", ("a",)).against(value, reference) == value
    assert math.isnan(ratio.against(value, 0.0))


SMALL = {
    "kind": "table",
    "title": "Small",
    "source": "a test",
    "base": ["epochs=1", "opt.lr=0.1"],
    "metrics": [{"name": "Acc", "column": "test_acc", "better": "higher"}],
    "rows": {"A": ["augment=none"], "B": ["augment=mixup"]},
    "columns": {"C": ["dataset=digits", "epochs=2"]},
    "protocols": {"paper": {}, "long": {"base": ["epochs=4"], "rows": {"B": ["epochs=5"]}}},
    "printed": {"Acc": {"A": [[1.5, 0.5]], "B": [None]}},
    "cell_notes": [{"row": "A", "column": "C", "note": "odd"}],
}


def write(folder: Path, **changes: object) -> str:
    """A file with the small spec, changed; a change to ... takes the key out."""
    path = folder / "mine.yaml"
    changed = {k: v for k, v in {**SMALL, **changes}.items() if v is not ...}
    path.write_text(OmegaConf.to_yaml(OmegaConf.create(changed)))
    return str(path)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    """By hand, from the small spec."""
    spec = load(write(tmp_path))
    assert isinstance(spec, Table)
    assert (spec.seeds, spec.select, spec.needs, spec.protocol) == (3, "best_test", None, "paper")
    assert spec.published("A", "C", "Acc") == (1.5, 0.5)
    assert spec.published("B", "C", "Acc") is None
    assert (spec.notes_on("A", "C"), spec.notes_on("B", "C")) == (["odd"], [])
    assert [(c.row, c.column, c.seed) for c in spec.cells()] == [(r, "C", s) for r in "AB" for s in range(3)]
    assert [c.seed for c in spec.cells(seeds=1)] == [0, 0]


LAYERS = ["base", "column", "row", "protocol", "protocol's row", "extra", "knob"]


def test_the_last_override_of_a_key_counts() -> None:
    """Brute force over all sets of layers in their documented order; long group names are the same key."""
    for number in range(len(LAYERS) + 1):
        for layers in itertools.combinations(LAYERS, number):
            for name in ("opt.lr", "optimizer.lr"):
                given_by = {w: (f"{name}={LAYERS.index(w)}",) if w in layers else () for w in LAYERS}
                variant = Protocol(base=given_by["protocol"], rows={"R": given_by["protocol's row"]})
                spec = Figure(
                    key="key",
                    title="title",
                    source="source",
                    metrics=(Metric("Acc", ("test_acc",)),),
                    base=given_by["base"],
                    rows={"R": given_by["row"]},
                    columns={"C": given_by["column"]},
                    protocols={"paper": variant},
                    x=Sweep("opt.lr" if "knob" in layers else "opt.momentum", (LAYERS.index("knob"),)),
                )
                (one,) = spec.cells(seeds=1, extra=(*given_by["extra"], "seed=9"))
                rates = [o for o in one.overrides if o.startswith("opt.lr=")]
                assert rates == [f"opt.lr={LAYERS.index(layers[-1])}" for _ in layers[:1]]
                assert "seed=0" in one.overrides


def test_swept_and_flat_rows_of_a_figure() -> None:
    """By hand: 9 values of gamma for two rows, one run for G-Mix; two panels."""
    spec = load("li2023/fig6")
    cells = list(spec.cells(seeds=1))
    assert len(cells) == 2 * (9 + 9 + 1)
    assert {c.x for c in cells if c.row == "G-Mix"} == {None}
    assert "opt.gamma=0.3" in next(c for c in cells if (c.row, c.x) == ("DG-Mix", 0.3)).overrides


# ---------------------------------------------------------------- finding and reading


def test_names_are_in_reading_order() -> None:
    """By hand: papers in the project's order, tables before the rest, by number."""
    assert KEYS[:5] == ["li2023/table1", "li2023/table2", "li2023/table3", "li2023/fig2", "li2023/fig3"]
    zou = [key.partition("/")[2] for key in KEYS if key.startswith("zou2023")]
    tables = ["1a", "1b", "2a", "2b", "3", "3_attention", "5", "7", "8"]
    assert zou == [*(f"table{n}" for n in tables), "eta", "fig1"]
    assert [k for k in KEYS if k.startswith("kimura")] == [
        f"kimura2021/{n}" for n in ("table1", "fig3", "fig3_right")
    ]
    assert len(KEYS) == 29


def test_an_unknown_key_names_the_nearest() -> None:
    """By hand."""
    with pytest.raises(
        ConfigError, match=r"li2023/tabel2: no such table or figure\. Did you mean 'li2023/table2'\?"
    ):
        load("li2023/tabel2")
    with pytest.raises(ConfigError, match=r"no protocol 'far'\. Did you mean 'fair'\?"):
        next(load("li2023/table1").cells("far"))


@pytest.mark.parametrize(
    ("command", "key", "said", "known"),
    [
        (table, "zou2023/table66", "no such table. Did you mean 'zou2023/table6'?", TABLES),
        (
            table,
            "mutag",
            "is a data set, and no table; mixbench train dataset=mutag trains on it. It is in",
            TABLES,
        ),
        (table, "imdb_binary", "It is in zou2023/table6.\n", TABLES),
        (
            table,
            "digits",
            "is a data set, and no table; mixbench train dataset=digits trains on it.\n",
            TABLES,
        ),
        (figure, "zhang2021/fig33", "no such figure. Did you mean 'zhang2021/fig3'?", ["zou2023/fig1"]),
    ],
)
def test_what_there_is_is_listed_whole(command: ModuleType, key: str, said: str, known: list[str]) -> None:
    """Oracle: the files of conf/paper, those that studies fill among them."""
    with pytest.raises(ConfigError) as raised:
        command.main([key])
    text = str(raised.value)
    assert text.startswith(f"{key}: ")
    assert said in text
    listed = text.rpartition("Known: ")[2].rstrip(".").split(", ")
    assert set(known) <= set(listed)
    assert command is figure or set(known) == set(listed)


METRIC = {"name": "Acc", "column": "test_acc"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "tabel"}, "kind: no 'tabel'. Did you mean 'table'?"),
        ({"titel": "x"}, "no 'titel'. Did you mean 'title'?"),
        ({"source": ...}, "'source' is missing"),
        ({"seeds": "three"}, "seeds must be a whole number, not 'three'"),
        ({"seeds": True}, "seeds must be a whole number"),
        ({"select": "best"}, "select: no 'best'"),
        ({"base": ["epochs"]}, "base: 'epochs' is not an override"),
        ({"base": "epochs=1"}, "base: must be a list"),
        ({"rows": {"A": [1]}}, "rows: A: must be texts"),
        ({"rows": {}}, "rows: must have at least one entry"),
        ({"columns": ["C"]}, "columns: must be a mapping"),
        ({"metrics": [METRIC | {"column": "test_ac"}]}, "metrics: Acc: column: no 'test_ac'. Did you mean 'test_acc'?"),
        ({"metrics": [METRIC | {"transform": "err"}]}, "metrics: Acc: transform: no 'err'"),
        ({"metrics": [METRIC | {"transform": "sum"}]}, "must have 2 entries, not 1"),
        ({"metrics": [METRIC | {"better": "more"}]}, "better: no 'more'"),
        ({"metrics": [METRIC | {"ratio_to": "D"}]}, "metrics: Acc: no 'D'"),
        ({"metrics": [METRIC | {"ratio_to": "A", "difference_to": "A"}]}, "exclude each other"),
        ({"metrics": [METRIC | {"printed": "Accuracy"}]}, "metrics: Acc: printed: no 'Accuracy'"),
        ({"metrics": []}, "metrics: must have at least one entry"),
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"seeds": 10**9}, "seeds must be at least 1 and at most"),
        ({"metrics": [METRIC, METRIC]}, "metrics: two are called 'Acc'"),
        ({"protocol": "papr"}, "protocol: no 'papr'. Did you mean 'paper'?"),
        ({"protocols": {"paper": {"rows": {"D": []}}}}, "protocols: paper: rows: no 'D'"),
        ({"protocols": {"paper": {"columns": {"D": []}}}}, "protocols: paper: columns: no 'D'"),
        ({"printed": {"Loss": {}}}, "printed: no 'Loss'"),
        ({"printed": {"Acc": {"D": [1]}}}, "printed: Acc: no 'D'"),
        ({"printed": {"Acc": {"A": [1, 2]}}}, "printed: Acc: A must have 1 entries, not 2"),
        ({"printed": {"Acc": {"A": ["1.5"]}}}, "printed: Acc: A: must be a number, not '1.5'"),
        ({"printed": {"Acc": {"A": [[1, 2, 3]]}}}, "must have 2 entries, not 3"),
        ({"cell_notes": [{"row": "A", "column": "D", "note": "n"}]}, "cell_notes: column: no 'D'"),
        ({"x": "epoch"}, "table: no 'x'"),
        ({"kind": "figure", "printed": {}, "x": {"knob": "opt.lr"}}, "x: values: must be a list"),
        ({"kind": "figure", "printed": {}, "x": "epochs"}, "x (epoch, or a knob and its values): must be a mapping"),
        ({"kind": "figure", "printed": {"Acc": {"A": {"C": [1]}}}}, "printed: Acc: A: must be a list, not 1"),
    ],
)  # fmt: skip
def test_a_malformed_spec_says_where(tmp_path: Path, changes: dict, message: str) -> None:
    """By hand: one mistake at a time, found and named, with the file."""
    path = write(tmp_path, **changes)
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        load(path)
    assert path in str(caught.value)


@pytest.mark.parametrize("text", ["rows: [", "kind: table\nkind: table\n", "- a\n"])
def test_what_is_no_yaml_mapping(tmp_path: Path, text: str) -> None:
    """Broken YAML, a key given twice, a list: a readable error with the file's name."""
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(str(path))):
        load(str(path))


def test_reading_specs_imports_no_torch() -> None:
    """In a process of its own."""
    code = "from mixbench.papers.library import load, names; print([load(key).key for key in names()])"
    checked = f"import sys; {code}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", checked], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, str(KEYS))
