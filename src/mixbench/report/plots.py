"""The plots of a report, for the settings of one place: convergence, sweeps over a knob, cost against accuracy."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from typing import TypeVar

from mixbench.summarize.html import Markup, render
from mixbench.summarize.plots import Line, Panel, inline
from mixbench.summarize.settings import SEAMS, Labels, Run, Setting, is_number
from mixbench.summarize.statistics import estimate

METRICS = {"test_acc": "test accuracy (%)", "gap_clean": "Gap, clean (points)"}
Points = dict[float, dict[Hashable, float]]  # by x and seed
Point = TypeVar("Point")

MOST_LINES = 8  # of a plot; more settings are reduced to the best one of each method
MOST_SWEPT = 60  # lines of a plot of a sweep: those with the most values
MOST_POINTS = 1000  # of a line; of more epochs only every so many-th is drawn


def element(panel: Panel) -> Markup:
    """The panel as a figure on the page."""
    return render("report/plot.html.j2", panel=panel, svg=inline(panel))


def chosen(settings: Sequence[Setting]) -> list[Setting]:
    """All settings, or where they are too many for one plot, the most accurate one of each method."""
    if len(settings) <= MOST_LINES:
        return list(settings)
    best: dict[str, Setting] = {}
    for setting in settings:
        accuracy = setting.estimate("test_acc").mean
        if setting.method not in best or accuracy > best[setting.method].estimate("test_acc").mean:
            best[setting.method] = setting
    return list(best.values())


def convergence(settings: Sequence[Setting]) -> Iterator[Panel]:
    """Test accuracy and Gap in the course of training; none of a single epoch."""
    asked = most_seeds(settings)
    lines: dict[str, list[Line]] = {key: [] for key in METRICS}
    for style, setting in enumerate(chosen(settings)):
        points: dict[str, Points] = {key: {} for key in METRICS}
        for number, run in enumerate(setting.runs):
            for row in thinned(run.rows):
                for key, found in points.items():
                    found.setdefault(row["epoch"], {})[number] = float(row.get(key, math.nan))
        for key, found in points.items():
            lines[key].append(_line(setting.said(), style, found, asked))
    for key, y in METRICS.items():
        if any(len(line.x) > 1 for line in lines[key]):
            yield from _panel(f"Convergence: {_metric(y)}", "epoch", y, lines[key])


def most_seeds(settings: Sequence[Setting]) -> int:
    """The most runs of any setting: one with fewer is not complete."""
    return max(len(setting.runs) for setting in settings)


def thinned(points: Sequence[Point]) -> Sequence[Point]:
    """The points, or of more than MOST_POINTS every so many-th, with the last one."""
    step = -(-len(points) // MOST_POINTS)
    return points if step <= 1 else points[(len(points) - 1) % step :: step]


def sweeps(settings: Sequence[Setting]) -> Iterator[Panel]:
    """Metrics against each numeric knob that has several values while all other knobs stay the same."""
    labels = Labels(settings)
    keys = dict.fromkeys(
        key for setting in settings for key, value in setting.config.items() if is_number(value)
    )
    for key in keys:
        if key != "batch_size" and not key.startswith(SEAMS):
            continue
        alike: dict[str, list[Setting]] = {}
        for setting in settings:
            if is_number(setting.config.get(key)):
                others = {k: v for k, v in setting.config.items() if k != key}
                alike.setdefault(json.dumps(others, sort_keys=True), []).append(setting)
        swept = [group for group in alike.values() if len(group) > 1]
        if len(swept) > MOST_SWEPT:
            swept = sorted(swept, key=len, reverse=True)[:MOST_SWEPT]
        for metric, y in METRICS.items():
            lines = []
            for style, group in enumerate(swept):
                points = {s.config[key]: _by_seed(s.runs, metric) for s in group}
                lines.append(
                    _line(
                        group[0].said(labels.of(group[0], without=key)), style, points, most_seeds(settings)
                    )
                )
            yield from _panel(f"Sweep over {key}: {_metric(y)}", key, y, lines, swept=True)


def _metric(y: str) -> str:
    """What an axis shows, without its unit."""
    return y.partition(" (")[0]


def _by_seed(runs: Sequence[Run], metric: str) -> dict[Hashable, float]:
    """The metric of each run by its seed and fold, and by which run of these it is: several machines may have one."""
    seen = Counter[str]()
    found: dict[Hashable, float] = {}
    for run in runs:
        seed = str(run.repetition)
        found[seed, seen[seed]] = run.metric(metric)
        seen[seed] += 1
    return found


def cost(settings: Sequence[Setting]) -> Iterator[Panel]:
    """Test accuracy against the seconds of training, for each device that several settings had to themselves."""
    by_device: dict[str, list[tuple[int, Setting, list[Run]]]] = {}
    for style, setting in enumerate(chosen(settings)):
        timed = [run for run in setting.runs if run.alone]
        for device in dict.fromkeys(run.device for run in timed):
            runs = [run for run in timed if run.device == device]
            by_device.setdefault(device, []).append((style, setting, runs))
    for device, found in by_device.items():
        lines = []
        for style, setting, runs in found if len(found) > 1 else []:
            seconds = estimate([run.metric("train_seconds") for run in runs]).mean
            lines.append(
                _line(setting.said(), style, {seconds: _by_seed(runs, "test_acc")}, most_seeds(settings))
            )
        yield from _panel(f"Cost on {device}", "training (s)", METRICS["test_acc"], lines)


def _panel(title: str, x: str, y: str, lines: list[Line], swept: bool = False) -> Iterator[Panel]:
    """The panel of the lines that have a point; none without any."""
    lines = [line for line in lines if line.x]
    if lines:
        ticks = sorted({x for line in lines for x in line.x}) if swept else []
        log = bool(ticks) and ticks[0] > 0 and ticks[-1] > 10 * ticks[0]
        yield Panel(title, x, y, lines, log=log, ticks=ticks)


def _line(label: str, style: int, points: Points, asked: int) -> Line:
    """Mean and deviation at each x over the runs that have a value there."""
    finite = {
        x: {seed: value for seed, value in values.items() if math.isfinite(value)}
        for x, values in sorted(points.items())
        if math.isfinite(x)
    }
    found = {x: values for x, values in finite.items() if values}
    estimates = [estimate(list(values.values())) for values in found.values()]
    return Line(
        label,
        style,
        list(found),
        [e.mean for e in estimates],
        [e.std for e in estimates],
        seeds=[frozenset(values) for values in found.values()],
        asked=asked,
    )
