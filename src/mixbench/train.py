"""Training one run: config -> data -> model -> seams -> loop -> record, in a straight line."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import nn

from mixbench import data, tracking
from mixbench.config.identity import run_id
from mixbench.data.images import Pixels
from mixbench.data.stream import StreamedImages
from mixbench.engine.loop import Loop, Position
from mixbench.engine.progress import Progress
from mixbench.files import write_atomic, write_json
from mixbench.machine.devices import (
    device_title,
    memory_errors_in_words,
    peak_memory,
    precision_hint,
    rank_device,
    reset_peak_memory,
    resolve_device,
    set_determinism,
)
from mixbench.machine.ranks import Ranks
from mixbench.machine.signals import Interrupted, StopRequest
from mixbench.record.read import Row
from mixbench.record.summary import epoch_line, totals
from mixbench.record.write import write_rows
from mixbench.schema.model import label
from mixbench.schema.specs import SPECS
from mixbench.schema.train import Train
from mixbench.seams import Examples
from mixbench.training import checkpoint
from mixbench.training.build import build_loop, graph_choice
from mixbench.training.environment import environment

log = logging.getLogger("mixbench")


@memory_errors_in_words()
def train(config: Train, directory: Path, stop: StopRequest, ranks: Ranks) -> dict[str, Any]:
    """Train the run of `config` in `directory` to its end, from its last checkpoint where there is one.

    Of several `ranks`, rank 0 alone writes to the directory.
    Returns the results for summary.json. Raises Interrupted when `stop` is set, Diverged for a loss that is not
    finite, DataError, OutputError, and MixbenchError when the device is out of memory.
    """
    if ranks.size > 1:
        device, reason = rank_device(config.device, int(os.environ["LOCAL_RANK"]))
    else:
        device, reason = resolve_device(config.device)
    ranks.use(device)
    set_determinism(config.deterministic)
    reset_peak_memory(device)
    if ranks.rank == 0:
        write_json(directory / "env.json", environment(device))

    splits = data.of_option(config.dataset, config.data_dir, device)
    loop = build_loop(config, device, splits, ranks)
    model, rule = loop.model, loop.rule

    log.info(f"method   {method_line(config)}")
    log.info(f"data     {data_line(config, splits, loop.train)}")
    log.info(f"model    {label(config.model)}, {sum(p.numel() for p in model.parameters()):,} parameters")
    how = [config.precision, graph_choice(config, device, rule)[1]]
    if ranks.size > 1:
        how.append(f"each of {ranks.size} ranks takes {config.batch_size // ranks.size} images of a batch")
    log.info(f"device   {device} ({reason}), {device_title(device)}; {'; '.join(filter(None, how))}")
    if splits.note:
        log.info(f"note     {splits.note}")
    if hint := precision_hint(device, config.precision):
        log.info(f"hint     {hint}")

    position = Position()
    parts = {"model": model, "optimizer": rule.base, "metrics": loop.metrics, "position": position}
    parts |= {"scaler": rule.scaler} if rule.scaler is not None else {}
    parts |= {"rule": rule} if rule.state_dict() else {}
    parts |= {"average": loop.average} if loop.average is not None else {}
    snapshot = checkpoint.Snapshot(directory, run_id(config), ranks, **parts)
    damaged = snapshot.restore()
    if damaged is not None:
        for line in damaged:
            log.warning(line)
        log.info(f"resume   after epoch {position.epoch}, step {position.step} of the next")
    if ranks.size > 1:
        ranks.check_same("the checksum of the weights at the start", digest(model))
    with tracking.tracked(config, directory, position.rows) as track:
        run_epochs(config, directory, loop, position, snapshot, stop, track)

    if ranks.rank == 0:
        with loop.evaluated():
            _keep(model, directory)
    return {
        **totals(position.rows, loop.examples),
        "data_note": splits.note,
        "peak_memory_bytes": peak_memory(device),
        "peak_memory_of": "tensors on the device" if device.type == "cuda" else "the whole process",
    }


def _keep(model: nn.Module, directory: Path) -> None:
    """The final weights, in place of the checkpoints."""
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    write_atomic(directory / "model.safetensors", safetensors.torch.save(weights))
    checkpoint.remove(directory)


def run_epochs(
    config: Train,
    directory: Path,
    loop: Loop,
    position: Position,
    snapshot: checkpoint.Snapshot,
    stop: StopRequest,
    track: Callable[[Row], None],
) -> None:
    """Train epoch after epoch, leaving a checkpoint often enough and a row after each, which `track` gets too."""
    ranks = loop.ranks
    if position.rows and ranks.rank == 0:
        write_rows(directory, position.rows)  # a kill may have come between the checkpoint and the rows
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
                    raise Interrupted(
                        f"stopped by signal {number} in epoch {position.epoch + 1} after step {position.step}"
                        f" of {loop.steps}; the same command goes on from there.",
                        number,
                    )
            row = loop.close_epoch(position)
            if time.monotonic() - saved > config.checkpoint_seconds or loop.finished(position):
                snapshot.save()
                saved = time.monotonic()
            if ranks.rank == 0:
                write_rows(directory, position.rows)
            track(row)
            progress.end_epoch(row["test_acc"])
            log.info(epoch_line(row, config.epochs))


def digest(model: nn.Module) -> str:
    """Sixteen hexadecimal digits of all weights and buffers, on the CPU as on a GPU."""
    found = hashlib.sha256()
    for tensor in model.state_dict().values():
        found.update(tensor.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def method_line(config: Train) -> str:
    """The three seams in words, so that nobody mistakes Gaussian Mixup (gmix) for G-Mix (mixup under sam)."""
    seams = {"augment": config.augment, "regularizer": config.regularizer, "opt": config.opt}
    first_lines = {key: (type(option).__doc__ or "").strip().splitlines()[0] for key, option in seams.items()}
    return "\n         ".join(f"{key}={seams[key].name}: {line}" for key, line in first_lines.items())


def data_line(config: Train, splits: data.Splits, train: Examples) -> str:
    """Which images, how many, and what is done to them before they are mixed; what was found out about them."""
    height, width, channels = splits.spec.shape
    sizes = f"{len(splits.train[1])} training, {len(splits.test[1])} test"
    sizes += f", {len(splits.val[1])} validation" if splits.val is not None else ""
    base = config.dataset
    changes = [f"crop with padding {base.crop_padding}"] if base.crop_padding else []
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


def _counts(splits: data.Splits, shown: int = 10) -> str:
    """How many training images each class has; of many classes the first ones, and the range of the others."""
    counts = [0] * splits.spec.num_classes
    for position in splits.train.labels.tolist():
        counts[position] += 1
    known = ", ".join(f"{splits.spec.class_name(k)} {n}" for k, n in enumerate(counts[:shown]))
    rest = counts[shown:]
    return f"{known} and {len(rest)} more, {min(rest)} to {max(rest)} of each" if rest else known
