"""What a sweep in one process keeps of the runs that it has trained."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest

from mixbench.errors import DataError
from mixbench.schema.train import Train
from mixbench.sweep import launch


@pytest.mark.long
def test_a_run_that_has_ended_leaves_nothing_behind(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A count of objects from the third run to the eighth: five a run at most. With its two configs it was 870."""
    counts = list[int]()

    def cell(config: object) -> int:
        gc.collect()
        counts.append(len(gc.get_objects()))
        return 0

    monkeypatch.setattr(launch, "cell", cell)
    directories = [workplace / str(seed) for seed in range(8)]
    statuses = launch.Launcher([], None, "outputs")(directories, [[f"seed={seed}"] for seed in range(8)])
    assert statuses == [0] * 8
    assert (counts[7] - counts[2]) / 5 < 5


class Circle:
    """Holds itself, as an exception holds its frame, and the frame the exception."""

    def __init__(self) -> None:
        self.own = self


def test_what_the_compiler_leaves_is_collected(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: of a run with compile=true no circle is left when the next one begins, however it has ended. Without,
    it is left to Python.
    """
    left = list[weakref.ref]()
    living = list[int]()

    def execute(config: Train) -> None:
        living.append(sum(ref() is not None for ref in left))
        circle = Circle()
        left.append(weakref.ref(circle))
        if config.seed == 1:
            raise DataError("such as a file that is missing")

    monkeypatch.setattr(launch, "execute", execute)
    directories = [workplace / str(seed) for seed in range(4)]
    overrides = [[f"seed={seed}", f"compile={str(seed < 2).lower()}"] for seed in range(4)]
    gc.collect()
    gc.disable()
    try:
        assert launch.Launcher([], None, "outputs")(directories, overrides) == [0, 2, 0, 0]
    finally:
        gc.enable()
    assert living == [0, 0, 0, 1]
