"""What a sweep in one process keeps of the runs that it has trained."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

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
