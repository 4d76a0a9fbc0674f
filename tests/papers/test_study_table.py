"""A table whose cells are a study's numbers: what is shown, computed, told and refused."""

from __future__ import annotations

import csv
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from mixbench.cli import main
from mixbench.errors import DataError
from mixbench.schema.knob import knob
from mixbench.studies.study import STUDIES, Cells, Study

SPEC = """
kind: study
title: Errors of two methods
source: Somebody 2020, Table 9
study: two_methods
parameters: {shift: 1.0}
notes: [a note]
table:
  metrics:
    - {name: error, unit: "%", better: lower}
    - {name: to Mixup, column: error, unit: points, difference_to: Mixup}
  rows: [Mixup, MixupE]
  columns: [here, gone]
  seeds: 5
  protocol: plain
  protocols: {plain: as it is, doubled: twice as much}
  printed: {error: {Mixup: [20.0, 30.0], MixupE: [[19.0, 0.5], null]}}
  cell_notes: [{row: MixupE, column: gone, note: an oddity}]
"""


@dataclass
class Parameters:
    shift: float = knob("how much lower the second method is", default=1.0, above=0)


def compute(parameters: Parameters, part: str) -> pd.DataFrame:
    if part == "gone":
        raise DataError("gone: is not here.")
    errors = np.array([20.0, 21, 19, 22, 18])
    return pd.DataFrame({"seed": range(5), "Mixup": errors, "MixupE": errors - parameters.shift})


def values(numbers: pd.DataFrame, parameters: Parameters) -> pd.DataFrame:
    found = []
    for protocol, factor in (("plain", 1), ("doubled", 2)):
        for row in ("Mixup", "MixupE"):
            chosen = np.where(numbers["seed"] < 3, "alpha 1", "alpha 2") if row == "Mixup" else ""
            cells = {"protocol": protocol, "row": row, "column": numbers["part"], "seed": numbers["seed"]}
            found.append(pd.DataFrame({**cells, "error": factor * numbers[row], "chosen": chosen}))
    return pd.concat(found)


STUDY = Study(
    "two methods",
    Parameters,
    lambda p: ["here", "gone"],
    compute,
    lambda numbers, p: [],
    {},
    table=Cells(values, lambda part: part),
    partial=True,
)


@pytest.fixture
def spec(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    module = ModuleType("two_methods")
    module.STUDY = STUDY
    monkeypatch.setitem(sys.modules, "two_methods", module)
    monkeypatch.setitem(STUDIES, "two_methods", "two_methods")
    (workplace / "mine.yaml").write_text(SPEC)
    return "mine.yaml"


def mixbench(capsys: pytest.CaptureFixture, *argv: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(argv)
    return end.value.code, *capsys.readouterr()


def cells(out: str) -> dict[tuple[str, str, str], dict[str, str]]:
    return {(line["row"], line["column"], line["metric"]): line for line in csv.DictReader(io.StringIO(out))}


def test_what_is_there_is_shown_beside_the_paper(spec: str, capsys: pytest.CaptureFixture) -> None:
    """Means by hand: 20 and 19; the paired difference is -1 for every seed; of the part that cannot be computed the
    reason is told once, its cells are missing, and the status is 1.
    """
    status, out, err = mixbench(capsys, "table", spec, "--run", "--format", "csv")
    assert status == 1
    assert "mine.yaml, gone: left out: gone: is not here." in err
    found = cells(out)
    assert float(found["Mixup", "here", "error"]["mean"]) == 20
    assert float(found["MixupE", "here", "error"]["mean"]) == 19
    assert float(found["MixupE", "here", "to Mixup"]["mean"]) == -1
    assert float(found["MixupE", "here", "to Mixup"]["std"]) == 0
    assert float(found["Mixup", "here", "error"]["difference"]) == 0
    assert found["MixupE", "here", "error"]["rank"] == "1"
    assert found["Mixup", "gone", "error"]["n"] == "0"
    status, text, _ = mixbench(capsys, "table", spec)
    assert status == 0
    assert "20.00 ± 1.58 (5)" in text
    assert "alpha 1 (3); alpha 2 (2)" in text
    assert "MixupE before Mixup by 1.00 [1.00, 1.00]" in text
    assert "missing" in text
    assert "MixupE, gone: an oddity" in text
    assert "Metrics at the epoch" not in text


def test_protocol_and_parts(spec: str, capsys: pytest.CaptureFixture) -> None:
    """Another protocol doubles every number; --cols computes the parts of its columns alone, and shows them alone."""
    status, out, err = mixbench(
        capsys, "table", spec, "--run", "--cols", "here", "--protocol", "doubled", "--format", "csv"
    )
    assert (status, err) == (0, "")
    found = cells(out)
    assert {column for _, column, _ in found} == {"here"}
    assert float(found["MixupE", "here", "error"]["mean"]) == 38
    status, out, _ = mixbench(capsys, "table", spec, "--dry-run")
    assert "computed  here\nmissing   gone\n" in out
    assert "1 computed, 1 missing" in out


def test_other_parameters_are_other_numbers(spec: str, capsys: pytest.CaptureFixture) -> None:
    """Numbers of shift=1 are not shown for shift=2, which are 2 lower and say what differs; and they stay."""
    mixbench(capsys, "table", spec, "--run")
    assert " *" not in mixbench(capsys, "table", spec, "--cols", "here")[1]
    _, out, _ = mixbench(capsys, "table", spec, "--set", "shift=2", "--format", "csv")
    assert cells(out)["Mixup", "here", "error"]["n"] == "0"
    _, out, _ = mixbench(capsys, "table", spec, "--run", "--set", "shift=2", "--format", "csv")
    assert float(cells(out)["MixupE", "here", "to Mixup"]["mean"]) == -2
    _, out, _ = mixbench(capsys, "table", spec, "--cols", "here", "--set", "shift=2")
    assert "MixupE *" in out
    assert "* not at the scale of the spec: shift 2.0, not 1.0." in out
    _, out, _ = mixbench(capsys, "table", spec, "--format", "csv")
    assert float(cells(out)["MixupE", "here", "to Mixup"]["mean"]) == -1


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--seeds", "3"], "--seeds: mine.yaml comes from a study"),
        (["--cols", "her"], "--cols her: not in this table. Did you mean 'here'?"),
        (["--protocol", "x"], "--protocol x: not in this table."),
        (["--set", "shift=-1"], "shift=-1"),
    ],
)
def test_mistakes_are_named(spec: str, capsys: pytest.CaptureFixture, argv: list[str], words: str) -> None:
    """One message with what was given and what is allowed, and status 2."""
    status, _, err = mixbench(capsys, "table", spec, *argv)
    assert status == 2
    assert words in err
