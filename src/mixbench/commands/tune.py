"""`mixbench tune`: search for good values of some keys; the same command goes on where it stopped."""

from __future__ import annotations

import argparse
import importlib.util

from mixbench.config.overrides import canonical
from mixbench.errors import ConfigError
from mixbench.machine.output import printable
from mixbench.record.claim import claimed
from mixbench.sweep.room import check_jobs, room
from mixbench.tuning.search import PRUNERS, SAMPLERS, Search, search

EPILOG = """values that are searched:
  opt.rho=0.05,0.1,0.2                    one of these; also augment=mixup,cutmix
  opt.lr=interval(0.01,0.3)               any number in between
  opt.lr=tag(log,interval(0.001,1))       the same, drawn on a logarithmic scale
  batch_size=int(interval(32,256))        a whole number

examples (quote what has brackets):
  mixbench tune opt=sam 'opt.rho=tag(log,interval(0.01,1))' dataset.val_size=300 --trials 20
  mixbench tune augment=mixup,gmix 'augment.alpha=interval(0.1,2)' dataset.val_size=300 --jobs 2

Accuracy is measured on dataset.val_size held-out training images, after every epoch. The study, in
<output_dir>/studies, is Optuna's: optuna-dashboard sqlite:///FILE shows it. Every trial is a run like any other.
"""


def main(argv: list[str]) -> int:
    """The exit status of `mixbench tune ARGV`: 1 where no trial finished, or one was left unfinished.

    Raises ConfigError for a mistake in what is asked, MixbenchError where trials cannot be trained at all.
    """
    arguments = parser().parse_intermixed_args(argv)
    for option in ("trials", "jobs"):
        value = getattr(arguments, option)
        if value is not None and value < 1:
            raise ConfigError(f"--{option} {value}: must be >= 1.")
    asked = search(
        canonical(arguments.overrides),
        on_test_set=arguments.tune_on_the_test_set,
        sampler=arguments.sampler,
        pruner=arguments.pruner,
        config_dir=arguments.config_dir,
    )
    if importlib.util.find_spec("optuna") is None:
        raise ConfigError("mixbench tune: the package optuna is not installed; pip install 'mixbench[tune]'.")
    return (
        show(asked, arguments.trials) if arguments.dry_run else tune(asked, arguments.trials, arguments.jobs)
    )


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    found = argparse.ArgumentParser(
        prog="mixbench tune",
        description="Search for good values of some keys with Optuna, on held-out training images.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # --tune-on-the-test-set is meant to be said in full
    )
    found.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="as for mixbench train; with several values: searched",
    )
    found.add_argument("--trials", type=int, default=20, metavar="N", help="trials in all (default: 20)")
    found.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="trials side by side (default: 1 on a CPU; what fits on a GPU under MPS, up to 4)",
    )
    found.add_argument(
        "--sampler", choices=SAMPLERS, default="tpe", help="what proposes values (default: tpe)"
    )
    found.add_argument(
        "--pruner",
        choices=PRUNERS,
        default="median",
        help="median: stop a trial that is below the median of the finished ones at the same epoch, after five have"
        " finished and a quarter of the epochs (default)",
    )
    found.add_argument(
        "--dry-run", action="store_true", help="show the search and what it has found; train nothing"
    )
    found.add_argument("--config-dir", metavar="DIR", help="a folder with option files of your own")
    found.add_argument(
        "--tune-on-the-test-set",
        action="store_true",
        help="maximise test accuracy, which then says nothing about images never seen",
    )
    return found


def tune(asked: Search, limit: int, jobs: int | None) -> int:
    """Work on the search until its study has `limit` trials."""
    from mixbench.tuning import report
    from mixbench.tuning.execute import execute
    from mixbench.tuning.study import Study, storage_errors

    check_jobs(jobs)
    print(report.head(asked), flush=True)
    with claimed(asked.directory) as claim, storage_errors(asked.directory):
        study = Study(asked, claim)
        before = len(study.trials())
        if before:
            print(f"resume  {before} trials are there", flush=True)
        with room(jobs, asked.config.device, limit) as places:
            if places.sentence:
                print(places.sentence, flush=True)
            execute(
                study,
                limit,
                places,
                lambda number: print(printable(report.line(asked, study.trials()[number])), flush=True),
            )
        trials = study.trials()
    print(printable(report.table(asked, trials, limit)))
    return 0 if report.complete(trials) else 1


def show(asked: Search, limit: int) -> int:
    """Print the search and its trials so far; nothing is made or changed."""
    from mixbench.tuning import report
    from mixbench.tuning.study import Study, made, storage_errors

    print(report.head(asked))
    with storage_errors(asked.directory):
        trials = Study(asked).trials() if made(asked) else []
    print(printable(report.table(asked, trials, limit)))
    return 0
