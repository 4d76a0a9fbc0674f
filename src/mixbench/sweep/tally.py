"""How a sweep stands while it goes on, and what it has found when it ends: its runs by what sets them apart."""

from __future__ import annotations

import math
import re
import statistics
import sys
import time
from collections.abc import Sequence

from mixbench.config.identity import repetitions
from mixbench.machine.output import printable
from mixbench.record.claim import RunBusy
from mixbench.record.run import SavedRun
from mixbench.record.standing import duration
from mixbench.sweep.job import Job

WORDS = {0: "done", RunBusy.exit_status: "busy"}
SHOWN = 40  # settings of a sweep whose results are printed; mixbench runs and mixbench report show all


class Tally:
    """A line on stdout for each run that ends, and on a terminal a bar: done, running, failed, time left, the best.

    `at_once` runs are side by side. The best is the setting with the highest test accuracy after the last epoch, in
    the mean over its runs so far.
    """

    def __init__(self, jobs: Sequence[Job], at_once: int, bar: bool) -> None:
        from tqdm import tqdm

        self.total, self.at_once = len(jobs), at_once
        self.ended = self.failed = 0
        self._accuracies: dict[str, list[float]] = {}
        self._began = time.monotonic()
        self._bar = tqdm(total=len(jobs), unit="run", desc="sweep", disable=not (bar and sys.stderr.isatty()))
        self._show()

    def run_ended(self, job: Job, status: int) -> None:
        """Count a run, and say how it ended."""
        self.ended += 1
        self.failed += status not in WORDS
        accuracy = _test_acc(job.run, "last") if status == 0 else math.nan
        found = "" if math.isnan(accuracy) else f"  test acc {accuracy:.2f} %"
        if math.isfinite(accuracy):
            self._accuracies.setdefault(_setting(job), []).append(accuracy)
        line = f"{WORDS.get(status, 'FAILED')}: {job.label}{found}"
        self._bar.write(
            printable(line if not self._bar.disable else f"{line}  ({self._standing()})"), sys.stdout
        )
        sys.stdout.flush()
        self._bar.update()
        self._show()

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()

    def _show(self) -> None:
        self._bar.set_postfix_str(self._standing())

    def _standing(self) -> str:
        left = self.total - self.ended
        parts = [
            f"{self.ended} of {self.total} ended",
            f"{min(left, self.at_once)} running",
            f"{self.failed} failed",
        ]
        if self.ended and left:
            parts.append(f"about {duration((time.monotonic() - self._began) / self.ended * left)} left")
        if self._accuracies:
            best = max(self._accuracies, key=lambda name: _average(self._accuracies[name]))
            runs = len(self._accuracies[best])
            mean = f" (mean of {runs} runs)" if runs > 1 else ""
            parts.append(f"best {_average(self._accuracies[best]):.2f} %{mean}: {best}")
        return ", ".join(parts)


def results(jobs: Sequence[Job]) -> str:
    """The finished runs of a sweep as a table, the best first: a line for each setting, over its seeds and folds."""
    settings: dict[str, list[SavedRun]] = {}
    for job in {job.directory: job for job in jobs}.values():
        run = job.run
        if run.state == "finished":
            settings.setdefault(_setting(job), []).append(run)
    measured = {
        name: [[_test_acc(run, select) for run in runs] for select in ("last", "best_test")]
        for name, runs in settings.items()
    }
    ordered = sorted(measured, key=lambda name: -_average(measured[name][0]))
    width = max([len("setting"), *map(len, ordered[:SHOWN])])
    lines = [f"{'setting':{width}}  runs  {'Test_Acc, last':>15}  {'best_test':>15}"]
    for name in ordered[:SHOWN]:
        cells = "  ".join(f"{_mean(values):>15}" for values in measured[name])
        lines.append(f"{name:{width}}  {len(settings[name]):4}  {cells}")
    if len(ordered) > SHOWN:
        lines.append(f"and {len(ordered) - SHOWN} more settings; mixbench runs shows all")
    over = "seeds and folds" if any("fold=" in job.label for job in jobs) else "seeds"
    lines.append(
        f"Mean and sample standard deviation over {over}, in %; best_test is chosen on the test set."
    )
    return "\n".join(lines)


def _setting(job: Job) -> str:
    """The name of a run without what only repeats it."""
    repeated = "|".join(map(re.escape, repetitions()))
    name = re.sub(rf"(^| )({repeated})=\d+", "", job.label).strip()
    varied = re.findall(r"(\w+)=", job.label) or ["seed"]
    return name or f"all alike but for the {' and '.join(varied)}"


def _average(values: Sequence[float]) -> float:
    """Of those that are there; less than any where none is."""
    known = [value for value in values if math.isfinite(value)]
    return statistics.fmean(known) if known else -math.inf


def _mean(values: Sequence[float]) -> str:
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return "-"
    spread = f" ± {statistics.stdev(known):.2f}" if len(known) > 1 else ""
    return f"{statistics.fmean(known):.2f}{spread}"


def _test_acc(run: SavedRun, select: str) -> float:
    value = run.selections.get(select, {}).get("test_acc")
    return value if isinstance(value, float) else math.nan
