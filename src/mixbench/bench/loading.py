"""How fast pictures are read, beside how fast they are trained on: how many processes must read ahead."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from mixbench.bench.measure import timed
from mixbench.bench.subjects import made_up, subject
from mixbench.data import Split
from mixbench.data.order import epoch_order
from mixbench.data.pictures import Pictures
from mixbench.data.stream import StreamedImages
from mixbench.errors import ConfigError
from mixbench.schema.train import Train
from mixbench.training.members import built

HEAD = ["processes that read", "images/s read", "of what a step takes"]


@dataclass(frozen=True)
class Rates:
    """Images per second: `read` by so many processes, and `step` of the training on images that are at hand."""

    read: dict[int, float]
    step: float

    @property
    def needed(self) -> int:
        """How many processes keep the training busy, each as fast as one alone."""
        return max(1, math.ceil(self.step / self.read[1]))

    def rows(self) -> Iterator[list[str]]:
        """What was measured, as texts; the last row is what is needed."""
        for number, rate in self.read.items():
            yield [f"{number}", f"{rate:,.1f}", f"{rate / self.step:.2f}"]
        yield [
            f"needed for {self.step:,.1f} images/s: {self.needed}",
            f"{self.needed * self.read[1]:,.1f}",
            "",
        ]


def rates(method: str, config: Train, device: torch.device, seconds: float, rounds: int) -> Rates:
    """What the pictures of `config` are read with for about `seconds` each, as its training reads them; and its step.

    Raises ConfigError for a data set that is not pictures on the disk.
    """
    train = built("dataset", config.dataset.name, config.dataset, config.data_dir).train
    if not isinstance(train.inputs, Pictures):
        raise ConfigError(
            f"dataset={config.dataset.name}: is not read from pictures; --loading is for those that are."
        )
    read = {number: reading(train, config, number, seconds) for number in _numbers()}
    made = made_up(config.dataset.spec(), 2 * config.batch_size)
    (timing,) = timed([subject(method, config, device, made)], device, rounds=rounds, burst=seconds)
    return Rates(read, config.batch_size / sorted(timing.seconds)[len(timing.seconds) // 2])


def _numbers() -> Sequence[int]:
    """One, and its doubles up to the processors that there are."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [2**k for k in range(usable.bit_length())]


def reading(train: Split, config: Train, readers: int, seconds: float) -> float:
    """Images per second that so many processes read, once they run: without the first batch, over at least one more."""
    streamed = StreamedImages(train.inputs, train.labels, mean=[0.0] * 3, std=[1.0] * 3, readers=readers)
    batch = min(config.batch_size, max(1, len(train.labels) // 2))
    started, images, epoch = 0.0, 0, 0
    while True:
        for _, labels in streamed.feed(epoch_order(len(train.labels), batch, 0, epoch), 0, epoch):
            images += len(labels)
            if not started:
                started, images = time.perf_counter(), 0
            elif time.perf_counter() - started >= seconds:
                return images / (time.perf_counter() - started)
        epoch += 1
