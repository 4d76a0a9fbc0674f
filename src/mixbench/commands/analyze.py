"""`mixbench analyze KEY`: compute what a paper explains, draw it, and say which of its claims hold."""

from __future__ import annotations

import argparse
from pathlib import Path

from mixbench.errors import ConfigError, MixbenchError, output_error
from mixbench.files import write_atomic
from mixbench.studies.claims import judged
from mixbench.studies.library import load, names
from mixbench.studies.store import computed, place, stored
from mixbench.studies.study import STUDIES

FORMATS = (".png", ".pdf", ".svg")
EPILOG = """examples:
  mixbench analyze zhang2021/fig3                          compute what is missing, draw, judge
  mixbench analyze zhang2021/fig3 --set networks=20        with other parameters
  mixbench analyze radius --set dimension=50               a study by its own name, with its own defaults
  mixbench figure zhang2021/fig3                           the picture of what has been computed, nothing else

published:
{published}

studies:
{studies}

Numbers lie in OUTPUT_DIR/studies/KEY/numbers.csv, the picture beside them. What was stopped goes on part by part.
"""


def main(argv: list[str], run: bool = True) -> int:
    """The exit status of `mixbench analyze ARGV`. Without `run`, of `mixbench figure ARGV` for a study.

    Raises ConfigError, OutputError, and MixbenchError where nothing is computed and nothing may be.
    """
    arguments = parser(run).parse_args(argv)
    spec = load(arguments.key, arguments.set)
    folder = Path(arguments.output_dir)
    path = Path(arguments.out) if arguments.out else place(folder, spec) / "figure.png"
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"--out {path}: the file name must end in one of {', '.join(FORMATS)}.")
    numbers = computed(folder, spec) if run or arguments.run else stored(folder, spec)
    if numbers is None:
        raise MixbenchError(
            f"{spec.key}: has not been computed with these parameters in {place(folder, spec)}. Add --run to do so."
        )
    from mixbench.summarize.plots import picture

    plots = spec.study.draw(numbers, spec.parameters)
    foot = [f"{spec.source}."] if spec.source else []
    title = f"{spec.key}: {spec.title}"
    per_row = len(plots) if len(plots) < 3 else 2 if len(plots) == 4 else 3
    content = picture(plots, per_row, title, foot, path.suffix[1:].lower())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(path.parent, error) from None
    write_atomic(path, content)
    print(f"numbers: {place(folder, spec) / 'numbers.csv'}\nwritten: {path}")
    for claim in judged(spec, numbers):
        print(claim)
    print("\n".join(f"- {note}" for note in spec.notes))
    return 0


def parser(run: bool = True) -> argparse.ArgumentParser:
    """What the command takes; for `mixbench figure` without `run`."""
    width = max(map(len, [*STUDIES, *names()]))
    published = "\n".join(f"  {key:{width}}  {load(key).title}" for key in names())
    studies = "\n".join(f"  {name:{width}}  {load(name).title}" for name in STUDIES)
    found = argparse.ArgumentParser(
        prog="mixbench analyze" if run else "mixbench figure",
        description="Compute what a paper explains, draw it, and judge its claims by the numbers.",
        epilog=EPILOG.format(published=published, studies=studies),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("key", metavar="KEY", help="a published figure, a study, or a .yaml file of your own")
    if not run:
        found.add_argument("--run", action="store_true", help="compute what is missing first")
    found.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter; may be repeated"
    )
    found.add_argument("--output-dir", default="outputs", metavar="FOLDER", help="default: outputs")
    found.add_argument(
        "--out", metavar="FILE", help=".png, .pdf or .svg (default: figure.png beside the numbers)"
    )
    return found
