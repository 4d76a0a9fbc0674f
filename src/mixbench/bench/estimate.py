"""How long the runs of a table will take on this machine's processor, by steps that are measured, and what fits in an
hour.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence

from mixbench.config.identity import method
from mixbench.papers.cells import Planned
from mixbench.record.standing import Pace, duration, epochs_left
from mixbench.schema.model import label
from mixbench.schema.train import Train

HOUR = 3600.0
IMAGES = 8  # of a measured step: WRN-28-10 trains about five images a second on two cores
FORWARD = 1 / 3  # of a step's time for the same images
TIMED_SECONDS = 60.0  # after which no further kind of run is timed
AT_BEST = 1 / 4  # of a run's epochs are the best so far, at most: less of a long run


def seconds_by_column(runs: Sequence[Planned]) -> tuple[dict[str, float], int]:
    """Estimated seconds that the unfinished runs of each column take one after another, and how many kinds of run are
    guessed.

    Finished runs of the same kind tell, where there are any; else two steps of each kind are timed on made-up images,
    with a bar at a terminal. After TIMED_SECONDS no further kind is begun: those that are left are taken to be as slow
    as the slowest that was timed of the same model and data, else of all.
    """
    pace = Pace()
    for run in runs:
        if run.config is not None and run.saved is not None and run.saved.state == "finished":
            pace.learn(run.saved.values, run.saved.summary)
    found = dict[str, float]()
    unknown = list[tuple[str, Train, float]]()
    for run in runs:
        if run.config is None:
            continue
        left = epochs_left(run.saved, run.config.epochs) if run.saved is not None else run.config.epochs
        seconds = pace.seconds(run.config, left) if left else 0.0
        if math.isnan(seconds):
            unknown.append((run.cell.column, run.config, left * _images(run.config)))
        else:
            found[run.cell.column] = found.get(run.cell.column, 0.0) + seconds
    timed = _timed({_kind(config): config for _, config, _ in unknown})
    for column, config, images in unknown:
        alike = [each for kind, each in timed.items() if kind[:2] == _kind(config)[:2]]
        each = timed.get(_kind(config)) or max(alike or timed.values())
        found[column] = found.get(column, 0.0) + images * each
    return found, len({_kind(config) for _, config, _ in unknown} - timed.keys())


def _kind(config: Train) -> tuple[str, ...]:
    return tuple(map(str, (config.dataset, config.model, config.augment, config.regularizer, config.opt)))


def _timed(kinds: Mapping[tuple[str, ...], Train]) -> dict[tuple[str, ...], float]:
    """Seconds per image, by kind: of one at least, and of others until the time is up; a kind of each model first."""
    from tqdm import tqdm

    first = {kind[:2]: kind for kind in reversed(list(kinds))}
    ordered = sorted(kinds, key=lambda kind: first[kind[:2]] != kind)
    started, timed = time.monotonic(), dict[tuple[str, ...], float]()
    with tqdm(total=len(kinds), desc="timing", unit="kind", leave=False, disable=None) as bar:
        for kind in ordered:
            if timed and time.monotonic() - started > TIMED_SECONDS:
                break
            bar.set_postfix_str(f"{label(kinds[kind].model)}, {method(kinds[kind])}")
            timed[kind] = seconds_per_image(kinds[kind])
            bar.update()
    return timed


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


def advice(columns: dict[str, float], epochs: int, guessed: int = 0) -> str:
    """How long it will take; over an hour, options with which it takes one. `guessed` kinds of run were not timed."""
    total = sum(columns.values())
    cheapest = min(columns, key=columns.__getitem__)
    told = f"About {duration(total)} on this machine's processor, one run after another."
    if guessed:
        told += (
            f" ({guessed} kinds of run, for which there was no time, are taken to be as slow as the slowest.)"
        )
    if total <= HOUR:
        return told
    for names, seconds in (("", total), (f' --cols "{cheapest}"', columns[cheapest])):
        share = HOUR / seconds
        if share >= 1:
            return f"{told} An hour is enough for{names}."
        if share * epochs >= 1:
            return f"{told} In an hour:{names} --budget {share:.2g}"
    return f"{told} Not even one epoch of each run of {cheapest} fits in an hour; fewer seeds, or a GPU."
