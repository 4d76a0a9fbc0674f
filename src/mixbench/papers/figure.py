"""A figure's content: our lines from run directories, the paper's points, and what is to be said under them."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mixbench.papers.cells import Planned, on_final_weights, trained_as
from mixbench.papers.metric import Metric
from mixbench.papers.spec import Figure
from mixbench.summarize.plots import Line, Panel
from mixbench.summarize.statistics import estimate

# A run's numbers by what they stand against: the epoch, the swept knob, or None for a row without that knob.
Points = dict[float | None, float]


@dataclass(frozen=True)
class Drawing:
    """A figure, ready to be drawn: panels of one column of the spec beside each other, one for each metric."""

    spec: Figure
    panels: list[Panel]
    caption: list[str]

    @property
    def per_row(self) -> int:
        """Panels beside each other: the two or three metrics of a column, or two columns where there is one metric."""
        return min(len(self.panels), 3 if len(self.spec.metrics) > 2 else 2)

    @property
    def title(self) -> str:
        """What stands above the panels."""
        return f"{self.spec.key}: {self.spec.title}"

    @property
    def notes(self) -> list[str]:
        """The spec's notes on single lines, then those on the whole figure."""
        return [f"{n.row}, {n.column}: {n.note}" for n in self.spec.cell_notes] + list(self.spec.notes)


def assemble(
    spec: Figure, planned: Sequence[Planned], select: str | None = None, protocol: str | None = None
) -> Drawing:
    """The content of a figure from its runs (`cells.plan`); no panels where no run has anything to draw.

    A line is the finished runs. In a figure against the epoch, where a line has none yet, it is the unfinished
    ones, up to the epoch that all of them have. `select` replaces the spec's selection rule, which only a swept
    figure needs. Raises DataError for an epochs.csv that cannot be trusted.
    """
    rule = select or spec.select
    columns = list(dict.fromkeys(run.cell.column for run in planned))
    panels, beyond, empty = [], [], []
    for column in columns:
        runs = [run for run in planned if run.cell.column == column]
        drawn = [_panel(spec, runs, column, metric, rule) for metric in spec.metrics]
        full = [panel for panel in drawn if any(line.x for line in panel.lines)]
        within = [_within(panel) if spec.x is None else (panel, "") for panel in full]
        panels += [panel for panel, _ in within]
        beyond += [f"{column}, {panel.y_label}: {words}" for panel, words in within if words]
        lacking = [f"{column}, {panel.y_label}" for panel in drawn if panel not in full]
        empty += lacking if full else [column]
    incomplete = [f"{c}: {', '.join(w)}" for c in columns if c not in empty and (w := _standing(planned, c))]
    shown = "; diamonds: the paper's values" if any(k.printed for p in panels for k in p.lines) else ""
    shown += "; open: seeds missing" if any(any(k.open) for p in panels for k in p.lines) else ""
    lines = [f"{spec.source}. Lines: mean over seeds; bands: ± sample standard deviation{shown}."]
    lines += [f"Metrics at the epoch `{rule}`."] if spec.x is not None else []
    lines += on_final_weights(spec.metrics, planned)
    lines += _differences(spec, planned, protocol)
    lines += [f"Incomplete: {'. '.join(incomplete)}."] if incomplete else []
    lines += [f"Nothing to draw yet: {'; '.join(empty)}."] if empty else []
    lines += [f"The paper's values beyond the epochs drawn: {'; '.join(beyond)}."] if beyond else []
    return Drawing(spec, panels, lines)


def _differences(spec: Figure, planned: Sequence[Planned], protocol: str | None) -> list[str]:
    """The protocol, and what the runs have that the spec has not."""
    name = protocol or spec.protocol
    about = spec.protocols[name].about
    lines = [f"Protocol {name}{': ' + about if about else ''}."] if len(spec.protocols) > 1 else []
    changes = list(dict.fromkeys(change for run in planned for change in run.changes))
    seeds = len({run.cell.seed for run in planned})
    if seeds < spec.seeds:
        changes.append(f"{seeds} seed{'s' * (seeds > 1)}, not {spec.seeds}")
    return [*lines, f"Not at the scale of the spec: {'; '.join(changes)}."] if changes else lines


def _standing(planned: Sequence[Planned], column: str) -> list[str]:
    """Which lines of a column are not complete, in words."""
    words = []
    for row in dict.fromkeys(run.cell.row for run in planned):
        runs = [run for run in planned if (run.cell.row, run.cell.column) == (row, column)]
        states = Counter(run.state for run in runs)
        finished, under_way = states["finished"], states["running"] + states["partial"]
        if finished == len(runs):
            continue
        told = [f"{finished} of {len(runs)} runs"] if finished else ["no finished run"]
        told += [f"{states[s]} {s}" for s in ("failed", "unreadable") if states[s]]
        told += [f"{under_way} under way"] if under_way else []
        words.append(f"{row} ({', '.join(told)})")
    return words


# ---------------------------------------------------------------- one panel


def _panel(spec: Figure, runs: Sequence[Planned], column: str, metric: Metric, rule: str) -> Panel:
    lines = []
    for style, row in enumerate(spec.rows):
        if any(run.cell.row == row for run in runs):
            printed = tuple(spec.published(row, column, metric.name))
            lines.append(_line(spec, runs, row, style, metric, rule, printed))
    x_label, ticks = ("epoch", ()) if spec.x is None else (spec.x.label or spec.x.knob, spec.x.values)
    return Panel(
        title=trained_as(column, runs),
        x_label=x_label,
        y_label=f"{metric.name} ({metric.unit})" if metric.unit else metric.name,
        lines=[line for line in lines if line.x or line.printed],
        log=spec.x is not None and spec.x.log,
        ticks=ticks,
    )


def _line(
    spec: Figure,
    runs: Sequence[Planned],
    row: str,
    style: int,
    metric: Metric,
    rule: str,
    printed: tuple[tuple[float, float], ...],
) -> Line:
    """Mean and sample standard deviation over the seeds, at every x that a seed has, and which those are."""
    own = _by_seed(spec, runs, row, metric, rule)
    if metric.reference is not None:
        own = _against(own, _by_seed(spec, runs, metric.reference, metric, rule), metric)
    every = {x for points in own.values() for x in points}
    values = {
        x: {seed: points[x] for seed, points in own.items() if math.isfinite(points.get(x, math.nan))}
        for x in every
    }
    found = {x: of_seeds for x, of_seeds in values.items() if of_seeds}
    flat = spec.x is not None and row in spec.x.flat
    if spec.x is not None and None in found:
        found = dict.fromkeys((min(spec.x.values), max(spec.x.values)), found[None])
    at = sorted(x for x in found if x is not None)
    estimates = [estimate(list(found[x].values())) for x in at]
    return Line(
        row,
        style,
        at,
        [e.mean for e in estimates],
        [e.std for e in estimates],
        printed,
        flat,
        seeds=[frozenset(found[x]) for x in at],
        asked=len({run.cell.seed for run in runs}),
    )


def _by_seed(
    spec: Figure, runs: Sequence[Planned], line: str, metric: Metric, rule: str
) -> dict[int, Points]:
    """The metric's values of the row `line`, by seed and x."""
    own = [run for run in runs if run.cell.row == line]
    points: dict[int, Points] = {}
    finished = [run for run in own if run.state == "finished"]
    if spec.x is not None:
        for run in finished:
            points.setdefault(run.cell.seed, {})[run.cell.x] = metric.value(run.record(rule))
        return points
    for run in finished or [run for run in own if run.state in ("running", "partial")]:
        points[run.cell.seed] = {row["epoch"]: metric.value(row) for row in run.rows}
    points = {seed: found for seed, found in points.items() if found}
    shared = set.intersection(*map(set, points.values())) if points else set()
    return {seed: {x: v for x, v in found.items() if x in shared} for seed, found in points.items()}


def _against(own: dict[int, Points], reference: dict[int, Points], metric: Metric) -> dict[int, Points]:
    """The values relative to those of the reference row's run of the same seed."""
    related = {}
    for seed, points in own.items():
        other = reference.get(seed, {})
        related[seed] = {
            x: metric.against(v, other.get(x, other.get(None, math.nan))) for x, v in points.items()
        }
    return related


def _within(panel: Panel) -> tuple[Panel, str]:
    """The panel without the paper's points that lie beyond our epochs, and those points in words.

    Twelve epochs of ours would be a stroke at the edge of an axis that reaches the paper's 200.
    """
    last = max(x for line in panel.lines for x in line.x)
    far = [(line, x, y) for line in panel.lines for x, y in line.printed if x > last]
    lines = [
        dataclasses.replace(line, printed=[p for p in line.printed if p[0] <= last]) for line in panel.lines
    ]
    lines = [line for line in lines if line.x or line.printed]
    words = ", ".join(f"{line.label} {y:g} at {x:g}" for line, x, y in far)
    return dataclasses.replace(panel, lines=lines), words
