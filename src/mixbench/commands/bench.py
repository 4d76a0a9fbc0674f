"""`mixbench bench`: what a training step of each method costs, measured side by side."""

from __future__ import annotations

import argparse
import math
import os
import shlex
import signal
from pathlib import Path

from mixbench.bench.modes import MODES, Request
from mixbench.errors import ConfigError
from mixbench.files import writable
from mixbench.machine.signals import Interrupted

BASE = ["dataset=cifar100", "model=wrn16_4", "batch_size=128", "precision=auto"]
EPILOG = """what is measured:
  default        a step of each METHOD as it really runs: batch, crop and flip, mixing, all passes, update
  --loop plain   the same, beside the loop that one writes by hand (bench/handmade.py), as usual in float32 and
                 contiguous memory, and in the precision and memory format of ours; SAM also beside that of
                 pytorch_optimizer, where it is installed, in our loop: they differ in the optimizer alone
  --scaling      a METHOD with other batches, classes and image sizes; lists of thousands of runs, epochs and cells
  --together     1, 2 and 4 runs of a METHOD at once on the device, a GPU under NVIDIA's MPS where it can be had
  --processes    a METHOD on a processor with other memory formats, threads, ways to wait and allocators; compiled
  --profile      where the time of a step of a METHOD goes, by kind of operation
  --loading      how fast the pictures of dataset=folder or imagenet are read, beside a step of a METHOD
  --startup      from the prompt to the first step, beside importing torch and building the model

examples:
  mixbench bench                                     all methods, WRN-16-4, 128 images of CIFAR-100's shape
  mixbench bench model=preactresnet18 -- ERM G-Mix DG-Mix
  mixbench bench precision=float32 compile=true -- ERM "augment=gmix opt=sam opt.rho=0.1"
  mixbench bench --loop plain -- ERM Mixup SAM G-Mix

Images are made up (but for --loading), so nothing is downloaded; a step costs the same. Methods take turns in every
round, so that a busy moment of the machine hits all of them, and ratios are taken within rounds. The numbers are
written as CSV and JSON."""


def main(argv: list[str]) -> int:
    """The exit status of `mixbench bench ARGV`. Raises ConfigError for what cannot be measured, OutputError for a
    folder that cannot be written, Interrupted after Ctrl-C.
    """
    given, methods = argv, []
    if "--" in argv:
        given, methods = argv[: argv.index("--")], argv[argv.index("--") + 1 :]
    arguments = parser().parse_intermixed_args(given)
    wrong = [o for o in arguments.override if "=" not in o]
    if wrong:
        raise ConfigError(f"{wrong[0]}: is no KEY=VALUE; methods stand behind ' -- '.")
    if arguments.rounds < 2:
        raise ConfigError(f"--rounds {arguments.rounds}: must be >= 2, to have a spread.")
    if not 0 < arguments.seconds < math.inf:
        raise ConfigError(f"--seconds {arguments.seconds:g}: must be > 0 and finite.")
    writable(arguments.out)  # now, not when all has been measured
    request = Request(
        overrides=[*BASE, *arguments.override],
        methods=methods,
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        out=arguments.out,
        command=shlex.join(["mixbench", "bench", *argv]),
    )
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # read when torch is loaded: the profiler is talkative
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    try:
        MODES[arguments.mode](request)
    except KeyboardInterrupt:
        said = "stopped by Ctrl-C: a table is written when it is complete; the same command measures anew."
        raise Interrupted(said, signal.SIGINT) from None
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="mixbench bench",
        usage="mixbench bench [KEY=VALUE ...] [options] [-- METHOD ...]",
        description="Measure what a training step costs.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("override", nargs="*", metavar="KEY=VALUE", help=f"default: {' '.join(BASE)}")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="at least 2; default: 7")
    parser.add_argument(
        "--seconds", type=float, default=1.0, metavar="S", help="of each method in each round (default: 1)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("outputs/bench"), metavar="DIR", help="default: outputs/bench"
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--loop", choices=["plain"], dest="mode", default="methods")
    for name in ("scaling", "together", "processes", "profile", "loading", "startup"):
        mode.add_argument(f"--{name}", action="store_const", const=name, dest="mode")
    return parser
