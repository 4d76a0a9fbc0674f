"""The report: what is on the page, whence its numbers come, and that nothing of a run is ever markup."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from run_records import ENVIRONMENT, leave, opened

from mixbench.config.compose import compose
from mixbench.config.identity import run_dir
from mixbench.papers import render, table
from mixbench.papers.cells import Planned, plan
from mixbench.papers.library import load
from mixbench.papers.spec import Cell, Figure, Table
from mixbench.record.read import read_rows, read_summary
from mixbench.record.run import SavedRun
from mixbench.report import plots
from mixbench.report.page import SCRIPT, curve, one, page, place
from mixbench.report.papers import alike, belonging, fragments
from mixbench.report.runlist import listing
from mixbench.summarize.frame import frame, frame_of, varying
from mixbench.summarize.plots import Line, Panel, inline
from mixbench.summarize.settings import Run, collect, settings, short

COLUMN = "CIFAR-100, WRN-16-4"
SMALL = ["dataset.train_size=500", "dataset.test_size=100", "model.depth=10", "model.width=1"]


def runs_of(key: str, folder: Path, **options) -> list[Planned]:
    """Finished runs of a shipped spec, with accuracies that no two runs share."""
    planned = plan(load(key), **options)
    draw = np.random.default_rng(len(planned))
    for run in planned:
        leave(run, draw.uniform(1, 99, run.config.epochs).tolist() if run.config else [])
    return planned


@pytest.fixture
def report(workplace: Path):
    """The page of all runs below outputs/."""
    return lambda: page(collect([workplace / "outputs"]))


# ---------------------------------------------------------------- the page


class Document(HTMLParser):
    """The elements of a page with their attributes, its text, and whether every element is closed."""

    VOID = ("meta", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>$\\frac{1{{ 7 * 7 }}{% raw %}"


@pytest.mark.fault("hostile")
def test_nothing_of_a_run_is_markup(workplace: Path, report) -> None:
    """Oracle: html.parser on a page of runs that hold markup wherever they hold a text."""
    config = dict.fromkeys(("dataset.mirrors", "augment", "opt.rho", "loss", HOSTILE), HOSTILE)
    names = dict.fromkeys(("id", "dataset", "model", "method", "data_note", "error", "started"), HOSTILE)
    for number, run in enumerate(plan(load("li2023/table2"), columns=[COLUMN], seeds=2, epochs=2)):
        leave(run, [1.0, 2.0])
        summary = read_summary(run.directory)
        assert summary is not None
        if number % 2:
            summary |= names
        summary["config"] |= {**config, "epochs": HOSTILE if number % 3 == 0 else 2}
        summary["selections"]["last"]["test_acc"] = HOSTILE
        with opened(run.directory) as record:
            record.write_summary(summary)
        environment = dict.fromkeys(ENVIRONMENT, HOSTILE) | {"packages": {HOSTILE: HOSTILE}}
        (run.directory / "env.json").write_text(json.dumps(environment))
    text = report()
    document = Document(text)
    names = [name for name, _ in document.elements]
    assert "img" not in names
    assert (names.count("script"), text.count(f"<script>{SCRIPT}</script>")) == (1, 1)
    assert not [a for _, attributes in document.elements for a in attributes if a.startswith("on")]
    assert document.text.count("<script>alert(1)</script>") > 50
    assert document.text.count("{{ 7 * 7 }}{% raw %}") > 50


def test_the_page_is_self_contained(workplace: Path, report) -> None:
    """It refers to itself alone, forbids everything else, and has every place that it links to, once."""
    runs_of("li2023/table2", workplace, columns=[COLUMN], epochs=2, extra=SMALL)
    text = report()
    document = Document(text)
    links = [v for _, a in document.elements for k, v in a.items() if k in ("href", "src", "xlink:href")]
    assert links
    assert all(link and link.startswith("#") for link in links)
    assert not re.search(r"url\((?!#)|@import", text)
    names = [a["id"] for name, a in document.elements if "id" in a and name in ("section", "details")]
    assert len(names) == len(set(names)) == 18 + 4
    assert {link[1:] for link in links if link} <= {a["id"] for _, a in document.elements if "id" in a}
    (policy,) = (a["content"] for _, a in document.elements if "http-equiv" in a)
    assert policy is not None
    own = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{own}'"
    assert "innerHTML" not in SCRIPT
    assert "prefers-color-scheme: dark" in text


def test_every_run_has_its_config_and_environment(workplace: Path, report) -> None:
    """Oracle: the run directories themselves."""
    (run,) = runs_of("li2023/table2", workplace, columns=[COLUMN], rows=["Mixup"], seeds=1, epochs=2)
    text = Document(report()).text
    for value in (
        run.directory.name,
        "0123456789abcdef",
        "Some CPU",
        "opt.weight_decay",
        "0.0005",
        "finished",
    ):
        assert value in text


@pytest.mark.fault("damage")
def test_damaged_runs_are_shown_as_such(workplace: Path, report) -> None:
    """Torn, missing and senseless files: the page is made, and says which runs are unreadable, failed or under way."""
    runs = plan(load("li2023/fig2"), columns=[COLUMN], seeds=1, epochs=3)
    for run, state in zip(
        runs, ("finished", "finished", "finished", "failed", "running", "finished"), strict=True
    ):
        leave(run, [1.0, 2.0, 3.0], state, error="no space left" if state == "failed" else None)
    (runs[0].directory / "summary.json").write_text('{"state": "fini')
    (runs[1].directory / "epochs.csv").write_text("epoch,test_acc\n1,fast\n")
    (runs[2].directory / "summary.json").write_text('{"state": "finished", "config": {"seed": 0}}')
    (runs[5].directory / "env.json").unlink()
    text = Document(report()).text
    for words in ("runs6: ", "2 unreadable", "2 finished", "1 failed", "1 interrupted", "no space left"):
        assert words in text


# ---------------------------------------------------------------- the papers' tables


@pytest.mark.parametrize(
    "options",
    [
        {"columns": [COLUMN], "seeds": 3, "epochs": 2, "extra": SMALL},
        {"columns": [COLUMN, "CIFAR-100, ResNet-18"], "seeds": 1, "budget": 0.01, "protocol": "fair"},
        {
            "columns": ["Tiny-ImageNet, WRN-16-4", COLUMN],
            "seeds": 4,
            "budget": 0.005,
            "extra": ["precision=bf16"],
        },
    ],
)
def test_a_table_is_what_the_table_command_makes(workplace: Path, options: dict) -> None:
    """Oracle: render.page of the plan with the options under which the runs were made; moved elsewhere, even."""
    spec = load("li2023/table2")
    assert isinstance(spec, Table)
    runs_of("li2023/table2", workplace, **options)
    protocol = options.get("protocol")
    planned = plan(spec, **options | {"seeds": max(options["seeds"], 3)})
    expected = render.page(table.assemble(spec, planned, protocol=protocol))
    (workplace / "outputs").rename(workplace / "elsewhere")
    (found,) = (f for f in fragments(collect([workplace / "elsewhere"])) if "li2023/table2" in f)
    for part in (r"<tr>.*?</tr>", r"not at the scale of the spec: [^;]*|dataset[^;]*|precision[^;.]*"):
        assert sorted(re.findall(part, found)) == sorted(re.findall(part, expected))


def test_another_experiment_is_no_cell_of_a_table(workplace: Path) -> None:
    """Runs that differ in a knob of the method, or in the batch size, belong to no table of the paper."""
    spec = load("li2023/table2")
    for extra in (["opt.weight_decay=1e-3"], ["batch_size=64"], ["seed=20261120"]):
        for run in plan(spec, columns=[COLUMN], rows=["Mixup"], seeds=1, epochs=1, extra=extra):
            config = run.config
            assert config is not None
            saved = SavedRun(run.directory.with_name(extra[0].replace("=", "_")))
            leave(dataclasses.replace(run, saved=saved), [1.0])
    runs = collect([workplace / "outputs"])
    assert len(runs) == 3
    ids = [r.values["opt.weight_decay"] == 5e-4 and r.values["batch_size"] == 128 for r in runs]
    assert len(list(belonging(spec, "paper", alike(runs)))) == sum(ids)


def test_each_scale_has_a_table_of_its_own(workplace: Path) -> None:
    """By hand: three rows at 2 epochs and one at 3 are two tables, the fuller one first."""
    spec = load("li2023/table2")
    for epochs, rows in ((2, ["Mixup", "SAM", "G-Mix"]), (3, ["Mixup"])):
        for run in plan(spec, columns=[COLUMN], rows=rows, seeds=1, epochs=epochs):
            leave(run, [1.0] * epochs)
    tables = list(belonging(spec, "paper", alike(collect([workplace / "outputs"]))))
    finished = [[(r.cell.row, len(r.rows)) for r in planned if r.state == "finished"] for planned in tables]
    assert finished == [[("SAM", 2), ("Mixup", 2), ("G-Mix", 2)], [("Mixup", 3)]]


def test_a_sweep_with_one_value_is_not_drawn(workplace: Path) -> None:
    """The runs of Table II are one point of Figure 4; all of Figure 6 is drawn, with the line across."""
    runs_of("li2023/table2", workplace, columns=[COLUMN], seeds=1, epochs=2)
    text = "".join(fragments(collect([workplace / "outputs"])))
    assert "li2023/fig2: " in text
    assert "li2023/fig4: " not in text
    runs_of("li2023/fig6", workplace, columns=[COLUMN], seeds=1, epochs=2)
    assert "li2023/fig6: " in "".join(fragments(collect([workplace / "outputs"])))


def test_a_run_that_was_stopped_shows_what_it_has(workplace: Path) -> None:
    """By hand: an interrupted run of three epochs, with its fold in words, the accuracies that it has reached, and
    times and memory in units that are read; a Gap that nothing has is no column.
    """
    config = compose(
        ["dataset=mutag", "model=gin", "dataset.fold=8", "seed=1", f"output_dir={workplace}/outputs"]
    )
    planned = Planned(Cell("", "", 0, ()), config, SavedRun(run_dir(config)))
    columns = {"train_acc_mixed": [math.nan] * 3}
    spent = {"train_seconds": 12.345678, "images_per_second": 900.4, "peak_memory_bytes": 600 * 2**20}
    leave(planned, [50.0, 70.0, 60.0], "interrupted", **columns, **spent)
    runs = collect([workplace / "outputs"])
    shown = one(runs[0], "run1")
    assert shown["words"] == "mutag gin5x32 Vanilla (ERM), seed 1, fold 8"
    assert shown["accuracy"] == "best 70.00 %"
    assert [row[:3] for row in shown["selections"]] == [["best_test", "2", "70.00"], ["last", "3", "60.00"]]
    assert "Gap, clean" in shown["head"]
    assert "Gap, mixed" not in shown["head"]
    times = {"training (s)": "12.3", "training images/s": "900", "peak memory (MiB)": "600"}
    assert times.items() <= shown["facts"].items()
    listed = listing(runs, {runs[0].directory: "run1"}, varying(frame_of(runs)))
    assert listed["head"][-3:] == ["epochs done", "Test_Acc, best (%)", "Test_Acc, last (%)"]
    assert listed["rows"][0]["cells"][-4:] == ["interrupted", "3", "70.00", "60.00"]
    leave(planned, [50.0, 70.0, 60.0], **columns)
    ((title, found),) = settings(collect([workplace / "outputs"])).items()
    assert place(title, found, {})["head"] == [
        "method",
        "seeds and folds",
        "Test_Acc (%)",
        "Test_Acc, last (%)",
        "Gap, clean",
        "runs by seed/fold",
    ]


# ---------------------------------------------------------------- settings and plots


def test_settings_are_the_runs_that_share_all_but_the_seed(workplace: Path) -> None:
    """Oracle: pandas, groupby over the config's keys on mixbench.summarize.frame.frame."""
    runs_of("li2023/fig5", workplace, columns=[COLUMN], epochs=2)
    runs_of("li2023/table2", workplace, columns=[COLUMN], epochs=2)
    everything = frame(workplace / "outputs", "best_test")
    keys = ["method", "opt.rho", "opt.gamma", "batch_size", "dataset.base_augment"]
    grouped = everything.groupby(keys, dropna=False)["test_acc"].agg(["mean", "std", "size"])
    ((title, found),) = settings(collect([workplace / "outputs"])).items()
    assert title == "cifar100, wrn16_4, 2 epochs"
    ours = [(e.mean, e.std, e.n) for s in found if (e := s.estimate("test_acc"))]
    assert np.array(sorted(ours)) == pytest.approx(
        np.array(sorted(grouped.itertuples(index=False, name=None)))
    )
    labels = [s.label for s in found]
    assert len(set(labels)) == len(labels)
    assert "erm batch_size 128, base_augment false" in labels
    assert "mixup-dgmix rho 0.3, batch_size 512, base_augment true" in labels


def test_places_are_kept_apart(workplace: Path) -> None:
    """Other numbers of epochs or images are another heading; what is not finished is no result."""
    for extra, epochs in ((SMALL, 2), (SMALL, 3), ([], 2)):
        runs_of(
            "li2023/table2", workplace, columns=[COLUMN], rows=["SAM"], epochs=epochs, extra=extra, seeds=1
        )
    for run in plan(load("li2023/table2"), columns=[COLUMN], rows=["G-Mix"], epochs=4, seeds=1):
        leave(run, [1.0], "interrupted")
    assert list(settings(collect([workplace / "outputs"]))) == [
        "cifar100, wrn10_1, 2 epochs, 500 training images, 100 test images",
        "cifar100, wrn10_1, 3 epochs, 500 training images, 100 test images",
        "cifar100, wrn16_4, 2 epochs",
    ]


def test_sweeps_hold_all_other_knobs(workplace: Path) -> None:
    """Oracle: pandas, groupby over rho, at the gamma that the sweep holds."""
    runs_of("li2023/fig5", workplace, columns=[COLUMN], epochs=2)
    runs_of(
        "li2023/fig6", workplace, columns=[COLUMN], epochs=2, rows=["BG-Mix"], extra=["label_smoothing=0.1"]
    )
    (found,) = settings(collect([workplace / "outputs"])).values()
    panels = {(p.x_label, p.y_label): p for p in plots.sweeps(found)}
    assert {x for x, _ in panels} == {"opt.rho", "opt.gamma"}
    assert len({p.title for p in panels.values()}) == len(panels)
    assert panels["opt.rho", "test accuracy (%)"].title == "Sweep over opt.rho: test accuracy"
    everything = frame(workplace / "outputs", "best_test")
    rho = panels["opt.rho", "test accuracy (%)"]
    assert [line.label for line in rho.lines] == [
        "BG-Mix gamma 0.5, label_smoothing 0",
        "DG-Mix label_smoothing 0",
        "G-Mix label_smoothing 0",
    ]
    for line, method in zip(rho.lines, ("mixup-bgmix", "mixup-dgmix", "mixup-sam"), strict=True):
        part = everything[(everything["method"] == method) & (everything["label_smoothing"] == 0)]
        grouped = part.groupby("opt.rho")["test_acc"]
        assert list(line.x) == grouped.mean().index.tolist() == [0.3, 0.4, 0.5, 0.6, 0.7]
        assert line.mean == pytest.approx(grouped.mean().tolist())
        assert line.std == pytest.approx(grouped.std().tolist())


def test_convergence_is_the_mean_over_seeds(workplace: Path) -> None:
    """Oracle: pandas over all rows of epochs.csv."""
    planned = runs_of("li2023/table2", workplace, columns=[COLUMN], rows=["SAM"], epochs=5)
    (found,) = settings(collect([workplace / "outputs"])).values()
    rows = pd.concat(pd.read_csv(run.directory / "epochs.csv") for run in planned)
    accuracy, gap = plots.convergence(found)
    assert (accuracy.title, gap.title) == ("Convergence: test accuracy", "Convergence: Gap, clean")
    assert accuracy.lines[0].mean == pytest.approx(rows.groupby("epoch")["test_acc"].mean().tolist())
    assert gap.lines[0].std == pytest.approx(rows.groupby("epoch")["gap_clean"].std().tolist())


def test_cost_compares_within_a_device(workplace: Path) -> None:
    """By hand: two methods on one device, one of them on another as well, where it has nothing to compare with. A run
    that shared its machine, or does not say, has no cost; the page then says so.
    """
    planned = plan(load("li2023/table2"), columns=[COLUMN], rows=["SAM", "Mixup"], epochs=1)
    for run in planned:
        leave(
            run,
            [10.0 * run.cell.seed],
            train_seconds=3.0 if run.cell.row == "SAM" else 1.0 + run.cell.seed,
            other_cpu_seconds=[0.2],
        )
    other = next(run for run in planned if (run.cell.row, run.cell.seed) == ("Mixup", 2))
    (other.directory / "env.json").write_text(json.dumps({"device": "cuda", "device_name": "Some GPU"}))
    (found,) = settings(collect([workplace / "outputs"])).values()
    (panel,) = plots.cost(found)
    assert panel.title == "Cost on Some CPU"
    assert {line.label.split()[0]: (list(line.x), line.mean) for line in panel.lines} == {
        "Mixup": ([1.5], [5.0]),
        "SAM": ([3.0], [10.0]),
    }
    assert "training (s)" in place("", found, {})["head"]
    for run in planned:
        if run.cell.row == "SAM":
            shared = {} if run.cell.seed else {"other_cpu_seconds": [0.4]}
            leave(run, [10.0 * run.cell.seed], **shared)
    (found,) = settings(collect([workplace / "outputs"])).values()
    assert not list(plots.cost(found))
    assert "training (s)" not in place("", found, {})["head"]
    assert "had the machine to themselves" in page(collect([workplace / "outputs"]))


def test_lines_join_the_same_seeds_alone(workplace: Path) -> None:
    """By hand: of rho 0.4 the last two of three seeds are missing, so that its point is open and stands alone."""
    for run in plan(load("li2023/fig5"), columns=[COLUMN], epochs=2, rows=["G-Mix"]):
        if run.cell.x != 0.4 or not run.cell.seed:
            leave(run, [1.0, 2.0 + run.cell.seed])
    runs = collect([workplace / "outputs"])
    (found,) = settings(runs).values()
    (sweep,) = (p for p in plots.sweeps(found) if p.y_label == "test accuracy (%)")
    (line,) = (line for line in sweep.lines if len(line.x) > 1)
    at = list(line.x).index(0.4)
    assert [i for i, missing in enumerate(line.open) if missing] == [at]
    assert line.gaps == [i for i in (at, at + 1) if 0 < i < len(line.x)]
    shown = place("", found, {})
    cells = {row["cells"][0]: row["cells"] for row in shown["settings"]}
    assert cells["G-Mix rho 0.4"][1:3] == [1, "2.00 (1)"]
    assert cells["G-Mix rho 0.5"][1:3] == [3, "3.00 ± 1.00"]


def test_a_line_may_have_no_points() -> None:
    """A method of a figure none of whose runs is there: the picture is that of the other method, with one name more."""
    there, missing = Line("there", 0, [1, 2], [3.0, 4.0], [0.5, 0.5]), Line("missing", 1, [], [], [])
    drawn = [str(inline(Panel("", "x", "y", lines))) for lines in ([there, missing], [there])]
    assert "missing" in drawn[0]
    assert "missing" not in drawn[1]


def test_one_epoch_is_no_convergence(workplace: Path) -> None:
    """Limiting case: neither a plot nor a curve."""
    runs_of("li2023/table2", workplace, columns=[COLUMN], rows=["SAM"], epochs=1)
    (found,) = settings(collect([workplace / "outputs"])).values()
    assert not list(plots.convergence(found))


def test_the_list_of_runs_tells_them_apart(workplace: Path) -> None:
    """By hand: what varies within a method has a column; every run has a row, its own address, and its filters. Folded,
    no two have the same words."""
    runs_of("li2023/fig5", workplace, columns=[COLUMN], epochs=2, rows=["G-Mix", "BG-Mix"], seeds=1)
    runs = collect([workplace / "outputs"])
    knobs = varying(frame_of(runs))
    shown = listing(runs, {run.directory: run.id for run in runs}, knobs)
    assert shown["head"][:2] == ["opt.rho", "seed"]
    assert shown["filters"] == {"method": ["BG-Mix", "G-Mix"]}
    rows = {row["anchor"]: row for row in shown["rows"]}
    for run in runs:
        row = rows[run.id]
        assert row["is"] == {"place": "cifar100 wrn16_4", "method": run.method, "state": "finished"}
        assert row["cells"][:4] == [short(run.values["opt.rho"]), "0", "finished", "2"]
    words = {one(run, "", knobs)["words"] for run in runs}
    assert len(words) == len(runs)
    assert f"cifar100 wrn16_4 G-Mix, opt.rho={short(runs[0].values['opt.rho'])}, seed 0" in words


def test_papers_come_last_and_folded_where_most_is_missing(workplace: Path) -> None:
    """By hand: a whole column of a table with all rows is open; one row of six is folded."""
    runs_of("li2023/table2", workplace, columns=[COLUMN], rows=["SAM"], epochs=2, seeds=3)
    text = page(collect([workplace / "outputs"]))
    assert text.index('id="results"') < text.index('id="runs"') < text.index('id="papers"')
    (tag,) = re.findall(r'<details class="paper" data-key="li2023/table2"[^>]*>', text)
    assert "open" not in tag
    assert "3 of 18 runs finished" in text
    runs_of("li2023/table2", workplace, columns=[COLUMN], epochs=2, seeds=3)
    (tag,) = re.findall(
        r'<details class="paper" data-key="li2023/table2"[^>]*>', page(collect([workplace / "outputs"]))
    )
    assert tag.endswith(" open>")


def test_too_many_settings_are_reduced_to_the_best_of_each_method(workplace: Path) -> None:
    """Brute force: the largest mean accuracy of each method."""
    runs_of("li2023/fig6", workplace, columns=[COLUMN], seeds=2, epochs=1)
    (found,) = settings(collect([workplace / "outputs"])).values()
    chosen = plots.chosen(found)
    assert len(found) == 19
    for method in ("mixup-sam", "mixup-bgmix", "mixup-dgmix"):
        means = [s.estimate("test_acc").mean for s in found if s.method == method]
        assert [s.estimate("test_acc").mean for s in chosen if s.method == method] == [max(means)]


def test_a_run_has_a_curve(tmp_path: Path) -> None:
    """By hand: a line of three points through 300 x 60, upwards; none for a single epoch."""
    run = Run(tmp_path)
    (tmp_path / "epochs.csv").write_text("epoch,test_acc\n1,0\n2,\n3,25\n5,50\n")
    drawn = curve(run)
    assert drawn is not None
    assert drawn.points == "0.0,60.0 150.0,32.5 300.0,5.0"
    assert drawn.words == "test accuracy, epochs 1 to 5, highest 50.00 %"
    assert (drawn.first, drawn.last, drawn.top) == (1, 5, 50.0)
    shown = Document(page([run]))
    assert [a["points"] for name, a in shown.elements if name == "polyline"] == [drawn.points]
    assert drawn.words in shown.text
    (tmp_path / "epochs.csv").write_text("epoch,test_acc\n1,0\n")
    assert curve(Run(tmp_path)) is None


# ---------------------------------------------------------------- the command


def test_the_command_writes_a_page(mixbench, workplace: Path) -> None:
    """One real run, given twice and once through its folder; without runs there is no page."""
    assert mixbench("report").status == 2
    (workplace / "outputs").mkdir()
    none = mixbench("report")
    assert (none.status, "no runs in outputs" in none.err) == (1, True)
    assert not list(workplace.glob("*.html"))
    done = mixbench("train", "epochs=2", "dataset.train_size=100", "dataset.test_size=50", "batch_size=50")
    assert done.status == 0, done.err
    (run,) = (path.parent for path in workplace.rglob("summary.json"))
    made = mixbench("report", str(run), "outputs", str(run.relative_to(workplace)), "--out", "mine.html")
    assert made.status == 0, made.err
    assert made.out.startswith("written: mine.html (1 run, ")
    assert not list(workplace.glob("*.csv"))
    document = Document((workplace / "mine.html").read_text())
    assert "digits, small_cnn, 2 epochs, 100 training images, 50 test images" in document.text
    assert sum(name == "details" for name, _ in document.elements) == 1
    rows = read_rows(run)
    assert all(row["other_cpu_seconds"] >= 0 for row in rows)
    assert any(name == "polyline" for name, _ in document.elements)
    assert isinstance(load("li2023/fig2"), Figure)
