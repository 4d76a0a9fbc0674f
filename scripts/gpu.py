"""All that a GPU is wanted for, in one command: whether it works, how fast it is, and cells of a published table.

    python scripts/gpu.py --minutes 30              on the GPU
    python scripts/gpu.py --minutes 30 --dry-run    what would be done, with the minutes
    python scripts/gpu.py --device cpu --tiny       the same steps on next to nothing, to try the command

Each step is a process of its own, with a time limit, a log in FOLDER/logs and one line here; one that fails does not
stop the others. The remaining minutes go to cells of Li & Tang's Table II (CIFAR-100, WRN-16-4) at the paper's length,
as many as fit by the measured rates, those of a seed side by side where the GPU can be shared. FOLDER is
results/gpu/NAME, with the GPU's name. The same command goes on from there, also after a kill: with minutes of its own,
and with what is not finished.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mixbench.bench.fitting import START, Cell, cells, fitting, rates
from mixbench.bench.steps import Session, Step
from mixbench.errors import OutputError
from mixbench.files import writable, write_json
from mixbench.machine.signals import stopped
from mixbench.papers.cells import plan
from mixbench.papers.library import load

ROOT = Path(__file__).resolve().parents[1]
TABLE, COLUMN = "li2023/table2", "CIFAR-100, WRN-16-4"
# The table needs the train accuracies where test accuracy is best; every epoch's would take half as long again.
SETTINGS = ["precision=auto", "train_clean_every=at_best", "train_mixed_every=at_best"]
TINY = ["dataset=digits", "model=small_cnn", "dataset.train_size=200"]
# Images/s of an H100 (docs/gpu.md), until they are measured.
GUESS = {"ERM": 53e3, "SAM": 27e3, "Mixup": 53e3, "G-Mix": 27e3, "BG-Mix": 27e3, "DG-Mix": 19e3}
RATES = Path("bench/rows/methods.csv")
NEEDED = ("data", "rows")  # steps without which no cell is begun
LAST = 1.0  # minute, kept for the table
CELLS = "cells"
# Tiny networks wait for Python, not for the GPU: several at a time.
GPU_TESTS = ["-m", "gpu", "-n", str(max(1, min(8, (os.cpu_count() or 2) // 2)))]
PROBE = """import json, sys
from mixbench.errors import MixbenchError
from mixbench.machine.devices import resolve_device
from mixbench.training.environment import environment
try:
    print(json.dumps(environment(resolve_device(sys.argv[1])[0])))
except MixbenchError as error:
    sys.exit(str(error))"""
WITHOUT = """
  --dry-run            shows what would be done, with the minutes it is expected to take on a GPU
  --device cpu --tiny  tries the same steps on the processor, on next to nothing, in a few minutes"""


def marked(tests: Path) -> list[str]:
    """The files with tests that are marked `gpu`: to collect all the others takes longer than to run these."""
    return [
        str(path.relative_to(ROOT)) for path in sorted(tests.rglob("test_*.py")) if "mark.gpu" in _text(path)
    ]


def measurements(folder: Path, device: str, tiny: bool) -> list[Step]:
    """Everything but the cells, in the order of use; minutes as on an H100, rounded up."""
    on = f"device={device}"
    short = ["--rounds", "2", "--seconds", "0.05"] if tiny else ["--rounds", "5", "--seconds", "0.3"]

    def step(name: str, minutes: float, said: str, *command: str) -> Step:
        return Step(name, [sys.executable, "-m", *command], 1 if tiny else minutes, said)

    def bench(name: str, minutes: float, said: str, options: Sequence[str], *methods: str) -> Step:
        given = [on, *(TINY if tiny else []), *options, *short, "--out", str(folder / "bench" / name)]
        return step(name, minutes, said, "mixbench", "bench", *given, *(["--", *methods] if methods else []))

    network = f"model={'small_cnn' if tiny else 'wrn16_4'}"
    smoke = ["dataset=digits", network, "epochs=2", "augment=mixup", "opt=sam", "precision=auto", on]
    tests = marked(ROOT / "tests" / ("machine" if tiny else ""))
    no_graph, compiled = "cuda_graph=false", "compile=true"
    erm, share, pair = r"^ERM ", r"^convolution, backward.*%", ("ERM", "G-Mix")
    steps = [
        step("smoke", 0.5, "^(device|graph) ", "mixbench", "train", *smoke, f"output_dir={folder / 'smoke'}"),
        step("tests", 1, "(passed|skipped)", "pytest", *GPU_TESTS, *tests),
        step("data", 0.5, "", "mixbench", "data", "prepare", "digits" if tiny else "cifar100"),
        # Apart from the others: none of their failures is to leave the cells without rates.
        bench("rows", 0.6, erm, [], *GUESS),
        bench("methods", 1.2, erm, [], *(pair if tiny else [])),
        bench("plain", 1, r"^ERM, plain loop", ["--loop", "plain"], "ERM", "SAM", "G-Mix"),
        bench("no-graph", 0.4, erm, [no_graph], *pair),
        bench("fp16", 0.4, erm, ["precision=fp16"], *pair),
        bench("compiled", 1, erm, [compiled], *pair),
        bench("compiled-no-graph", 1, erm, [no_graph, compiled], *pair),
        bench("profile-erm", 0.3, share, ["--profile"], "ERM"),
        bench("profile-gmix", 0.3, share, ["--profile"], "G-Mix"),
        bench("profile-gmix-no-graph", 0.3, share, ["--profile", no_graph], "G-Mix"),
        bench("profile-gmix-compiled", 0.8, share, ["--profile", compiled], "G-Mix"),
        bench("together", 0.6, r"^4 ", ["--together"], "ERM"),
    ]
    # To compile takes over a minute on a processor, however small the network; the usual loop takes colour images.
    return [step for step in steps if not (tiny and {compiled, "plain"} & {*step.command})]


class Column:
    """The cells of the table's column, whose runs lie in FOLDER/runs."""

    def __init__(self, folder: Path, device: str, tiny: bool) -> None:
        self.folder, self.spec = folder, load(TABLE)
        self.epochs = 1 if tiny else None
        self.settings = [*SETTINGS, f"device={device}", *(TINY if tiny else [])]
        # What a dry run believes until the rates are measured, and its words for it.
        if tiny:
            self.guess = dict.fromkeys(GUESS, math.inf)
            self.guessed = f"at most a minute a step, and of a cell the start alone, {START:g} s"
        elif device == "cpu":
            self.guess = {}
            self.guessed = "minutes as on an H100; which cells fit, their rates on this processor will say"
        else:
            self.guess, self.guessed = GUESS, "at the rates of an H100"

    def waiting(self, rate: dict[str, float]) -> list[Cell]:
        """Those that are not finished, with the time that they take."""
        extra = [*self.settings, f"output_dir={self.folder / 'runs'}"]
        return cells(plan(self.spec, columns=[COLUMN], epochs=self.epochs, extra=extra), rate)

    def step(self, together: Sequence[Cell]) -> Step:
        """The training of some cells of one seed: the seeds before it are finished, as they take as long and come
        first. How many share the GPU, `mixbench table` decides; the minutes are those of one after another.
        """
        rows, seed = [cell.row for cell in together], together[0].seed
        which = ["--run", "--yes", "--rows", *rows, "--seeds", str(seed + 1)]
        minutes = sum(cell.seconds for cell in together) / 60
        shown = rf"^({'|'.join(map(re.escape, rows))})[ *]"
        return Step(f"seed{seed}-{'+'.join(rows)}", [*self.command, *which], minutes, shown)

    @property
    def command(self) -> list[str]:
        """The command that shows the column."""
        length = ["--epochs", str(self.epochs)] if self.epochs else []
        settings = [word for setting in self.settings for word in ("--set", setting)]
        place = ["--output-dir", str(self.folder / "runs")]
        return [
            sys.executable,
            "-m",
            "mixbench",
            "table",
            TABLE,
            "--cols",
            COLUMN,
            *length,
            *settings,
            *place,
        ]

    def written(self) -> Step:
        """The table as it is now, into FOLDER/table2.md."""
        into = ["--format", "md", "--out", str(self.folder / "table2.md")]
        return Step("table", [*self.command, *into], LAST)


def by_seed(cells: Sequence[Cell]) -> Iterator[list[Cell]]:
    """Cells in the order of `fitting`, those of one seed together."""
    for _, together in itertools.groupby(cells, key=lambda cell: cell.seed):
        yield list(together)


def carried_out(session: Session, steps: Sequence[Step], column: Column | None) -> None:
    """The steps, then as many cells of the column as fit; what is left is looked at anew after each."""
    for step in steps:
        session.carry_out(step)
    if column is None:
        return
    lacking = [name for name in NEEDED if not session.finished(name)]
    if lacking:
        session.tell(f"no cells without {' and '.join(lacking)}")
        session.left_out.append(CELLS)
        return
    rate = rates(session.folder / RATES)
    failed: set[str] = set()
    while fit := fitting([c for c in column.waiting(rate) if c.row not in failed], session.left):
        together = next(by_seed(fit))
        if not session.carry_out(column.step(together), again=True):
            tried = {(cell.row, cell.seed) for cell in together}
            failed |= {cell.row for cell in column.waiting(rate) if (cell.row, cell.seed) in tried}
    last = Session(session.folder, 2 * LAST, session.tell)  # whatever time is left: it was kept for this
    last.carry_out(column.written(), again=True)
    session.failed += last.failed


def dry_run(steps: Sequence[Step], column: Column | None, folder: Path, minutes: float) -> Iterator[str]:
    """What a start would do, a line for each step: its minutes, and those until it has ended, without the steps for
    which there is no time.
    """
    done = json.loads(text) if (text := _text(folder / "steps.json")) else {}
    measured = rates(folder / RATES)
    guessed = f"; {column.guessed}" if column is not None and not measured else ""
    yield f"{minutes:g} minutes, into {folder}{guessed}"
    lacking, used = [step for step in steps if done.get(step.name, {}).get("state") != "finished"], 0.0
    for step in list(lacking):
        if used + step.minutes <= minutes - (LAST if column else 0):
            used += step.minutes
            lacking.remove(step)
            yield _planned(step, f"{used:.1f}")
        else:
            yield _planned(step, "-") + "  (does not fit)"
    if column is None:
        if not lacking and not used:
            yield "nothing is left to do"
        return
    known = {name for name, step in done.items() if step.get("state") == "finished"}
    known |= {step.name for step in steps} - {step.name for step in lacking}
    if needed := [name for name in NEEDED if name not in known]:
        yield f"no cells without {' and '.join(needed)}"
        return
    for together in by_seed(fitting(column.waiting(measured or column.guess), 60 * (minutes - LAST - used))):
        step = column.step(together)
        used += step.minutes
        yield _planned(step, f"{used:.1f}")
    yield _planned(column.written(), f"{used + LAST:.1f}")


def _planned(step: Step, until: str) -> str:
    return f"{step.minutes:5.1f} {until:>6}  {step.name:22} {shlex.join(step.command[2:])}"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def probed(device: str) -> dict[str, Any] | str:
    """What `mixbench train` would record of this device, or the reason why it cannot. In a process of its own, as what
    has asked a GPU for its name keeps memory on it.
    """
    done = subprocess.run([sys.executable, "-c", PROBE, device], capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    return [f"status {done.returncode}", *done.stderr.splitlines()][-1]


def name_of(made: dict[str, Any]) -> str:
    """The device's name for a folder: nvidia-h100-80gb-hbm3; of a processor cpu-amd-epyc."""
    title = f"cpu {made['cpu']}" if made["device"] == "cpu" else made["device_name"]
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def chosen(steps: Sequence[Step], only: Sequence[str]) -> list[Step]:
    """The steps of these names, in their order, each once; all of them without names. Raises ValueError for an unknown
    name.
    """
    named = {step.name: step for step in steps}
    if unknown := [name for name in only if name not in (CELLS, *named)]:
        raise ValueError(f"--only {' '.join(unknown)}: no such step; allowed: {', '.join([*named, CELLS])}")
    return [named[name] for name in dict.fromkeys(only) if name != CELLS] if only else list(steps)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = found.add_argument
    add("--minutes", type=float, default=30.0, metavar="N", help="of this start (default: 30)")
    add("--device", default="cuda", metavar="NAME", help="cuda (default), cuda:N or cpu")
    add("--tiny", action="store_true", help="digits, a small network, nothing compiled: seconds a step")
    add(
        "--only",
        nargs="+",
        default=[],
        metavar="STEP",
        help=f"these steps of --dry-run alone, in this order; {CELLS}: those of the table",
    )
    add("--dry-run", action="store_true", help="show the steps and their minutes, do nothing")
    add("--out", type=Path, metavar="DIR", help="default: results/gpu; outputs/gpu with --tiny")
    return found


def main(argv: list[str]) -> int:
    """The exit status: 1 where a step has failed or was stopped, 2 without a GPU or a folder that can be written, 130
    after Ctrl-C.
    """
    arguments = parser().parse_args(argv)
    minutes, device, tiny = arguments.minutes, arguments.device, arguments.tiny
    trains = not arguments.only or CELLS in arguments.only
    kept = LAST if trains else 0.0
    if not minutes > kept:
        why = ", which the table takes at the end" if trains else ""
        parser().error(f"--minutes {minutes:g}: must be > {kept:g}{why}")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):  # a dry run asks no device
        parser().error(f"--device {device}: must be cuda, cuda:N or cpu")
    try:
        chosen(measurements(Path(), device, tiny), arguments.only)
    except ValueError as error:
        parser().error(str(error))
    out = Path("outputs/gpu" if tiny else "results/gpu")
    out = arguments.out.absolute() if arguments.out else out
    os.chdir(ROOT)
    made = probed(device)
    if isinstance(made, str) and not arguments.dry_run:
        print(made + WITHOUT, file=sys.stderr)
        return 2
    folder = out / ("NAME" if isinstance(made, str) else name_of(made))
    steps = chosen(measurements(folder, device, tiny), arguments.only)
    column = Column(folder, device, tiny) if trains else None
    if isinstance(made, str) or arguments.dry_run:
        print("\n".join(dry_run(steps, column, folder, minutes)))
        return 0
    try:
        writable(folder)
        session = Session(folder, minutes - kept)
        write_json(folder / "environment.json", made | {"command": shlex.join(["scripts/gpu.py", *argv])})
        carried_out(session, steps, column)
    except OutputError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print(stopped(signal.SIGINT, f"what is finished lies in {folder}"), file=sys.stderr)
        return 128 + signal.SIGINT
    said = {"not finished": session.failed, "left out": session.left_out}
    others = [f"; {how}: {', '.join(names)}" for how, names in said.items() if names]
    print(f"all in {folder}{''.join(others)}")
    return 1 if session.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
