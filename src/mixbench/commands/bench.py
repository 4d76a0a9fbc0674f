"""`mixbench bench`: what a training step of each method costs, measured side by side."""

from __future__ import annotations

import argparse
import os
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mixbench.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from mixbench.bench.result import Result

BASE = ["dataset=cifar100", "model=wrn16_4", "batch_size=128", "precision=bf16"]
EPILOG = """what is measured:
  default        a step of each METHOD as it really runs: batch, crop and flip, mixing, all passes, update
  --loop plain   the same, beside the loop that one writes by hand (benchmarks/plain.py of the repository)
  --scaling      one METHOD with other batches, classes, image sizes, and several runs at once on the device
  --profile      where the time of a step of one METHOD goes, by kind of operation
  --startup      from the prompt to the first step, beside importing torch and building the model

examples:
  mixbench bench                                     all methods, WRN-16-4, 128 images of CIFAR-100's shape, bf16
  mixbench bench model=preactresnet18 -- ERM G-Mix DG-Mix
  mixbench bench precision=float32 compile=true -- ERM "augment=gmix opt=sam opt.rho=0.1"
  mixbench bench --loop plain -- ERM Mixup SAM G-Mix

Images are made up, so nothing is downloaded; a step costs the same. Methods take turns in every round, so that a busy
moment of the machine hits all of them, and ratios are taken within rounds."""


def main(argv: list[str]) -> int:
    """The exit status of `mixbench bench ARGV`. Raises ConfigError for what cannot be measured."""
    given, methods = argv, []
    if "--" in argv:
        given, methods = argv[: argv.index("--")], argv[argv.index("--") + 1 :]
    arguments = parser().parse_args(given)
    overrides = [*BASE, *arguments.override]
    wrong = [o for o in arguments.override if "=" not in o]
    if wrong:
        raise ConfigError(f"{wrong[0]}: is no KEY=VALUE; methods stand behind ' -- '.")
    if arguments.rounds < 2:
        raise ConfigError(f"--rounds {arguments.rounds}: must be >= 2, to have a spread.")
    if not arguments.seconds > 0:
        raise ConfigError(f"--seconds {arguments.seconds:g}: must be > 0.")
    command = shlex.join(["mixbench", "bench", *argv])
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # read when torch is loaded: the profiler is talkative
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if arguments.startup:
        return _startup(overrides, arguments.rounds)
    if arguments.profile:
        return _profile(arguments.profile, overrides)
    result = _measured(arguments, overrides, methods, command)
    from mixbench.bench import render

    print(f"\n{render.text(result)}")
    result.write(arguments.out)
    print(f"\nwritten: {arguments.out / 'bench.json'}, {arguments.out / 'bench.csv'}")
    if arguments.scaling:
        _side_by_side(methods, overrides, arguments.seconds)
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="mixbench bench",
        usage="mixbench bench [KEY=VALUE ...] [options] [-- METHOD ...]",
        description="Measure what a training step costs.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("override", nargs="*", metavar="KEY=VALUE", help=f"default: {' '.join(BASE)}")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="default: 7")
    parser.add_argument(
        "--seconds", type=float, default=1.0, metavar="S", help="of each method in each round (default: 1)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("outputs/bench"), metavar="DIR", help="default: outputs/bench"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--loop", choices=["plain"], help="compare with a loop written by hand")
    what.add_argument("--scaling", action="store_true")
    what.add_argument("--profile", metavar="METHOD")
    what.add_argument("--startup", action="store_true")
    return parser


def _measured(
    arguments: argparse.Namespace, overrides: list[str], methods: list[str], command: str
) -> Result:
    from mixbench.bench.subjects import METHODS, configured

    if arguments.loop:
        from mixbench.bench.plain import METHODS as plain_methods

        methods = methods or list(plain_methods)
    methods = methods or (["G-Mix"] if arguments.scaling else list(METHODS))
    configs = {
        method: configured(method, overrides) for method in methods
    }  # all mistakes before torch is loaded

    from mixbench.bench.measure import matrix_rate, timed
    from mixbench.bench.result import Result, lines
    from mixbench.bench.subjects import subject
    from mixbench.devices import DTYPES, resolve_device, set_determinism
    from mixbench.environment import environment
    from mixbench.schema.model import label

    first = next(iter(configs.values()))
    device, _ = resolve_device(first.device)
    set_determinism(first.deterministic)
    if arguments.scaling:
        from mixbench.bench.scaling import subjects as varied

        title, subjects = "Growth of the cost of a step", varied(methods[0], overrides, device)
    else:
        title = "Cost of a training step"
        subjects = [subject(name, config, device) for name, config in configs.items()]
    if arguments.loop:
        from mixbench.bench.plain import plain_subject

        title = "A training step beside the loop written by hand (float32)"
        by_hand = [plain_subject(name, config, device) for name, config in configs.items()]
        subjects = [s for pair in zip(subjects, by_hand, strict=True) for s in pair]
    rate = matrix_rate(device, DTYPES[first.precision])
    timings = timed(subjects, device, rounds=arguments.rounds, burst=arguments.seconds, tell=_tell)
    return Result(
        title=title,
        command=command,
        settings={
            "model": label(first.model),
            "dataset": first.dataset.name,
            "batch_size": first.batch_size,
            "precision": first.precision,
            "compile": first.compile,
            "rounds": arguments.rounds,
        },
        environment=environment(device),
        matrix_gflops_per_second=rate / 1e9,
        lines=lines(timings, rate, asynchronous=device.type != "cpu"),
    )


def _tell(line: str) -> None:
    print(line, flush=True)


def _device(overrides: list[str]) -> torch.device:
    from mixbench.bench.subjects import configured
    from mixbench.devices import resolve_device

    return resolve_device(configured("ERM", overrides).device)[0]


def _side_by_side(methods: list[str], overrides: list[str], seconds: float) -> None:
    from mixbench.bench.render import aligned
    from mixbench.bench.scaling import side_by_side

    rates = side_by_side((methods or ["G-Mix"])[0], overrides, _device(overrides), 5 * seconds)
    rows = [[f"{n}", f"{rate:,.0f}", f"{rate / rates[1]:.2f}"] for n, rate in rates.items()]
    print("\nRuns side by side on one device: images/s of all together\n")
    print("\n".join(aligned(["runs", "images/s", "relative to one"], rows)))


def _profile(method: str, overrides: list[str]) -> int:
    from mixbench.bench.subjects import configured

    config = configured(method, overrides)
    from mixbench.bench.profile import profiled
    from mixbench.bench.render import aligned
    from mixbench.bench.subjects import subject

    device = _device(overrides)
    found = profiled(subject(method, config, device), device)
    print("\n".join(aligned([f"a step of {method}", "share"], [[g, f"{100 * s:.1f} %"] for g, s in found])))
    return 0


def _startup(overrides: list[str], rounds: int) -> int:
    from mixbench.bench.render import aligned
    from mixbench.bench.startup import measured, programs

    with tempfile.TemporaryDirectory() as scratch:
        found = measured(*programs(overrides, scratch), rounds)
    labels = {"bare": "import torch, build the model (s)", "train": "mixbench train to the first step (s)"}
    rows = [
        [labels.get(name, "ratio"), f"{median:.2f}", f"{low:.2f} to {high:.2f}"]
        for name, (low, median, high) in found.items()
    ]
    print("\n".join(aligned(["start-up", "median", "quartiles"], rows)))
    return 0
