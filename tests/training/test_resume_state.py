"""What rules and loop keep from step to step is in the checkpoint."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from whole_runs import assert_same, result

from mixbench.engine.progress import Progress

SMALL = ("epochs=2", "batch_size=25", "dataset.train_size=110", "dataset.test_size=50", "dataset.val_size=50")
KEPT = {
    "looksam": ["opt=looksam", "opt.k=3"],
    "gsam on adam": ["opt=gsam", "opt.base=adam", "opt.lr=1e-3"],
    "sam on adamw": ["opt=sam", "opt.base=adamw", "opt.lr=1e-3"],
    "moving average": ["ema.decay=0.8"],
    "partial batches in parts": ["drop_last=false", "accumulate=5", "augment=mixup", "opt=sam"],
    "clipped, early stopping": ["clip_norm=0.5", "early_stopping=1", "epochs=6"],
    "beta and a random r": ["augment=hmix", "augment.beta=0.5", "augment.gamma=0.7"],
}


@pytest.mark.fault("signals")
@pytest.mark.parametrize("overrides", KEPT.values(), ids=KEPT)
def test_stopped_after_every_other_step(
    mixbench: Callable, workplace: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str]
) -> None:
    """SIGTERM after steps 2, 4, 6, ... of every start. Oracle: the run that was never stopped, bit for bit."""
    assert mixbench("train", *SMALL, *overrides, "output_dir=whole").status == 0
    step, count = Progress.step, [0]

    def stopping(self: Progress, *given: object) -> None:
        step(self, *given)  # type: ignore[arg-type]
        count[0] += 1
        if count[0] % 2 == 0:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Progress, "step", stopping)
    starts = 1
    while (done := mixbench("train", *SMALL, *overrides, "output_dir=stopped")).status == 143:
        starts += 1
    assert done.status == 0, done.err
    assert starts > 3
    assert_same(result(workplace / "stopped"), result(workplace / "whole"))
