"""The first lines of a run: which method, data and model it is, and how it computes."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from mixbench.config.changes import changes
from mixbench.data import Splits
from mixbench.data.kinds import called, kind
from mixbench.engine.loop import Loop
from mixbench.machine.devices import device_title, precision_hint
from mixbench.schema.methods import known_as
from mixbench.schema.model import label
from mixbench.schema.published import PUBLISHED
from mixbench.schema.train import Train
from mixbench.seams import Examples
from mixbench.training.build import graph_choice


def first_lines(
    config: Train, splits: Splits, loop: Loop, device: torch.device, reason: str
) -> Iterator[str]:
    """What a run says before it trains. `reason` is why this device was chosen."""
    noun = called(splits.spec)
    yield f"method   {_method(config)}"
    yield f"values   {' '.join(f'{key}={_written(value)}' for key, value in changes(config).items())}"
    yield f"data     {_data(config, splits, loop.train)}"
    yield f"model    {label(config.model)}, {sum(p.numel() for p in loop.model.parameters()):,} parameters"
    how = [config.precision, graph_choice(config, device, loop.augment, loop.rule, loop.model)[1]]
    if loop.ranks.size > 1:
        part = config.batch_size // loop.ranks.size
        how.append(f"each of {loop.ranks.size} ranks takes {part} {noun} of a batch")
    yield f"device   {device} ({reason}), {device_title(device)}; {'; '.join(filter(None, how))}"
    if splits.note:
        yield f"note     {splits.note}"
    never = config.schedule.never(config.epochs) if hasattr(config.schedule, "never") else ()
    for words in (*never, *_left_out(config, len(loop.train), noun)):
        yield f"note     {words}"
    if hint := precision_hint(device, config.precision):
        yield f"hint     {hint}"


def _method(config: Train) -> str:
    """What the three seams make, where it has a name, and the seams in words: nobody mistakes Gaussian Mixup (gmix) for
    G-Mix (mixup under sam).
    """
    title = known_as(config.augment.name, config.regularizer.name, config.opt.name)
    seams = {"augment": config.augment, "regularizer": config.regularizer, "opt": config.opt}
    first_lines = {key: (type(option).__doc__ or "").strip().splitlines()[0] for key, option in seams.items()}
    base = getattr(config.opt, "base", "sgd")
    if base != "sgd":
        first_lines["opt"] += f" With {base} at lr {config.opt.lr:g}."
    lines = [f"{key}={seams[key].name}: {line}" for key, line in first_lines.items()]
    return "\n         ".join([title, *lines] if title else lines)


def _written(value: object) -> str:
    """A value as on the command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value).replace(" ", "")


def _data(config: Train, splits: Splits, train: Examples) -> str:
    """Which examples, how many, and what is done to them before they are mixed; what was found out about them."""
    sizes = f"{len(splits.train[1])} training, {len(splits.test[1])} test"
    sizes += f", {len(splits.val[1])} validation" if splits.val is not None else ""
    base = config.dataset
    what, how, kept = kind(splits.spec.kind).words(base, splits, train)
    lines = [f"{base.label()}: {sizes} {what}, {splits.spec.num_classes} classes; {how}"]
    if base.name not in PUBLISHED:
        lines.append(f"of a class to train on: {_counts(splits)}")
    return "\n         ".join([*lines, *kept])


def _left_out(config: Train, examples: int, noun: str) -> Iterator[str]:
    """The examples, called `noun`, that no batch of an epoch takes, where they are more than a tenth."""
    left = examples % config.batch_size if config.drop_last else 0
    if left > examples / 10:
        yield (
            f"every epoch leaves out {left} of {examples} training {noun}, other ones each time, which do not fill a"
            f" batch of {config.batch_size}; drop_last=false trains on them"
        )


def _counts(splits: Splits, shown: int = 10) -> str:
    """How many training examples each class has; of many classes the first ones, and the range of the others."""
    counts = [0] * splits.spec.num_classes
    for position in splits.train.labels.tolist():
        counts[position] += 1
    known = ", ".join(f"{splits.spec.class_name(k)} {n}" for k, n in enumerate(counts[:shown]))
    rest = counts[shown:]
    return f"{known} and {len(rest)} more, {min(rest)} to {max(rest)} of each" if rest else known
