"""What a config may hold, whoever wrote it: values, and references to its own keys such as ${seed}. Nothing that runs.

Hydra can be told by `_target_` to call any function, by its command line to load a pickle, and OmegaConf's resolvers
read the environment, which would then stand in the run's public record. None of this is of use here. Of Hydra's own
config, which says where and how runs are started, a file sets nothing at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mixbench.errors import ConfigError

Path = tuple[str, ...]

REFERENCE = re.compile(r"\$\{[\w.]+\}")
# What hydra.utils.instantiate looks for in a node, at any depth.
CALLING = ("_target_", "_args_", "_partial_", "_recursive_", "_convert_")
# The launchers by their names in Hydra, and the one sweeper: all that is ever built from a config.
LAUNCHERS = {
    "basic": "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
    "joblib": "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
    "ray": "hydra_plugins.mixbench_ray.RayLauncher",
    "submitit_local": "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher",
    "submitit_slurm": "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
}
SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
BUILT: dict[Path, tuple[str, ...]] = {
    ("hydra", "launcher", "_target_"): tuple(LAUNCHERS.values()),
    ("hydra", "sweeper", "_target_"): (SWEEPER,),
}
BUILDERS: dict[Path, str] = {
    ("hydra", "launcher", "_target_"): f"is no launcher of ours or Hydra's; allowed: {', '.join(LAUNCHERS)}.",
    ("hydra", "sweeper", "_target_"): "sweeps are Hydra's basic ones; mixbench tune searches.",
}
# Parts of Hydra's own config that it fills in anew for every composition.
FILLED_IN = (("hydra", "runtime"), ("hydra", "overrides"), ("hydra", "job", "override_dirname"))

RESOLVER = "of ${...}, only references to keys such as ${seed} are allowed; $NAME is the shell's."
NO_CODE = "a config cannot name code to call."


def check_override(override: str) -> None:
    """Raises ConfigError for an override that names something to call, a resolver, or a place of option files."""
    key, _, value = override.partition("=")
    key = key.lstrip("+~")
    if "_target_" in override:
        raise ConfigError(f"{override}: _target_ is not allowed; {NO_CODE}")
    if key == "hydra.searchpath":
        raise ConfigError(f"{override}: option files of your own are found by --config-dir DIR.")
    if key.startswith("hydra.sweeper"):
        raise ConfigError(f"{override}: is not set; what is swept is written KEY=VALUE,VALUE with -m.")
    if calls(value) and not key.startswith("hydra"):
        raise ConfigError(f"{override}: {RESOLVER}")


def check_composed(config: DictConfig, alone: DictConfig | None = None) -> None:
    """Raises ConfigError for a config in which something would be called, or a resolver asked.

    `alone` is what Hydra composes without a user's option files: in its own config they may have changed nothing. The
    message then names the key only, for the value may come from the environment.
    """
    content = dict(_leaves(OmegaConf.to_container(config, resolve=False), ()))
    for path, value in content.items():
        key = ".".join(path)
        if set(CALLING) & set(path) and value not in BUILT.get(path, ()):
            raise ConfigError(f"{key}={value}: {BUILDERS.get(path, f'{path[-1]} is not allowed; {NO_CODE}')}")
        closed = path[0] != "hydra" or path[1:2] in (("launcher",), ("sweeper",))
        if closed and isinstance(value, str) and calls(value):
            raise ConfigError(f"{key}={value}: {RESOLVER}")
    if alone is None:
        return
    expected = dict(_leaves(OmegaConf.to_container(alone, resolve=False), ()))
    for path in (*content, *expected):
        own = path[0] == "hydra" and not any(path[: len(part)] == part for part in FILLED_IN)
        if own and content.get(path, ...) != expected.get(path, ...):
            raise ConfigError(f"{'.'.join(path)}: is not for a file to set; give it on the command line.")


def calls(value: str) -> bool:
    """True for a text with an interpolation that is more than a reference."""
    return "${" in REFERENCE.sub("", value)


def _leaves(node: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Every plain value, and every empty container, by the names and positions that lead to it."""
    if isinstance(node, dict) and node:
        for name, value in node.items():
            yield from _leaves(value, (*path, str(name)))
    elif isinstance(node, list) and node:
        for position, value in enumerate(node):
            yield from _leaves(value, (*path, str(position)))
    else:
        yield path, node
