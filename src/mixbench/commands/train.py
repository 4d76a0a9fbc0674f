"""`mixbench train`: check the whole request, then train one run here or hand a sweep to Hydra."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import textwrap
import traceback
from collections.abc import Sequence
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig

from mixbench.config import canonical, conf_dir, run_dir, typed
from mixbench.errors import ConfigError, MixbenchError
from mixbench.explain import composed
from mixbench.record import read_summary
from mixbench.run import execute
from mixbench.schema.knob import allowed
from mixbench.schema.train import GROUPS, Train
from mixbench.signals import Interrupted
from mixbench.together import slots, train_together

# Hydra's options that make no sense here; the last one would load a pickle.
FOREIGN = ("config_path", "config_name", "package", "experimental_rerun")


def main(argv: list[str]) -> int:
    """The exit status of `mixbench train ARGV`."""
    if "-h" in argv or "--help" in argv:
        print(help_text())
        return 0
    argv, jobs = _jobs(argv)
    parser = get_args_parser()
    parser.prog, parser.usage = "mixbench train", "mixbench train [KEY=VALUE ...] [-m [--jobs N]] [--help]"
    arguments = parser.parse_intermixed_args(argv)  # -m may stand between overrides
    for option in FOREIGN:
        if getattr(arguments, option) is not None:
            raise ConfigError(
                f"--{option.replace('_', '-')}: not an option of mixbench. See mixbench train --help."
            )
    overrides = canonical(arguments.overrides)
    options = [a for a in argv if a not in arguments.overrides]
    if arguments.cfg or arguments.info or arguments.shell_completion or arguments.hydra_help:
        if not arguments.shell_completion:  # a word that is being completed is not yet right
            composed(_first_cell(overrides), arguments.config_dir)
        _hydra([*options, *overrides])
        return 0
    first = composed(_first_cell(overrides), arguments.config_dir, hydra=True)
    if arguments.multirun or first.hydra.mode == RunMode.MULTIRUN:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ConfigError("-m: a sweep under torchrun; start torchrun once for each of its runs instead.")
        return _sweep([*options, *overrides], overrides, first, arguments.config_dir, jobs)
    if jobs is not None:
        raise ConfigError("--jobs: a single run is one process; it belongs to a sweep (-m).")
    swept = [o for o in overrides if _values(o) > 1]
    if swept:
        raise ConfigError(f"{swept[0]}: several values for one run; add -m to sweep over them.")
    execute(typed(first))
    return 0


def _jobs(argv: list[str]) -> tuple[list[str], int | None]:
    """The command line without our own option --jobs, which Hydra does not know, and its value."""
    parser = argparse.ArgumentParser(prog="mixbench train", add_help=False, allow_abbrev=False)
    parser.add_argument("--jobs", type=int)
    found, rest = parser.parse_known_args(argv)
    return rest, found.jobs


def _values(override: str) -> int:
    parsed = OverridesParser.create().parse_override(override) if "=" in override else None
    return (
        len(list(parsed.sweep_string_iterator())) if parsed is not None and parsed.is_sweep_override() else 1
    )


def _first_cell(overrides: Sequence[str]) -> list[str]:
    return expand(overrides)[0] if all("=" in o for o in overrides) else list(overrides)


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """The cells of a sweep, as lists of overrides, in the order in which Hydra's own sweeper runs them."""
    from hydra.errors import OverrideParseException

    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except OverrideParseException as error:
        raise ConfigError(
            f"{error.override}: cannot be read as key=value: {str(error).splitlines()[0]}"
        ) from None
    return BasicSweeper.split_arguments(parsed, None)[0]


def _sweep(
    argv: list[str], overrides: list[str], first: DictConfig, config_dir: str | None, jobs: int | None
) -> int:
    """Check every cell before the first one starts, run them, count how they ended.

    They run through the Hydra launcher that was chosen. Hydra's own default has them one after another; where several
    fit on the machine, or `jobs` says so, they run side by side instead.
    """
    params = [f"{k}={v}" for k, v in (first.hydra.sweeper.get("params") or {}).items()]
    cells = expand([*params, *overrides])
    runs = []
    for cell in cells:
        try:
            runs.append(typed(composed(cell, config_dir)))
        except ConfigError as error:
            raise ConfigError(f"in the sweep's cell {' '.join(cell)}:\n{error}") from None
    places = {run_dir(run): run for run in runs}
    print(f"sweep: {len(cells)} runs, {len(places)} different, {_count(places, 'finished')} already finished")
    basic = first.hydra.launcher._target_.endswith("BasicLauncher")
    if not basic and jobs is not None:
        raise ConfigError("--jobs: the launcher decides that; it is for sweeps without hydra/launcher=...")
    room, sentence = slots(jobs, first.device) if basic else ([], "")
    if len(room) > 1:
        print(sentence, flush=True)
        _side_by_side(dict(zip(map(run_dir, runs), cells, strict=True)), first.force, room, config_dir)
    else:
        _hydra(argv if "-m" in argv or "--multirun" in argv else ["-m", *argv])
    finished = _count(places, "finished")
    print(f"sweep: {finished} of {len(places)} runs finished")
    for place, run in places.items():
        summary = read_summary(place) or {"state": "not started"}
        if summary["state"] != "finished":
            print(f"  {summary['state']}: {place} (seed {run.seed}) {summary.get('error', '')}".rstrip())
    return 0 if finished == len(places) else 1


def _side_by_side(
    cells: dict[Path, list[str]], force: bool, room: list[list[str]], config_dir: str | None
) -> None:
    """Train the cells of a sweep that are not finished, by their directories."""
    extra = [f"--config-dir={config_dir}"] if config_dir else []
    waiting = {
        place: [*cell, *extra]
        for place, cell in cells.items()
        if force or (read_summary(place) or {}).get("state") != "finished"
    }

    def done(i: int, status: int) -> None:
        print(f"{'done' if status == 0 else 'FAILED'}: {list(waiting)[i]}", flush=True)

    train_together(list(waiting.values()), room, done)


def _count(places: dict, state: str) -> int:
    return sum((read_summary(place) or {}).get("state") == state for place in places)


def _hydra(argv: list[str]) -> None:
    """Let Hydra run `argv`: sweeps, --cfg, --info and completion."""
    import hydra

    from mixbench.config import CONFIG_NAME, register

    register()
    sys.argv = [sys.argv[0], *argv]
    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=CONFIG_NAME)(cell)()


def cell(config: DictConfig) -> None:
    """One run of a sweep, in whatever process the launcher chose. A failure is on record, and the sweep goes on."""
    try:
        execute(typed(config))
    except Interrupted as stop:
        print(f"mixbench train: {stop}", file=sys.stderr)
        sys.exit(stop.exit_status)
    except MixbenchError as error:
        print(f"mixbench train: {error}", file=sys.stderr)
    except Exception:
        traceback.print_exc()


def help_text() -> str:
    """What `mixbench train --help` prints, made from the schemas and the option files."""
    lines = [
        "usage: mixbench train [GROUP=OPTION ...] [KEY=VALUE ...] [-m] [--cfg job] [--config-dir DIR]",
        "",
        "  mixbench train augment=gmix opt=sam            Gaussian Mixup under SAM, on handwritten digits",
        "  mixbench train augment=mixup opt=sam           G-Mix (Li & Tang) is Mixup under SAM",
        "  mixbench train dataset=cifar100 model=wrn16_4 augment=mixup opt=sam opt.rho=0.5 precision=bf16",
        "  mixbench train -m opt=sam opt.rho=0.05,0.1 seed=0,1     a sweep of four runs",
        "",
        "The same command again resumes an unfinished run, or shows the result of a finished one.",
        "",
        "groups (mixbench methods lists each option with its source and knobs):",
    ]
    for group in GROUPS:
        options = sorted(p.stem for p in (conf_dir() / group).glob("*.yaml"))
        lines += _wrapped(f"  {group + '=':12} ", ", ".join(options))
    lines += ["", "keys of the run:"]
    for field in dataclasses.fields(Train):
        if field.name in GROUPS:
            continue
        metadata = field.metadata
        note = f" ({', '.join(metadata['choices'])})" if metadata["choices"] else ""
        note += f" ({allowed(metadata['limits'])})" if allowed(metadata["limits"]) else ""
        lines += _wrapped(f"  {field.name:19} ", metadata["doc"] + note)
    lines += [
        "",
        "options:",
        "  -m, --multirun      sweep over comma-separated values",
        "  --jobs N            runs of a sweep side by side (default: 1 on a CPU; what fits on a GPU, up to 4)",
        "  --cfg job           print the composed config and stop",
        "  --config-dir DIR    a folder with option files of your own, e.g. DIR/augment/mine.yaml",
        "  --info              where Hydra finds its configs",
        '  eval "$(mixbench train -sc install=bash)"       completion in bash (also zsh, fish)',
    ]
    return "\n".join(lines)


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent=head, subsequent_indent=" " * len(head))
