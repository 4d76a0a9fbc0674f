"""Tables from run directories: what is read, marked, ranked, printed, and trained when asked to."""

from __future__ import annotations

import csv
import io
import json
import math
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mixbench.analysis import stored
from mixbench.papers import render
from mixbench.papers.cells import Planned, overrides, plan, seconds_left
from mixbench.papers.execute import train, unfinished
from mixbench.papers.library import load
from mixbench.papers.spec import Table
from mixbench.papers.table import Result, assemble

SPEC = """
kind: table
title: A table with <b>marks</b> & more
source: Somebody 2020, Table 7
base: [epochs=4, batch_size=50, dataset.train_size=200, dataset.test_size=50]
seeds: 2
select: last
metrics:
  - {name: Acc, column: test_acc, unit: "%", better: higher}
  - {name: Time, column: [train_seconds, eval_seconds], transform: sum, ratio_to: Vanilla}
rows:
  Vanilla: [augment=none]
  Mixup: [augment=mixup]
  SAM: [opt=sam]
columns: {Digits: [dataset=digits]}
printed:
  Acc: {Vanilla: [50.0], Mixup: [[60.0, 1.5]], SAM: [70.0]}
notes: [a note]
cell_notes: [{row: SAM, column: Digits, note: an oddity}]
"""


WEIGHTS = "0" * 64  # a checksum


@pytest.fixture
def spec(workplace: Path) -> Table:
    (workplace / "mine.yaml").write_text(SPEC)
    found = load("mine.yaml")
    assert isinstance(found, Table)
    return found


def finish(run: Planned, accuracy: float, seconds: float = 10.0, **changes) -> None:
    """Leave the record of a finished run where the plan looks for it."""
    row = {"epoch": 4, "test_acc": accuracy, "test_loss": 1.0}
    summary = {
        "state": "finished",
        "config": {},
        "selections": {"last": row, "best_test": row | {"test_acc": accuracy + 1}},
        "train_seconds": seconds,
        "eval_seconds": 2.0,
        **changes,
    }
    run.directory.mkdir(parents=True)
    (run.directory / "summary.json").write_text(json.dumps(summary))
    env = {"commit": "0123456789abcdef", "device": "cpu", "cpu": "Some CPU", "uncommitted": None}
    (run.directory / "env.json").write_text(json.dumps(env))


def fill(spec: Table) -> list[Planned]:
    """Vanilla 40 and 42, Mixup 61 (seed 1 failed), SAM 55 and 56 at twice the time."""
    values = {
        ("Vanilla", 0): 40.0,
        ("Vanilla", 1): 42.0,
        ("Mixup", 0): 61.0,
        ("SAM", 0): 55.0,
        ("SAM", 1): 56.0,
    }
    for run in plan(spec):
        key = (run.cell.row, run.cell.seed)
        if key in values:
            finish(run, values[key], 22.0 if run.cell.row == "SAM" else 10.0)
        else:
            finish(run, 0.0, state="failed")
    return plan(spec)


def test_cells_are_read_and_compared(spec: Table) -> None:
    """By hand: means, sample deviation, ratio per seed, differences; two seeds rank nothing."""
    result = assemble(spec, fill(spec))
    vanilla, mixup, sam = (result.entries[row, "Digits", "Acc"] for row in ("Vanilla", "Mixup", "SAM"))
    assert (vanilla.ours.mean, vanilla.ours.n) == (41.0, 2)
    assert vanilla.ours.std == pytest.approx(math.sqrt(2))
    assert mixup.values == {0: 61.0}
    assert (mixup.rank, sam.rank, vanilla.rank) == (0, 0, 0)
    assert (vanilla.difference, sam.difference) == (-9.0, -14.5)
    assert mixup.paper is not None
    assert mixup.paper.std == 1.5
    assert result.entries["SAM", "Digits", "Time"].values == {0: 2.0, 1: 2.0}
    assert result.comparisons[0].order is None
    assert (result.commits, result.devices) == (["0123456789"], ["Some CPU"])


def fill_five(spec: Table, **means: float) -> Result:
    """Five seeds of each row named, with the given mean accuracy and deviations that cancel."""
    for run in plan(spec, seeds=5):
        if run.cell.row in means:
            finish(run, means[run.cell.row] + run.cell.seed - 2)
    return assemble(spec, plan(spec, seeds=5))


def test_five_common_seeds_rank(spec: Table) -> None:
    """By hand: ranks and tau of 41, 61 and 55.5 beside the paper's 50, 60 and 70: two of three pairs agree."""
    result = fill_five(spec, Vanilla=41.0, Mixup=61.0, SAM=55.5)
    assert {row: result.entries[row, "Digits", "Acc"].rank for row in result.rows} == {
        "Mixup": 1,
        "SAM": 2,
        "Vanilla": 3,
    }
    order = result.comparisons[0].order
    assert order is not None
    assert (order.n, order.pairs, order.agreeing) == (3, 3, 2)
    assert order.kendall == pytest.approx(1 / 3)
    text = render.text(result)
    assert "2 of 3 pairs agree" in text
    assert "(1) (2) (3): our best of a column" in text
    assert "too few" not in text
    assert "Bold: our best of a column" in render.markdown(result)
    assert "| **61.00 ± 1.58 (5)** |" in render.markdown(result)
    tex = render.latex(result)
    for style, mean in (("textbf", 61), ("underline", "55.50"), ("textit", "41.00")):
        assert rf"\{style}{{{mean}" in tex


def test_means_that_are_printed_alike_share_a_rank(spec: Table) -> None:
    """By hand: 61.001 and 60.999 both read 61.00, so both are first and the next one is third."""
    result = fill_five(spec, Vanilla=41.0, Mixup=61.001, SAM=60.999)
    ranks = [result.entries[row, "Digits", "Acc"].rank for row in ("Mixup", "SAM", "Vanilla")]
    assert ranks == [1, 1, 3]


def test_one_short_method_leaves_its_column_without_ranks(spec: Table) -> None:
    """Limiting case: four common seeds; a method without any run does not count."""
    runs = plan(spec, seeds=5)
    for run in runs:
        if run.cell.row != "SAM" and (run.cell.row, run.cell.seed) != ("Mixup", 4):
            finish(run, 40.0 + run.cell.seed + 10 * (run.cell.row == "Mixup"))
    result = assemble(spec, plan(spec, seeds=5))
    assert {entry.rank for entry in result.entries.values()} == {0}
    finish(next(r for r in runs if (r.cell.row, r.cell.seed) == ("Mixup", 4)), 54.0)
    result = assemble(spec, plan(spec, seeds=5))
    assert [result.entries[row, "Digits", "Acc"].rank for row in result.rows] == [2, 1, 0]


def test_the_papers_column_stands_once(workplace: Path) -> None:
    """By hand: two metrics in a row that are compared with the same numbers, then one with others of its own."""
    gaps = "".join(
        f"  - {{name: {name}, column: {column}, better: higher, printed: {block}}}\n"
        for name, column, block in (
            ("A", "test_acc", "Acc"),
            ("B", "test_loss", "Acc"),
            ("C", "test_acc", "C"),
        )
    )
    printed = "  C: {Vanilla: [5.0], Mixup: [6.0], SAM: [7.0]}\nnotes"
    (workplace / "shared.yaml").write_text(
        SPEC.replace("metrics:\n", f"metrics:\n{gaps}").replace("notes", printed, 1)
    )
    shared = load("shared.yaml")
    assert isinstance(shared, Table)
    (panel,) = render.panels(assemble(shared, fill(shared)))
    assert panel.head[1:9] == ["A", "paper", "diff", "B", "diff", "C", "paper", "diff"]
    assert panel.rows[0][2:6] == ["50.00", "-9.00", "1.00 ± 0.00 (2)", "-49.00"]


def test_what_is_not_at_the_specs_scale_is_marked(spec: Table) -> None:
    """A missing seed marks its cell; changed settings mark every cell and are named."""
    whole = assemble(spec, fill(spec))
    assert [whole.marked(row, "Digits") for row in ("Vanilla", "Mixup", "SAM")] == [False, True, False]
    short = plan(spec, budget=0.5, extra=["batch_size=25", "device=cpu"])
    for run in short:
        finish(run, 10.0)
    result = assemble(spec, plan(spec, budget=0.5, extra=["batch_size=25", "device=cpu"]))
    assert all(result.marked(row, "Digits") for row in result.rows)
    assert result.changes == ["epochs 2, not 4", "batch_size 25, not 50"]
    assert "Vanilla *" in render.text(result)
    assert "epochs 2, not 4; batch_size 25, not 50" in render.text(result)


def test_missing_partial_and_failed_cells_are_visible(spec: Table) -> None:
    """Each state in turn is what the cell says."""
    runs = plan(spec)
    for run, state in zip(runs[::2], ("failed", "interrupted"), strict=False):
        finish(run, 0.0, state=state)
        (run.directory / "epochs.csv").write_text("epoch,test_acc\n1,10.0\n2,12.0\n")
    again = plan(spec)
    assert [r.state for r in again] == ["failed", "missing", "partial", "missing", "missing", "missing"]
    assert len(again[2].rows) == 2
    lines = {
        line.split()[0]: line.split()[1] for line in render.text(assemble(spec, again)).splitlines()[4:7]
    }
    assert lines == {"Vanilla": "failed", "Mixup": "partial", "SAM": "missing"}


TEXT = """\
mine.yaml: A table with <b>marks</b> & more. Somebody 2020, Table 7.

Digits
method                        Acc (%)         paper    diff             Time
Vanilla          41.00 ± 1.41 (2)         50.00   -9.00  1.00 ± 0.00 (2)
Mixup *      61.00 (1, 1 failed)  60.00 ± 1.50   +1.00   1.00 (1, 1 failed)
SAM              55.50 ± 0.71 (2)         70.00  -14.50  2.00 ± 0.00 (2)
"""


def squeezed(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_text_is_as_drawn(spec: Table) -> None:
    """Golden text (spaces aside), with the caption, the rule of few seeds said once, and the notes under it."""
    lines = squeezed(render.text(assemble(spec, fill(spec))))
    assert lines[: len(TEXT.splitlines())] == squeezed(TEXT)
    rest = "\n".join(lines)
    assert "Metrics at the epoch `last`" in rest
    assert rest.count("Fewer than 5 seeds that all methods have in common") == 1
    assert "(1) (2) (3)" not in rest
    assert "- SAM, Digits: an oddity" in rest
    assert "- a note" in rest


def test_latex_is_as_drawn(spec: Table) -> None:
    r"""Golden LaTeX: escaped text, \texttt for a rule, and a minus that is one."""
    lines = render.latex(assemble(spec, fill(spec))).splitlines()
    assert lines[0].startswith("% mine.yaml")
    assert r"A table with <b>marks</b> \& more" in lines[4]
    assert r"\texttt{last}" in lines[4]
    assert "Bold" not in lines[4]
    assert r"\begin{tabular}{lrrrr}" in lines
    assert r"method & Acc (\%) & paper & diff & Time \\" in lines
    assert r"Vanilla & 41.00 $\pm$ 1.41 (2) & 50.00 & $-$9.00 & 1.00 $\pm$ 0.00 (2) \\" in lines
    assert r"Mixup * & 61.00 (1, 1 failed) & 60.00 $\pm$ 1.50 & +1.00 & 1.00 (1, 1 failed) \\" in lines
    assert r"SAM & 55.50 $\pm$ 0.71 (2) & 70.00 & $-$14.50 & 2.00 $\pm$ 0.00 (2) \\" in lines
    assert lines[-1] == r"\end{table}"


class Cells(HTMLParser):
    """Collects the cells and the tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.add(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells and self.lasttag in ("td", "th"):
            self.cells[-1] += data.strip()


def test_html_escapes_and_holds_the_same_cells(spec: Table) -> None:
    """Oracle: html.parser reads back the texts of the panels; no tag of the title survives."""
    result = assemble(spec, fill(spec))
    page = Cells()
    page.feed(render.page(result))
    (panel,) = render.panels(result)
    assert page.cells == [*panel.head, *(c for row in panel.rows for c in row)]
    assert "b" not in page.tags


def test_csv_and_markdown_hold_the_numbers(spec: Table) -> None:
    """Oracle: csv.DictReader; Markdown has the same cells."""
    result = assemble(spec, fill(spec))
    rows = list(csv.DictReader(io.StringIO(render.comma_separated(result))))
    vanilla = next(r for r in rows if (r["row"], r["metric"]) == ("Vanilla", "Acc"))
    assert (float(vanilla["mean"]), vanilla["n"], float(vanilla["paper"])) == (41.0, "2", 50.0)
    assert next(r for r in rows if r["row"] == "Mixup")["as_specified"] == "False"
    assert "| 61.00 (1, 1 failed) |" in render.markdown(result)


def test_selection_rule_is_taken_and_named(spec: Table) -> None:
    """best_test instead of the spec's last: other numbers, and the caption says so; best_val needs a validation set."""
    from mixbench.errors import ConfigError

    runs = fill(spec)
    result: Result = assemble(spec, runs, "best_test")
    assert result.entries["Vanilla", "Digits", "Acc"].ours.mean == 42.0
    assert "Metrics at the epoch `best_test`" in render.text(result)
    with pytest.raises(ConfigError, match=r"dataset\.val_size"):
        assemble(spec, runs, "best_val")


def test_time_left_comes_from_finished_runs(spec: Table) -> None:
    """By hand: (10 + 2) s for 4 epochs of one method; unknown without any finished run."""
    assert math.isnan(seconds_left(plan(spec)))
    finish(plan(spec)[0], 40.0, 10.0)
    runs = plan(spec)
    assert seconds_left(runs) == pytest.approx(5 * 12.0)
    finish(runs[4], 40.0, 22.0)
    assert seconds_left(plan(spec)) == pytest.approx(12.0 + 2 * 18.0 + 24.0)


def test_a_command_line_composes_to_the_planned_run(spec: Table) -> None:
    """The printed `mixbench train` line is the same run: same directory."""
    from mixbench.config.compose import compose
    from mixbench.config.identity import run_dir

    for run in plan(spec, epochs=3, extra=["opt.lr=0.02"]):
        assert run_dir(compose(overrides(run))) == run.directory


TINY = ("--epochs", "1", "--seeds", "1")


def test_the_command_trains_resumes_and_prints(mixbench, spec: Table) -> None:
    """--run trains what is missing; again it trains nothing; without --run it never trains."""
    untouched = mixbench("table", "mine.yaml", *TINY)
    assert untouched.status == 0
    assert "missing" in untouched.out
    assert not Path("outputs").exists()
    first = mixbench("table", "mine.yaml", *TINY, "--run", "--jobs", "2")
    assert first.status == 0, first.err
    assert "3 of 3 runs to train" in first.out
    again = mixbench("table", "mine.yaml", *TINY, "--run")
    assert "0 of 3 runs to train" in again.out
    assert "finished" in mixbench("table", "mine.yaml", *TINY, "--dry-run").out
    assert mixbench("table", "mine.yaml", *TINY, "--format", "csv", "--out", "t.csv").status == 0
    assert "mine.yaml,paper,last,Vanilla,Digits,Acc" in Path("t.csv").read_text()


def test_a_hydra_launcher_gets_all_runs(spec: Table, capfd) -> None:
    """Hydra's own basic launcher trains every unfinished run and leaves the finished ones alone."""
    finish(plan(spec, epochs=1, seeds=1)[0], 40.0)
    train(spec, plan(spec, epochs=1, seeds=1), hydra=["hydra/launcher=basic"])
    runs = plan(spec, epochs=1, seeds=1)
    assert [run.state for run in runs] == ["finished"] * 3
    assert unfinished(runs) == []
    assert "mixbench table" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("li2023/table22",), ["li2023/table22", "Did you mean 'li2023/table2'"]),
        (("li2023/fig6",), ["is a figure"]),
        (("mine.yaml", "--rows", "Mixupp"), ["--rows Mixupp", "Vanilla, Mixup, SAM"]),
        (("mine.yaml", "--budget", "3"), ["--budget 3", "<= 1"]),
        (("mine.yaml", "--set", "opt.lrr=1"), ["opt.lrr=1", "Did you mean 'lr'"]),
        (("mine.yaml", "--protocol", "pape"), ["'pape'", "paper"]),
        (("waits.yaml", "--run"), ["cannot run yet"]),
    ],
)
def test_mistakes_are_named(mixbench, spec: Table, arguments: tuple[str, ...], words: list[str]) -> None:
    """One message, status 2, no traceback."""
    Path("waits.yaml").write_text(f"{SPEC}needs: a data set that is nowhere\n")
    result = mixbench("table", *arguments)
    assert result.status == 2
    assert all(word in result.err for word in words), result.err
    assert "Traceback" not in result.err


# ---------------------------------------------------------------- numbers of the final weights

EVALUATED = SPEC.replace(
    "metrics:\n",
    'metrics:\n  - {name: Turned, column: deformations/rotation_20, unit: "%", better: higher}\n',
)


@pytest.fixture
def evaluated(workplace: Path) -> Table:
    (workplace / "evaluated.yaml").write_text(EVALUATED)
    found = load("evaluated.yaml")
    assert isinstance(found, Table)
    return found


def measured(run: Planned, value: float) -> None:
    """Leave an evaluation of the weights that the record of `finish` names."""
    names = (
        "rotation_20",
        "rotation_40",
        "shear_28.6",
        "shear_57.3",
        "zoom_60",
        "zoom_80",
        "zoom_120",
        "zoom_140",
    )
    evaluation = {
        "name": "deformations",
        "options": {},
        "source": "test",
        "result": dict.fromkeys(names, value),
        "weights": WEIGHTS,
    }
    stored.write(run.directory, evaluation)


def test_evaluations_are_read_from_beside_the_weights(evaluated: Table) -> None:
    """By hand: two seeds, one, and none are evaluated; the caption has the command for the others."""
    runs = [run for run in plan(evaluated) if run.cell.row != "SAM"]
    for run in runs:
        finish(run, 40.0, files={"model.safetensors": WEIGHTS})
    for run, value in zip(runs[:3], (10.0, 20.0, 30.0), strict=True):
        measured(run, value)
    result = assemble(evaluated, plan(evaluated))
    assert result.entries["Vanilla", "Digits", "Turned"].ours.mean == 15.0
    lines = squeezed(render.text(result))
    (vanilla, mixup, sam) = lines[4:7]
    assert vanilla.startswith("Vanilla 15.00 ± 7.07 (2) 40.00")
    assert mixup.startswith("Mixup 30.00 (1, 1 not evaluated) 40.00")
    assert sam.startswith("SAM missing")
    assert "Measured on the final weights, whatever the epoch: deformations." in lines
    missing = runs[3].directory
    assert f"Not evaluated: 1 run; mixbench eval {missing} --only deformations does it." in lines
    stored.place(runs[2].directory, "deformations", {}, "test").unlink()
    lines = squeezed(render.text(assemble(evaluated, plan(evaluated))))
    assert lines[5].startswith("Mixup not evaluated")
    assert any(line.startswith(f"Not evaluated: 2 runs; mixbench eval {missing.parent} ") for line in lines)


def test_evaluations_make_no_other_runs(spec: Table, evaluated: Table) -> None:
    """Oracle: the same table without the metric. Nothing is trained again to be measured."""
    assert [run.directory for run in plan(spec)] == [run.directory for run in plan(evaluated)]


def test_the_command_evaluates_what_it_trained(mixbench, evaluated: Table) -> None:
    """--run measures the final weights of every run, once; the numbers are those of mixbench eval."""
    done = mixbench("table", "evaluated.yaml", *TINY, "--rows", "Vanilla", "--run")
    assert done.status == 0, done.err
    (run,) = plan(evaluated, epochs=1, seeds=1, rows=["Vanilla"])
    assert f"evaluated: {run.directory}" in done.out
    kept = json.loads((run.directory / "evaluations" / "deformations.json").read_text())
    assert f"{kept['result']['rotation_20']:.2f} (1)" in done.out
    again = mixbench("table", "evaluated.yaml", *TINY, "--rows", "Vanilla", "--run")
    assert "evaluated:" not in again.out
    (run.directory / "evaluations" / "deformations.json").unlink()
    listed = mixbench("table", "evaluated.yaml", *TINY, "--rows", "Vanilla", "--dry-run")
    assert "(not evaluated: deformations)" in listed.out
    (run.directory / "model.safetensors").unlink()
    failed = mixbench("table", "evaluated.yaml", *TINY, "--rows", "Vanilla", "--run")
    assert failed.status == 1
    assert "there are no weights" in failed.err
    assert "not evaluated" in failed.out


def test_columns_of_evaluations_are_checked(workplace: Path) -> None:
    """An evaluation or number that there is not, and one that would have to change with the epoch."""
    from mixbench.errors import ConfigError

    for wrong, words in (
        (EVALUATED.replace("rotation_20", "rotation_30"), "no 'deformations/rotation_30'. Did you mean"),
        (EVALUATED.replace("deformations/", "confusion/"), "no 'confusion/rotation_20'"),
        (
            EVALUATED.replace("kind: table", "kind: figure\nx: epoch").partition("printed:")[0],
            "deformations/rotation_20 is measured on the final weights",
        ),
    ):
        (workplace / "wrong.yaml").write_text(wrong)
        with pytest.raises(ConfigError, match=words):
            load("wrong.yaml")
