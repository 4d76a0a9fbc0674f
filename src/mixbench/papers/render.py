"""A table as text, Markdown, CSV, LaTeX or HTML: one panel for each column of the paper's table."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from mixbench.papers.metric import Metric
from mixbench.papers.table import Comparison, Entry, Result
from mixbench.summarize.html import Markup, render
from mixbench.summarize.statistics import FEWEST_PAIRS
from mixbench.summarize.tex import tex

# What a cell without a finished run says: the first of these states that one of its runs is in, else missing.
UNFINISHED = ("unavailable", "unreadable", "failed", "running", "partial")
MOST_CHOSEN = 2  # what was chosen for most seeds, in a cell; the rest stands in the study's numbers
MEDALS = {0: "", 1: " (1)", 2: " (2)", 3: " (3)"}


@dataclass(frozen=True)
class Panel:
    """One block of a table: a head, and a row of texts for each method; `ranks` by row and column of texts."""

    title: str
    head: list[str]
    rows: list[list[str]]
    ranks: dict[tuple[int, int], int]


def panels(result: Result) -> list[Panel]:
    """The table's numbers as texts: ours mean ± deviation (n), the paper's, and the difference, for each metric."""
    found = []
    for column in result.columns:
        beside = _beside(result, column)
        head, ranks, rows = ["method"], {}, []
        for metric in result.metrics:
            head.append(f"{metric.name} ({metric.unit})" if metric.unit else metric.name)
            head += beside[metric.name]
        head += ["chosen"] if result.chosen else []
        for i, row in enumerate(result.rows):
            mark = " *" if result.marked(row, column) and _has_run(result, row, column) else ""
            texts = [row + mark]
            for metric in result.metrics:
                entry = result.entries[row, column, metric.name]
                ranks[i, len(texts)] = entry.rank
                texts.append(_ours(result, row, column, entry, metric))
                shown = {"paper": _paper(entry, metric), "diff": _difference(entry, metric)}
                texts += [shown[name] for name in beside[metric.name]]
            texts += [_chosen(result.chosen.get((row, column), {}))] if result.chosen else []
            rows.append(texts)
        found.append(Panel(column, head, rows, ranks))
    return found


def _chosen(counts: Mapping[str, int]) -> str:
    """What was chosen, the most frequent first, with how often."""
    frequent = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    shown = [f"{words} ({n})" for words, n in frequent[:MOST_CHOSEN] if words]
    return "; ".join([*shown, *(["..."] if len(frequent) > MOST_CHOSEN else [])]) or "-"


def _beside(result: Result, column: str) -> dict[str, list[str]]:
    """The columns to the right of each metric's own: metrics in a row that read the same numbers of the paper show
    them once.
    """
    found: dict[str, list[str]] = {}
    last = None
    for metric in result.metrics:
        found[metric.name] = []
        if any(result.entries[row, column, metric.name].paper is not None for row in result.rows):
            numbers = metric.block, metric.ratio_to, metric.difference_to
            found[metric.name] = ["diff"] if numbers == last else ["paper", "diff"]
            last = numbers
    return found


def _has_run(result: Result, row: str, column: str) -> bool:
    return result.states[row, column].get("finished", 0) > 0


def _ours(result: Result, row: str, column: str, entry: Entry, metric: Metric) -> str:
    states = result.states[row, column]
    if not states.get("finished"):
        return next((s for s in UNFINISHED if states.get(s)), "missing")
    lacking = "".join(f", {states[s]} {s}" for s in ("failed", "unreadable") if states.get(s))
    if entry.unevaluated == sum(states.values()):
        return "not evaluated"
    lacking += f", {entry.unevaluated} not evaluated" if entry.unevaluated else ""
    if entry.ours.n == 0:
        return f"- (0{lacking})"
    spread = "" if math.isnan(entry.ours.std) else f" ± {entry.ours.std:.{metric.digits}f}"
    return f"{entry.ours.mean:.{metric.digits}f}{spread} ({entry.ours.n}{lacking})"


def _paper(entry: Entry, metric: Metric) -> str:
    if entry.paper is None:
        return "-"
    spread = "" if entry.paper.std is None else f" ± {entry.paper.std:.{metric.digits}f}"
    return f"{entry.paper.value:.{metric.digits}f}{spread}"


def _difference(entry: Entry, metric: Metric) -> str:
    return "-" if math.isnan(entry.difference) else f"{entry.difference:+.{metric.digits}f}"


# ---------------------------------------------------------------- the words under a table


def title(result: Result) -> str:
    """The first line: key, title and source."""
    return f"{result.spec.key}: {result.spec.title}. {result.spec.source}."


def caption(result: Result, best: str) -> list[str]:
    """What the numbers are: selection rule, seeds, spread, provenance, and the marks that this table has.

    `best` is how the format marks the three best of a column, such as "(1) (2) (3)".
    """
    spec, entries = result.spec, result.entries.values()
    about = spec.protocols[result.protocol].about
    lines = [
        f"Protocol {result.protocol}{': ' + about if about else ''}."
        + (f" Metrics at the epoch `{result.select}`." if result.select else ""),
        "Ours: mean"
        + " ± sample standard deviation" * any(e.ours.n > 1 for e in entries)
        + " (number of seeds)."
        + f" {best}: our best of a column." * any(e.rank for e in entries)
        + " diff: ours minus the paper's." * any(e.paper is not None for e in entries),
    ]
    short = any(0 < found.get("finished", 0) < spec.seeds for found in result.states.values())
    why = [*result.changes, *([f"fewer than {spec.seeds} seeds"] if short else [])]
    if why:
        marked = any(found.get("finished") for found in result.states.values())
        lines.append(f"{'* not' if marked else 'Not'} at the scale of the spec: {'; '.join(why)}.")
    if result.commits:
        lines.append(f"Commit {', '.join(result.commits)}; device {', '.join(result.devices)}.")
    return [*lines, *(f"Data: {note}." for note in result.data_notes), *result.on_final_weights]


def findings(result: Result) -> list[str]:
    """Whether the paper's ordering holds, and which methods our runs tell apart."""
    lines = [line for comparison in result.comparisons for line in _finding(comparison)]
    with_pairs = [c for c in result.comparisons if c.separated or c.undecided or c.too_few]
    few = [f"{c.column}, {c.metric}" for c in with_pairs if c.order is None]
    if few:
        places = "any column" if len(few) == len(with_pairs) else "; ".join(few)
        lines.append(
            f"Fewer than {FEWEST_PAIRS} seeds that all methods have in common, too few to tell: no ranks and no"
            f" correlation with the paper's order in {places}."
        )
    return lines


def _finding(comparison: Comparison) -> Iterator[str]:
    order, place = comparison.order, f"{comparison.column}, {comparison.metric}"
    if order is not None and not math.isnan(order.kendall):
        yield (
            f"{place}: the paper's order of {order.n} methods: Kendall's tau {order.kendall:+.2f},"
            f" {order.agreeing} of {order.pairs} pairs agree."
        )
    if comparison.separated or comparison.undecided:
        told = []
        for a, b, d in comparison.separated:
            low, high = sorted((abs(d.low), abs(d.high)))
            told.append(f"{a} before {b} by {abs(d.mean):.2f} [{low:.2f}, {high:.2f}]")
        yield (
            f"{place}: better over common seeds, by how much (95 % bootstrap interval): {'; '.join(told) or 'none'};"
            f" pairs not told apart: {comparison.undecided}"
            + (f"; with too few common seeds: {comparison.too_few}." if comparison.too_few else ".")
        )


def notes(result: Result) -> list[str]:
    """The spec's notes on single cells, then those on the whole table."""
    lines = [
        f"{row}, {column}: {note}"
        for row in result.rows
        for column in result.columns
        for note in result.spec.notes_on(row, column)
    ]
    waiting = [f"Cannot run yet: needs {result.spec.needs}."] if result.spec.needs else []
    return waiting + lines + list(result.spec.notes)


# ---------------------------------------------------------------- formats


def text(result: Result) -> str:
    """For a terminal."""
    out = [title(result)]
    for panel in panels(result):
        shown = [
            [c + MEDALS[panel.ranks.get((i, j), 0)] for j, c in enumerate(r)]
            for i, r in enumerate(panel.rows)
        ]
        widths = [max(len(r[j]) for r in [panel.head, *shown]) for j in range(len(panel.head))]
        out += ["", panel.title]
        for cells in [panel.head, *shown]:
            first, *rest = (
                c.ljust(w) if j == 0 else c.rjust(w)
                for j, (c, w) in enumerate(zip(cells, widths, strict=True))
            )
            out.append("  ".join([first, *rest]).rstrip())
    out += ["", *caption(result, "(1) (2) (3)"), *findings(result)]
    out += [f"- {note}" for note in notes(result)]
    return "\n".join(out) + "\n"


def markdown(result: Result) -> str:
    """For a README: the best of a column is bold."""
    out = [f"**{title(result)}**"]
    for panel in panels(result):
        out += ["", panel.title, "", _bar(panel.head), _bar(["---", *["---:"] * (len(panel.head) - 1)])]
        for i, row in enumerate(panel.rows):
            out.append(_bar([f"**{c}**" if panel.ranks.get((i, j)) == 1 else c for j, c in enumerate(row)]))
    out += ["", *(f"{line}  " for line in [*caption(result, "Bold"), *findings(result)]), ""]
    return "\n".join(out + [f"- {note}" for note in notes(result)]) + "\n"


def _bar(cells: list[str]) -> str:
    return f"| {' | '.join(c.replace('|', chr(92) + '|') for c in cells)} |"


def comma_separated(result: Result) -> str:
    """One line for each cell and metric, with full precision; empty where there is nothing."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["table", "protocol", "select", "row", "column", "metric", "mean", "std", "n", "paper", "paper_std",
         "difference", "rank", "as_specified", "changes"]
    )  # fmt: skip
    for (row, column, metric), entry in result.entries.items():
        paper = entry.paper
        numbers = [entry.ours.mean, entry.ours.std, entry.ours.n, paper and paper.value, paper and paper.std]
        writer.writerow(
            [result.spec.key, result.protocol, result.select, row, column, metric]
            + [
                "" if v is None or (isinstance(v, float) and math.isnan(v)) else v
                for v in [*numbers, entry.difference]
            ]
            + [entry.rank or "", not result.marked(row, column), "; ".join(result.changes)]
        )
    return out.getvalue()


STYLES = {1: r"\textbf{%s}", 2: r"\underline{%s}", 3: r"\textit{%s}"}


def latex(result: Result) -> str:
    """A table environment for each panel: best bold, second underlined, third italic."""
    out = [f"% {title(result)}", r"% Needs \usepackage{booktabs}."]
    words = " ".join([title(result), *caption(result, "Bold, underlined, italic")])
    for panel in panels(result):
        out += [r"\begin{table}", r"\centering", rf"\caption{{{tex(panel.title)}. {tex(words)}}}"]
        out += [
            rf"\begin{{tabular}}{{l{'r' * (len(panel.head) - 1)}}}",
            r"\toprule",
            _tex_row(panel.head),
            r"\midrule",
        ]
        for i, row in enumerate(panel.rows):
            cells = [STYLES.get(panel.ranks.get((i, j), 0), "%s") % tex(c) for j, c in enumerate(row)]
            out.append(" & ".join(cells) + r" \\")
        out += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(out) + "\n"


def _tex_row(cells: list[str]) -> str:
    return " & ".join(tex(c) for c in cells) + r" \\"


def page(result: Result) -> Markup:
    """A fragment of HTML, all text escaped; classes rank1 to rank3 mark our best cells."""
    return render(
        "papers/table.html.j2",
        title=title(result),
        panels=panels(result),
        lines=[*caption(result, "Bold, underlined, italic"), *findings(result)],
        notes=notes(result),
    )


FORMATS: dict[str, Callable[[Result], str]] = {
    "text": text,
    "md": markdown,
    "csv": comma_separated,
    "latex": latex,
    "html": page,
}
