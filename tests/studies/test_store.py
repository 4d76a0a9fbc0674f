"""Numbers of a study that is made part by part: stopped, damaged, and with other parameters."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from mixbench.errors import ConfigError
from mixbench.schema.knob import knob
from mixbench.studies import library, store
from mixbench.studies.library import Spec
from mixbench.studies.study import Study


@dataclass
class Parameters:
    factor: float = knob("a factor", default=2.0, above=0)
    parts: int = knob("parts", default=3, at_least=1)


asked: list[str] = []


def compute(parameters: Parameters, part: str) -> pd.DataFrame:
    asked.append(part)
    if part == "2" and asked.count("2") == 1:
        raise KeyboardInterrupt
    return pd.DataFrame({"value": [parameters.factor * int(part) / 3, 1 / 7], "name": ["a", part]})


STUDY = Study(
    "numbers", Parameters, lambda p: [str(i) for i in range(p.parts)], compute, lambda numbers, p: [], {}
)


def spec(**values: float) -> Spec:
    return Spec("paper/fig1", "title", "source", STUDY, Parameters(**values))


def test_what_was_stopped_goes_on(tmp_path: Path) -> None:
    """Each part is computed once but for the one that was stopped; the numbers come back to ten digits."""
    asked.clear()
    with pytest.raises(KeyboardInterrupt):
        store.computed(tmp_path, spec())
    assert store.stored(tmp_path, spec()) is None
    numbers = store.computed(tmp_path, spec())
    assert asked == ["0", "1", "2", "2"]
    assert list(numbers["part"]) == ["0", "0", "1", "1", "2", "2"]
    assert list(numbers["value"]) == pytest.approx([0, 1 / 7, 2 / 3, 1 / 7, 4 / 3, 1 / 7], rel=1e-9)
    pd.testing.assert_frame_equal(store.stored(tmp_path, spec()), numbers)


def test_a_kill_between_the_two_files_loses_one_part(tmp_path: Path) -> None:
    """Rows that about.json does not know are dropped, and computed again."""
    asked[:] = ["2"]
    numbers = store.computed(tmp_path, spec(parts=2))
    place = store.place(tmp_path, spec())
    with (place / "numbers.csv").open("a") as file:
        file.write("2,9,half a ro")
    asked[:] = ["2"]
    again = store.computed(tmp_path, spec(parts=2))
    assert asked == ["2"]
    pd.testing.assert_frame_equal(again, numbers)


@pytest.mark.parametrize("damage", ["numbers", "about", "parameters", "a pipe", "a device"])
def test_damaged_or_other_numbers_are_not_there(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A changed digit, a file that is no JSON, none at all, other parameters: never shown, said once, computed anew."""
    asked[:] = ["2"]
    store.computed(tmp_path, spec())
    place, wanted = store.place(tmp_path, spec()), spec()
    if damage == "numbers":
        path = place / "numbers.csv"
        path.write_text(path.read_text().replace("0.14", "0.15", 1))
    elif damage == "about":
        (place / "about.json").write_text("[]")
    elif damage == "a pipe":
        (place / "about.json").unlink()
        os.mkfifo(place / "about.json")
    elif damage == "a device":
        (place / "numbers.csv").unlink()
        (place / "numbers.csv").symlink_to("/dev/zero")
    else:
        wanted = spec(factor=3.0)
    capsys.readouterr()
    assert store.stored(tmp_path, wanted) is None
    said = capsys.readouterr().err
    assert said.startswith(f"{place}: ")
    assert ("damaged, so" in said) == (damage != "parameters")
    assert damage != "parameters" or said.endswith("as they are of other parameters: factor\n")
    assert store.computed(tmp_path, wanted)["value"][2] == pytest.approx(wanted.parameters.factor / 3)
    assert json.loads((place / "about.json").read_text())["parameters"]["factor"] == wanted.parameters.factor


@pytest.mark.parametrize(
    ("key", "changes", "message"),
    [
        ("radiuss", [], "radiuss: no such study. Did you mean 'radius'"),
        ("zhang2021/fig3", ["networkss=3"], "Did you mean 'networks'"),
        ("zhang2021/fig3", ["networks=1"], "networks=1: must be >= 2"),
        ("radius", ["networks=many"], "--set networks=many: must be a whole number >= 2."),
        ("zhang2021/fig1", ["side=9"], "--set side=9: not one of 16, 32."),
        ("expansion", ["n=3"], "--set n=3: not one of 2, 4, 6, 8."),
        ("kimura2021/fig2", ["of=[nothing]"], "--set of=nothing: not one of linear, network."),
        ("kimura2021/fig2", ["of=[]"], "--set of=\\[]: must not be empty."),
        ("kimura2021/fig2", ["of=[linear,linear]"], "--set of: linear is there twice."),
        ("li2023/equation14", ["epochs=5"], "looks=15: must be <= epochs=5."),
        ("zou2023/table6", ["sets=[]", "few=[]"], "leaves nothing to compute"),
        ("li2023/table1", [], "is no study; it needs kind: study"),
    ],
)
def test_mistakes_are_named(key: str, changes: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        library.load(key, changes)


def test_what_the_specs_lists_have_and_the_changed_ones_have_not_is_known() -> None:
    """By the definition: elements that are gone, not those that came."""
    assert library.load("kimura2021/fig2").left_out == ()
    assert library.load("kimura2021/fig2", ["of=[linear]", "samples=2"]).left_out == ("of without network",)
    assert library.load("zhang2021/fig1", ["sizes=[0,1,2,4,8,16]"]).left_out == ()
