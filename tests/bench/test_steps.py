"""Steps with logs, time limits and a record: what runs, what is told, what a kill leaves. Oracle: a file to which each
step adds a line when it begins and when it ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from mixbench.bench import steps
from mixbench.bench.steps import Session, Step

NOTE = """import os, pathlib, sys, time
def note(word):
    with open("happened", "a") as file: file.write(word + "\\n")
pathlib.Path(f"{sys.argv[1]}.pid").write_text(str(os.getpid()))
note(f"{sys.argv[1]} begins")
print("something   with blanks", sys.argv[1])
print("the last line")
time.sleep(float(sys.argv[2]))
note(f"{sys.argv[1]} ends")
sys.exit(int(sys.argv[3]))"""
START = f"""import sys
from mixbench.bench.steps import Session, Step
from pathlib import Path
session = Session(Path("session"), 5)
for name, seconds in (("one", 0), ("two", 0), ("three", float(sys.argv[1])), ("four", 0)):
    session.carry_out(Step(name, [sys.executable, "-c", {NOTE!r}, name, str(seconds), "0"], 1))
"""


def step(name: str, seconds: float = 0, status: int = 0, minutes: float = 1, said: str = "blanks") -> Step:
    return Step(name, [sys.executable, "-c", NOTE, name, str(seconds), str(status)], minutes, said)


def happened() -> list[str]:
    path = Path("happened")
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def session(workplace: Path) -> Callable[..., tuple[Session, list[str]]]:
    def begin(minutes: float = 5) -> tuple[Session, list[str]]:
        told: list[str] = []
        return Session(Path("session"), minutes, told.append), told

    return begin


def test_a_step_has_a_line_a_log_and_a_record(session: Callable) -> None:
    """The line is the last one with the pattern; output and errors are in the log."""
    one, told = session()
    assert one.carry_out(step("mine"))
    assert told[0].split() == ["finished", "mine", "0", "s", "something", "with", "blanks", "mine"]
    assert Path("session/logs/mine.log").read_text().endswith("the last line\n")
    record = json.loads(Path("session/steps.json").read_text())["mine"]
    assert (record["state"], record["status"]) == ("finished", 0)
    assert record["command"].startswith("python -c ")


def test_a_failure_is_said_and_stops_nothing(session: Callable) -> None:
    """The next step runs; in the next start the failed one is tried again, and the finished one is not."""
    first, told = session()
    assert [first.carry_out(s) for s in (step("bad", status=3), step("good"))] == [False, True]
    assert first.failed == ["bad"]
    assert "status 3, see logs/bad.log: the last line" in told[0]
    second, told = session()
    assert second.carry_out(step("bad"))
    assert second.carry_out(step("good"))
    assert happened() == [f"{name} {word}" for name in ("bad", "good", "bad") for word in ("begins", "ends")]
    assert told[1].startswith("before ")


def test_a_step_that_does_not_fit_waits_for_the_next_start(session: Callable) -> None:
    """Two minutes are more than one; a shorter step behind it still runs."""
    one, told = session(minutes=1)
    assert not one.carry_out(step("long", minutes=2))
    assert one.carry_out(step("short", minutes=0.5))
    assert happened() == ["short begins", "short ends"]
    assert (one.failed, one.left_out) == ([], ["long"])
    assert "left out" in told[0]


def test_a_step_of_all_the_minutes_fits(session: Callable) -> None:
    """What the start itself has taken, here a few milliseconds, is not held against it."""
    one, _ = session(minutes=1)
    time.sleep(0.01)
    assert one.carry_out(step("whole", minutes=1))


def test_a_step_that_hangs_is_stopped(session: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """At PATIENCE times its duration, with what it has started, and also where SIGTERM is ignored."""
    monkeypatch.setattr(steps, "GRACE", 0.2)
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1], 'inner', '2', '0'])"
    deaf = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{child}"
    one, told = session()
    assert not one.carry_out(Step("deaf", [sys.executable, "-c", deaf, NOTE], 0.3 / 60))
    stopped = time.monotonic()
    assert told[0].startswith("stopped")
    assert "its time is up" in told[0]
    time.sleep(max(0.0, 2 - (time.monotonic() - stopped)))
    assert "inner ends" not in happened()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill", "Ctrl-C"])
def test_a_killed_start_goes_on(workplace: Path, number: int) -> None:
    """Killed while the third of four steps sleeps. It dies as well; then nothing that was finished runs again."""
    environment = {**os.environ, "PYTHONPATH": str(Path(steps.__file__).parents[2])}
    command = [sys.executable, "-c", START]
    process = subprocess.Popen(
        [*command, "60"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 60
    while "three begins" not in happened() and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(30) != 0
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(Path("three.pid").read_text())).wait(20)
    done = subprocess.run([*command, "0"], env=environment, capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "before",
        "before",
        "finished",
        "finished",
    ]
    expected = ["one begins", "one ends", "two begins", "two ends", "three begins"]
    assert happened() == [*expected, "three begins", "three ends", "four begins", "four ends"]
