"""Values of any type in any place of a record: everything behind the door has an answer, or names what is wrong."""

from __future__ import annotations

import contextlib
import copy
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from run_records import ENVIRONMENT, leave

from mixbench.commands.runs import _print
from mixbench.config.compose import compose
from mixbench.config.identity import run_dir
from mixbench.errors import DataError
from mixbench.papers.cells import Planned
from mixbench.papers.spec import Cell
from mixbench.record.data import mixed
from mixbench.record.run import SavedRun
from mixbench.record.schema import MOST_EPOCHS, Misfit, check_rows, parsed
from mixbench.record.standing import Pace, standing
from mixbench.record.summary import table
from mixbench.report.page import one
from mixbench.summarize.frame import frame
from mixbench.summarize.settings import collect
from mixbench.summarize.settings import settings as grouped

pytestmark = pytest.mark.fault("fuzz")
VALUES = st.sampled_from(
    [None, True, -1, 0, 1, 1.5, 10**18, -(10**30), 10**4000, math.nan, math.inf, -math.inf, 1e308, "", "finished",
     "text", "\x1b[2J",
     "\ud800", "\u202e", [], {}, [[]], ["a"], [1, None], {"": {}}, {"a": [1]}, {"epoch": 1}, {"last": {}}]
)  # fmt: skip


def paths(value: Any, way: tuple = ()) -> Iterator[tuple]:
    """The way to every value, containers too."""
    if way:
        yield way
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in inner:
        yield from paths(entry, (*way, key))


@pytest.mark.parametrize("examples", [100, pytest.param(5000, marks=pytest.mark.long)])
def test_any_value_at_any_place_of_a_record(workplace: Path, examples: int) -> None:
    """Of summary.json, env.json or epochs.csv. The run is read, listed, timed and drawn: values, or one DataError."""
    config = compose(["opt=sam", "epochs=3"])
    directory = run_dir(config)
    more = {
        "data": {"x": "0" * 64},
        "kept": {"last": 3},
        "launch": "a",
    }
    leave(Planned(Cell("", "", 0, ()), config, SavedRun(directory)), [10.0, 30.0, 20.0], **more)
    summary = json.loads((directory / "summary.json").read_bytes())
    del summary["sha256"]
    summary["history"] = [{"at": "now", "threads": 1}]
    files = {"summary.json": summary, "env.json": {**ENVIRONMENT, "plugins": {"mine": "1"}}}
    rows = (directory / "epochs.csv").read_text()
    cells = rows.replace("\n", ",").split(",")
    places = [(name, *way) for name, content in files.items() for way in paths(content)]

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from([*places, *(("epochs.csv", i) for i in range(0, len(cells), 3))]), VALUES)
    @example(("summary.json", "data"), {"x": "\ud800"})
    def any_value(place: tuple, value: Any) -> None:
        name, *way, last = place
        (directory / "epochs.csv").write_text(rows)
        for file, content in files.items():
            (directory / file).write_text(json.dumps(content))
        if name == "epochs.csv":
            text = str(value).encode(errors="backslashreplace").decode()
            (directory / name).write_text(rows.replace(cells[last], text, 1))
        else:
            content = copy.deepcopy(files[name])
            inner = content
            for key in way:
                inner = inner[key]
            inner[last] = value
            (directory / name).write_text(json.dumps(content))
        (run,) = collect([Path("outputs")])
        assert run.state in ("finished", "running", "interrupted", "failed", "unreadable")
        assert (run.state == "unreadable") <= ("summary.json" in run.error)
        standing(run)
        Pace.below(Path("outputs"))
        mixed([run])
        grouped([run])
        if run.state == "finished":
            table(run.summary, run.directory)
        json.dumps(one(run, "a"), default=str, ensure_ascii=False).encode()
        for form in ("text", "csv", "md", "json"):
            _print(frame(Path("outputs")), form)
        SavedRun(directory).damages()
        with contextlib.suppress(DataError):
            before = [row["epoch"] for row in SavedRun(directory).rows]
            assert before == sorted(set(before))

    any_value()


@pytest.mark.parametrize("epochs", [[1, 1], [2, 1], [0], [-1], [1.0], [math.nan], [None], [True]])
def test_epochs_that_do_not_rise(epochs: list) -> None:
    """By hand."""
    with pytest.raises(Misfit, match="has epoch"):
        check_rows([{"epoch": epoch} for epoch in epochs])


def test_a_table_has_room_for_every_training() -> None:
    """As many rows as the knob `epochs` allows."""
    most = [{"epoch": i + 1} for i in range(MOST_EPOCHS)]
    check_rows(most)
    with pytest.raises(Misfit, match="1000001 rows"):
        check_rows([*most, {"epoch": MOST_EPOCHS + 1}])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("123", 123),
        ("-" + "9" * 17, -(10**17) + 1),
        ("9" * 5000, math.inf),
        ("NaN", None),
        ("-Infinity", -math.inf),
    ],
)
def test_numbers_have_a_size(text: str, value: float) -> None:
    """By hand: whole numbers fit into 64 bits, others are floats; NaN is null."""
    assert parsed(text.encode()) == value


@pytest.mark.parametrize("content", [b'"\\ud800"', b'{"\\udfff": 1}', b'"\xed\xa0\x80"', b"[" * 100_000])
def test_half_characters_and_endless_nesting(content: bytes) -> None:
    """Refused as Python's own errors, which `read` names the file for."""
    with pytest.raises((ValueError, RecursionError)):
        parsed(content)
