"""`mixbench train`: check the whole request, then train one run here, or the runs of a sweep."""

from __future__ import annotations

import argparse
from pathlib import Path

from hydra._internal.utils import get_args_parser

from mixbench.catalogue.help import help_text
from mixbench.config.compose import by_hydra, compose, hydra_answers
from mixbench.config.overrides import canonical, expand, has_several, of_hydra
from mixbench.config.saved import from_saved
from mixbench.errors import ConfigError
from mixbench.machine.output import printable
from mixbench.schema.train import GROUPS
from mixbench.sweep.execute import train
from mixbench.sweep.grid import dry_run, grid, is_sweep, outcome
from mixbench.sweep.tally import results
from mixbench.training.run import execute

# Hydra's options that make no sense here; the last one would load a pickle.
FOREIGN = ("config_path", "config_name", "package", "experimental_rerun")


def main(argv: list[str]) -> int:
    """The exit status of `mixbench train ARGV`."""
    if "-h" in argv or "--help" in argv:
        words = [word.partition("=") for word in canonical(argv)]
        print(help_text({group: name for group, equals, name in words if equals and group in GROUPS}))
        return 0
    own, argv = _own_options(argv)
    parser = get_args_parser()
    parser.prog, parser.usage = (
        "mixbench train",
        "mixbench train [KEY=VALUE ...] [-m [--jobs N]] [--dry-run] [--help]",
    )
    arguments = parser.parse_intermixed_args(argv)  # -m may stand between overrides
    for option in FOREIGN:
        if getattr(arguments, option) is not None:
            raise ConfigError(
                f"--{option.replace('_', '-')}: not an option of mixbench; --from FILE trains from a saved config. See"
                " mixbench train --help."
            )
    overrides, config_dir = canonical(arguments.overrides), arguments.config_dir
    if own.saved is not None:
        overrides = from_saved(Path(own.saved), overrides)
    first = expand(overrides)[0]  # which refuses more cells than can be listed
    asked = [o for o in ("cfg", "info", "shell_completion", "hydra_help") if getattr(arguments, o)]
    if asked:
        others = [*asked[1:], *(["multirun"] if arguments.multirun else [])]
        if others:
            raise ConfigError(
                f"--{asked[0].replace('_', '-')}: is about one run, and asked alone; leave --{others[0]} out."
            )
        if not arguments.shell_completion:  # a word that is being completed is not yet right
            by_hydra(first, config_dir)
        hydra_answers([*(a for a in argv if a not in arguments.overrides), *overrides])
        return 0
    if is_sweep(overrides, config_dir, arguments.multirun):
        return _sweep(overrides, config_dir, own)
    if own.jobs is not None:
        raise ConfigError("--jobs: a single run is one process; it belongs to a sweep (-m).")
    several = [o for o in overrides if has_several(o)]
    if several:
        raise ConfigError(f"{several[0]}: several values for one run; add -m to sweep over them.")
    if own.dry_run:
        return _sweep(overrides, config_dir, own)
    execute(compose(first, config_dir))
    return 0


def _own_options(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options that are ours, and the command line without them, for Hydra."""
    parser = argparse.ArgumentParser(prog="mixbench train", add_help=False, allow_abbrev=False)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--from", dest="saved", metavar="FILE")
    return parser.parse_known_args(argv)


def _sweep(overrides: list[str], config_dir: str | None, own: argparse.Namespace) -> int:
    """Check every run before the first one starts, train them, count how they ended."""
    jobs = grid(overrides, config_dir)
    if own.dry_run:
        print(printable(dry_run(jobs)))
        return 0
    different = {job.directory: job for job in jobs}
    finished = sum(not job.waiting for job in different.values())
    print(f"sweep: {len(jobs)} runs, {len(different)} different, {finished} already finished", flush=True)
    train(jobs, at_once=own.jobs, hydra=[o for o in overrides if of_hydra(o)], config_dir=config_dir)
    sentence, status = outcome(jobs)
    if sum(not job.waiting for job in different.values()) > 1:
        print(printable(results(jobs)))
    print(printable(sentence))
    return status
