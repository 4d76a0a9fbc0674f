"""Figures from run directories: which numbers are drawn, what is said under them, and the pictures themselves."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from run_records import leave

from mixbench.errors import ConfigError, DataError
from mixbench.papers.cells import plan
from mixbench.papers.figure import Drawing, assemble
from mixbench.papers.library import load
from mixbench.papers.spec import Figure
from mixbench.record.read import read_rows
from mixbench.summarize.looks import LOOKS, latex
from mixbench.summarize.plots import COLOURS, Line, Panel, inline, picture

SPEC = """
kind: figure
title: Curves
source: Somebody 2020, Figure 7
base: [epochs=4, batch_size=50, dataset.train_size=200, dataset.test_size=50]
seeds: 2
select: best_test
{x}
metrics:
  - {{name: Acc, column: test_acc, unit: "%", better: higher}}
  - {{name: Error, column: test_acc, transform: error}}
  - {{name: Gain, column: test_acc, difference_to: Plain}}
  - {{name: Clean, column: train_acc_clean}}
rows:
  Plain: [opt=sgd]
  SAM: [opt=sam]
columns:
  A: [dataset=digits]
  B: [dataset=digits, dataset.crop_padding=0]
printed:
  Acc:
    SAM: {{A: {printed}}}
notes: [a note]
cell_notes: [{{row: SAM, column: A, note: an oddity}}]
"""
SWEPT = "x: {knob: opt.rho, label: rho, values: [0.1, 0.2, 0.4], flat: [Plain]}"


def make(folder: Path, x: str = "x: epoch", printed: str = "[[2, 70.5], [9, 80]]") -> Figure:
    (folder / "mine.yaml").write_text(SPEC.format(x=x, printed=printed))
    found = load("mine.yaml")
    assert isinstance(found, Figure)
    return found


def line(drawing: Drawing, metric: str, row: str, column: str = "A") -> Line:
    """The one line of this row in the panel of this column and metric."""
    (found,) = (
        k
        for panel in drawing.panels
        for k in panel.lines
        if panel.title == column and panel.y_label.startswith(metric) and k.label == row
    )
    return found


def said(drawing: Drawing) -> str:
    return "\n".join(drawing.caption)


# ---------------------------------------------------------------- against the epoch


def test_lines_are_means_and_sample_deviations_over_seeds(workplace: Path) -> None:
    """Oracle: pandas, groupby epoch, mean and std of all rows of epochs.csv."""
    spec = make(workplace)
    draw = np.random.default_rng(0)
    planned = plan(spec)
    for run in planned:
        leave(run, draw.uniform(20, 90, 4).tolist())
    drawing = assemble(spec, plan(spec))
    for row, column in (("Plain", "A"), ("SAM", "A"), ("SAM", "B")):
        runs = [run for run in planned if (run.cell.row, run.cell.column) == (row, column)]
        grouped = pd.concat(pd.DataFrame(read_rows(run.directory)) for run in runs).groupby("epoch")[
            "test_acc"
        ]
        for metric, mean in (("Acc", grouped.mean()), ("Error", 100 - grouped.mean())):
            found = line(drawing, metric, row, column)
            assert list(found.x) == [1, 2, 3, 4]
            assert found.mean == pytest.approx(mean.tolist())
            assert found.std == pytest.approx(grouped.std(ddof=1).tolist())
    plain, sam = (line(drawing, "Acc", row).mean for row in ("Plain", "SAM"))
    assert line(drawing, "Gain", "SAM").mean == pytest.approx(np.subtract(sam, plain).tolist())
    assert "Incomplete" not in said(drawing)


def test_epochs_that_were_not_measured_are_left_out(workplace: Path) -> None:
    """By hand: train_acc_clean is measured at every second epoch; a metric that never was has no panel."""
    spec = make(workplace)
    for run in plan(spec, columns=["A"]):
        leave(run, [1.0, 2.0, 3.0, 4.0], train_acc_clean=[math.nan, 40.0, math.nan, 60.0])
    for run in plan(spec, columns=["B"]):
        leave(run, [1.0, 2.0, 3.0, 4.0], train_acc_clean=[math.nan] * 4)
    drawing = assemble(spec, plan(spec))
    assert (line(drawing, "Clean", "SAM").x, line(drawing, "Clean", "SAM").mean) == ([2, 4], [40, 60])
    assert [p.y_label for p in drawing.panels if p.title == "B"] == ["Acc (%)", "Error", "Gain"]
    assert "Nothing to draw yet: B, Clean." in drawing.caption


def test_unfinished_runs_are_drawn_only_where_nothing_is_finished(workplace: Path) -> None:
    """By hand: of SAM one run is finished; of Plain two are under way, and share two epochs."""
    spec = make(workplace)
    plain0, plain1, sam0, sam1 = plan(spec, columns=["A"])
    leave(plain0, [10.0, 20.0, 30.0], "running")
    leave(plain1, [20.0, 40.0], "interrupted")
    leave(sam0, [1.0, 2.0, 3.0, 4.0])
    leave(sam1, [100.0], "running")
    drawing = assemble(spec, plan(spec))
    assert (line(drawing, "Acc", "Plain").x, line(drawing, "Acc", "Plain").mean) == ([1, 2], [15, 30])
    assert line(drawing, "Acc", "SAM").mean == [1, 2, 3, 4]
    assert all(math.isnan(s) for s in line(drawing, "Acc", "SAM").std)
    assert (
        "Incomplete: A: Plain (no finished run, 2 under way), SAM (1 of 2 runs, 1 under way)."
        in drawing.caption
    )
    assert "Nothing to draw yet: B." in drawing.caption


def test_a_failed_run_is_said_and_not_drawn(workplace: Path) -> None:
    """By hand."""
    spec = make(workplace)
    for run in plan(spec):
        leave(run, [50.0] * 4, "failed" if run.cell.seed else "finished")
    drawing = assemble(spec, plan(spec))
    assert "A: Plain (1 of 2 runs, 1 failed), SAM (1 of 2 runs, 1 failed). B: " in said(drawing)
    assert line(drawing, "Acc", "SAM").mean == [50] * 4


def test_the_papers_points_beyond_our_epochs_are_said_instead_of_drawn(workplace: Path) -> None:
    """By hand: the spec prints a point at epoch 2 and one at epoch 9; ours end at 4."""
    spec = make(workplace)
    for run in plan(spec):
        leave(run, [1.0, 2.0, 3.0, 4.0])
    drawing = assemble(spec, plan(spec))
    assert list(line(drawing, "Acc", "SAM").printed) == [(2, 70.5)]
    assert "The paper's values beyond the epochs drawn: A, Acc (%): SAM 80 at 9." in drawing.caption


def test_what_is_not_as_specified_is_said(workplace: Path) -> None:
    """By hand: two epochs instead of four, one seed instead of two."""
    spec = make(workplace)
    options = {"epochs": 2, "seeds": 1, "extra": ["precision=bf16"]}
    for run in plan(spec, **options):
        leave(run, [1.0, 2.0])
    drawing = assemble(spec, plan(spec, **options))
    assert (
        "Not at the scale of the spec: epochs 2, not 4; precision bf16, not float32; 1 seed, not 2."
        in drawing.caption
    )
    assert assemble(spec, plan(spec)).panels == []


def test_a_broken_table_of_epochs_is_named(workplace: Path) -> None:
    """DataError with the path."""
    spec = make(workplace)
    for run in plan(spec):
        leave(run, [1.0])
        (run.directory / "epochs.csv").write_text("epoch,test_acc\n1,fast\n")
    with pytest.raises(DataError, match=r"epochs\.csv"):
        assemble(spec, plan(spec))


# ---------------------------------------------------------------- against a swept knob


def test_sweeps_read_the_selected_epoch(workplace: Path) -> None:
    """Oracle: brute force over the rows. The row without the knob is a line across, at its mean."""
    spec = make(workplace, SWEPT, "[[0.1, 70]]")
    draw = np.random.default_rng(1)
    best: dict[tuple, list[float]] = {}
    for run in plan(spec, columns=["A"]):
        if (run.cell.row, run.cell.x, run.cell.seed) != ("SAM", 0.4, 1):
            rows = leave(run, draw.uniform(20, 90, 4).tolist())
            best.setdefault((run.cell.row, run.cell.x), []).append(max(row["test_acc"] for row in rows))
    drawing = assemble(spec, plan(spec))
    sam, plain = line(drawing, "Acc", "SAM"), line(drawing, "Acc", "Plain")
    assert sam.x == [0.1, 0.2, 0.4]
    assert sam.mean == pytest.approx([np.mean(best["SAM", x]) for x in sam.x])
    assert sam.std[:2] == pytest.approx([np.std(best["SAM", x], ddof=1) for x in sam.x[:2]])
    assert math.isnan(sam.std[2])
    assert (plain.x, plain.flat) == ([0.1, 0.4], True)
    assert plain.mean == pytest.approx([np.mean(best["Plain", None])] * 2)
    gain = [np.mean(np.subtract(best["SAM", x], best["Plain", None][: len(best["SAM", x])])) for x in sam.x]
    assert line(drawing, "Gain", "SAM").mean == pytest.approx(gain)
    assert sam.printed == ((0.1, 70),)
    assert "Incomplete: A: SAM (5 of 6 runs)." in drawing.caption
    last = assemble(spec, plan(spec), select="last")
    assert line(last, "Acc", "SAM").mean != pytest.approx(sam.mean)
    assert "Metrics at the epoch `last`." in last.caption


def test_points_of_other_seeds_are_open_and_not_joined(workplace: Path) -> None:
    """By hand: at rho 0.4 one seed of two is missing."""
    spec = make(workplace, SWEPT)
    for run in plan(spec, columns=["A"]):
        if (run.cell.row, run.cell.x, run.cell.seed) != ("SAM", 0.4, 1):
            leave(run, [float(10 * run.cell.seed)] * 4)
    drawing = assemble(spec, plan(spec))
    sam = line(drawing, "Acc", "SAM")
    assert (sam.open, sam.gaps) == ([False, False, True], [2])
    assert "open: seeds missing" in drawing.caption[0]
    (whole,) = {tuple(line(drawing, "Acc", "Plain").open)}
    assert not any(whole)


@pytest.mark.parametrize(
    ("changed", "title"),
    [
        ([], "A"),
        (["opt.lr=0.5", "dataset.test_size=40"], "A"),
        (["dataset.train_size=1400"], "A, 1,400 training images"),
        (["model=wrn16_4", "model.depth=10", "model.width=1"], "digits, wrn10_1\n(in place of A)"),
        (
            ["model=wrn16_4", "dataset.train_size=100"],
            "digits, wrn16_4, 100 training images\n(in place of A)",
        ),
    ],
)
def test_a_panel_says_what_was_trained(workplace: Path, changed: list[str], title: str) -> None:
    """By hand: a panel has its column's name only where the column's data and model were trained."""
    spec = make(workplace)
    planned = plan(spec, columns=["A"], extra=changed)
    for run in planned:
        leave(run, [1.0, 2.0, 3.0, 4.0])
    drawing = assemble(spec, plan(spec, columns=["A"], extra=changed))
    assert {panel.title for panel in drawing.panels} == {title}


# ---------------------------------------------------------------- the pictures

OKABE_ITO = {  # Okabe & Ito, Color Universal Design (2008): their RGB values
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
    (0, 0, 0),
}


def panel(*lines: Line, **changes) -> Panel:
    return Panel(**({"title": "T", "x_label": "epoch", "y_label": "Acc (%)", "lines": lines} | changes))


def curve(label: str = "a", style: int = 0, **changes) -> Line:
    values = {"x": [1, 2, 4], "mean": [10.0, 30.0, 20.0], "std": [1.0, 2.0, 3.0]}
    return Line(label, style, **(values | changes))


def test_colours_are_those_of_okabe_and_ito() -> None:
    """Oracle: the published RGB values (black to within one step, so that it can be told from other black)."""
    ours = {tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in COLOURS}
    assert {tuple(v if v > 1 else 0 for v in c) for c in ours} == OKABE_ITO


def test_no_two_of_twenty_eight_lines_look_alike() -> None:
    """Brute force over the picture: colour and dashes of each line, without the help of markers."""
    svg = inline(panel(*(curve(f"line{i}", i) for i in range(28))))
    looks = re.findall(r'<path d="M [^"]*L [^"]*" clip-path="[^"]*" style="fill: none; ([^"]*)"', svg)
    strokes = [look for look in looks if "stroke-opacity" not in look]
    assert len(set(strokes)) == len(strokes) == 28


def test_points_lie_where_the_numbers_say() -> None:
    """Oracle: axes are affine, so marker positions are an affine image of the data, y upwards."""
    x, y = [1, 2, 4, 9], [10.0, 30.0, 20.0, 5.0]
    svg = inline(panel(curve(x=x, mean=y, std=[math.nan] * 4, printed=[(3.0, 25.0)])))
    places = re.findall(r'<use xlink:href="#\w+" x="([\d.]+)" y="([\d.]+)" style="fill: #0072b2', svg)
    found = np.array(places[:4], dtype=float)
    assert np.corrcoef(found[:, 0], x)[0, 1] == pytest.approx(1)
    assert np.corrcoef(found[:, 1], y)[0, 1] == pytest.approx(-1)
    slope_x, slope_y = np.polyfit(x, found[:, 0], 1), np.polyfit(y, found[:, 1], 1)
    hollow = 'style="fill-opacity: 0; stroke: #0072b2'
    (diamond,) = re.findall(rf'<use xlink:href="#\w+" x="([\d.]+)" y="([\d.]+)" {hollow}', svg)
    assert float(diamond[0]) == pytest.approx(np.polyval(slope_x, 3.0), abs=0.01)
    assert float(diamond[1]) == pytest.approx(np.polyval(slope_y, 25.0), abs=0.01)
    assert ">the paper<" in svg


def test_texts_are_drawn_as_they_are() -> None:
    """Dollars are no mathematics, brackets no markup: Oracle: xml's own escaping."""
    hostile = r"$\frac{1}{$ <script>alert(1)</script> & _x"
    svg = inline(panel(curve(hostile), title=hostile, y_label=hostile))
    assert svg.count("&lt;script&gt;alert(1)&lt;/script&gt; &amp; _x") == 3
    assert "<script" not in svg
    assert picture([panel(curve(hostile))], 1, hostile, [hostile], "png").startswith(b"\x89PNG")


def test_an_inline_picture_suits_its_page() -> None:
    """It takes the page's colour of text and its width, names nothing twice, and refers to nothing outside."""
    svg = inline(panel(curve(style=6)))
    assert "currentColor" in svg
    assert "#010101" not in svg
    assert re.match(r'<svg[^>]* viewBox="[^"]*"', svg)
    assert not re.match(r"<svg[^>]* width=", svg)
    assert set(re.findall(r'(?:href|src)="(.)', svg)) == {"#"}
    assert not re.search(r'<g id="|<style|<metadata', svg)


def test_a_line_has_gaps_and_open_markers() -> None:
    """Oracle: the strokes of the svg. Seeds 0 1, 0 1, 0: one stroke from the first to the second point alone."""
    two, one = frozenset({0, 1}), frozenset({0})
    drawn = inline(panel(curve(std=[math.nan] * 3, seeds=[two, two, one], asked=2)))
    strokes = re.findall(r'<path d="(M [^"]*)" clip-path="[^"]*" style="fill: none; stroke: #0072b2', drawn)
    assert [stroke.count("L") for stroke in strokes] == [1]
    assert len(re.findall(r'style="fill-opacity: 0; stroke: #0072b2', drawn)) >= 1
    assert ">seeds missing<" in drawn


def test_numbers_of_a_logarithmic_axis_are_apart() -> None:
    """Brute force over ranges from half a decade to four: at least two numbers, at most eight, none twice."""
    for high in (13, 20, 45, 90, 500, 100_000):
        svg = inline(panel(curve(x=[10, 11, high], mean=[1.0, 2.0, 3.0]), log=True))
        numbers = [float(n) for n in re.findall(r">([\d.e+]+)</text>", svg)]
        on_axis = [n for n in numbers if n >= 9]
        assert 2 <= len(on_axis) <= 8
        assert len(set(on_axis)) == len(on_axis)


def size(png: bytes) -> tuple[int, int]:
    """Pixels, from the png's own header."""
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def test_looks_have_their_widths_and_plain_pictures_no_words() -> None:
    """Oracle: the png's header at 300 dots an inch, and the texts of the svg."""
    panels = [panel(curve()), panel(curve())]
    for look, inches in (("page", 7.16), ("column", 3.5), ("slide", 12)):
        assert size(picture(panels, 2, "title", ["foot"], "png", LOOKS[look]))[0] == round(inches * 300)
    beside, below = (size(picture(panels, 2, "", [], "png", LOOKS[look]))[1] for look in ("page", "column"))
    assert below > 1.7 * beside
    texts = re.findall(r">([^<>]+)</text>", picture(panels, 2, "", [], "svg").decode())
    assert {text for text in texts if not re.match(r"[\d.]+$", text)} == {"T", "epoch", "Acc (%)", "a"}


def test_a_pgf_is_text_for_latex(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a LaTeX is: its own measures, special letters escaped. Where none is: a message that names what is."""
    if latex() is not None:
        drawn = picture([panel(curve("50 % & a_b"))], 1, "", [], "pgf").decode()
        assert r"50 \% \& a\_b" in drawn
        assert "pgfpicture" in drawn
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs a LaTeX.*pdflatex.*\.pdf or \.svg"):
        picture([panel(curve())], 1, "", [], "pgf")


@pytest.mark.parametrize(("form", "magic"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_the_same_picture_is_the_same_file(form: str, magic: bytes) -> None:
    """Each format's magic bytes; nothing of the time goes into the file."""
    panels = [panel(curve(), curve("b", 1, x=[3], mean=[5.0], std=[1.0]), log=True, ticks=[1, 2, 4])] * 3
    one, two = (picture(panels, 2, "title", ["a line", "another " * 40], form) for _ in range(2))
    assert one.startswith(magic)
    assert one == two


# ---------------------------------------------------------------- the command


@pytest.mark.slow
def test_the_command_trains_and_draws(mixbench, workplace: Path) -> None:
    """One column, one seed, one epoch, with real runs; the picture is drawn again without --run."""
    make(workplace)
    options = ("mine.yaml", "--cols", "A", "--seeds", "1", "--epochs", "1")
    none = mixbench("figure", *options)
    assert none.status == 1
    assert "of its 2 runs, 2 missing" in none.err
    assert not list(workplace.rglob("*.png"))
    assert "2 missing" in mixbench("figure", *options, "--dry-run").out
    done = mixbench("figure", *options, "--run")
    assert done.status == 0, done.err
    assert "written: outputs/figures/mine.png" in done.out
    assert "Not at the scale of the spec: epochs 1, not 4; 1 seed, not 2." in done.out
    assert "- SAM, A: an oddity\n- a note" in done.out
    assert (workplace / "outputs/figures/mine.png").read_bytes().startswith(b"\x89PNG")
    assert mixbench("figure", *options, "--out", "other.svg").status == 0
    assert ">Acc (%)<" in (workplace / "other.svg").read_text()


def test_mistakes_are_named(mixbench, workplace: Path) -> None:
    """Status 2 and the way out."""
    table = mixbench("figure", "li2023/table2")
    assert (table.status, "use mixbench table li2023/table2" in table.err) == (2, True)
    assert "fig" in mixbench("figure", "li2023/fig66").err
    suffix = mixbench("figure", "li2023/fig6", "--out", "x.jpeg")
    assert (suffix.status, ".png, .pdf, .svg" in suffix.err) == (2, True)
    with pytest.raises(ConfigError, match="--rows"):
        plan(make(workplace), rows=["Sam"])
