"""The specs that come with mixbench, by their keys.

One file `conf/paper/<paper>/<name>.yaml` is one table or figure, and a file of one's own has the same form: `kind`
(table or figure) and the fields of `Table` or `Figure` in mixbench.papers.spec. Those of kind study are read by
mixbench.studies.library. Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from mixbench.config.library import conf_dir, files, listed
from mixbench.config.yaml_files import text_of
from mixbench.errors import ConfigError
from mixbench.papers.parse import parse
from mixbench.papers.spec import Figure, Table
from mixbench.schema.knob import nearest

PAPERS = ("li2023", "zou2023", "park2022", "kimura2021", "zhang2021")  # in the order in which they are listed


RUNS = ("table", "figure")  # kinds that are made from runs


def names(kinds: Collection[str] = RUNS) -> list[str]:
    """The keys of the specs of these kinds that come with mixbench: by paper, tables before figures, by number.

    Papers that are not among PAPERS come last.
    """

    def place(key: str) -> tuple[int, str, bool, list[str | int]]:
        paper, name = key.split("/")
        numbered = [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
        order = PAPERS.index(paper) if paper in PAPERS else len(PAPERS)
        return order, paper, not name.startswith("table"), numbered

    found = [path for path in listed(conf_dir() / "paper", "*/*.yaml") if kind_of(path) in kinds]
    return sorted((f"{path.parent.name}/{path.stem}" for path in found), key=place)


def file_of(key: str) -> Path:
    """Where the spec called `key` lies, or would."""
    return Path(key) if key.endswith(".yaml") else conf_dir() / "paper" / f"{key}.yaml"


def kind_of(path: Path) -> str:
    """The kind that a spec file names in a line of its own; empty where there is none, or no such file."""
    try:
        found = re.search(r"^kind: *(\w+) *$", text_of(path), re.MULTILINE)
    except ConfigError:
        return ""
    return found[1] if found else ""


def load(key: str) -> Table | Figure:
    """The spec called `key`, such as "li2023/table1", or the one in the file `key` where that ends in .yaml.

    Raises ConfigError with the nearest key for an unknown one, and with the place for a malformed file.
    """
    check(key, "table or figure", names)
    return parse(file_of(key), key)


def check(key: str, what: str, names: Callable[[], Sequence[str]]) -> None:
    """Raises ConfigError where no spec is called `key`: with the nearest and all of the known `names()`, each a `what`;
    for the name of a data set with those that have it.
    """
    if file_of(key).is_file():
        return
    known = names()  # which reads all files
    said = f"{key}: no such {what}.{nearest(key, known)}"
    if key in files("dataset"):
        name = key.replace("_", "[_-]")  # as an override, or in a list of names
        used = re.compile(rf"\bdataset={name}\b|[\[,]\s*{name}\s*[\],]", re.IGNORECASE)
        found = [spec for spec in known if used.search(text_of(file_of(spec)))]
        of = f" It is in {', '.join(found)}." if found else ""
        said = f"{key}: is a data set, and no {what}; mixbench train dataset={key} trains on it.{of}"
    raise ConfigError(f"{said}\nKnown: {', '.join(known)}.")
