"""Measuring itself: the run's network on some data, evaluator after evaluator, each kept as soon as it is done."""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import torch

from mixbench import __version__
from mixbench.analysis import stored
from mixbench.analysis.evaluators import evaluator
from mixbench.analysis.options import Options
from mixbench.analysis.source import NoSuchPart, Source, own
from mixbench.data import Split
from mixbench.files import plain
from mixbench.inventory import arithmetic
from mixbench.machine.devices import device_title, memory_errors_in_words
from mixbench.machine.output import printable
from mixbench.record.run import SavedRun
from mixbench.seams import Examples
from mixbench.training.restore import LoadedRun, RestoredNetwork

log = logging.getLogger("mixbench")


@memory_errors_in_words()
def measure(
    saved: SavedRun,
    asked: Sequence[tuple[str, Options, Source]],
    weights: str,
    device: str,
    data_dir: str | None,
    select: str,
    precision: str | None,
) -> dict[str, stored.Evaluation | None]:
    """The evaluations, each by its name, options and data, of a run's weights. `weights` is their SHA-256, `select`
    what kept them; None for `precision` is that of training.
    """
    run = LoadedRun(saved.directory, saved.weights)
    network = run.network(device, precision)
    if precision is None and (words := _slow(network)):
        log.warning(printable(f"{run.directory}: {words}"))
    parts = {
        on: _examples(run, on, network.device, data_dir) for on in dict.fromkeys(on for _, _, on in asked)
    }
    found = dict[str, stored.Evaluation | None]()
    for name, options, on in asked:
        examples, data = parts[on]
        started = time.perf_counter()
        result = evaluator(name)(network, examples, **options)
        evaluation = {
            "name": name,
            "options": options,
            "source": on.name,
            "data": data,
            "result": result,
            "weights": weights,
            "device": {
                "name": device_title(network.device),
                "type": network.device.type,
                "precision": network.precision,
                "batch_size": network.batch_size,
            },
            "versions": {
                "mixbench": __version__,
                "torch": torch.__version__,
                "torchmetrics": metadata.version("torchmetrics"),
            },
            "measured": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "seconds": time.perf_counter() - started,
        }
        stored.write(run.directory, evaluation, select)
        found[name] = plain(evaluation)
    return found


def _slow(network: RestoredNetwork) -> str:
    """What to do where a processor computes slowly in the precision of training; empty where it does not."""
    fast, _ = arithmetic.precision(str(network.device))
    if network.device.type != "cpu" or network.precision == "float32" or fast != "float32":
        return ""
    words = f"was trained in {network.precision}, which this processor computes slowly"
    return f"{words}; mixbench eval --precision float32 is faster"


def _examples(
    run: LoadedRun, on: Source, device: torch.device, data_dir: str | None
) -> tuple[Examples, dict[str, Any]]:
    """The examples, and what they are, in words."""
    if on.path is not None:
        size = run.values.get("dataset.size")
        images, labels, note = own(on.path, run.description.shape, run.class_names, size)
        examples = run.examples(Split(run.fitting(images), labels), device)
        what = {"path": str(on.path.resolve()), "sha256": on.sha256, "examples": len(examples), "note": note}
        return examples, what
    splits = run.splits(data_dir, device)
    split = {"test": splits.test, "val": splits.val, "train": splits.train}[on.name]
    if split is None:
        raise NoSuchPart(f"--on val: {run.directory} held out no examples. Allowed: test, train, or a path.")
    how = {"streamed": True, "readers": run.config.dataset.readers()} if splits.streamed else {}
    examples = run.examples(split, device, **how)
    return examples, {
        "dataset": splits.spec.name,
        "part": on.name,
        "examples": len(examples),
        "note": splits.note,
    }
