"""The numbers of a benchmark, and the sheet that shows them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mixbench.bench.measure import Timing
from mixbench.files import write_atomic, write_json
from mixbench.summarize.sheet import Sheet

EXPLAINED = """\
ms, ratio: median over rounds (lower to upper quartile); ratio: time of a step relative to the first line's, or to ours
beside a loop written by hand, round by round. MiB: tensors at the peak of a step. GFLOP: convolutions and matrix
products of a step; share: of the rate that the device reaches in large matrix products. first: seconds of the first
step, with compilation."""
TWO_PASSES = "/ 2 ERM: time of a step of SAM relative to two of ERM in the same loop, the median over rounds."


@dataclass(frozen=True)
class Line:
    """One subject. Medians and quartiles over rounds; ratios are taken round by round."""

    name: str
    images_per_second: float
    ms: float  # per step
    ms_low: float  # lower quartile
    ms_high: float
    ratio: float  # time of a step relative to another subject's
    ratio_low: float
    ratio_high: float
    # The median ratio to two steps of the method of one pass; None: it is not of two.
    two_passes: float | None
    host_ms: float | None  # until the step is handed to the device; None where that is the whole step
    memory_mib: float | None
    gflops: float  # floating-point operations per step, in 10^9
    gflops_per_second: float
    share: float  # of the measured matrix-product rate
    first_step_seconds: float


def lines(
    timings: Sequence[Timing],
    matrix_rate: float,
    *,
    asynchronous: bool,
    references: Sequence[int] | None = None,
    passes: Sequence[int | None] | None = None,
) -> list[Line]:
    """Statistics of the timings. `references` says for each which one its ratio refers to; without it, the first.
    `passes` says for a method of two passes which one has one.
    """
    to, of = references or [0] * len(timings), passes or [None] * len(timings)
    return [
        _line(t, timings[i], None if j is None else timings[j], matrix_rate, asynchronous)
        for t, i, j in zip(timings, to, of, strict=True)
    ]


def _line(
    timing: Timing, reference: Timing, one_pass: Timing | None, matrix_rate: float, asynchronous: bool
) -> Line:
    low, median, high = quartiles(timing.seconds)
    # Relative to images, so that another batch size compares as well.
    paired = np.divide(timing.seconds, reference.seconds) * (reference.batch_size / timing.batch_size)
    ratio_low, ratio, ratio_high = quartiles(paired)
    return Line(
        name=timing.name,
        images_per_second=timing.batch_size / median,
        ms=1e3 * median,
        ms_low=1e3 * low,
        ms_high=1e3 * high,
        ratio=ratio,
        ratio_low=ratio_low,
        ratio_high=ratio_high,
        two_passes=None
        if one_pass is None
        else quartiles(np.divide(timing.seconds, one_pass.seconds) / 2)[1],
        host_ms=1e3 * quartiles(timing.host_seconds)[1] if asynchronous else None,
        memory_mib=None if timing.memory is None else timing.memory / 2**20,
        gflops=timing.flops / 1e9,
        gflops_per_second=timing.flops / median / 1e9,
        share=timing.flops / median / matrix_rate,
        first_step_seconds=timing.first_step,
    )


def quartiles(values: Any) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile, interpolated linearly."""
    low, median, high = np.percentile(values, [25, 50, 75])
    return float(low), float(median), float(high)


def sheet(found: Sequence[Line], title: str, conditions: str, command: str) -> Sheet:
    """The lines as texts; columns that were not measured are left out."""
    head = ["method", "images/s", "ms/step", "ratio", "MiB", "GFLOP", "GFLOP/s", "share", "first (s)"]
    rows = [_texts(line) for line in found]
    if any(line.host_ms is not None for line in found):
        head.insert(4, "host (ms)")
        for row, line in zip(rows, found, strict=True):
            row.insert(4, "-" if line.host_ms is None else f"{line.host_ms:.2f}")
    explained = EXPLAINED
    if any(line.two_passes is not None for line in found):
        explained += f"\n{TWO_PASSES}"
        head.insert(4, "/ 2 ERM")
        for row, line in zip(rows, found, strict=True):
            row.insert(4, "-" if line.two_passes is None else f"{line.two_passes:.3f}")
    return Sheet(title, conditions, command, head, rows, explained)


def _texts(line: Line) -> list[str]:
    return [
        line.name,
        f"{line.images_per_second:,.0f}",
        f"{line.ms:.2f} ({line.ms_low:.2f} to {line.ms_high:.2f})",
        f"{line.ratio:.2f} ({line.ratio_low:.2f} to {line.ratio_high:.2f})",
        "-" if line.memory_mib is None else f"{line.memory_mib:,.0f}",
        f"{line.gflops:,.1f}",
        f"{line.gflops_per_second:,.0f}",
        f"{100 * line.share:.0f} %",
        f"{line.first_step_seconds:.2f}",
    ]


def write(
    found: Sequence[Line], made: Sheet, environment: dict[str, Any], directory: Path, name: str
) -> None:
    """NAME.csv with the lines, NAME.json with the sheet, NAME.env.json with what it was measured on."""
    made.write(directory / f"{name}.json")
    write_json(directory / f"{name}.env.json", environment)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(asdict(found[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(line) for line in found)
    write_atomic(directory / f"{name}.csv", text.getvalue().encode())
