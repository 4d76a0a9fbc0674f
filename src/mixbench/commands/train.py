"""`mixbench train`: check the whole request, then train one run here, or the runs of a sweep."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Sequence

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode

from mixbench.config.cells import expand, of_hydra
from mixbench.config.check import typed
from mixbench.config.compose import CONFIG_NAME, canonical, conf_dir, register
from mixbench.config.explain import composed
from mixbench.errors import ConfigError
from mixbench.schema.knob import allowed
from mixbench.schema.train import GROUPS, own_knobs
from mixbench.sweep.execute import train
from mixbench.sweep.grid import dry_run, grid, outcome
from mixbench.training.run import execute

# Hydra's options that make no sense here; the last one would load a pickle.
FOREIGN = ("config_path", "config_name", "package", "experimental_rerun")


def main(argv: list[str]) -> int:
    """The exit status of `mixbench train ARGV`."""
    if "-h" in argv or "--help" in argv:
        print(help_text())
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
                f"--{option.replace('_', '-')}: not an option of mixbench. See mixbench train --help."
            )
    overrides = canonical(arguments.overrides)
    first_cell = expand(overrides)[0] if all("=" in o for o in overrides) else overrides
    if arguments.cfg or arguments.info or arguments.shell_completion or arguments.hydra_help:
        if not arguments.shell_completion:  # a word that is being completed is not yet right
            composed(first_cell, arguments.config_dir)
        _hydra([*(a for a in argv if a not in arguments.overrides), *overrides])
        return 0
    first = composed(first_cell, arguments.config_dir, hydra=True)
    if arguments.multirun or first.hydra.mode == RunMode.MULTIRUN:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ConfigError("-m: a sweep under torchrun; start torchrun once for each of its runs instead.")
        params = [f"{k}={v}" for k, v in (first.hydra.sweeper.get("params") or {}).items()]
        return _sweep([*params, *overrides], arguments.config_dir, own)
    if own.jobs is not None:
        raise ConfigError("--jobs: a single run is one process; it belongs to a sweep (-m).")
    swept = [o for o in overrides if _is_swept(o)]
    if swept:
        raise ConfigError(f"{swept[0]}: several values for one run; add -m to sweep over them.")
    if own.dry_run:
        return _sweep(overrides, arguments.config_dir, own)
    execute(typed(first))
    return 0


def _own_options(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options that are ours, and the command line without them, for Hydra."""
    parser = argparse.ArgumentParser(prog="mixbench train", add_help=False, allow_abbrev=False)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--dry-run", action="store_true")
    return parser.parse_known_args(argv)


def _is_swept(override: str) -> bool:
    parsed = OverridesParser.create().parse_override(override) if "=" in override else None
    return parsed is not None and parsed.is_sweep_override() and len(list(parsed.sweep_string_iterator())) > 1


def _sweep(overrides: list[str], config_dir: str | None, own: argparse.Namespace) -> int:
    """Check every run before the first one starts, train them, count how they ended."""
    jobs = grid(overrides, config_dir)
    if own.dry_run:
        print(dry_run(jobs))
        return 0
    different = {job.directory: job for job in jobs}
    finished = sum(not job.waiting for job in different.values())
    print(f"sweep: {len(jobs)} runs, {len(different)} different, {finished} already finished", flush=True)
    train(jobs, at_once=own.jobs, hydra=[o for o in overrides if of_hydra(o)], config_dir=config_dir)
    sentence, status = outcome(jobs)
    print(sentence)
    return status


def _hydra(argv: Sequence[str]) -> None:
    """Let Hydra answer --cfg, --info and completion."""
    import hydra

    register()
    sys.argv = [sys.argv[0], *argv]
    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=CONFIG_NAME)(
        lambda config: None
    )()


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
    for key, field in own_knobs():
        metadata = field.metadata
        note = f" ({', '.join(metadata['choices'])})" if metadata["choices"] else ""
        note += f" ({allowed(metadata['limits'])})" if allowed(metadata["limits"]) else ""
        lines += _wrapped(f"  {key:19} ", metadata["doc"] + note)
    lines += [
        "",
        "options:",
        "  -m, --multirun      sweep over comma-separated values",
        "  --jobs N            runs of a sweep side by side (default: 1 on a CPU; what fits on a GPU, up to 4)",
        "  --dry-run           list the runs with their states and the time they will take; train nothing",
        "  --cfg job           print the composed config and stop",
        "  --config-dir DIR    a folder with option files of your own, e.g. DIR/augment/mine.yaml",
        "  --info              where Hydra finds its configs",
        '  eval "$(mixbench train -sc install=bash)"       completion in bash (also zsh, fish)',
    ]
    return "\n".join(lines)


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent=head, subsequent_indent=" " * len(head))
