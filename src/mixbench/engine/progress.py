"""Progress bars for people at a terminal; nothing elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from torch import Tensor
from tqdm import tqdm

REFRESH_SECONDS = 0.5  # reading the loss waits for the device; twice a second costs nothing measurable


class Progress:
    """One bar for the run (epochs) and one for the epoch (steps, loss, accuracy, examples/s), on stderr.

    Silent where stderr is no terminal or `shown` is false; the loop then never reads the device for it.
    """

    def __init__(self, epochs: int, epochs_done: int, steps: int, batch_size: int, *, shown: bool) -> None:
        self.off = not (shown and sys.stderr.isatty())
        self.steps, self.batch_size = steps, batch_size
        self.run = tqdm(
            total=epochs, initial=epochs_done, desc="run", unit="epoch", position=1, disable=self.off
        )
        self.epoch: tqdm | None = None
        self.read_at = 0.0

    def start_epoch(self, epoch: int, steps_done: int) -> None:
        """Open the bar of `epoch` (counted from 1)."""
        self.epoch = tqdm(
            total=self.steps,
            initial=steps_done,
            desc=f"epoch {epoch}",
            unit="step",
            position=0,
            leave=False,
            disable=self.off,
        )

    def step(self, loss: Tensor, sums: Tensor) -> None:
        """One step done; `sums` are TrainMetrics' (weighted correct, first correct, count)."""
        if self.off or self.epoch is None:
            return
        self.epoch.update()
        now = time.monotonic()
        if now - self.read_at > REFRESH_SECONDS:
            self.read_at = now
            weighted, _, count = sums.tolist()
            rate = (self.epoch.format_dict["rate"] or 0) * self.batch_size
            self.epoch.set_postfix_str(
                f"loss {loss.item():.3f}, acc {100 * weighted / count:.1f} %, {rate:.0f} examples/s"
            )

    def end_epoch(self, test_acc: float) -> None:
        """Close the epoch's bar and move the run's one."""
        if self.epoch is not None:
            self.epoch.close()
        self.run.set_postfix_str(f"test acc {test_acc:.2f} %")
        self.run.update()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.epoch is not None:
            self.epoch.close()
        self.run.close()
