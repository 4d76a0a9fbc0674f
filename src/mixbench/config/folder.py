"""A user's folder of option files, `--config-dir`: what may not lie in it, because it would not be read."""

from __future__ import annotations

from pathlib import Path

from mixbench.config import library, options
from mixbench.errors import ConfigError
from mixbench.schema.train import GROUPS


def config_folder(config_dir: str) -> Path:
    """The folder. Raises ConfigError where it is none, or has a file whose name is that of one of ours.

    Ours is found first: theirs would be passed over without a word.
    """
    folder = Path(config_dir)
    if not folder.is_dir():
        raise ConfigError(f"--config-dir {config_dir}: no such folder.")
    if (folder / "train.yaml").exists():
        raise ConfigError(
            f"--config-dir {config_dir}: train.yaml is not read; what it sets belongs into the file"
            " experiment/NAME.yaml there, chosen by +experiment=NAME."
        )
    ours = {f"{group}/{name}.yaml" for group in GROUPS for name in options.names(group)}
    ours |= {f"schema/{group}/{name}.yaml" for group in GROUPS for name in library.schemas(group)}
    for name in sorted(ours):
        if (folder / name).exists():
            raise ConfigError(
                f"--config-dir {config_dir}: {name} has the name of an option of mixbench, which is found first;"
                " give the file another name."
            )
    return folder.resolve()
