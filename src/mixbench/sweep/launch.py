"""Cells through a Hydra launcher: one after another, in processes of this machine, on SLURM, on a Ray cluster."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict

from mixbench.config import plugins
from mixbench.config.check import typed
from mixbench.config.compose import composed, hydra_node, opened
from mixbench.config.trust import LAUNCHERS
from mixbench.errors import MixbenchError, output_error
from mixbench.machine import command, process
from mixbench.machine.output import printable
from mixbench.machine.signals import LAUNCHER, SAVING, Interrupted, heeded, stopped
from mixbench.record.claim import RunBusy, holder
from mixbench.record.run import SavedRun
from mixbench.training.run import execute

SAVING_SECONDS = 60.0  # the most that runs get to save their state when the sweep is stopped

_stopped = False  # in a worker: its launcher was told to stop, but may still hand over a cell


class Launcher:
    """The Hydra launcher that overrides of Hydra's own config choose; called with directories and overrides of runs.

    Raises ConfigError where there is no such launcher, or its jobs cannot import the plugins.
    """

    def __init__(self, hydra: Sequence[str], config_dir: str | None, output_dir: str) -> None:
        self.overrides, self.config_dir, self.output_dir = list(hydra), config_dir, output_dir
        chosen = hydra_node(self.overrides, config_dir)
        self.basic = chosen.launcher._target_ == LAUNCHERS["basic"]
        self._folders = [] if self.basic else plugins.folders()

    def __call__(
        self,
        directories: Sequence[Path],
        runs: Sequence[Sequence[str]],
        ended: Callable[[int, int], None] | None = None,
    ) -> list[int]:
        """The exit statuses of the runs. Raises Interrupted when a signal ends it.

        Hydra's default, which trains them one after another in this process, calls `ended(i, status)` after each.
        """
        with plugins.importable(self._folders), self._plugin(ended) as plugin:
            save: Callable[[], None] = functools.partial(_let_save, directories)
            if hasattr(plugin, "let_save"):
                plugin.let_save, save = save, lambda: None
            stopping = contextlib.nullcontext() if self.basic else _stopped_together(save)
            try:
                with stopping:
                    returns = plugin.launch([list(run) for run in runs], initial_job_idx=0)
            except MixbenchError:
                raise
            except Exception as error:  # such as a worker that the system has killed
                what = "".join(traceback.format_exception_only(error)).splitlines()[0]
                statuses = [_status(directory) for directory in directories]
                if all(status == RunBusy.exit_status for status in statuses):
                    raise MixbenchError(f"the launcher has started nothing: {what}") from error
                print(command.saying(f"the launcher has broken down: {what}"), file=sys.stderr)
                return statuses
        return [returned._return_value if type(returned._return_value) is int else 1 for returned in returns]

    @contextlib.contextmanager
    def _plugin(self, ended: Callable[[int, int], None] | None) -> Iterator[Any]:
        from hydra._internal.callbacks import Callbacks
        from hydra.core.plugins import Plugins
        from hydra.types import HydraContext, RunMode

        config = composed(self.overrides, self.config_dir, RunMode.MULTIRUN)
        with open_dict(config):
            config.output_dir = self.output_dir
        folder = Path(config.hydra.sweep.dir)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            OmegaConf.save(config, folder / "multirun.yaml")
        except OSError as error:
            raise output_error(folder, error) from None
        with opened(self.config_dir) as hydra:
            callbacks = Callbacks()
            callbacks.callbacks.append(_Forgetting(ended if self.basic else None))
            context = HydraContext(config_loader=hydra.config_loader, callbacks=callbacks)
            yield Plugins.instance().instantiate_launcher(
                config=config, hydra_context=context, task_function=cell
            )


class _Forgetting(Callback):
    """Lets go of the configs of jobs that have ended, of which launchers keep all they know: 0.15 MB for each."""

    def __init__(self, ended: Callable[[int, int], None] | None) -> None:
        self._ended, self._number = ended, 0

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **others: Any) -> None:
        """Keep the exit status, and tell it."""
        job_return.cfg = job_return.hydra_cfg = None
        if self._ended is not None:
            status = job_return._return_value
            self._ended(self._number, status if type(status) is int else 1)
            self._number += 1


def _status(directory: Path) -> int:
    """How a run stands whose launcher has broken down: done, ended, or to be started (again)."""
    state = SavedRun(directory).state
    if state in ("failed", "interrupted"):
        return 1
    return 0 if state == "finished" else RunBusy.exit_status


def cell(config: DictConfig) -> int:
    """The exit status of one run of a sweep, in whatever process the launcher chose. A failure is on record."""
    global _stopped
    if _stopped:
        sys.exit(128 + signal.SIGTERM)
    parent = os.getppid()
    process.begin()
    try:
        execute(typed(config))
    except Interrupted as stop:
        _stopped = True
        print(command.saying(stop), file=sys.stderr)
        handler = signal.getsignal(stop.exit_status - 128)
        if os.getppid() != parent and os.environ.get(LAUNCHER) == str(parent):
            # loky's worker would wait for ever for work from a launcher that is gone.
            os._exit(stop.exit_status)
        if callable(handler) and handler is not signal.default_int_handler:
            handler(stop.exit_status - 128, None)  # submitit's: it puts the job into the queue again
        sys.exit(stop.exit_status)
    except MixbenchError as error:
        print(printable(command.saying(error)), file=sys.stderr)
        return error.exit_status
    except Exception:
        traceback.print_exc()
        return 1
    finally:
        # torch's compiler leaves circles, which hold the frames that called it, and so all of a run.
        if config.get("compile"):
            gc.collect()
    return 0


@contextlib.contextmanager
def _stopped_together(save: Callable[[], None]) -> Iterator[None]:
    """A signal in this block first calls `save`, then raises Interrupted."""

    def stop(number: int, frame: FrameType | None) -> None:
        restore()  # a second signal ends the sweep at once
        print(SAVING, file=sys.stderr, flush=True)
        save()
        raise stopped(number, "runs on this machine have saved their state, jobs of a cluster go on")

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {number: signal.signal(number, stop) for number in heeded()}
    try:
        yield
    finally:
        restore()


def _let_save(directories: Sequence[Path]) -> None:
    """Send SIGTERM to every process below this one that trains one of the runs; return when all have let go."""
    import psutil  # comes with the extras joblib, submitit and ray

    asked: set[int] = set()
    deadline = time.monotonic() + SAVING_SECONDS
    while time.monotonic() < deadline:
        ours = {process.pid for process in psutil.Process().children(recursive=True)}
        owners = [owner for owner in map(holder, directories) if owner and owner.host == socket.gethostname()]
        training = {owner.pid for owner in owners} & ours
        if not training:
            return
        for pid in training - asked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        asked |= training
        time.sleep(0.1)
