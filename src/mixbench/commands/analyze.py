"""`mixbench analyze KEY`: compute what a paper explains, draw it, and say which of its claims hold; `mixbench analyze
NAME [QUERY...]`: make one evaluation of all runs that it fits, and compare them.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mixbench.analysis.evaluate import evaluations
from mixbench.analysis.evaluators import EVALUATORS, MissingPackage
from mixbench.analysis.options import chosen, suffix
from mixbench.commands import drawing
from mixbench.errors import ConfigError, MixbenchError
from mixbench.machine.output import printable
from mixbench.schema.knob import described, nearest
from mixbench.studies.claims import judged
from mixbench.studies.library import load, names
from mixbench.studies.store import computed, place, refused, stored
from mixbench.studies.study import STUDIES

if TYPE_CHECKING:
    from mixbench.summarize.plots import Plot

EPILOG = """examples:
  mixbench analyze zhang2021/fig3                          compute what is missing, draw, judge
  mixbench analyze zhang2021/fig3 --set networks=20        with other parameters
  mixbench analyze zhang2021/fig3 --help                   its parameters, with ranges and what they are set to
  mixbench analyze radius --set dimension=50               a study by its own name, with its own defaults
  mixbench figure zhang2021/fig3                           the picture of what has been computed, nothing else
  mixbench figure zhang2021/fig3 --style column --plain --out fig3.pdf   for a paper, whose caption has the words
  mixbench analyze calibration                             an evaluation of all finished runs below outputs/
  mixbench analyze robustness dataset=cifar10 opt=sam      of those for which conditions hold, as in mixbench runs
  mixbench analyze sharpness --set rho=[0.05,0.2]          with other options

evaluations (mixbench eval --help has their options):
{evaluations}

published:
{published}

studies:
{studies}

Numbers of studies lie in OUTPUT_DIR/studies/KEY/numbers.csv, those of evaluations in OUTPUT_DIR/analyses/NAME/, and the
pictures beside them. What was stopped goes on part by part, or run by run.
"""


def main(argv: list[str], run: bool = True) -> int:
    """The exit status of `mixbench analyze ARGV`. Without `run`, of `mixbench figure ARGV` for a study.

    Raises ConfigError, OutputError, and MixbenchError where nothing is computed and nothing may be.
    """
    known = [*names(), *STUDIES, *(EVALUATORS if run else ())]
    asked = [word for word in argv if word in known or word.endswith(".yaml")]
    if asked and {"-h", "--help"} & {*argv}:
        print(printable(_help(asked[0])))
        return 0
    arguments = parser(run).parse_intermixed_args(argv)
    if run and arguments.key in EVALUATORS:
        return _compare(arguments)
    if run and arguments.conditions:
        raise ConfigError(f"{arguments.key} {' '.join(arguments.conditions)}: a study is made on no runs.")
    if arguments.key not in known and not arguments.key.endswith(".yaml"):
        kinds = "study or evaluation" if run else "figure"
        raise ConfigError(
            f"{arguments.key}: no such {kinds}.{nearest(arguments.key, known)}\nKnown: {', '.join(known)}."
        )
    spec = load(arguments.key, arguments.set)
    folder = Path(arguments.output_dir)
    path = Path(arguments.out) if arguments.out else place(folder, spec) / "figure.png"
    drawing.check_path(path)
    numbers = computed(folder, spec) if run or arguments.run else stored(folder, spec)
    if numbers is None and (run or arguments.run):
        raise MixbenchError(f"{spec.key}: none of its parts could be computed.")
    if numbers is None and refused(folder, spec):  # which stderr has said
        raise MixbenchError(f"{spec.key}: has no numbers that can be used. Add --run to compute them anew.")
    if numbers is None:
        raise MixbenchError(
            f"{spec.key}: has not been computed with these parameters in {place(folder, spec)}. Add --run to do so."
        )
    foot = [f"{spec.source}."] if spec.source else []
    drawn = spec.study.draw(numbers, spec.parameters)
    if drawn:
        _draw(path, drawn, f"{spec.key}: {spec.title}", foot, arguments)
    print(f"numbers: {place(folder, spec) / 'numbers.csv'}")
    print(f"written: {path}" if drawn else "no picture: it shows parts that were left out")
    for claim in judged(spec, numbers):
        print(claim)
    print("\n".join(f"- {note}" for note in spec.notes))
    return 0


def _help(key: str) -> str:
    """The parameters of a study, or the options of an evaluation, as `key` sets them, and their ranges. Raises
    ConfigError for a malformed file.
    """
    if key in EVALUATORS:
        title, node = EVALUATORS[key].about, EVALUATORS[key].options()
    else:
        spec = load(key)
        title, node = spec.title, spec.parameters
    lines = [
        f"{key}: {title}",
        "",
        "what --set NAME=VALUE changes:",
        *(f"  {line}" for line in described(node)),
    ]
    return "\n".join(lines)


def _compare(arguments: argparse.Namespace) -> int:
    """The exit status: 1 where a run cannot be evaluated. Raises ConfigError where there is nothing to compare."""
    from mixbench.analysis.compare import grouped, numbers, sheets
    from mixbench.analysis.drawn import plots
    from mixbench.summarize.frame import frame, query
    from mixbench.summarize.settings import Run

    name, root = arguments.key, Path(arguments.output_dir)
    entry = EVALUATORS[name]
    if not entry.numbers:
        raise ConfigError(f"{name}: has no numbers to compare; mixbench eval --only {name} shows it.")
    options = chosen(entry.options, [change.removeprefix(f"{name}.") for change in arguments.set], "--set ")
    runs = frame(root)
    runs = query(runs, ["state=finished", *arguments.conditions]) if len(runs) else runs
    found, failures = [], 0
    for directory in map(Path, runs["dir"] if len(runs) else ()):
        try:
            ((evaluation,), made) = evaluations(
                directory,
                [name],
                options={name: options},
                device=arguments.device,
                data_dir=arguments.data_dir,
            )
        except MissingPackage:
            raise
        except MixbenchError as error:
            failures += 1
            print(printable(f"mixbench analyze: {directory}: {error}"), file=sys.stderr)
            continue
        print(printable(f"{'measured' if made else 'read'}: {directory}"), flush=True)
        found.append((Run(directory), evaluation))
    if not found:
        fitting = " ".join(["fits", *arguments.conditions]) if arguments.conditions else "is there"
        none = f"no finished run below {root} {fitting}"
        raise MixbenchError(f"{name}: {f'none of {failures} runs can be measured' if failures else none}.")
    places = grouped(found)
    folder = root / "analyses" / (name + suffix(entry.options, options))
    if arguments.out and len(places) > 1:
        raise ConfigError(
            f"--out: these runs make {len(places)} pictures; narrow the query: {'; '.join(places)}."
        )
    written = {
        title: Path(arguments.out)
        if arguments.out
        else folder / f"{re.sub(r'[^.0-9A-Za-z_]+', '-', title)}.png"
        for title in places
    }
    for path in written.values():
        drawing.check_path(path)
    command = shlex.join(["mixbench", "analyze", name, *arguments.conditions])
    for title, groups in places.items():
        for sheet in sheets(f"{name}, {title}", groups, command):
            print(printable(f"\n{sheet.text()}"))
        seeds = ", ".join(f"{group.label} {len(group.results)}" for group in groups)
        made_on = f"{entry.about[0].upper()}{entry.about[1:]}; on {entry.on} examples. Runs: {seeds}."
        _draw(written[title], plots(name, groups, options), f"{name}: {title}", [made_on], arguments)
    drawing.write(folder / "numbers.csv", numbers(places).to_csv(index=False).encode())
    print(
        "\n".join(
            ["", f"numbers: {folder / 'numbers.csv'}", *(f"written: {path}" for path in written.values())]
        )
    )
    return 1 if failures else 0


def _draw(
    path: Path, plots: Sequence[Plot], title: str, foot: Sequence[str], arguments: argparse.Namespace
) -> None:
    per_row = len(plots) if len(plots) < 3 else 2 if len(plots) == 4 else 3
    drawing.draw(path, plots, per_row, title, foot, arguments)


def parser(run: bool = True) -> argparse.ArgumentParser:
    """What the command takes; for `mixbench figure` without `run`."""
    compared = {name: entry.about for name, entry in EVALUATORS.items() if entry.numbers}
    width = max(map(len, [*STUDIES, *names(), *compared]))
    evaluators = "\n".join(f"  {name:{width}}  {about}" for name, about in compared.items())
    published = "\n".join(f"  {key:{width}}  {load(key).title}" for key in names())
    studies = "\n".join(f"  {name:{width}}  {load(name).title}" for name in STUDIES)
    found = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="mixbench analyze" if run else "mixbench figure",
        description="Compute what a paper explains, draw it, and judge its claims by the numbers; or make an evaluation"
        " of finished runs, and compare them in a table and a picture.",
        epilog=EPILOG.format(evaluations=evaluators, published=published, studies=studies),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument(
        "key", metavar="KEY", help="a published figure, a study, a .yaml file of your own, or an evaluation"
    )
    if run:
        found.add_argument(
            "conditions",
            nargs="*",
            metavar="QUERY",
            help="of an evaluation: which runs, KEY=VALUE as in mixbench runs",
        )
        found.add_argument(
            "--device", default="auto", help="of an evaluation; auto, cpu, cuda, ... (default: auto)"
        )
        found.add_argument(
            "--data-dir", metavar="FOLDER", help="of an evaluation: folder of the prepared data sets"
        )
    else:
        found.add_argument("--run", action="store_true", help="compute what is missing first")
    found.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter or option; may be repeated",
    )
    found.add_argument("--output-dir", default="outputs", metavar="FOLDER", help="default: outputs")
    drawing.add_options(found, "figure.png beside the numbers")
    return found
