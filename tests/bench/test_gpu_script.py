"""scripts/gpu.py: its steps are commands that mixbench takes, and its minutes are used up by cells that fit."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mixbench.bench import steps as steps_of_session
from mixbench.bench.fitting import PLAIN, Cell
from mixbench.bench.steps import Session, Step
from mixbench.bench.subjects import METHODS, configured
from mixbench.commands import bench, table
from mixbench.config.compose import compose
from mixbench.papers.cells import plan

ROOT = Path(__file__).resolve().parents[2]
GPU: dict[str, Any] = runpy.run_path(str(ROOT / "scripts" / "gpu.py"))
# Notes the names that it is called with; those that are to fail are not done.
NOTED = """import sys
names = sys.argv[1].split('+')
open('happened', 'a').write(sys.argv[1] + ' ')
open('done', 'a').write(''.join(name + ' ' for name in names if name not in sys.argv[2:]))
sys.exit(any(name in sys.argv[2:] for name in names))"""


@pytest.mark.parametrize("tiny", [False, True], ids=["whole", "tiny"])
def test_commands_are_taken(tiny: bool, workplace: Path) -> None:
    """Oracle: the parsers of the commands and the composer. Every name is a file's, and no other step has it."""
    steps = GPU["measurements"](Path("place"), "cpu", tiny)
    for step in steps:
        module, command, *rest = step.command[2:]
        if (module, command) == ("mixbench", "bench"):
            methods = rest[rest.index("--") + 1 :] if "--" in rest else []
            arguments = bench.parser().parse_intermixed_args(rest[: rest.index("--")] if methods else rest)
            for method in methods:
                configured(method, [*bench.BASE, *arguments.override])
            assert arguments.out == Path("place/bench") / step.name
        elif (module, command) == ("mixbench", "train"):
            compose(rest)
    names = [step.name for step in steps]
    assert len(set(names)) == len(names)
    assert {"smoke", "tests", "data", "rows", "methods", "together"} <= set(names)


def test_cells_train_themselves_and_nothing_else(workplace: Path) -> None:
    """Oracle: the runs that `mixbench table` plans for the command of two cells: those of their rows, up to their seed,
    the same runs as in the whole column.
    """
    column, rows = GPU["Column"](Path("place"), "cpu", False), ["SAM", "G-Mix"]
    cells = [c for c in column.waiting(GPU["GUESS"]) if c.row in rows and c.seed == 1]
    step = column.step(cells)
    runs = table.planned_runs(column.spec, table.parser().parse_args(step.command[4:]))
    assert sorted((run.cell.row, run.cell.seed) for run in runs) == [
        ("G-Mix", 0), ("G-Mix", 1), ("SAM", 0), ("SAM", 1)
    ]  # fmt: skip
    extra = [*column.settings, "output_dir=place/runs"]
    whole = plan(column.spec, columns=[GPU["COLUMN"]], extra=extra, rows=rows, seeds=2)
    assert [run.directory for run in runs] == [run.directory for run in whole]
    assert runs[0].config.epochs == 200
    assert 60 * step.minutes == sum(cell.seconds for cell in cells)


def test_every_row_has_a_rate() -> None:
    """Oracle: the methods that `mixbench bench` measures without further words."""
    assert set(GPU["GUESS"]) <= set(METHODS)
    assert PLAIN in METHODS
    column = GPU["Column"](Path("place"), "cpu", False)
    assert {cell.row for cell in column.waiting(GPU["GUESS"])} == set(column.spec.rows)


class Column:
    """Cells that stay, until they are done."""

    guess, guessed = {"a": 1.0}, "guessed"

    def __init__(self, waiting: list[Cell], failing: tuple[str, ...] = ()) -> None:
        self.cells, self.failing = waiting, failing

    def waiting(self, rate: dict[str, float]) -> list[Cell]:
        done = Path("done").read_text().split() if Path("done").exists() else []
        return [cell for cell in self.cells if f"{cell.row}{cell.seed}" not in done]

    def step(self, together: list[Cell]) -> Step:
        assert len({cell.seed for cell in together}) == 1
        name = "+".join(f"{cell.row}{cell.seed}" for cell in together)
        return noted(name, self.failing, sum(cell.seconds for cell in together) / 60)

    def written(self) -> Step:
        return noted("table", self.failing)


def noted(name: str, failing: tuple[str, ...] = (), minutes: float = 1) -> Step:
    return Step(name, [sys.executable, "-c", NOTED, name, *failing], minutes)


@pytest.fixture
def carried_out(workplace: Path) -> Callable[..., tuple[list[str], Session]]:
    """The names of the steps that a start runs, in their order, and its session."""

    def start(minutes: float, *failing: str) -> tuple[list[str], Session]:
        Path("happened").write_text("")
        session = Session(Path("place"), minutes, lambda line: None)
        cells = [Cell(row, seed, seconds) for row, seconds in (("a", 60), ("b", 120)) for seed in (0, 1)]
        steps = [noted(name, failing) for name in ("data", "rows", "other")]
        GPU["carried_out"](session, steps, Column(cells, failing))
        return Path("happened").read_text().split(), session

    return start


def test_cells_use_the_time_that_is_left(carried_out: Callable) -> None:
    """Oracle: by hand. Cells of 1 and 2 minutes, those of a seed together; steps take no time here, and must fit all
    the same.
    """
    assert carried_out(3.5)[0] == ["data", "rows", "other", "a0+b0", "a1+b1", "table"]
    assert carried_out(3.5)[0] == ["table"]


def test_more_minutes_go_on(carried_out: Callable) -> None:
    """Cells of 2 minutes wait for a start that has them; the table is written each time."""
    assert carried_out(1.5)[0] == ["data", "rows", "other", "a0", "a1", "table"]
    assert carried_out(2.5)[0] == ["b0", "b1", "table"]


def test_failures_stop_nothing(carried_out: Callable) -> None:
    """A method whose run fails is left alone in this start, and the others go on; the next start tries it again."""
    ran, session = carried_out(3.5, "a0", "other", "table")
    assert ran == ["data", "rows", "other", "a0+b0", "b1", "table"]
    assert session.failed == ["other", "a0+b0", "table"]
    assert carried_out(3.5)[0] == ["other", "a0", "a1", "table"]


def test_no_cells_without_data_or_rates(carried_out: Callable) -> None:
    """What they need has failed: nothing is trained at a guessed rate."""
    ran, session = carried_out(2.5, "rows")
    assert ran == ["data", "rows", "other"]
    assert session.left_out == ["cells"]


@pytest.mark.parametrize(
    ("device", "tiny", "minutes", "cells", "left_out"),
    [
        ("cuda", False, 5.0, 0, 10),
        ("cuda", False, 30.0, 3, 0),
        ("cuda", False, 240.0, 18, 0),
        ("cpu", False, 240.0, 0, 0),
        ("cpu", True, 30.0, 18, 0),
    ],
)
def test_a_dry_run_adds_up(
    device: str, tiny: bool, minutes: float, cells: int, left_out: int, workplace: Path
) -> None:
    """Oracle: the sum of the lines, without those that do not fit; the rates of an H100 are for GPUs alone, and next
    to nothing takes the time of its start. Nothing is written.
    """
    steps, column = (
        GPU["measurements"](Path("place"), device, tiny),
        GPU["Column"](Path("place"), device, tiny),
    )
    head, *lines = GPU["dry_run"](steps, column, Path("place"), minutes)
    assert ("rates of an H100" in head) == (device == "cuda")
    total = 0.0
    for line in lines:
        one, until = line.split()[:2]
        if line.endswith("(does not fit)"):
            assert until == "-"
            assert total + float(one) > minutes - GPU["LAST"]
            continue
        total += float(one)
        assert float(until) == pytest.approx(total, abs=0.05 * len(lines))
    assert total <= minutes
    assert sum("(does not fit)" in line for line in lines) == left_out
    names = [line.split()[2].partition("-")[2] for line in lines if "--run" in line]
    assert sum(len(name.split("+")) for name in names) == cells
    assert not Path("place").exists()


@pytest.mark.parametrize("minutes", [2.0, 4.0, 6.5, 9.0, 12.0, 30.0])
def test_a_dry_run_plans_what_a_start_does(
    minutes: float, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: a start, on a clock that each step moves by its minutes: the same steps in the same order, and the same
    end.
    """
    takes, clock = {"data": 0.5, "long": 5.0, "rows": 2.0, "short": 0.2, "table": GPU["LAST"]}, [0.0]
    cells = [Cell(row, seed, seconds) for row, seconds in (("a", 60), ("b", 120)) for seed in (0, 1)]
    takes |= {f"{cell.row}{cell.seed}": cell.seconds / 60 for cell in cells}

    def run(command: object, log: Path, limit: float) -> int:
        names = log.stem.split("+")
        clock[0] += 60 * sum(takes[name] for name in names)
        log.write_text("done")
        with Path("done").open("a") as file:
            file.write("".join(f"{name} " for name in names))
        return 0

    monkeypatch.setattr(steps_of_session, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(steps_of_session, "_run", run)
    session = Session(Path("place"), minutes - GPU["LAST"], lambda line: None)
    steps = [noted(name, minutes=takes[name]) for name in ("data", "long", "rows", "short")]
    column = Column(cells)
    lines = [*GPU["dry_run"](steps, column, Path("place"), minutes)][1:]
    planned = [
        line.split() for line in lines if not line.endswith(("(does not fit)", "no cells without rows"))
    ]
    GPU["carried_out"](session, steps, column)
    did = json.loads(Path("place/steps.json").read_text())
    assert ("rows" in did) == (lines[-1] != "no cells without rows")
    assert [line[2] for line in planned] == list(did)
    assert float(planned[-1][1]) == pytest.approx(clock[0] / 60, abs=0.051)


def test_without_a_gpu_it_says_what_can_be_done(
    monkeypatch: pytest.MonkeyPatch, capsys, workplace: Path
) -> None:
    """Exit status 2, the reason and the ways out, no traceback, nothing written."""
    monkeypatch.setitem(GPU["main"].__globals__, "ROOT", workplace)
    assert GPU["main"](["--device", "cuda:99"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("device=cuda:99: not on this machine. Allowed here: ")
    assert "--dry-run" in said
    assert "Traceback" not in said
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "rows", "row"], "--only row: no such step; allowed: smoke, tests, data, rows, "),
        (["--minutes", "1"], "--minutes 1: must be > 1, which the table takes at the end"),
        (["--minutes", "0", "--only", "rows"], "--minutes 0: must be > 0\n"),
        (["--device", "h100", "--dry-run"], "--device h100: must be cuda, cuda:N or cpu"),
    ],
)
def test_mistakes_are_told_before_torch_is_asked(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """Exit status 2 and the message."""
    monkeypatch.setitem(GPU["main"].__globals__, "probed", None)
    with pytest.raises(SystemExit) as stopped:
        GPU["main"](arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def cpu(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable], int]:
    """A start of one step on a processor, with this instead of the carrying out; its exit status."""

    def start(carried_out: Callable) -> int:
        made = {"device": "cpu", "cpu": "AMD EPYC"}
        for name, value in (
            ("ROOT", workplace),
            ("probed", lambda device: made),
            ("carried_out", carried_out),
        ):
            monkeypatch.setitem(GPU["main"].__globals__, name, value)
        return GPU["main"](["--device", "cpu", "--tiny", "--only", "smoke", "--out", "out"])

    return start


def test_a_folder_that_cannot_be_written_is_told_first(cpu: Callable, capsys) -> None:
    """By hand: a file stands where the folder is to be. Exit status 2 and one line; nothing is carried out."""
    Path("out").write_text("")
    assert cpu(lambda *_: pytest.fail("carried out")) == 2
    said = capsys.readouterr().err
    assert said.startswith("cannot write ")
    assert said.count("\n") == 1


def test_ctrl_c_is_one_line(cpu: Callable, capsys) -> None:
    """Exit status 130, where the finished steps are, and how to go on; no traceback."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    assert cpu(interrupted) == 130
    said = capsys.readouterr().err
    assert said.startswith("stopped by Ctrl-C: what is finished lies in ")
    assert "cpu-amd-epyc; the same command goes on from there." in said


def test_chosen_steps_come_in_the_order_given() -> None:
    """By hand; the table's own are no step of these, and a step that is named twice is one."""
    steps = [noted(name) for name in ("a", "b", "c")]
    assert [step.name for step in GPU["chosen"](steps, ["c", "cells", "a"])] == ["c", "a"]
    assert [step.name for step in GPU["chosen"](steps, ["b", "a", "b"])] == ["b", "a"]
    assert GPU["chosen"](steps, []) == steps


def test_cells_alone_need_what_an_earlier_start_has_done(carried_out: Callable) -> None:
    """A dry run of them says so, as a start does; with the data and the rates it plans the cell that is left."""
    session = Session(Path("place"), 9.0, lambda line: None)
    column = Column([Cell("b", 1, 60.0)])
    assert [*GPU["dry_run"]([], column, Path("place"), 9.0)][1:] == ["no cells without data and rows"]
    GPU["carried_out"](session, [], column)
    assert session.steps == {}
    carried_out(1.5)
    lines = [*GPU["dry_run"]([], column, Path("place"), 9.0)][1:]
    assert [line.split()[2] for line in lines] == ["b1", "table"]


def test_a_dry_run_of_what_is_finished_says_so(carried_out: Callable) -> None:
    """Oracle: a start before."""
    carried_out(1.5)
    assert [*GPU["dry_run"]([noted("rows")], None, Path("place"), 9.0)][1:] == ["nothing is left to do"]


def test_the_tests_are_those_that_are_marked() -> None:
    """Oracle: a search for the mark by hand, in files known to have it and not to have it."""
    found = GPU["marked"](ROOT / "tests")
    assert {"tests/engine/test_graph.py", "tests/test_method_matrix.py"} <= set(found)
    assert "tests/augment/test_mixup.py" not in found


def test_the_folder_is_named_after_the_device() -> None:
    """By hand."""
    assert (
        GPU["name_of"]({"device": "cuda", "device_name": "NVIDIA H100 80GB HBM3"}) == "nvidia-h100-80gb-hbm3"
    )
    assert GPU["name_of"]({"device": "cpu", "cpu": "AMD EPYC"}) == "cpu-amd-epyc"
