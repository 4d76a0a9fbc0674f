"""How long the runs of a table will take on this machine's processor, by steps that are measured, and what fits in an
hour.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence

from mixbench.papers.cells import Planned
from mixbench.record.standing import Pace, duration, epochs_left
from mixbench.schema.train import Train

HOUR = 3600.0
IMAGES = 8  # of a measured step: WRN-28-10 trains about five images a second on two cores
FORWARD = 1 / 3  # of a step's time for the same images
AT_BEST = 1 / 4  # of a run's epochs are the best so far, at most: less of a long run


def seconds_by_column(runs: Sequence[Planned]) -> dict[str, float]:
    """Estimated seconds that the unfinished runs of each column take one after another.

    Finished runs of the same kind tell, where there are any; else two steps of each kind are timed on made-up images.
    """
    pace, measured = Pace(), dict[str, float]()
    for run in runs:
        if run.config is not None and run.saved is not None and run.saved.state == "finished":
            pace.learn(run.saved.values, run.saved.summary)
    found = dict[str, float]()
    for run in runs:
        if run.config is None:
            continue
        left = epochs_left(run.saved, run.config.epochs) if run.saved is not None else run.config.epochs
        seconds = pace.seconds(run.config, left) if left else 0.0
        if math.isnan(seconds):
            kind = str([run.config.dataset, run.config.model, run.config.augment, run.config.regularizer,
                        run.config.opt])  # fmt: skip
            if kind not in measured:
                measured[kind] = seconds_per_image(run.config)
            seconds = left * _images(run.config) * measured[kind]
        found[run.cell.column] = found.get(run.cell.column, 0.0) + seconds
    return found


def seconds_per_image(config: Train) -> float:
    """Of one training image, in a step of IMAGES made-up ones; the second step counts."""
    import torch

    from mixbench.bench.subjects import made_up, subject

    small = dataclasses.replace(config, batch_size=IMAGES, accumulate=1, devices=1, compile=False)
    steps = subject("", small, torch.device("cpu"), made_up(config.dataset.spec(), 4 * IMAGES)).steps
    next(steps)
    started = time.perf_counter()
    next(steps)
    return (time.perf_counter() - started) / IMAGES


def seconds_at(config: Train, epochs: int, rate: float, plain: float) -> float:
    """Of so many epochs, where the method trains `rate` images a second and one that takes one pass `plain`."""
    return epochs * (_trained(config) / rate + FORWARD * _evaluated(config) / plain)


def _images(config: Train) -> float:
    """The images of an epoch, in training images: evaluation has the forward alone."""
    return _trained(config) + FORWARD * _evaluated(config)


def _trained(config: Train) -> int:
    """The training images of an epoch."""
    return config.dataset.train_size or config.dataset.spec().train_size - (config.dataset.val_size or 0)


def _evaluated(config: Train) -> float:
    """The images whose accuracy is measured after an epoch, on average: without training and mixed again."""
    test = (config.dataset.test_size or config.dataset.spec().test_size) + (config.dataset.val_size or 0)
    shares = (_share(config.train_clean_every), _share(config.train_mixed_every))
    return test + sum(shares) * _trained(config)


def _share(every: int | str) -> float:
    """The share of the epochs after which it is measured."""
    return AT_BEST if isinstance(every, str) else 1 / every if every else 0.0


def advice(columns: dict[str, float], epochs: int) -> str:
    """How long it will take, and options with which it takes an hour."""
    total = sum(columns.values())
    cheapest = min(columns, key=columns.__getitem__)
    told = f"About {duration(total)} on this machine's processor, one run after another."
    for names, seconds in (("", total), (f' --cols "{cheapest}"', columns[cheapest])):
        share = HOUR / seconds
        if share >= 1:
            return f"{told} An hour is enough for{names}."
        if share * epochs >= 1:
            return f"{told} In an hour:{names} --budget {share:.2g}"
    return f"{told} Not even one epoch of each run of {cheapest} fits in an hour; fewer seeds, or a GPU."
