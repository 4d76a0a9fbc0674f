"""Commands that are carried out one after another, each a process of its own with a log and a time limit. What is
finished is not done again, whatever ended the start before.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixbench.files import write_json
from mixbench.machine.output import printable
from mixbench.machine.parent import end_with
from mixbench.record.standing import duration

PATIENCE = 3.0  # times the expected duration, after which a step is stopped
SLACK = 1.0  # seconds that a step may lack, so that one of all the minutes of a start has time
GRACE = 30.0  # seconds that a step has from SIGTERM to SIGKILL: a run saves its state
WIDTH = 150  # of the line that tells of a step


@dataclass(frozen=True)
class Step:
    """A command under a name that is a file's as well. `minutes` is how long it takes; of its output the last line with
    the pattern `said` is shown.
    """

    name: str
    command: Sequence[str]
    minutes: float
    said: str = r"\S"


def at_once(line: str) -> None:
    """Print the line now, also into a file or a pipe."""
    print(line, flush=True)


class Session:
    """Steps of one folder: their logs in FOLDER/logs, what became of them in FOLDER/steps.json.

    `minutes` is the time that this start has: a step that takes longer than what is left of it is left out.
    """

    def __init__(self, folder: Path, minutes: float, tell: Callable[[str], None] = at_once) -> None:
        self.folder, self.tell = folder, tell
        self.ends = time.monotonic() + 60 * minutes
        self.failed: list[str] = []
        self.left_out: list[str] = []
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        self._record = folder / "steps.json"
        self.steps: dict[str, dict[str, Any]] = {}
        if self._record.exists():
            self.steps = json.loads(self._record.read_text(encoding="utf-8"))

    @property
    def left(self) -> float:
        """Seconds."""
        return max(0.0, self.ends - time.monotonic())

    def finished(self, name: str) -> bool:
        """Whether a step has ended well, now or in a start before."""
        return self.steps.get(name, {}).get("state") == "finished"

    def carry_out(self, step: Step, *, again: bool = False) -> bool:
        """Run the step unless it is finished, which `again` does not ask, or does not fit; whether it is finished.

        On Ctrl-C, and whatever else ends this process, the step is ended as well.
        """
        if self.finished(step.name) and not again:
            self._tell("before", step, self.steps[step.name]["seconds"], self.steps[step.name]["said"])
            return True
        if 60 * step.minutes > self.left + SLACK:
            self.left_out.append(step.name)
            self._tell("left out", step, 60 * step.minutes, "more than there is left; the next start does it")
            return False
        log = self.folder / "logs" / f"{step.name}.log"
        limit = min(self.left, 60 * PATIENCE * step.minutes)
        started = time.monotonic()
        status = _run(step.command, log, limit)
        seconds = time.monotonic() - started
        state = "finished" if status == 0 else "failed" if status is not None else "stopped"
        said = _said(log, step.said if status == 0 else r"\S")
        self.steps[step.name] = {
            "state": state,
            "status": status,
            "seconds": round(seconds, 1),
            "expected": 60 * step.minutes,
            "ended": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "command": shlex.join(["python" if word == sys.executable else word for word in step.command]),
            "said": said,
        }
        write_json(self._record, self.steps)
        if status != 0:
            self.failed.append(step.name)
            why = "its time is up" if status is None else f"status {status}"
            said = f"{why}, see logs/{log.name}: {said}"
        self._tell(state, step, seconds, said)
        return status == 0

    def _tell(self, state: str, step: Step, seconds: float, said: str) -> None:
        self.tell(printable(f"{state:9} {step.name:18} {duration(seconds):>7}  {said}"[:WIDTH]))


def _run(command: Sequence[str], log: Path, limit: float) -> int | None:
    """The command's exit status; None where it was stopped after `limit` seconds. Its output goes to `log`.

    In a session of its own: Ctrl-C reaches it through us, and what it has started is stopped with it.
    """
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=functools.partial(end_with, os.getpid(), signal.SIGTERM),
        )
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                _end(process)


def _end(process: subprocess.Popen) -> None:
    for number, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)


def _said(log: Path, pattern: str) -> str:
    """The last line of a log that has the pattern, else the last one that has anything; runs of blanks are one."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    for wanted in (pattern, r"\S"):
        found = [line for line in lines if re.search(wanted, line)]
        if found:
            return " ".join(found[-1].split())
    return "no output"
