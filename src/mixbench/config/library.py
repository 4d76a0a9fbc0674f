"""What comes with mixbench: the option files under conf/, and the schemas that type them."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path


@functools.cache
def conf_dir() -> Path:
    """The folder of the YAML files: inside an installed wheel, else at the top of the repository."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parents[1] / "conf"


def schemas(group: str) -> dict[str, type]:
    """The dataclasses of a group by name; `train` holds that of the run itself."""
    return importlib.import_module(f"mixbench.schema.{group}").OPTIONS


def files(group: str) -> dict[str, Path]:
    """The option files of a group by option, in alphabetical order."""
    return {path.stem: path for path in listed(conf_dir() / group, "*.yaml")}


def listed(folder: Path, pattern: str) -> list[Path]:
    """The files below `folder` that are meant: no folders, and none of what editors leave beside the file they edit."""
    return sorted(path for path in folder.glob(pattern) if path.is_file() and not path.name.startswith("."))
