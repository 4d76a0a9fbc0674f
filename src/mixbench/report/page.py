"""One self-contained HTML page about runs: overview, papers' tables, results of each place, every run."""

from __future__ import annotations

import base64
import datetime
import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from mixbench import __version__
from mixbench.config.identity import repetitions
from mixbench.record.run import COST, is_number, number
from mixbench.record.standing import duration
from mixbench.report import plots, runlist
from mixbench.report.papers import fragments
from mixbench.summarize.frame import frame_of, varying
from mixbench.summarize.html import render
from mixbench.summarize.settings import Run, Setting, repeated_over, settings, short, told
from mixbench.summarize.statistics import Estimate

SELECTIONS = ("best_test", "best_val", "last")
RESULTS = {  # what is shown of a setting: metric, selection rule and decimals
    "Test_Acc (%)": ("test_acc", "best_test", 2),
    "Test_Acc, last (%)": ("test_acc", "last", 2),
    "Gap, clean": ("gap_clean", "best_test", 2),
    "Gap, mixed": ("gap_mixed", "best_test", 2),
    "training (s)": ("train_seconds", "best_test", 1),
}
CELLS = {  # what is shown of a selected epoch: heading and decimals
    "epoch": ("epoch", 0),
    "test_acc": ("Test_Acc (%)", 2),
    "test_top5": ("Top-5 (%)", 2),
    "test_loss": ("test loss", 4),
    "gap_clean": ("Gap, clean", 2),
    "gap_mixed": ("Gap, mixed", 2),
    "gap_weighted": ("Gap, weighted", 2),
}
# Of the page about more than MOST_RUNS runs: the runs with a section of their own, the data sets and models with most
# runs, the most accurate settings of each, and the scales of each table of the papers.
MOST_RUNS, MOST_PLACES, MOST_SETTINGS, MOST_SCALES = 300, 20, 100, 5
FACTS = {  # what is shown of a summary: heading, and how a number is written
    "started": ("started", ""),
    "ended": ("ended", ""),
    "starts": ("starts", ""),
    "train_seconds": ("training (s)", ".1f"),
    "eval_seconds": ("evaluation (s)", ".1f"),
    "images_per_second": ("training images/s", ".0f"),
    "peak_memory_bytes": ("peak memory (MiB)", ".0f"),
    "data_note": ("data", ""),
}
SCRIPT = resources.files("mixbench.report").joinpath("page.js").read_text()
# The only script that a browser may run on the page, whatever the texts of runs hold.
SCRIPT_HASH = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()


class Curve(NamedTuple):
    """A stroke through 300 x 62, y downwards, its first and last epoch, the accuracy at its top, and words."""

    points: str
    first: int
    last: int
    top: float
    words: str


def page(runs: Sequence[Run], listed: str = "", live: bool = False) -> str:
    """The whole document. Every text of a run is escaped, wherever it came from.

    Of more than MOST_RUNS runs it is a summary of a few MB, with `listed` the address of a file that has them all. A
    `live` page asks the server that it came from for its successor.
    """
    many = len(runs) > MOST_RUNS
    shown = telling(runs, MOST_RUNS)
    anchors = {run.directory: f"run{number}" for number, run in enumerate(shown, start=1)}
    places = settings(runs)
    largest = sorted(places, key=lambda title: -sum(len(setting.runs) for setting in places[title]))
    kept = set(largest[:MOST_PLACES] if many else largest)
    knobs = varying(frame_of(shown))
    document = render(
        "report/page.html.j2",
        overview=overview(runs),
        papers=list(fragments(runs, MOST_SCALES if many else None)),
        places=[
            place(title, found, anchors, MOST_SETTINGS if many else None)
            for title, found in places.items()
            if title in kept
        ],
        left_out=len(places) - len(kept),
        runs=[one(run, anchors[run.directory], knobs) for run in shown],
        listing=runlist.listing(shown, anchors, knobs),
        count=len(runs),
        listed=listed if many or live else "",
        live=live,
        script_hash=SCRIPT_HASH,
    )
    return str(document)


def telling(runs: Sequence[Run], most: int) -> list[Run]:
    """At most so many of the runs, in their order: of every data set, model, method and state the first ones."""
    seen = Counter[tuple[str, ...]]()
    ranks = []
    for place, run in enumerate(runs):
        kind = (run.state, *map(str, run.name[:-1]))
        ranks.append((seen[kind], place))
        seen[kind] += 1
    return [runs[place] for place in sorted(place for _, place in sorted(ranks)[:most])]


# ---------------------------------------------------------------- overview


def overview(runs: Sequence[Run]) -> dict[str, str]:
    """What there is, and what made it."""
    states = Counter(run.standing for run in runs)
    finished = [run for run in runs if run.state == "finished"]
    seconds = sum(t for run in runs if math.isfinite(t := run.metric("train_seconds")))
    return {
        "runs": f"{len(runs)}: " + ", ".join(f"{n} {state}" for state, n in states.most_common()),
        "training": duration(seconds),
        "devices": ", ".join(sorted({run.device for run in finished})) or "none",
        "commits": ", ".join(sorted({run.commit for run in finished})) or "none",
        "page": f"{datetime.datetime.now():%Y-%m-%d %H:%M}, mixbench {__version__}",
    }


# ---------------------------------------------------------------- one data set and model


def place(
    title: str, found: Sequence[Setting], anchors: dict[Path, str], most: int | None = None
) -> dict[str, Any]:
    """What place.html.j2 shows: the settings of one place, or the `most` accurate ones, as a table and as plots.

    A setting has links to those of its runs that have an anchor.
    """
    rows = []
    shown_estimates: list[Estimate] = []
    asked, over = plots.most_seeds(found), repeated_over(found)
    every = [run for setting in found for run in setting.runs]
    timed = all(run.alone for run in every)
    columns = {
        head: (key, rule, digits)
        for head, (key, rule, digits) in RESULTS.items()
        if (timed or key not in COST) and any(not math.isnan(run.metric(key, rule)) for run in every)
    }
    for setting in found if most is None else _best(found, most):
        estimates = [(setting.estimate(key, rule), digits) for key, rule, digits in columns.values()]
        shown_estimates += [estimate for estimate, _ in estimates]
        cells = [_estimate(estimate, digits, asked) for estimate, digits in estimates]
        shown = [run for run in setting.runs if run.directory in anchors]
        rows.append(
            {
                "cells": [setting.said(), len(setting.runs), *cells],
                "runs": [(short(run.repetition), anchors[run.directory]) for run in shown],
                "more": len(setting.runs) - len(shown),
            }
        )
    panels = [*plots.convergence(found), *plots.sweeps(found), *plots.cost(found)]
    return {
        "title": title,
        "head": [
            "method",
            over,
            *columns,
            f"runs by {'/'.join(what.rstrip('s') for what in over.split(' and '))}",
        ],
        "over": over,
        "asked": asked,
        "incomplete": any(0 < e.n < asked for e in shown_estimates),
        "timed": timed,
        "settings": rows,
        "left_out": len(found) - len(rows),
        "fewer": len(plots.chosen(found)) < len(found),
        "plots": [plots.element(panel) for panel in panels],
    }


def _best(found: Sequence[Setting], most: int) -> list[Setting]:
    """So many of the settings at most, in their order: those with the best accuracies."""
    means = [setting.estimate("test_acc").mean for setting in found]
    order = sorted(range(len(found)), key=lambda i: math.inf if math.isnan(means[i]) else -means[i])
    return [found[i] for i in sorted(order[:most])]


def _estimate(e: Estimate, digits: int, asked: int) -> str:
    """Mean and deviation, with the number of runs behind them where it is not the whole number."""
    spread = "" if math.isnan(e.std) else f" ± {e.std:.{digits}f}"
    return _number(e.mean, digits) + spread + (f" ({e.n})" if 0 < e.n < asked else "")


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"  # no "-0.00"


# ---------------------------------------------------------------- one run


def one(run: Run, anchor: str, knobs: Sequence[str] = ()) -> dict[str, Any]:
    """What run.html.j2 shows, folded: results, learning curve, config, environment; `knobs` tell it from others."""
    dataset, model = map(short, run.name[:2])
    accuracy = number(run.reached.get("best_test", {}), "test_acc")
    chosen = {name: row for name, row in run.reached.items() if name in SELECTIONS}
    # Of columns those that have something: a run without mixed evaluations has no such Gap.
    cells = {
        key: cell
        for key, cell in CELLS.items()
        if any(math.isfinite(number(row, key)) for row in chosen.values())
    }
    packages = run.environment.get("packages")
    environment = {
        k: v for k, v in run.environment.items() if v is not None and k not in ("packages", "command")
    }
    return {
        "anchor": anchor,
        "id": run.summary.get("id", run.directory.name),
        "words": ", ".join([f"{dataset} {model} {run.method}", *_told(run, knobs), _repetition(run)]),
        "state": run.standing,
        "accuracy": "" if math.isnan(accuracy) else f"best {accuracy:.2f} %",
        "directory": run.directory,
        "error": run.error,
        "head": ["selection", *(heading for heading, _ in cells.values())],
        "selections": [
            [name, *(_number(number(row, key), digits) for key, (_, digits) in cells.items())]
            for name, row in sorted(chosen.items(), key=lambda entry: SELECTIONS.index(entry[0]))
        ],
        "curve": curve(run),
        "facts": {
            head: _fact(key, run.summary[key], form)
            for key, (head, form) in FACTS.items()
            if run.summary.get(key)
        },
        "command": run.environment.get("command", "unknown"),
        "config": {key: short(value) for key, value in run.values.items()},
        "environment": environment | (packages if isinstance(packages, dict) else {}),
    }


def _told(run: Run, knobs: Sequence[str]) -> list[str]:
    """The values of these knobs, where the run has them; seed and fold are said by themselves."""
    return [
        f"{key}={told(run.values[key])}" for key in knobs if key in run.values and key not in repetitions()
    ]


def _repetition(run: Run) -> str:
    """Seed, and fold where there are some, in words."""
    found = {key: run.values[key] for key in repetitions() if key in run.values}
    return ", ".join(f"{key.rpartition('.')[2]} {short(value)}" for key, value in found.items()) or "seed ?"


def _fact(key: str, value: Any, form: str) -> str:
    """In words; between date and time there is a place to break the line."""
    if form and is_number(value):
        return f"{value / (2**20 if key == 'peak_memory_bytes' else 1):{form}}"
    return short(value).replace("T", " ") if key in ("started", "ended") else short(value)


def curve(run: Run) -> Curve | None:
    """Test accuracy over the epochs as one stroke, from 0 to its highest value; drawn by hand, as there may be many."""
    points = [(r["epoch"], float(r.get("test_acc", math.nan))) for r in run.rows]
    points = [(x, y) for x, y in points if math.isfinite(y)]
    if len(points) < 2:
        return None
    first, last, top = points[0][0], points[-1][0], max(y for _, y in points)
    strokes = " ".join(
        f"{300 * (x - first) / (last - first):.1f},{60 - 55 * y / (top or 1):.1f}"
        for x, y in plots.thinned(points)
    )
    words = f"test accuracy, epochs {first} to {last}, highest {top:.2f} %"
    return Curve(strokes, first, last, top or 1, words)
