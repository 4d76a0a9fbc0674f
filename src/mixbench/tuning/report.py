"""What a search has found, as text."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from mixbench.config.identity import run_dir
from mixbench.record.run import SavedRun
from mixbench.tuning.search import Search
from mixbench.tuning.study import ERROR, FILE

SHOWN = 10


def head(search: Search) -> str:
    """What is searched, by which number, and where the study lies."""
    lines = [f"study   {search.directory / FILE}"]
    lines += [f"search  {dimension}" for dimension in search.space]
    if search.metric == "test_acc":
        chosen = (
            "accuracy on the TEST SET, as told: of the best trial it is no estimate for images never seen"
        )
    else:
        chosen = f"accuracy on {search.config.dataset.held_out()} held-out training examples"
    return "\n".join([*lines, f"metric  {search.metric} of the last epoch: {chosen}"])


def line(search: Search, trial: FrozenTrial) -> str:
    """One trial: its number, state, value or error, and the values tried."""
    values = " ".join(f"{d.key}={_short(trial.params[d.key])}" for d in search.space if d.key in trial.params)
    result = f"{trial.value:.2f}" if trial.value is not None else "-"
    epochs = f"{trial.last_step or 0:d}/{search.config.epochs}"
    error = f"  {trial.user_attrs[ERROR].splitlines()[0]}" if ERROR in trial.user_attrs else ""
    return f"{trial.number:5d}  {_state(trial):10} {result:>8}  {epochs:>7}  {values}{error}"


def table(search: Search, trials: Sequence[FrozenTrial], limit: int) -> str:
    """The best trials, the best one's command, and its test accuracy, which the choice did not look at."""
    counts = Counter(map(_state, trials))
    states = ", ".join(f"{n} {state}" for state, n in counts.items())
    lines = [f"{len(trials)} of {limit} trials" + (f": {states}" if states else "")]
    finished = [t for t in trials if t.state is TrialState.COMPLETE]
    if not finished:
        return "\n".join(lines)
    best = sorted(finished, key=lambda t: -(t.value or 0))  # stable: of equal ones the first
    lines += [f"trial  state      {search.metric:>8}   epochs  values"]
    lines += [line(search, trial) for trial in best[:SHOWN]]
    lines += [f"       and {len(best) - SHOWN} finished trials below these"] if len(best) > SHOWN else []
    directory = run_dir(search.run(best[0].params))
    lines += [f"best    trial {best[0].number}: {_result(search, directory)}"]
    command = ["mixbench", "train", *search.overrides(best[0].params)]
    return "\n".join([*lines, f"        {shlex.join(command)}", f"run     {directory}"])


def complete(trials: Sequence[FrozenTrial]) -> bool:
    """True where there is a best trial, and none was left unfinished."""
    states = {trial.state for trial in trials}
    return TrialState.COMPLETE in states and TrialState.RUNNING not in states


def _result(search: Search, directory: Path) -> str:
    row = SavedRun(directory).selections.get("last")
    if row is None:
        return "its run is no longer there"
    if search.metric == "test_acc":
        return f"test_acc {row['test_acc']:.2f}, chosen on the test set"
    return f"val_acc {row['val_acc']:.2f}, by which it was chosen; test_acc {row['test_acc']:.2f}"


def _state(trial: FrozenTrial) -> str:
    if ERROR in trial.user_attrs:
        return "failed"
    names = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned"}
    return names.get(trial.state, "unfinished")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
