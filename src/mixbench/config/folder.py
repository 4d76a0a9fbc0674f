"""A user's folder of option files, `--config-dir`: what may not lie in it, because it would not be read."""

from __future__ import annotations

from pathlib import Path

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.plugins.config_source import ConfigResult

from mixbench.config import library, options
from mixbench.config.yaml_files import text_of
from mixbench.errors import ConfigError
from mixbench.schema.train import GROUPS


class ConfigDir(FileConfigSource):
    """Where Hydra finds option files of a user: as files of its own, once it is known that they can be loaded."""

    @staticmethod
    def scheme() -> str:
        """What the folder's address begins with."""
        return "mixbench-config-dir"

    def load_config(self, config_path: str) -> ConfigResult:
        """The content of a file. Raises ConfigError where it is more than can be read."""
        text_of(Path(self.path, self._normalize_file_name(config_path)))
        return super().load_config(config_path)


def address(config_dir: str) -> str:
    """The folder as Hydra's search path names it. Raises ConfigError as `config_folder` does."""
    SourcesRegistry.instance().register(ConfigDir)
    return f"{ConfigDir.scheme()}://{config_folder(config_dir)}"


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
