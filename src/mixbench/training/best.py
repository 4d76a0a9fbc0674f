"""Which weights a run keeps: those of its last epoch, of the one with the highest validation accuracy, or both."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mixbench.engine.loop import Loop
from mixbench.engine.position import Position
from mixbench.record.read import Row
from mixbench.record.run import WEIGHTS
from mixbench.record.select import selections
from mixbench.record.write import OpenRecord
from mixbench.training.weights import Description, packed

log = logging.getLogger("mixbench")


class Best:
    """A part of a run's checkpoint: weights and buffers after the best `epoch` so far, on the CPU; none unless wanted.

    The best is the first epoch with the highest val_acc, as in `record.select.selections`.
    """

    def __init__(self, loop: Loop, wanted: bool) -> None:
        self.loop, self.wanted = loop, wanted
        self.epoch, self.weights = 0, dict[str, Tensor]()

    def note(self, position: Position) -> None:
        """Take a copy of what was evaluated for the epoch that is just done if it is the best so far."""
        if self.wanted and position.best["val_acc"].epoch == position.epoch:
            with self.loop.evaluated():
                self.weights = {k: v.detach().cpu().clone() for k, v in self.loop.model.state_dict().items()}
            self.epoch = position.epoch

    def state_dict(self) -> dict[str, Any]:
        """Plain containers and tensors, for a checkpoint."""
        return {"epoch": self.epoch, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state, of which nothing is taken that is not wanted."""
        if self.wanted:
            self.epoch, self.weights = state["epoch"], state["weights"]


def keep(
    asked: str, record: OpenRecord, best: Best, about: Description, rows: Sequence[Row]
) -> dict[str, int]:
    """Write the weights that are `asked` for when all is trained; returns their epochs by the rules that select them.

    The best ones are gone where their epoch was trained by a start that did not ask for them; the last ones are kept
    then. The model is left with the weights that were written last.
    """
    model, last = best.loop.model, int(rows[-1]["epoch"])
    kept = {"last": last} if asked == "last" else {"last": last, "best_val": best.epoch}
    if asked != "last" and best.epoch != selections(rows)["best_val"]["epoch"]:
        log.warning(f"note     the best epoch was trained without keep={asked}; its weights are gone")
        del kept["best_val"]
    elif asked == "best_val":
        del kept["last"]
    if "last" in kept:
        with best.loop.evaluated():
            record.write(WEIGHTS["last"], packed(model, about))
    if "best_val" in kept:
        model.load_state_dict(best.weights)
        record.write(WEIGHTS["best_val"], packed(model, about))
    return kept
