"""Training in no time, for the tests of what starts trainings: accuracies by a formula, the record as it really is.

`python training_stand_in.py COMMAND ...` is `mixbench COMMAND ...` with it in training's place, also in the processes
that `mixbench tune` starts.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import sys
import time
import types
from typing import Any

from run_records import rows_of

from mixbench.config.compose import compose
from mixbench.errors import MixbenchError
from mixbench.machine.signals import Interrupted
from mixbench.record.read import read_rows
from mixbench.record.summary import totals
from mixbench.record.write import OpenRecord
from mixbench.training.run import execute

SECONDS = float(os.environ.get("STAND_IN_SECONDS", 0))  # that an epoch takes
BEST = 0.1  # the learning rate with the highest validation accuracy; on the test set the smallest is best


def validation_accuracy(lr: float, epoch: int) -> float:
    """In percent: a parabola in log10(lr), reached by halves."""
    return max(0.0, 90 - 20 * math.log10(lr / BEST) ** 2) * (1 - 0.5**epoch)


def _rows(lr: float, epochs: int) -> list[dict[str, Any]]:
    accuracies = [validation_accuracy(lr, epoch) for epoch in range(1, epochs + 1)]
    return rows_of(
        [50 - math.log10(lr)] * epochs, val_acc=accuracies, val_top5=accuracies, val_loss=accuracies
    )


def train(config: Any, record: OpenRecord, summary: dict[str, Any], stop: Any, *_: Any) -> None:
    """In place of mixbench.train.train: a row for each epoch; a learning rate above 1 fails."""
    stop.at_once = False
    done, lr = len(read_rows(record.directory)), config.opt.lr
    if lr > 1:
        raise MixbenchError("the training loss became nan")
    for last in range(done + 1, config.epochs + 1):
        if stop.number is not None:
            raise Interrupted(f"stopped by signal {stop.number}", stop.number)
        time.sleep(SECONDS)
        if SECONDS or last == config.epochs:
            record.write_rows(_rows(lr, last))
    summary |= {
        **totals(_rows(lr, config.epochs), 100),
        "peak_memory_bytes": 0,
        "peak_memory_of": "nothing",
        "data_note": "",
    }


MODULE = types.ModuleType("mixbench.train")
MODULE.train = train  # type: ignore[attr-defined]


class Instant:
    """In place of subprocess.Popen: the whole training, in this process, before it returns."""

    started: list[list[str]] = []  # noqa: RUF012  # the command lines, for tests to look at

    def __init__(self, command: list[str], **_: Any) -> None:
        Instant.started.append(command)
        self.returncode = 0
        overrides = command[command.index("train") + 1 :]
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                execute(compose(overrides))
            except MixbenchError as error:
                self.returncode = error.exit_status

    def poll(self) -> int:
        return self.returncode

    def wait(self) -> int:
        return self.returncode


if __name__ == "__main__":
    from mixbench.cli import main
    from mixbench.sweep import together

    sys.modules["mixbench.train"] = MODULE
    os.environ["PYTHONSAFEPATH"] = (
        ""  # the trainings are this script again, which imports from its own folder
    )
    together.TRAIN = (sys.executable, __file__, "train")
    main(sys.argv[1:])
