"""Measure a finished run's weights, unless that has been done: see `stored` for what is kept. Torch is imported to
measure, not to look.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from mixbench.analysis.evaluators import EVALUATORS, applicable, installed
from mixbench.analysis.options import Options, defaults
from mixbench.analysis.source import Source
from mixbench.analysis.stored import Evaluation, read
from mixbench.errors import DataError
from mixbench.record.run import WEIGHTS, SavedRun
from mixbench.training.weights import opened


def evaluations(
    directory: Path,
    names: Sequence[str] = (),
    on: Source | None = None,
    *,
    options: Mapping[str, Options] | None = None,
    device: str = "auto",
    data_dir: str | None = None,
    select: str = "last",
    precision: str | None = None,
) -> tuple[list[Evaluation], list[str]]:
    """The named evaluations of the run in `directory`, or all that fit its inputs and need no asking, and which were
    measured just now.

    `on`: the data, None for those that each is made on by default. `options`: of an evaluation, where they are not its
    defaults. `select`: of which epoch's weights, a key of WEIGHTS. `data_dir`: where its data lie, if not where they
    did in training. `precision`: one of PRECISIONS; None takes what there is, and measures in that of training. Raises
    MixbenchError for a run that is not finished, and as `LoadedRun` does; OutputError where the disk refuses;
    MissingPackage.
    """
    run = SavedRun(directory, directory / WEIGHTS[select])
    if run.state == "missing":
        raise DataError(f"{directory}: is no run.")
    weights, about = opened(run)
    wanted = applicable(about.kind, names)
    digest = hashlib.sha256(weights).hexdigest()
    made = {name: (options or {}).get(name, defaults(EVALUATORS[name].options)) for name in wanted}
    source = {name: on or Source(EVALUATORS[name].on) for name in wanted}
    found = {name: read(directory, name, made[name], source[name].name, digest, select) for name in wanted}
    missing = [name for name in wanted if not _serves(found[name], precision)]
    if missing:
        installed(missing)
        from mixbench.analysis.measure import measure

        asked = [(name, made[name], source[name]) for name in missing]
        found |= measure(run, asked, digest, device, data_dir, select, precision)
    return [evaluation for evaluation in found.values() if evaluation is not None], missing


def _serves(evaluation: Evaluation | None, precision: str | None) -> bool:
    return evaluation is not None and precision in (None, evaluation["device"]["precision"])
