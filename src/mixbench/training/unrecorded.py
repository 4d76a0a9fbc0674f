"""A run as `mixbench train` trains it, without a record: for studies, which look at networks while they train."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from mixbench.engine.loop import Loop
from mixbench.engine.position import Position
from mixbench.engine.progress import Progress
from mixbench.record.read import Row
from mixbench.schema.train import Train
from mixbench.training.build import build_loop, load_splits


def first_epoch(config: Train) -> Iterator[Loop]:
    """The training loop before the first step, and after each step of the first epoch, on the CPU.

    Who puts the model into evaluation need not put it back. Raises DataError where the data are missing.
    """
    device = torch.device("cpu")
    loop = build_loop(config, device, load_splits(config, device))
    yield loop
    with Progress(config.epochs, 0, loop.steps, config.batch_size, shown=False) as progress:
        for _ in loop.run_epoch(Position(), progress):
            yield loop
            loop.model.train()


def epochs(config: Train) -> Iterator[tuple[Loop, Row]]:
    """The training loop and the epoch's row, after each epoch, on the CPU.

    Raises DataError where the data are missing, and Diverged for a loss that is not finite.
    """
    device = torch.device("cpu")
    loop, position = build_loop(config, device, load_splits(config, device)), Position()
    with Progress(config.epochs, 0, loop.steps, config.batch_size, shown=False) as progress:
        while not loop.finished(position):
            for _ in loop.run_epoch(position, progress):
                pass
            yield loop, loop.close_epoch(position)
