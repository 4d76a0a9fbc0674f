"""Epochs of a training loop without evaluations between them."""

from __future__ import annotations

from mixbench.engine.loop import Loop
from mixbench.engine.position import Position
from mixbench.engine.progress import Progress


def train_epochs(loop: Loop, epochs: int = 1) -> None:
    """The steps of the first `epochs` epochs."""
    position = Position()
    with Progress(1, 0, loop.steps, loop.batch_size, shown=False) as progress:
        for epoch in range(epochs):
            position.epoch, position.step = epoch, 0
            for _ in loop.run_epoch(position, progress):
                pass
