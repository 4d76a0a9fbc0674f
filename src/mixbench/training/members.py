"""The class or function behind each option that a run is built from: ours, or a plugin's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mixbench.augment import AUGMENTS
from mixbench.config import plugins
from mixbench.data import LOADERS
from mixbench.models import MODELS
from mixbench.optim import RULES
from mixbench.regularize import REGULARIZERS
from mixbench.schedule import SCHEDULES

OURS: Mapping[str, Mapping[str, Any]] = {
    "dataset": LOADERS,
    "model": MODELS,
    "augment": AUGMENTS,
    "regularizer": REGULARIZERS,
    "opt": RULES,
    "schedule": SCHEDULES,
}


def member(group: str, name: str) -> Any:
    """What builds the option `name` of a group, as the registries say. Raises ConfigError for a plugin without it."""
    ours = OURS[group]
    return ours[name] if name in ours else plugins.member(group, name)
