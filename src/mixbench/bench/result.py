"""The result of a benchmark: numbers for each subject, and the conditions they were measured under."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mixbench.bench.measure import Timing
from mixbench.files import write_atomic, write_json


@dataclass(frozen=True)
class Line:
    """One subject. Medians and quartiles over rounds; ratios are taken round by round."""

    name: str
    images_per_second: float
    ms: float  # per step
    ms_low: float  # lower quartile
    ms_high: float
    ratio: float  # time of a step relative to the first subject's
    ratio_low: float
    ratio_high: float
    host_ms: float | None  # until the step is handed to the device; None where that is the whole step
    memory_mib: float | None
    gflops: float  # floating-point operations per step, in 10^9
    gflops_per_second: float
    share: float  # of the measured matrix-product rate
    first_step_seconds: float


@dataclass(frozen=True)
class Result:
    """All lines, with what they were measured on and with."""

    title: str
    command: str
    settings: dict[str, Any]  # model, dataset, batch_size, precision, rounds
    environment: dict[str, Any]
    matrix_gflops_per_second: float
    lines: list[Line]

    def write(self, directory: Path) -> None:
        """bench.json with everything, bench.csv with the lines. Raises OutputError."""
        directory.mkdir(parents=True, exist_ok=True)
        write_json(directory / "bench.json", asdict(self))
        text = io.StringIO()
        writer = csv.DictWriter(text, list(asdict(self.lines[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(line) for line in self.lines)
        write_atomic(directory / "bench.csv", text.getvalue().encode())

    @classmethod
    def read(cls, path: Path) -> Result:
        """The result in a bench.json."""
        given = json.loads(path.read_text())
        return cls(**{**given, "lines": [Line(**line) for line in given["lines"]]})


def lines(timings: Sequence[Timing], matrix_rate: float, *, asynchronous: bool) -> list[Line]:
    """Statistics of the timings; the first one is what the ratios refer to."""
    return [_line(timing, timings[0], matrix_rate, asynchronous) for timing in timings]


def _line(timing: Timing, reference: Timing, matrix_rate: float, asynchronous: bool) -> Line:
    low, median, high = quartiles(timing.seconds)
    ratio_low, ratio, ratio_high = quartiles(np.divide(timing.seconds, reference.seconds))
    return Line(
        name=timing.name,
        images_per_second=timing.batch_size / median,
        ms=1e3 * median,
        ms_low=1e3 * low,
        ms_high=1e3 * high,
        ratio=ratio,
        ratio_low=ratio_low,
        ratio_high=ratio_high,
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
