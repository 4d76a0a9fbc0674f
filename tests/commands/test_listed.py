"""What `mixbench tables` and `mixbench analyze KEY --help` list, against the studies themselves."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from pathlib import Path

import pytest

from mixbench.analysis.evaluators import EVALUATORS
from mixbench.commands import analyze, tables
from mixbench.papers import library
from mixbench.studies.library import load, names
from mixbench.studies.store import place, progress


def test_progress_of_studies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Oracle: the committed studies, of which one is complete here and another damaged; none else is there."""
    whole, damaged = load("kimura2021/fig2"), load("kimura2021/theorem4")
    results = Path(__file__).parents[2] / "results"
    for spec in (whole, damaged):
        shutil.copytree(place(results, spec), place(tmp_path, spec))
    with (place(tmp_path, damaged) / "numbers.csv").open("r+b") as numbers:
        numbers.write(b"x")
    parts = [len(spec.study.parts(spec.parameters)) for spec in (whole, damaged)]
    assert progress(tmp_path, whole) == (parts[0], parts[0])
    assert progress(tmp_path, damaged) == (0, parts[1])
    assert tables.main(["--output-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines if line and line[0] != " "} >= {*names(), "li2023/table1"}
    done = {
        line.split()[0]: after.split()[1] for line, after in itertools.pairwise(lines) if "study:" in after
    }
    expected = dict.fromkeys(names(), "0") | {whole.key: str(parts[0])}
    assert done == expected
    below = {line.split()[0]: after for line, after in itertools.pairwise(lines) if "study:" in after}
    assert {key for key, after in below.items() if after.endswith("computed; fills a table")} == {
        "zou2023/table4",
        "zou2023/table6",
    }
    indents = {len(line) - len(line.lstrip()) for line in lines if line.startswith("  ")}
    assert indents == {max(map(len, library.names(("table", "figure", "study")))) + 1}


@pytest.mark.parametrize("key", ["zhang2021/fig3", "gap", "corruptions"])
def test_parameters_of_a_key(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Oracle: the schema, with the values of the spec: every field with its value, its words, and its limits."""
    assert analyze.main([key, "--help"]) == 0
    text = capsys.readouterr().out
    node = EVALUATORS[key].options() if key in EVALUATORS else load(key).parameters
    for field in dataclasses.fields(node):
        assert f"\n  {field.name}=" in text
        assert field.metadata.get("doc", "") in text
    if key == "zhang2021/fig3":
        assert "  networks=300  networks of each kind, each with its own examples [>= 2]\n" in text
    with pytest.raises(SystemExit):
        analyze.main(["nothing", "--help"])
