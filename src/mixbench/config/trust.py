"""What a config may hold, whoever wrote it: values, and references to its own keys such as ${seed}. Nothing that runs.

Hydra can be told by `_target_` to call any function, by its command line to load a pickle, and OmegaConf's resolvers
read the environment, which would then stand in the run's public record. None of this is of use here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mixbench.errors import ConfigError

REFERENCE = re.compile(r"\$\{[\w.]+\}")
# Hydra's own launchers and sweepers are built from its config.
TRUSTED = ("hydra._internal.", "hydra_plugins.")
# Environment variables, classes of log handlers, commands of a job: what they are, and the key that sets them.
BY_HAND = {
    "hydra.job.env_set": "hydra.job.env_set",
    "hydra.job_logging.root": "hydra.job_logging",
    "hydra.hydra_logging.root": "hydra.hydra_logging",
    "hydra.launcher.setup": "hydra.launcher.setup",
}


def check_override(override: str) -> None:
    """Raises ConfigError for an override that names something to call, or a resolver."""
    key, _, value = override.partition("=")
    if "_target_" in override:
        raise ConfigError(f"{override}: _target_ is not allowed; a config cannot name code to call.")
    if calls(value) and not key.lstrip("+~").startswith("hydra"):
        raise ConfigError(f"{override}: {RESOLVER}")


RESOLVER = "of ${...}, only references to keys such as ${seed} are allowed; $NAME is the shell's."


def check_composed(config: DictConfig, overrides: Sequence[str]) -> None:
    """Raises ConfigError for a config in which a file names something to call, or a resolver.

    What of Hydra's own config leads to code, only `overrides`, those of the command line, may set.
    """
    given = [o.lstrip("+").partition("=")[0].replace("/", ".") for o in overrides]
    by_hand = [part for part, key in BY_HAND.items() if not any(o.startswith(key) for o in given)]
    for key, value in _leaves(OmegaConf.to_container(config, resolve=False), ""):
        ours = not key.startswith("hydra.")
        if key.endswith("_target_") and (ours or not str(value).startswith(TRUSTED)):
            raise ConfigError(f"{key}={value}: _target_ is not allowed; a config cannot name code to call.")
        if value is not None and key.startswith(tuple(by_hand)):
            raise ConfigError(f"{key}={value}: is not for a file to set; give it on the command line.")
        if ours and isinstance(value, str) and calls(value):
            raise ConfigError(f"{key}={value}: {RESOLVER}")


def calls(value: str) -> bool:
    """True for a text with an interpolation that is more than a reference."""
    return "${" in REFERENCE.sub("", value)


def _leaves(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _leaves(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list):
        for value in node:
            yield from _leaves(value, key)
    else:
        yield key, node
