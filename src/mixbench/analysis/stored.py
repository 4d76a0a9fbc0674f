"""Where evaluations lie: RUN/evaluations/NAME.json, NAME@SOURCE.json where it is not the run's own test set, NAME~HASH
with options that are not the defaults; those of other weights than the last epoch's in a folder such as best_val.

    name         of the evaluator                 weights    SHA-256 of the weights that were measured
    source       test, val, train, or STEM-HASH   device     what computed it, in which precision and batches
    data         what that is, and how much       versions   of mixbench, torch and torchmetrics
    options      how it was made                  measured   when, and how many seconds it took
    result       what the evaluator gives         sha256     of all the rest

They are no part of a run's identity, and any of them can be made or deleted at any time. One that is damaged, made in
another way, or of other weights than the run now has, counts as not there. Imports no torch.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from mixbench.analysis.evaluators import EVALUATORS
from mixbench.analysis.options import Options, defaults, suffix
from mixbench.errors import output_error
from mixbench.files import plain, read_bounded, write_json
from mixbench.record import checksum
from mixbench.record.run import SavedRun, is_number
from mixbench.record.schema import MOST_JSON

Evaluation = dict[str, Any]


def place(directory: Path, name: str, options: Options, source: str, select: str = "last") -> Path:
    """The file of an evaluation of the run in `directory`, of the weights that the rule `select` has kept."""
    folder = directory / "evaluations" / ("" if select == "last" else select)
    name += suffix(EVALUATORS[name].options, options)
    return folder / (f"{name}.json" if source == "test" else f"{name}@{source}.json")


def write(directory: Path, evaluation: Evaluation, select: str = "last") -> None:
    """Keep an evaluation; of two processes the last one's stays. Raises OutputError."""
    path = place(directory, evaluation["name"], evaluation["options"], evaluation["source"], select)
    content = plain(evaluation)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(path.parent, error) from None
    write_json(path, {**content, "sha256": checksum.of_summary(content)})


def read(
    directory: Path,
    name: str,
    options: Options,
    source: str,
    weights: str | None,
    select: str = "last",
) -> Evaluation | None:
    """The evaluation of the weights with this SHA-256; None where there is none that can be trusted."""
    try:
        content = json.loads(read_bounded(place(directory, name, options, source, select), MOST_JSON))
        digest = content.pop("sha256", None)
        trusted = digest == checksum.of_summary(content) and (name, source, options) == (
            content["name"],
            content["source"],
            content.setdefault("options", {}),  # before there were any
        )
    except (OSError, ValueError, AttributeError, TypeError, KeyError, RecursionError):
        return None
    return content if trusted and content["weights"] == weights else None


def numbers(run: SavedRun) -> dict[str, float]:
    """What tables can show of a finished run's evaluations with default options, by NAME/KEY."""
    found = dict[str, float]()
    if run.state != "finished" or not (run.directory / "evaluations").is_dir():
        return found
    # Records of earlier versions hold no checksums.
    weights = run.summary.get("files", {}).get(run.weights.name) or checksum.of_file(run.weights)
    for name, entry in EVALUATORS.items():
        made = name, defaults(entry.options), entry.on
        evaluation = read(run.directory, *made, weights) if entry.numbers else None
        with contextlib.suppress(KeyError, TypeError):
            result = evaluation["result"] if evaluation else {}
            found |= {
                f"{name}/{key}": float(result[key]) for key in entry.numbers if is_number(result.get(key))
            }
    return found
