"""NAME=VALUE for a dataclass of knobs."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as some

from mixbench.config.assign import assigned
from mixbench.errors import ConfigError
from mixbench.schema.knob import knob


@dataclass
class Options:
    steps: int = knob("steps", default=3, at_least=1)
    size: float = knob("a size", default=0.5, above=0)
    side: int = knob("a side", default=16, choices=[8, 16])
    kind: str = knob("a kind", default="one", choices=["one", "two"])
    sizes: list[float] = knob("sizes", default=[1.0, 2.0], above=0)
    kinds: list[str] = knob("kinds", default=["one"], choices=["one", "two"], empty=True)


@given(
    steps=some.integers(1, 10**6),
    size=some.floats(1e-6, 1e6),
    sizes=some.lists(some.integers(1, 99), min_size=1, unique=True),
    kinds=some.lists(some.sampled_from(["one", "two"]), unique=True),
)
def test_what_is_written_is_what_is_there(
    steps: int, size: float, sizes: list[int], kinds: list[str]
) -> None:
    """Round trip: from values to text and back, by text and by mapping; the last of two wins."""
    values = {"steps": steps, "size": size, "sizes": sizes, "kinds": kinds}
    texts = [f"{name}={value}" for name, value in values.items()]
    expected = Options(**values)
    assert assigned(Options, {}, ["steps=1", *texts]) == expected
    assert assigned(Options, values) == expected
    assert assigned(Options, {"steps": 2, "side": 8}, texts) == Options(**values, side=8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "stepps=3",
            "stepps=3: no such name. Did you mean 'steps'? Allowed: steps, size, side, kind, sizes, kinds.",
        ),
        ("steps", "steps: write NAME=VALUE."),
        ("steps=0", "steps=0: must be >= 1."),
        ("steps=many", "steps=many: must be a whole number >= 1."),
        ("steps=null", "steps=null: must be a whole number >= 1."),
        ("steps=[", "steps=[: '[' is no value: a bracket or quote is not closed."),
        ("steps=${size}", "steps=${size}: "),
        ("side=12", "side=12: not one of 8, 16."),
        ("kind=three", "kind=three: not one of one, two."),
        ("sizes=3", "sizes=3: a list; write sizes=[3]."),
        ("sizes=[]", "sizes=[]: must not be empty."),
        ("sizes=[1,-1]", "sizes=-1.0: must be > 0."),
        ("sizes=[1,2,1]", "sizes: 1 is there twice."),
        ("kinds=[two,two]", "kinds: two is there twice."),
        ("kinds=[[two]]", "kinds=['two']: is nested; each element is one value."),
    ],
)
def test_a_mistake_is_named(change: str, message: str) -> None:
    """The messages that a user reads, each with the place before it."""
    with pytest.raises(ConfigError) as caught:
        assigned(Options, {}, [change], "--set ")
    assert str(caught.value).startswith(f"--set {message}")
