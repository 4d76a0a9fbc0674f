"""How long a run will take, by those that are finished."""

from __future__ import annotations

import math

import pytest

from mixbench.config.compose import compose
from mixbench.config.identity import flat
from mixbench.record.standing import Pace


def summary(seconds: float, epochs: int = 4, starts: int = 1, **more: object) -> dict:
    """Of a run that took `seconds` from start to end, of which 3 s in its epochs, in training and evaluation."""
    at = {"started": "2026-01-02T10:00:00+01:00", "ended": f"2026-01-02T10:00:{seconds:02}+01:00"}
    times = {"train_seconds": 2.0, "eval_seconds": 1.0, "starts": starts, **at, **more}
    return {"selections": {"last": {"epoch": epochs}}, **times}


def test_a_run_takes_its_epochs_and_its_start() -> None:
    """Oracle: epochs times 3/4 s, and the median of what finished runs took besides: 2, 4 and 30 s. A run that was
    stopped and went on does not tell, as it may have rested in between; nor does one without times.
    """
    config = compose(["epochs=4"])
    pace = Pace()
    assert math.isnan(pace.seconds(config, 4))
    for found in (
        summary(50, starts=2),
        summary(5),
        summary(33),
        summary(7),
        summary(50, ended=None),
        summary(50, started="soon"),
    ):
        pace.learn(flat(config), found)
    assert pace.seconds(config, 100) == pytest.approx(100 * 3 / 4 + 4)
    assert pace.seconds(config, 0) == 0
