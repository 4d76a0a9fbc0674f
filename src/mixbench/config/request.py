"""What is a mistake to ask for, though a record of it may be there and is read: data that are not all here, one image
under BatchNorm, drops of the learning rate that are not meant."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from mixbench.config.check import size_problems
from mixbench.config.options import given
from mixbench.errors import ConfigError
from mixbench.inventory.prepared import sizes
from mixbench.schema.model import last_side
from mixbench.schema.specs import SPECS, DataSpec
from mixbench.schema.train import Train


def requested(run: Train) -> Train:
    """The checked run, which is now to be trained. Raises ConfigError with one line for each mistake."""
    problems = list(run.schedule.mistakes()) if hasattr(run.schedule, "mistakes") else []
    if run.dataset.present():
        spec = _as_prepared(run)
        problems += list(size_problems(run, spec)) or _lone_images(run, spec)
    if problems:
        raise ConfigError("\n".join(problems))
    return run


def _as_prepared(run: Train) -> DataSpec:
    """The run's set, with as many examples as there are on this machine, where it lies prepared."""
    spec = run.dataset.spec()
    found = sizes(spec.name, run.data_dir) if spec.name in SPECS else None
    return spec if found is None else dataclasses.replace(spec, train_size=found[0], test_size=found[1])


def _lone_images(run: Train, spec: DataSpec) -> Iterator[str]:
    """Where BatchNorm would see one value of each channel, which has no variance."""
    if spec.kind != "image" or last_side(run.model, max(spec.shape[:2])) != 1:
        return
    examples = getattr(run.dataset, "train_size", None) or spec.train_size - run.dataset.held_out()
    parts = run.devices * run.accumulate
    why = (
        f"the last stage of model={given('model', run.model)} has one pixel for images of"
        f" {spec.shape[0]}x{spec.shape[1]}, and BatchNorm needs two values of each channel"
    )
    batches = {"batch_size": min(run.batch_size, examples)}
    if not run.drop_last and examples % run.batch_size:
        batches["drop_last"] = examples % run.batch_size
    for key, images in batches.items():
        set_by = f"batch_size={run.batch_size}" if key == "batch_size" else "drop_last=false"
        seen = images // parts
        if seen == 1:
            cut = f", cut into {parts} parts (devices={run.devices}, accumulate={run.accumulate})" * (
                parts > 1
            )
            yield f"{set_by}: is a batch of {images} images{cut}: {why}; allowed: two images in every part."
            return
        if getattr(run.opt, "compute", "") == "subset" and max(1, round(run.opt.gamma * seen)) == 1:
            yield (
                f"opt.gamma={run.opt.gamma:g}: keeps one of {seen} images ({set_by}): {why}; allowed:"
                " opt.compute=masked, a larger batch or share."
            )
            return
