"""The time from the prompt to the first training step, beside what importing torch and building the model take."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

from mixbench.bench.result import quartiles
from mixbench.errors import MixbenchError

BARE = """
import os
import torch
from mixbench.models import MODELS
MODELS[{name!r}]({channels}, {classes}, **{knobs!r})
os._exit(0)
"""
# The first step ends the process before it computes anything.
TRAIN = """
import os
from mixbench.engine.loop import Loop
Loop._step = lambda *arguments: os._exit(0)
from mixbench.cli import main
main(["train", *{overrides!r}])
"""


def measured(bare: str, train: str, rounds: int) -> dict[str, tuple[float, float, float]]:
    """Quartiles of the seconds of `bare` and `train`, two Python programs run by turns, and of their ratio."""
    seconds: dict[str, list[float]] = {"bare": [], "train": []}
    for number in range(rounds + 1):  # the first one warms the file cache
        for name, program in (("bare", bare), ("train", train)):
            started = time.perf_counter()
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
            if done.returncode:
                raise MixbenchError(
                    f"the start-up measurement failed: {done.stderr.strip().splitlines()[-1]}"
                )
            if number:
                seconds[name].append(time.perf_counter() - started)
    ratios = [t / b for t, b in zip(seconds["train"], seconds["bare"], strict=True)]
    return {**{name: quartiles(values) for name, values in seconds.items()}, "ratio": quartiles(ratios)}


def programs(overrides: Sequence[str], output_dir: str) -> tuple[str, str]:
    """The two programs for a run of `overrides`, which leaves its record under `output_dir`."""
    from mixbench.config.compose import compose
    from mixbench.training.build import knobs

    all_overrides = [*overrides, f"output_dir={output_dir}", "force=true", "progress=false"]
    config = compose(all_overrides)
    spec = config.dataset.spec()
    bare = BARE.format(
        name=config.model.name, channels=spec.shape[-1], classes=spec.num_classes, knobs=knobs(config.model)
    )
    return bare, TRAIN.format(overrides=all_overrides)
