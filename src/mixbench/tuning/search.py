"""One search: what is fixed, what is varied, what is maximised. The same search is the same study."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mixbench.config.compose import compose
from mixbench.config.identity import flat, scientific
from mixbench.errors import ConfigError
from mixbench.files import expanded
from mixbench.schema.train import Train
from mixbench.tuning.space import Dimension, Interval, parse

SAMPLERS = ("tpe", "random")
PRUNERS = ("median", "none")
# Trials must be comparable, epoch by epoch and image by image.
REFUSED = {
    "seed": "the best of several seeds is luck, which another training does not have",
    "epochs": "trials are compared epoch by epoch; search once for each number of epochs",
    "dataset": "accuracies on different data sets do not compare; search once for each",
    "dataset.val_size": "trials are compared on the same images",
    "dataset.fold": "the best of several folds is luck, which other examples do not have",
    "dataset.test_size": "trials are compared on the same images",
}


@dataclass(frozen=True)
class Search:
    """A checked search. `config` is the run with the first value of every searched key."""

    fixed: tuple[str, ...]
    space: tuple[Dimension, ...]
    config: Train
    metric: str  # a column of epochs.csv: val_acc, or test_acc
    sampler: str = "tpe"
    pruner: str = "median"
    config_dir: str | None = None

    @cached_property
    def id(self) -> str:
        """Twelve hexadecimal digits that name everything the outcome depends on but the number of trials."""
        content = {
            "config": scientific(self.config),
            "space": [dataclasses.asdict(dimension) for dimension in self.space],
            "metric": self.metric,
            "sampler": self.sampler,
            "pruner": self.pruner,
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def directory(self) -> Path:
        """`<output_dir>/studies/<id>`, which holds study.db and the claim of the process that searches."""
        return expanded(self.config.output_dir) / "studies" / self.id

    def overrides(self, values: Mapping[str, Any]) -> list[str]:
        """The command line of the trial with these values by key: a run of `mixbench train` like any other."""
        return [*self.fixed, *(f"{d.key}={values[d.key]}" for d in self.space)]

    def run(self, values: Mapping[str, Any]) -> Train:
        """The config of the trial with these values. Raises ConfigError where they do not go together."""
        return compose(self.overrides(values), self.config_dir)


def search(
    overrides: Sequence[str],
    *,
    on_test_set: bool = False,
    sampler: str = "tpe",
    pruner: str = "median",
    config_dir: str | None = None,
) -> Search:
    """The search that `overrides` describe, checked with every choice and both ends of every interval.

    It maximises `val_acc`, or `test_acc` with `on_test_set`. Raises ConfigError for a value that is not allowed, a key
    that cannot be searched, and without held-out images to choose by.
    """
    fixed, space = parse(overrides)
    first = {d.key: d.samples()[0] for d in space}
    draft = Search(tuple(fixed), tuple(space), Train(), "val_acc", config_dir=config_dir)
    for dimension in space:
        for text in dimension.samples():
            try:
                config = draft.run(first | {dimension.key: text})
            except ConfigError as error:
                raise ConfigError(f"in the search, {error}{_whole_numbers(dimension, str(error))}") from None
            if reason := _refusal(dimension.key, config):
                raise ConfigError(f"{dimension.key}: is not searched: {reason}.")
    config = draft.run(first)
    if config.force:
        raise ConfigError("force=true: a search goes on from the runs there are; leave it out.")
    metric = "test_acc" if on_test_set else "val_acc"
    if not on_test_set and not config.dataset.held_out():
        raise ConfigError(_without_validation(config))
    return dataclasses.replace(draft, config=config, metric=metric, sampler=sampler, pruner=pruner)


def _refusal(key: str, config: Train) -> str:
    if key in REFUSED:
        return REFUSED[key]
    return "" if key in flat(config, all_keys=False) else "it does not decide the result"


def _whole_numbers(dimension: Dimension, message: str) -> str:
    if isinstance(dimension, Interval) and "a whole number" in message:
        return (
            f"\nFor whole numbers write {dimension.key}=int(interval({dimension.low:g}, {dimension.high:g}))."
        )
    return ""


def _without_validation(config: Train) -> str:
    name = config.dataset.label()
    return (
        f"dataset.val_size=null: mixbench tune chooses by accuracy on held-out training images; add"
        f" dataset.val_size=N ({name} has {config.dataset.spec().train_size} training examples).\n"
        "Accuracy on the test set that was chosen on the test set is no result; for a search that does so all the"
        " same, say --tune-on-the-test-set."
    )
