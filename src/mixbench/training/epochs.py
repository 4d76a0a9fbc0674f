"""Epoch after epoch: checkpoints often enough, a row after each, and an end where a signal asks for one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from mixbench.engine.loop import Loop
from mixbench.engine.position import Position
from mixbench.engine.progress import Progress
from mixbench.machine.signals import StopRequest, stopped
from mixbench.record.read import Row
from mixbench.record.summary import epoch_line
from mixbench.record.write import OpenRecord
from mixbench.schema.train import Train
from mixbench.training.best import Best
from mixbench.training.checkpoint import Snapshot

log = logging.getLogger("mixbench")


def run_epochs(
    config: Train,
    record: OpenRecord,
    loop: Loop,
    position: Position,
    snapshot: Snapshot,
    best: Best,
    stop: StopRequest,
    track: Callable[[Row], None],
) -> None:
    """Train epoch after epoch, leaving a checkpoint often enough and a row after each, which `track` gets too."""
    ranks = loop.ranks
    stop.at_once = False  # from here on there is something to save
    if position.rows and ranks.rank == 0:
        record.write_rows(position.rows)  # there may be more, of the time between the checkpoint and a kill
    saved = time.monotonic()
    with Progress(
        config.epochs, position.epoch, loop.steps, config.batch_size, shown=config.progress
    ) as progress:
        while not loop.finished(position):
            progress.start_epoch(position.epoch + 1, position.step)
            for _ in loop.run_epoch(position, progress):
                due = config.checkpoint_seconds and time.monotonic() - saved > config.checkpoint_seconds
                # A signal to any rank stops all after the same step.
                due, number = ranks.agreed(bool(due), stop.number or 0)
                if due or number:
                    loop.check_finite(position)
                    snapshot.save()
                    saved = time.monotonic()
                if number:
                    step = f"step {position.step} of {loop.steps}"
                    raise stopped(number, f"saved in epoch {position.epoch + 1} after {step}")
            row = loop.close_epoch(position)
            best.note(position)
            if ranks.rank == 0:
                record.add_row(position.rows)  # before the checkpoint that counts on it
            if time.monotonic() - saved > config.checkpoint_seconds or loop.finished(position):
                snapshot.save()
                saved = time.monotonic()
            track(row)
            progress.end_epoch(row["test_acc"])
            log.info(epoch_line(row, config.epochs))
