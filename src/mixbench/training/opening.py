"""The first lines of a run: which method, data and model it is, and how it computes."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from mixbench.data import Splits
from mixbench.data.images import Pixels
from mixbench.data.stream import StreamedImages
from mixbench.engine.loop import Loop
from mixbench.machine.devices import device_title, precision_hint
from mixbench.schema.model import label
from mixbench.schema.specs import SPECS
from mixbench.schema.train import Train
from mixbench.seams import Examples
from mixbench.training.build import graph_choice


def first_lines(
    config: Train, splits: Splits, loop: Loop, device: torch.device, reason: str
) -> Iterator[str]:
    """What a run says before it trains. `reason` is why this device was chosen."""
    yield f"method   {_method(config)}"
    yield f"data     {_data(config, splits, loop.train)}"
    yield f"model    {label(config.model)}, {sum(p.numel() for p in loop.model.parameters()):,} parameters"
    how = [config.precision, graph_choice(config, device, loop.rule)[1]]
    if loop.ranks.size > 1:
        part = config.batch_size // loop.ranks.size
        how.append(f"each of {loop.ranks.size} ranks takes {part} images of a batch")
    yield f"device   {device} ({reason}), {device_title(device)}; {'; '.join(filter(None, how))}"
    if splits.note:
        yield f"note     {splits.note}"
    never = config.schedule.never(config.epochs) if hasattr(config.schedule, "never") else ()
    for words in (*never, *_left_out(config, len(loop.train))):
        yield f"note     {words}"
    if hint := precision_hint(device, config.precision):
        yield f"hint     {hint}"


def _method(config: Train) -> str:
    """The three seams in words, so that nobody mistakes Gaussian Mixup (gmix) for G-Mix (mixup under sam)."""
    seams = {"augment": config.augment, "regularizer": config.regularizer, "opt": config.opt}
    first_lines = {key: (type(option).__doc__ or "").strip().splitlines()[0] for key, option in seams.items()}
    base = getattr(config.opt, "base", "sgd")
    if base != "sgd":
        first_lines["opt"] += f" With {base} at lr {config.opt.lr:g}."
    return "\n         ".join(f"{key}={seams[key].name}: {line}" for key, line in first_lines.items())


def _data(config: Train, splits: Splits, train: Examples) -> str:
    """Which images, how many, and what is done to them before they are mixed; what was found out about them."""
    height, width, channels = splits.spec.shape
    sizes = f"{len(splits.train[1])} training, {len(splits.test[1])} test"
    sizes += f", {len(splits.val[1])} validation" if splits.val is not None else ""
    base = config.dataset
    area = getattr(base, "crop_area", None)
    changes = [f"random crops of {area[0]:.0%} to {area[1]:.0%} of a picture"] if area else []
    changes += [f"crop with padding {base.crop_padding}"] if base.crop_padding else []
    changes += ["flip"] if base.flip else []
    how = " and ".join(changes) if base.base_augment and changes else "no base augmentation"
    classes = f"{splits.spec.num_classes} classes"
    lines = [f"{base.label()}: {sizes} images {height}x{width}x{channels}, {classes}; {how}"]
    if base.name not in SPECS:
        lines.append(f"of a class to train on: {_counts(splits)}")
    if base.mean is None and isinstance(train, Pixels):
        mean, std = (" ".join(f"{value:.4g}" for value in values) for values in (train.mean, train.std))
        lines.append(f"mean {mean}, standard deviation {std} (of the training images)")
    if isinstance(train, StreamedImages):
        readers = {0: "this process", 1: "another process"}.get(train.readers, f"{train.readers} processes")
        lines.append(f"read for every batch by {readers}: {splits.streamed}")
    return "\n         ".join(lines)


def _left_out(config: Train, examples: int) -> Iterator[str]:
    """The images that no batch of an epoch takes, where they are more than a tenth."""
    left = examples % config.batch_size if config.drop_last else 0
    if left > examples / 10:
        yield (
            f"every epoch leaves out {left} of {examples} training images, other ones each time, which do not fill a"
            f" batch of {config.batch_size}; drop_last=false trains on them"
        )


def _counts(splits: Splits, shown: int = 10) -> str:
    """How many training images each class has; of many classes the first ones, and the range of the others."""
    counts = [0] * splits.spec.num_classes
    for position in splits.train.labels.tolist():
        counts[position] += 1
    known = ", ".join(f"{splits.spec.class_name(k)} {n}" for k, n in enumerate(counts[:shown]))
    rest = counts[shown:]
    return f"{known} and {len(rest)} more, {min(rest)} to {max(rest)} of each" if rest else known
