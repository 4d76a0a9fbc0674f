"""SIGTERM, SIGUSR1, SIGUSR2 and Ctrl-C ask the loop to stop; it saves a checkpoint after the step it is in.

SIGHUP, which comes when the terminal is closed, does not: the training goes on. Only under torchrun, which a closed
terminal ends and which then ends its ranks, is it a request like the others.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mixbench.errors import MixbenchError

# SLURM warns with the one that was asked for: SIGUSR1 by custom, SIGUSR2 in jobs from submitit.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
# Within which a signal that comes again is the same one: SLURM sends it to all processes of a job step, and torchrun
# among them passes it on.
ECHO_SECONDS = 1.0
SAVING = "stopping: the runs save their state"  # what is said at once, of several runs
LAUNCHER = "MIXBENCH_LAUNCHER"  # the environment variable with the number of the process that trains a sweep


def outlive_terminal() -> None:
    """Ignore SIGHUP in this process and those that it starts, unless torchrun has started it."""
    if "WORLD_SIZE" not in os.environ:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def heeded() -> list[int]:
    """Those of SIGNALS that ask to stop: all, but a SIGHUP that is ignored, by `outlive_terminal` or by nohup."""
    hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return [int(number) for number in SIGNALS if number != signal.SIGHUP or hangs_up]


class Interrupted(MixbenchError):
    """The run was asked to stop, saved its state and stopped."""

    def __init__(self, message: str, number: int = signal.SIGTERM) -> None:
        super().__init__(message)
        self.exit_status = 128 + number


def stopped(number: int, kept: str) -> Interrupted:
    """What a command says that the signal `number` has ended: what was `kept`, and how to go on."""
    return Interrupted(f"stopped by {_named(number)}: {kept}; the same command goes on from there.", number)


def _named(number: int) -> str:
    if number == signal.SIGINT:
        return "Ctrl-C"
    warning = " (a scheduler's warning)" if number in (signal.SIGUSR1, signal.SIGUSR2) else ""
    return f"{signal.Signals(number).name}{warning}"


class StopRequest:
    """Set by the first signal; a later one of the same kind then acts as it would have without us.

    A process that a sweep has started is also asked to stop, as by SIGTERM, when the sweep's process is gone.

    While `at_once` is true there is nothing to save, and the first signal raises Interrupted where it comes.
    """

    def __init__(self, at_once: bool = False) -> None:
        self.at_once = at_once
        self.raised: Interrupted | None = None
        self._number: int | None = None
        self._launcher = os.getppid() if os.environ.get(LAUNCHER) == str(os.getppid()) else None

    @property
    def number(self) -> int | None:
        """The signal that asked; None while nobody has."""
        if self._launcher is not None and os.getppid() != self._launcher:
            return signal.SIGTERM
        return self._number

    def ask(self, number: int) -> None:
        """Let the loop stop after its step, or raise Interrupted before the first one."""
        before, self._number = self._number, number
        if self.at_once and before is None:
            self.raised = stopped(number, "training had not begun, what was there before is kept")
            raise self.raised


@contextmanager
def stop_on_signals(at_once: bool = False) -> Iterator[StopRequest]:
    """While the block runs, the signals set the StopRequest, made with `at_once`, instead of ending the process.

    Outside the main thread, where Python does not allow handlers, the request is simply never set.
    """
    request = StopRequest(at_once)
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in heeded()}
    asked: dict[int, float] = {}

    def ask(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - asked.setdefault(number, now) > ECHO_SECONDS:
            signal.signal(number, before[number])
            signal.raise_signal(number)
        request.ask(number)

    for number in before:
        signal.signal(number, ask)
    try:
        yield request
    except Interrupted as error:
        # OmegaConf makes what is raised inside it anew, from a message to which it adds lines of its own.
        raise request.raised or error from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
