"""Overrides that size something, or cannot be read: one message. Oracles: by hand; Hydra's own reading of quotes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixbench.config.compose import compose
from mixbench.config.identity import run_id, scientific
from mixbench.config.overrides import expand, read
from mixbench.errors import ConfigError

NINES = "9" * 30


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("range(0,10,-1)", "has no value"),
        ("range(10,0)", "has no value"),
        ("range(0,0)", "has no value"),
        ("range(0,10,0)", "has no value"),
        ("range(0,nan)", "is endless"),
        ("range(0,inf)", "is endless"),
        ("range(nan,1)", "is endless"),
        ("range(0,1,inf)", "is endless"),
        ("9" * 5000, "a number that long is none"),
        (f"{'[' * 500}1{']' * 500}", "too many brackets"),
    ],
)
def test_what_has_no_values(written: str, problem: str) -> None:
    """Before anything is listed, and in a message of a length that can be read."""
    with pytest.raises(ConfigError, match=problem) as raised:
        read(f"seed={written}")
    assert str(raised.value).startswith("seed=")
    assert len(str(raised.value)) < 200


@given(st.integers(-20, 20), st.integers(-20, 20), st.integers(-5, 5))
def test_ranges_are_pythons(start: int, stop: int, step: int) -> None:
    """Oracle: Python's range; what has no value there is refused."""
    expected = [f"seed={n}" for n in range(start, stop, step)] if step else []
    try:
        found = [cell for (cell,) in expand([f"seed=range({start},{stop},{step})"])]
    except ConfigError:
        found = []
    assert found == expected


SIZES = [
    "epochs", "batch_size", "eval_batch_size", "devices", "runs_per_device", "seed", "rank_timeout", "model.width",
    "model.depth", "dataset.crop_padding", "opt.k",
]  # fmt: skip


def test_what_sizes_something_has_an_end() -> None:
    """A number of thirty digits, in every key: all are named, in one message."""
    given = [f"{key}={NINES}" for key in SIZES]
    with pytest.raises(ConfigError) as raised:
        compose(["model=wrn16_4", "opt=looksam", *given])
    for line in given:
        assert line in str(raised.value) or f"{line.partition('=')[0]}=1e+30" in str(raised.value)


def test_a_nested_list_is_no_value() -> None:
    """The brackets of one list of numbers too many."""
    with pytest.raises(ConfigError, match=r"dataset\.mean=\[0\.1\]: is nested"):
        compose(["dataset.mean=[[0.1]]"])


def test_both_zeros_are_one_run() -> None:
    """-0.0 == 0.0; the identity of a run with 0 is what it was."""
    runs = [compose([f"opt.momentum={zero}", "opt.nesterov=false"]) for zero in ("0", "0.0", "-0.0", "-0")]
    assert len({run_id(run) for run in runs}) == 1
    assert "-0" not in json.dumps(scientific(runs[2]))


TEXTS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(TEXTS.filter(lambda text: "\\" not in text and "${" not in text))
def test_a_folder_in_quotes_is_taken(name: str) -> None:
    """As the message says that it is written; a quote inside is escaped."""
    quoted = name.replace('"', r"\"")
    assert read(f'output_dir="{quoted}"').value() == name


@pytest.mark.parametrize("name", ["a=b", "it's", "x[1]", "Größe", "#a", 'a"b'])
def test_how_to_quote_is_said(name: str) -> None:
    """One message, with the override as it should stand."""
    with pytest.raises(ConfigError, match=r"cannot be read as key=value: .*stands in quotes.*'output_dir="):
        read(f"output_dir={name}")
