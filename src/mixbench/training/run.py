"""One run, whatever happens to it: already finished, resumed, failed, interrupted. Imports torch only to train."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import logging
import os
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mixbench import tracking
from mixbench.config.identity import flat, method, run_dir, run_id
from mixbench.errors import ConfigError, DataError, MixbenchError, OutputError
from mixbench.files import remove_leftovers
from mixbench.machine.gpus import place
from mixbench.machine.launch import again, launch
from mixbench.machine.output import printable
from mixbench.machine.signals import Interrupted, stop_on_signals
from mixbench.record.claim import ClaimLost, claimed
from mixbench.record.data import other_data
from mixbench.record.run import SavedRun
from mixbench.record.siblings import shorter
from mixbench.record.summary import table
from mixbench.record.write import OpenRecord, move_aside
from mixbench.schema.model import label
from mixbench.schema.train import Train
from mixbench.training.frozen import changed_since_start
from mixbench.training.log import logging_to
from mixbench.training.other_code import other_code
from mixbench.training.weights import initial

if TYPE_CHECKING:
    from mixbench.machine.ranks import Ranks, SeveralRanks

log = logging.getLogger("mixbench")

# Of the summary of the start before, until this one has come far enough to say it itself.
KEPT = ("data", "history")


def execute(config: Train, patience: float = 0.0) -> None:
    """Train the run that `config` describes, or go on with it, or show it when it is finished.

    While another process works on it, waits `patience` seconds for that to end, then raises RunBusy. Raises DataError
    for a record that is damaged, and MixbenchError with the state recorded in summary.json: `failed` or `interrupted`.
    """
    _check_launch(config.devices)
    if config.devices == 1:
        _lead(config, patience)
        return
    from mixbench.machine.ranks import joined

    with joined(run_id(config), config.rank_timeout) as ranks:
        if ranks.rank == 0:
            _lead(config, patience, ranks)
        else:
            _follow(config, ranks)


def processes_started() -> int:
    """How many processes torchrun has started, of which this is one; 1 without it.

    Raises ConfigError where the environment says so, but not all that torchrun says.
    """
    size = os.environ.get("WORLD_SIZE", "1")
    if not re.fullmatch(r"[1-9]\d{0,5}", size, re.ASCII):
        raise ConfigError(f"WORLD_SIZE={size}: is set by torchrun, to a whole number >= 1; unset it.")
    missing = [key for key in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if key not in os.environ]
    if int(size) > 1 and missing:
        raise ConfigError(
            f"WORLD_SIZE={size}: without {', '.join(missing)}, which torchrun sets as well; start the processes by it,"
            " or unset WORLD_SIZE."
        )
    return int(size)


def _check_launch(devices: int) -> None:
    """Raise ConfigError unless as many processes were started as the run has devices."""
    started = processes_started()
    if devices == started:
        return
    if started == 1:
        raise ConfigError(
            f"devices={devices}: this is a process alone. Start one for each device:"
            f" torchrun --nproc-per-node {devices} -m mixbench train devices={devices} ..."
        )
    raise ConfigError(
        f"devices={devices}: torchrun has started {started} processes; allowed here: devices={started}."
        " The number is part of the run's identity."
    )


def _lead(config: Train, patience: float, ranks: Ranks | None = None) -> None:
    """Train with a record: a process alone, or rank 0."""
    directory = run_dir(config)
    # Restarted by torchrun or a scheduler, this goes on with the run that it began afresh.
    force = config.force and (ranks is None or ranks.first) and not again(SavedRun(directory).launch)
    if not force and _shown(config, ranks):
        export(config, patience)
        return
    if config.init_from is not None and SavedRun(directory).state == "missing":
        initial(config)  # before torch is loaded
    tracking.require(config.tracker.name)
    if ranks is None:  # several have their own way to a device
        from mixbench.machine.devices import resolve_device

        resolve_device(config.device)  # a mistake in it leaves no directory
    if force and (aside := move_aside(directory)) is not None:
        print(f"the run's old directory is now {aside}")
    with claimed(directory, patience) as claim:
        record = OpenRecord(directory, run_id(config), claim)
        if _shown(config, ranks):  # another process may have finished it in the meantime
            _export(config, record)
            return
        remove_leftovers(directory)
        with logging_to(directory):
            log.info(f"run      {directory}")
            other = shorter(config) if SavedRun(directory).state == "missing" else None
            if other is not None and not other_code(config, other.environment.get("plugins", {})):
                log.info(
                    f"note     {other.directory} is the same with {other.values['epochs']} epochs, and finished. This"
                    f" run begins anew; init_from={other.directory} would begin with its weights (another run)."
                )
            # A rank that leaves the others before they train would be missed: it stops with them, at the first step.
            with (
                _recorded(config, record) as summary,
                _placed(config),
                stop_on_signals(at_once=ranks is None) as stop,
            ):
                from mixbench.machine.ranks import ALONE
                from mixbench.train import train
                from mixbench.training import checkpoint

                ranks = ranks or ALONE
                ranks.told(True)
                train(config, record, summary, stop, ranks)
            # Not before the summary says finished: a kill in between would train again.
            with contextlib.suppress(OutputError, ClaimLost):
                checkpoint.remove(record)
            log.info(table(summary, directory))


def _shown(config: Train, ranks: Ranks | None) -> bool:
    """Whether the run is finished; it is then shown, and the other ranks are sent home.

    Raises DataError for one whose summary or weights are damaged, and for one that was trained on other data.
    """
    run = SavedRun(run_dir(config))
    if run.state == "unreadable":
        raise DataError(
            f"{run.error}\nDelete that file to go on from the run's last checkpoint, if it has one; force=true"
            " starts over and keeps the directory under another name."
        )
    if words := other_data(run, config):
        raise DataError(words)
    if run.state != "finished":
        return False
    lost = [line for line in run.damages() if ".safetensors" in line]
    if lost:
        raise DataError("\n".join([*(f"{line}." for line in lost), "force=true trains the run again."]))
    told = f"finished {run.summary.get('ended', '')}; force=true starts over\n{table(run.summary, run.directory)}"
    print(printable(told))
    asked = {"last", "best_val"} if config.keep == "both" else {config.keep}
    if missing := asked - run.summary.get("kept", {"last": 0}).keys():
        print(
            f"note: keep={config.keep}: the weights of {' and '.join(missing)} were not kept; force=true trains again"
        )
    for words in other_code(config, run.environment.get("plugins", {})):
        print(f"note: {words}")
    if ranks is not None:
        ranks.told(False)
    return True


def export(config: Train, patience: float = 0.0) -> None:
    """Send the rows of the finished run that `config` describes to its tracker, which may never have seen them.

    Without a tracker there is nothing to do. Raises ConfigError where its package is missing, DataError for rows that
    are damaged, RunBusy, OutputError.
    """
    if config.tracker.name == "none":
        return
    tracking.require(config.tracker.name)
    directory = run_dir(config)
    with claimed(directory, patience) as claim:
        _export(config, OpenRecord(directory, run_id(config), claim))


def _export(config: Train, record: OpenRecord) -> None:
    if config.tracker.name == "none":
        return
    rows = SavedRun(record.directory).rows
    if tracking.export(config, record, rows):
        print(f"tracker {config.tracker.name} has the {len(rows)} epochs of {record.directory}", flush=True)


def _follow(config: Train, ranks: SeveralRanks) -> None:
    """Train as rank 0 does, which alone keeps the record, and leave after it."""
    if not ranks.told(True):
        return
    from mixbench.engine.loop import Diverged
    from mixbench.schema.tracker import NoTracker
    from mixbench.train import train

    silent = dataclasses.replace(config, tracker=NoTracker(), progress=False)
    try:
        with stop_on_signals() as stop:
            train(silent, OpenRecord(run_dir(config), run_id(config), claim=None), {}, stop, ranks)
        ranks.await_first()
    except (Interrupted, Diverged) as end:  # rank 0 ends in the same way, and says so
        ranks.await_first()
        sys.exit(end.exit_status)


@contextlib.contextmanager
def _placed(config: Train) -> Iterator[None]:
    """Hold a place on a GPU, and make it the one that device=auto means; each of several ranks has its own anyway."""
    if config.devices > 1:
        yield
        return
    with place(config.device, config.runs_per_device) as gpu:
        if gpu is not None:
            os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # as nvidia-smi counts
            import torch

            torch.cuda.set_device(gpu)
        yield


@contextlib.contextmanager
def _recorded(config: Train, record: OpenRecord) -> Iterator[dict[str, Any]]:
    """Keep summary.json true: `running` inside the block, then `finished`, `interrupted` or `failed`."""
    before = SavedRun(record.directory).summary
    summary: dict[str, Any] = {
        "state": "running",
        "id": record.id,
        "dataset": config.dataset.label(),
        "model": label(config.model),
        "method": method(config),
        "config": flat(config),
        "started": before.get("started", _now()),
        "starts": before.get("starts", 0) + 1,
        "launch": before.get("launch") or launch(),
        **{key: before[key] for key in KEPT if key in before},
    }
    if changed := changed_since_start():
        log.warning("note     changed since this sweep was started: %s", " and ".join(changed))
        summary["changed_since_start"] = changed
    record.write_summary(summary)
    record.write_config(config)
    try:
        yield summary
        summary |= {"state": "finished", "ended": _now()}
    except ClaimLost:
        raise  # the record is another process's now
    except BaseException as error:
        stopped = isinstance(error, (Interrupted, KeyboardInterrupt, SystemExit))
        message = str(error) if isinstance(error, MixbenchError) else f"{type(error).__name__}: {error}"
        summary |= {"state": "interrupted" if stopped else "failed", "ended": _now(), "error": message}
        # Of the data and the machine, which it has once all is there to train with.
        if "history" not in summary:
            summary["begun"] = False
        with contextlib.suppress(OutputError, ClaimLost):  # a full disk is the error being reported
            record.write_summary(summary)
        if isinstance(error, OutputError):
            raise OutputError(
                f"{error}\nNothing is lost: with room to write, the same command goes on."
            ) from None
        # From Python 3.11 on.
        if not isinstance(error, MixbenchError) and not stopped and hasattr(error, "add_note"):
            error.add_note(
                f"The run {record.directory} is recorded as failed; once that is mended, the same command goes on."
            )
        raise
    record.write_summary(summary)


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
