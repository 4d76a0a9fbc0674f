"""The trials of a search, kept by Optuna in SQLite.

What is tried next depends on the search, the trial's number and the trials before it alone, because the sampler is
seeded anew for every trial. So a study that was stopped goes on as if it had not been, and one whose file is lost is
made again from its runs without training (both with one trial at a time: the order in which trials end matters).

The process that searches holds the study's claim. A trial that it finds in state RUNNING belongs to nobody and is
taken up where it stands; Optuna itself would leave it there for ever.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from mixbench.errors import MixbenchError
from mixbench.record.claim import Claim
from mixbench.record.run import SavedRun
from mixbench.tuning.search import Search

FILE = "study.db"
ERROR = "error"  # the attribute of a trial whose run failed
UNPRUNED_SHARE = 0.25  # of the epochs, in which nothing is pruned: the first epochs say little about the last

optuna.logging.set_verbosity(optuna.logging.ERROR)  # it tells every trial; we do


class Trial:
    """One trial: its values by key, and what Optuna has been told of its run."""

    def __init__(self, search: Search, trial: optuna.Trial) -> None:
        self.number = trial.number
        self._trial, self._study, self._metric = trial, trial.study, search.metric
        # Fresh samplers for the joint draw and for every key: a trial that was stopped between two of its keys then
        # gets the same values. Values that it has already stay as they are.
        self._study.sampler = _sampler(search, f"{self.number}")
        _ = trial.relative_params
        self.values: dict[str, Any] = {}
        for dimension in search.space:
            self._study.sampler = _sampler(search, f"{self.number} {dimension.key}")
            self.values[dimension.key] = dimension.suggest(trial)
        frozen = self._study.get_trials(deepcopy=False)[self.number]
        self._reported = set(frozen.intermediate_values)
        self._value = float("nan")

    def follow(self, directory: Path, epochs: int) -> bool:
        """Report the new rows of the run in `directory`; True when one of them says that the trial is not worth more.

        Rows are judged one after another, so it does not matter how far the run has come when they are read. The last
        epoch is never pruned: nothing would be saved.
        """
        for row in SavedRun(directory).rows:
            epoch, self._value = int(row["epoch"]), float(row[self._metric])
            before = max(self._reported, default=0)
            if epoch > before:
                self._trial.report(self._value, epoch)
                self._reported.add(epoch)
            # A row that was reported just before a stop has not been judged yet.
            if epoch >= before and epoch < epochs and self._trial.should_prune():
                return True
        return False

    @property
    def failed_before(self) -> str:
        """The error of another trial with these values, which would fail again; empty for none."""
        others = (t for t in self._study.get_trials(deepcopy=False) if t.number != self.number)
        return next(
            (t.user_attrs[ERROR] for t in others if ERROR in t.user_attrs and t.params == self.values), ""
        )

    def finish(self) -> None:
        """The run is finished; the metric of its last epoch is the trial's value."""
        self._study.tell(self.number, self._value)

    def prune(self) -> None:
        """The run is not worth more epochs."""
        self._study.tell(self.number, state=TrialState.PRUNED)

    def fail(self, error: str) -> None:
        """These values do not work. The sampler avoids pruned trials; failed ones it would ignore."""
        self._trial.set_user_attr(ERROR, error)
        self.prune()


class Study:
    """The study of a search, made or opened: with the `claim` on its directory to work on it, without one to look.

    Use inside `storage_errors`.
    """

    def __init__(self, search: Search, claim: Claim | None = None) -> None:
        self.search, self._claim = search, claim
        self._study = optuna.create_study(
            storage=f"sqlite:///{search.directory / FILE}",
            study_name=search.id,
            direction="maximize",
            pruner=_pruner(search),
            load_if_exists=True,
        )
        self._left = [t for t in self.trials() if t.state is TrialState.RUNNING]

    def trials(self) -> list[FrozenTrial]:
        """All trials in the order in which they were begun."""
        return self._study.get_trials(deepcopy=False)

    def next(self, limit: int) -> Trial | None:
        """A trial to work on: one that was left unfinished, else a new one; None where there are `limit` in all.

        Raises ClaimLost where another process has taken the search over.
        """
        if self._claim is None:
            raise RuntimeError(f"{self.search.directory}: only the process that holds the study works on it")
        self._claim.check()
        if self._left:
            # By its key in the storage: there is no public way to take up a trial of another process.
            return Trial(self.search, optuna.Trial(self._study, self._left.pop(0)._trial_id))
        if len(self.trials()) >= limit:
            return None
        return Trial(self.search, self._study.ask())


def made(search: Search) -> bool:
    """True where the search has a study."""
    return (search.directory / FILE).exists()


@contextlib.contextmanager
def storage_errors(directory: Path) -> Iterator[None]:
    """Raise a MixbenchError that names the study's file where Optuna cannot read or write it."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "optuna" not in str(error):
            raise  # Optuna raises it for a file of another version
        reason = str(error.__cause__ or error).splitlines()[0]
        raise MixbenchError(
            f"{directory / FILE} cannot be used: {reason}\n"
            "With room to write, the same command goes on. If the file is damaged, move it away: the study is made"
            " again from its runs, and what is trained is not trained again."
        ) from None


def _sampler(search: Search, what: str) -> optuna.samplers.BaseSampler:
    seed = int.from_bytes(hashlib.sha256(f"{search.id} {what}".encode()).digest()[:4], "big")
    if search.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed)


def _pruner(search: Search) -> optuna.pruners.BasePruner:
    if search.pruner == "none":
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(n_warmup_steps=int(UNPRUNED_SHARE * search.config.epochs) + 1)
