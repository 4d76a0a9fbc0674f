"""Training one run: config -> data -> model -> seams -> loop -> record, in a straight line."""

from __future__ import annotations

import json
import logging
import os
from typing import Any

from mixbench import tracking
from mixbench.data.kinds import called
from mixbench.engine.position import Position
from mixbench.machine.devices import (
    make_current,
    memory_errors_in_words,
    peak_memory,
    rank_device,
    reset_peak_memory,
    resolve_device,
    set_determinism,
)
from mixbench.machine.ranks import Ranks
from mixbench.machine.signals import StopRequest
from mixbench.record.summary import differences, totals
from mixbench.record.write import OpenRecord
from mixbench.schema.train import Train
from mixbench.training import checkpoint
from mixbench.training.best import Best, keep
from mixbench.training.build import build_loop, load_splits, normalisation
from mixbench.training.environment import environment
from mixbench.training.epochs import run_epochs
from mixbench.training.misfit import misfit_in_words
from mixbench.training.opening import first_lines
from mixbench.training.other_code import other_code
from mixbench.training.starts import Starts, conditions
from mixbench.training.weights import begin, described, digest

log = logging.getLogger("mixbench")


@memory_errors_in_words()
def train(
    config: Train, record: OpenRecord, summary: dict[str, Any], stop: StopRequest, ranks: Ranks
) -> None:
    """Train the run of `config` to its end, from the last checkpoint of its `record` where there is one.

    Of several `ranks`, rank 0 alone writes to the record. What it is trained on, and the results, are added to
    `summary`, the content of summary.json. Raises Interrupted when `stop` is set, Diverged for a loss that is not
    finite, DataError, OutputError, and MixbenchError when the device is out of memory.
    """
    if ranks.size > 1:
        device, reason = rank_device(config.device, int(os.environ["LOCAL_RANK"]))
    else:
        device, reason = resolve_device(config.device)
        make_current(device)
    ranks.use(device)
    set_determinism(config.deterministic)
    reset_peak_memory(device)
    made_with = environment(device)
    if ranks.rank == 0:
        record.write_json("env.json", made_with)

    splits = load_splits(config, device)
    loop = build_loop(config, device, splits, ranks)
    model, rule = loop.model, loop.rule

    for line in first_lines(config, splits, loop, device, reason):
        log.info(line)

    position = Position()
    starts = Starts(record.directory, config.dataset.label(), splits.sha256, conditions(made_with, config))
    best = Best(loop, config.keep != "last")
    parts = {
        "starts": starts,
        "best": best,
        "model": model,
        "optimizer": rule.base,
        "metrics": loop.metrics,
        "position": position,
    }
    parts |= {"scaler": rule.scaler} if rule.scaler is not None else {}
    parts |= {"rule": rule} if rule.state_dict() else {}
    parts |= {"average": loop.average} if loop.average is not None else {}
    snapshot = checkpoint.Snapshot(record, ranks, epochs=config.epochs, steps=loop.steps, **parts)
    damaged = snapshot.restore()
    if damaged is not None:
        for line in damaged:
            log.warning(line)
        log.info(f"resume   after epoch {position.epoch}, step {position.step} of the next")
        if changed := differences(starts.history[-2:]):
            log.warning(f"note     not as at the start before: {'; '.join(changed)}")
        for words in other_code(config, starts.plugins_before):
            log.warning(f"note     {words}")
    elif config.init_from is not None:
        begin(model, config)
        log.info(f"begin    with the weights in {config.init_from}")
    summary |= starts.state_dict()
    if ranks.rank == 0:
        record.write_summary(summary)
    if ranks.size > 1:
        ranks.check_same("the checksums of the data", json.dumps(starts.data, sort_keys=True))
        ranks.check_same("the checksum of the weights at the start", digest(model))
    fits = misfit_in_words(config, loop, splits.spec.num_classes)
    with tracking.tracked(config, record, position.rows) as track, fits:
        run_epochs(config, record, loop, position, snapshot, best, stop, track)

    if ranks.rank == 0:
        stored = str(splits.train.inputs.dtype)
        about = described(config, splits.spec, stored, *normalisation(config, splits))
        summary["kept"] = keep(config.keep, record, best, about, position.rows)
    summary |= {
        **totals(position.rows, loop.examples, called(splits.spec)),
        "data_note": splits.note,
        "peak_memory_bytes": peak_memory(device),
        "peak_memory_of": "tensors on the device" if device.type == "cuda" else "the whole process",
    }
