"""One run, whatever happens to it: already finished, resumed, failed, interrupted. Imports torch only to train."""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mixbench import tracking
from mixbench.claim import ClaimLost, claimed
from mixbench.config import flat, method, run_dir, run_id
from mixbench.errors import MixbenchError, OutputError, output_error
from mixbench.gpus import place
from mixbench.record import move_aside, read_summary, write_config, write_summary
from mixbench.schema.model import label
from mixbench.schema.train import Train
from mixbench.signals import Interrupted, stop_on_signals
from mixbench.summary import table
from mixbench.sweep.frozen import changed_since_start

log = logging.getLogger("mixbench")


def execute(config: Train, patience: float = 0.0) -> None:
    """Train the run that `config` describes, or go on with it, or show it when it is finished.

    While another process works on it, waits `patience` seconds for that to end, then raises RunBusy. Raises
    MixbenchError with the state recorded in summary.json: `failed` or `interrupted`.
    """
    directory = run_dir(config)
    if not config.force and _shown(directory):
        return
    tracking.require(config.tracker.name)
    if config.force and (aside := move_aside(directory)) is not None:
        print(f"the run's old directory is now {aside}")
    with claimed(directory, patience):
        if _shown(directory):  # another process may have finished it in the meantime
            return
        with _logging(directory):
            log.info(f"run      {directory}")
            with _recorded(config, directory) as summary, _placed(config), stop_on_signals() as stop:
                from mixbench.train import train

                summary |= train(config, directory, stop)
            log.info(table(summary, directory))


def _shown(directory: Path) -> bool:
    """Whether the run is finished, and then shown."""
    summary = read_summary(directory)
    if summary is None or summary.get("state") != "finished":
        return False
    print(f"finished {summary['ended']}; force=true starts over\n{table(summary, directory)}")
    return True


@contextlib.contextmanager
def _placed(config: Train) -> Iterator[None]:
    """Hold a place on a GPU, and make it the one that device=auto means."""
    with place(config.device, config.runs_per_device) as gpu:
        if gpu is not None:
            os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # as nvidia-smi counts
            import torch

            torch.cuda.set_device(gpu)
        yield


@contextlib.contextmanager
def _recorded(config: Train, directory: Path) -> Iterator[dict[str, Any]]:
    """Keep summary.json true: `running` inside the block, then `finished`, `interrupted` or `failed`."""
    before = read_summary(directory) or {}
    summary: dict[str, Any] = {
        "state": "running",
        "id": run_id(config),
        "dataset": config.dataset.name,
        "model": label(config.model),
        "method": method(config),
        "config": flat(config),
        "started": before.get("started", _now()),
        "starts": before.get("starts", 0) + 1,
    }
    if changed := changed_since_start():
        log.warning("note     changed since this sweep was started: %s", " and ".join(changed))
        summary["changed_since_start"] = changed
    write_summary(directory, summary)
    write_config(directory, config)
    try:
        yield summary
        summary |= {"state": "finished", "ended": _now()}
    except ClaimLost:
        raise  # the record is another process's now
    except BaseException as error:
        stopped = isinstance(error, (Interrupted, KeyboardInterrupt, SystemExit))
        message = str(error) if isinstance(error, MixbenchError) else f"{type(error).__name__}: {error}"
        summary |= {"state": "interrupted" if stopped else "failed", "ended": _now(), "error": message}
        with contextlib.suppress(OutputError, ClaimLost):  # a full disk is the error being reported
            write_summary(directory, summary)
        if isinstance(error, OutputError):
            raise OutputError(
                f"{error}\nNothing is lost: with room to write, the same command goes on."
            ) from None
        raise
    write_summary(directory, summary)


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


class _TqdmHandler(logging.Handler):
    """Prints above the progress bars instead of through them."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record))


@contextlib.contextmanager
def _logging(directory: Path) -> Iterator[None]:
    """Send the log to standard output and to the run's train.log."""
    try:
        handlers = [_TqdmHandler(), logging.FileHandler(directory / "train.log")]
    except OSError as error:
        raise output_error(directory / "train.log", error) from None
    log.setLevel(logging.INFO)
    propagate, log.propagate = log.propagate, False
    for handler in handlers:
        log.addHandler(handler)
    try:
        yield
    finally:
        log.propagate = propagate
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()
