"""Ways to start a run, compared by processes in turns."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import numpy as np
import pytest

from mixbench.bench import processes
from mixbench.bench.processes import Measured, Start, compared, starts
from mixbench.errors import MixbenchError

TINY = ["dataset=digits", "model=small_cnn", "batch_size=32", "precision=float32"]
PLAIN, SLOW, BROKEN = Start(), Start({"OMP_NUM_THREADS": "1"}), Start(overrides=("compile=true",))


def test_ways_take_turns_and_ratios_are_taken_within_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed form: a machine that is twice as slow in each further round, and a way that takes three times the time:
    the ratio is 3 without spread, and the rates are those of the second of three rounds."""
    order = list[Start]()

    def process(method: str, overrides: Any, way: Start, seconds: float) -> Measured:
        order.append(way)
        if way is BROKEN:
            raise MixbenchError("no compiler")
        step = (3.0 if way is SLOW else 1.0) * 2.0 ** max(0, (len(order) - 2) // 2)
        return Measured(step, 128, 2**20 * (5 if way is SLOW else 4))

    monkeypatch.setattr(processes, "_process", process)
    told = list[str]()
    rows = compared("ERM", [], [PLAIN, BROKEN, SLOW], rounds=3, seconds=1.0, tell=told.append)
    assert rows == [
        ["nothing else", "64", "1.00 (1.00 to 1.00)", "4"],
        ["OMP_NUM_THREADS=1", "21", "3.00 (3.00 to 3.00)", "5"],
    ]
    assert order == [PLAIN, BROKEN, SLOW, SLOW, PLAIN, PLAIN, SLOW]
    assert "compile=true: left out, no compiler" in told


def test_without_the_plain_way_there_is_nothing_to_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a process that ends with status 1 is the last line that it wrote, and names the way."""
    failed = subprocess.CompletedProcess([], 1, "", "Traceback\nRuntimeError: out of luck\n")
    monkeypatch.setattr(processes.subprocess, "run", lambda *a, **k: failed)
    with pytest.raises(MixbenchError, match="ERM with nothing else failed: RuntimeError: out of luck"):
        compared("ERM", [], [PLAIN], rounds=2, seconds=1.0, tell=print)


def test_a_way_reaches_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the arguments of subprocess.run. Variables go into the environment, overrides behind the given ones."""
    given: dict[str, Any] = {}

    def run(command: list[str], **how: Any) -> subprocess.CompletedProcess[str]:
        given.update(how, program=command[-1])
        print_out = json.dumps({"seconds": 0.5, "images": 32, "memory": 7})
        return subprocess.CompletedProcess(command, 0, f"a line before\n{print_out}\n", "")

    monkeypatch.setattr(processes.subprocess, "run", run)
    monkeypatch.setenv("KEPT", "yes")
    way = Start({"OMP_WAIT_POLICY": "PASSIVE"}, ("channels_last=false",))
    assert processes._process("ERM", ["model=mlp"], way, 1.0) == Measured(0.5, 32, 7)
    assert (given["env"]["OMP_WAIT_POLICY"], given["env"]["KEPT"]) == ("PASSIVE", "yes")
    assert "['model=mlp', 'channels_last=false']" in given["program"]
    assert way.name == "OMP_WAIT_POLICY=PASSIVE channels_last=false"


@pytest.mark.parametrize("threads", [1, 2, 16])
def test_half_the_threads_where_there_are_two(threads: int) -> None:
    """Property: every way differs from all others, the first is the plain one, and none asks for no thread."""
    ways = starts(threads)
    assert ways[0] == Start()
    assert len({way.name for way in ways}) == len(ways)
    halves = [way.environment["OMP_NUM_THREADS"] for way in ways if "OMP_NUM_THREADS" in way.environment]
    assert halves == ([str(threads // 2)] if threads > 1 else [])


def test_a_report_counts_whole_steps(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed form: a clock that stands still but for 1/4 s at each look gives steps of 1/4 s, up to the time asked."""
    ticks = iter(np.arange(0, 100, 0.25).tolist())
    monkeypatch.setattr(processes, "settle", lambda one: None)
    monkeypatch.setattr(processes.time, "perf_counter", lambda: next(ticks))
    one = processes.subject("ERM", processes.configured("ERM", TINY), processes.torch.device("cpu"))
    counted = iter(range(100))
    stand_in = type(one)(one.name, counted, one.batch_size, one.state_bytes)
    monkeypatch.setattr(processes, "subject", lambda *a: stand_in)
    processes.report("ERM", TINY, 1.0)
    found = json.loads(capsys.readouterr().out)
    steps = next(counted)
    assert steps == 3  # looks at 0.25, 0.5 and 0.75 s; at 1.0 s it is over
    assert (found["seconds"], found["images"]) == (1.25 / 3, 32)
