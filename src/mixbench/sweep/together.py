"""Several runs at once on one machine, each a process of its own."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGTERM
from subprocess import DEVNULL, Popen
from typing import IO

from mixbench.machine.signals import LAUNCHER, SAVING, StopRequest, stop_on_signals, stopped

POLL_SECONDS = 0.1
# No file of the current folder is imported for a module of Python's; `python -P` would be as good from 3.11 on.
BEGIN = f"""import sys
sys.path[:1] = [folder for folder in sys.path[:1] if folder]
sys.path.append({str(Path(__file__).parents[2])!r})
from mixbench.machine.parent import end_with_launcher
end_with_launcher()
from mixbench.cli import main
main()"""
TRAIN: Sequence[str] = (sys.executable, "-c", BEGIN, "train")


class Training:
    """A run that has begun: the process that trains it, and its slot."""

    def __init__(self, process: Popen, slot: Sequence[str]) -> None:
        self.slot = slot
        self._process, self._asked = process, False

    @property
    def status(self) -> int | None:
        """The process's exit status; None while it lives."""
        return self._process.poll()

    def stop(self, number: int) -> None:
        """Ask it, by this signal, to save a checkpoint and end."""
        if not self._asked and self.status is None:
            self._process.send_signal(number)
            self._asked = True  # a second signal would not let it save

    def wait(self) -> None:
        """Return when the process has ended."""
        self._process.wait()


class Pool:
    """At most as many trainings at a time as there are `slots`, lists of overrides for the run that has the slot.

    Their processes have our environment and what `environment` sets. Use inside `pool`, which makes one.
    """

    def __init__(
        self, slots: Sequence[Sequence[str]], environment: Mapping[str, str], stop: StopRequest
    ) -> None:
        self._free, self._begun, self._stop = list(slots), list[Training](), stop
        self._environment = {**os.environ, **environment, LAUNCHER: str(os.getpid())}
        # Threads of several processes on one core wait for each other: small networks are then 10 to 100 times slower.
        self._environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // len(slots))))

    @property
    def stopped(self) -> bool:
        """True when a signal has asked to stop: no further run is to begin."""
        return self._stop.number is not None

    @property
    def free(self) -> int:
        """How many runs can begin now."""
        self._give_back()
        return len(self._free)

    def start(self, overrides: Sequence[str], errors: IO | None = None) -> Training:
        """Begin a run in a slot, of which one must be free. Standard error goes to the file `errors`, else to ours."""
        self._give_back()
        slot = self._free.pop(0)
        # In a session of its own: Ctrl-C at the terminal reaches it once, through us.
        process = Popen(
            [*TRAIN, *overrides, *slot, "progress=false"],
            env=self._environment,
            stdout=DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        self._begun.append(Training(process, slot))
        return self._begun[-1]

    def _give_back(self) -> None:
        for training in [t for t in self._begun if t.status is not None]:
            self._begun.remove(training)
            self._free.append(training.slot)

    def pause(self) -> None:
        """Give the runs some time."""
        time.sleep(POLL_SECONDS)

    def end(self) -> None:
        """Stop what trains, by the signal that asked if there is one, and return when all have ended."""
        if self.stopped and any(training.status is None for training in self._begun):
            print(SAVING, file=sys.stderr, flush=True)
        for training in self._begun:
            training.stop(self._stop.number or SIGTERM)
        for training in self._begun:
            training.wait()


@contextmanager
def pool(slots: Sequence[Sequence[str]], environment: Mapping[str, str]) -> Iterator[Pool]:
    """A Pool for the block, which looks at `stopped`; when the block ends no process is left.

    SIGTERM, SIGUSR1 and Ctrl-C are passed on, so that every run saves a checkpoint; then Interrupted is raised.
    """
    with stop_on_signals() as stop:
        found = Pool(slots, environment, stop)
        try:
            yield found
        finally:
            found.end()
    if stop.number is not None:
        raise stopped(stop.number, "the runs under way have saved their state")


def train_together(
    runs: Sequence[Sequence[str]],
    slots: Sequence[Sequence[str]],
    environment: Mapping[str, str],
    done: Callable[[int, int], None],
) -> list[int]:
    """Train `runs`, lists of overrides, as many at a time as there are `slots`, each with its slot's overrides, in
    processes that have our environment and what `environment` sets.

    Returns their exit statuses; `done(i, status)` is called when run i has ended. Raises Interrupted as `pool` does;
    no further run is begun then.
    """
    statuses: dict[int, int] = {}
    waiting, training = list(range(len(runs))), dict[int, Training]()
    with pool(slots, environment) as places:
        while (waiting or training) and not places.stopped:
            while waiting and places.free and not places.stopped:
                i = waiting.pop(0)
                training[i] = places.start(runs[i])
            places.pause()
            for i, status in [(i, run.status) for i, run in training.items()]:
                if status is not None:
                    statuses[i] = status
                    del training[i]
                    done(i, status)
    return [statuses[i] for i in range(len(runs))]
