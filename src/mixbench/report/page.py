"""One self-contained HTML page about runs: overview, papers' tables, results of each place, every run."""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mixbench import __version__
from mixbench.record.run import COST
from mixbench.report import plots
from mixbench.report.papers import fragments
from mixbench.report.runs import Run, Setting, settings, short
from mixbench.summarize.html import Html, join, pairs, table, tag
from mixbench.summarize.statistics import Estimate

POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # a page that can load nothing and run nothing
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
FACTS = ("started", "ended", "starts", *COST, "data_note")


def page(runs: Sequence[Run]) -> str:
    """The whole document. Every text of a run is escaped, wherever it came from."""
    anchors = {run.directory: f"run{number}" for number, run in enumerate(runs, start=1)}
    places = settings(runs)
    sections = {
        "Overview": overview(runs),
        "Papers": papers(runs),
        "Results": join(*(place(title, found, anchors) for title, found in places.items())),
        "Runs": join(*(one(run, anchors[run.directory]) for run in runs)),
    }
    shown = {name: content for name, content in sections.items() if content}
    return "<!doctype html>\n" + tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("title", f"mixbench report: {len(runs)} runs"),
            tag("style", Html(Path(__file__).with_name("style.css").read_text())),
        ),
        tag(
            "body",
            tag("header", tag("h1", "mixbench report"), _links(shown)),
            tag("main", *(tag("section", tag("h2", n), c, id=n.lower()) for n, c in shown.items())),
        ),
        lang="en",
    )


def papers(runs: Sequence[Run]) -> Html:
    """The published tables and figures that the runs belong to."""
    found = [fragment for fragment in fragments(runs) if fragment]
    words = "Our three best of a column, (1) (2) (3), are bold, underlined and italic."
    return join(tag("p", words), *found) if found else Html()


def _links(sections: dict[str, Html]) -> Html:
    return tag("nav", *(tag("a", name, href=f"#{name.lower()}") for name in sections))


# ---------------------------------------------------------------- overview


def overview(runs: Sequence[Run]) -> Html:
    """What there is, and what made it."""
    states = Counter(run.state for run in runs)
    finished = [run for run in runs if run.state == "finished"]
    seconds = sum(t for run in runs if math.isfinite(t := run.metric("train_seconds")))
    return pairs(
        {
            "runs": f"{len(runs)}: " + ", ".join(f"{n} {state}" for state, n in states.most_common()),
            "training": f"{seconds / 3600:.2f} hours",
            "devices": ", ".join(sorted({run.device for run in finished})) or "none",
            "commits": ", ".join(sorted({run.commit for run in finished})) or "none",
            "page": f"{datetime.datetime.now():%Y-%m-%d %H:%M}, mixbench {__version__}",
        }
    )


# ---------------------------------------------------------------- one data set and model


def place(title: str, found: Sequence[Setting], anchors: dict[Path, str]) -> Html:
    """The settings of one place as a table and as plots."""
    rows: list[list[str]] = []
    for setting in found:
        cells = [_estimate(setting.estimate(key, rule), digits) for key, rule, digits in RESULTS.values()]
        links = (tag("a", short(run.name[-1]), href=f"#{anchors[run.directory]}") for run in setting.runs)
        rows.append([setting.label, str(len(setting.runs)), *cells, join(*links)])
    panels = [*plots.convergence(found), *plots.sweeps(found), *plots.cost(found)]
    fewer = len(plots.chosen(found)) < len(found)
    words = (
        "Mean ± sample standard deviation over seeds; so are the bands in the plots. Metrics at the epoch best_test,"
        " which looks at the test set, where nothing else is said."
    )
    words += " Convergence and cost: the setting of each method with the best accuracy." if fewer else ""
    return tag(
        "section",
        tag("h3", title),
        table(["method", "seeds", *RESULTS, "runs"], rows),
        tag("p", words),
        tag("div", *(plots.element(panel) for panel in panels), class_="plots"),
    )


def _estimate(e: Estimate, digits: int) -> str:
    return _number(e.mean, digits) + ("" if math.isnan(e.std) else f" ± {e.std:.{digits}f}")


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"  # no "-0.00"


# ---------------------------------------------------------------- one run


def one(run: Run, anchor: str) -> Html:
    """Everything about a run, folded: results, learning curve, config, environment."""
    summary = run.summary
    *about, seed = map(short, run.name)
    accuracy = run.metric("test_acc")
    head = [
        tag("code", str(summary.get("id", run.directory.name))),
        tag("span", f"{' '.join(about)}, seed {seed}"),
        tag("span", run.state, class_=f"state {run.state}"),
        tag("span", "" if math.isnan(accuracy) else f"{accuracy:.2f} %"),
    ]
    facts = {key: short(summary[key]) for key in FACTS if summary.get(key)}
    packages = run.environment.get("packages")
    environment = {
        k: str(v) for k, v in run.environment.items() if v is not None and k not in ("packages", "command")
    }
    environment |= {k: str(v) for k, v in packages.items()} if isinstance(packages, dict) else {}
    return tag(
        "details",
        tag("summary", *head),
        tag("p", tag("code", str(run.directory))),
        tag("pre", run.error) if run.error else None,
        _selections(run),
        curve(run),
        pairs(facts),
        tag("h4", "Command"),
        tag("pre", str(run.environment.get("command", "unknown"))),
        tag("h4", "Config"),
        pairs({key: short(value) for key, value in run.values.items()}),
        tag("h4", "Environment"),
        pairs(environment),
        id=anchor,
    )


def _selections(run: Run) -> Html | None:
    chosen = run.summary.get("selections", {})
    rows = [
        [name, *(_number(run.metric(key, name), digits) for key, (_, digits) in CELLS.items())]
        for name in SELECTIONS
        if name in chosen
    ]
    return table(["selection", *(heading for heading, _ in CELLS.values())], rows) if rows else None


def curve(run: Run) -> Html | None:
    """Test accuracy over the epochs as one stroke, from 0 to its highest value; drawn by hand, as there may be many."""
    points = [(r["epoch"], float(r.get("test_acc", math.nan))) for r in run.rows]
    points = [(x, y) for x, y in points if math.isfinite(y)]
    if len(points) < 2:
        return None
    first, last, top = points[0][0], points[-1][0], max(y for _, y in points)
    strokes = " ".join(
        f"{300 * (x - first) / (last - first):.1f},{60 - 55 * y / (top or 1):.1f}" for x, y in points
    )
    return tag(
        "figure",
        tag("svg", tag("polyline", points=strokes), viewBox="0 0 300 62", class_="curve", role="img"),
        tag("figcaption", f"test accuracy, epochs {first} to {last}, highest {top:.2f} %"),
    )
