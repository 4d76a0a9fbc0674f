"""A table of texts with its title, conditions and command: what is printed, written and put into documents."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mixbench.files import write_json


@dataclass(frozen=True)
class Sheet:
    """Texts ready to be read. `explained` says what the columns are."""

    title: str
    conditions: str
    command: str
    head: list[str]
    rows: list[list[str]]
    explained: str = ""

    def text(self) -> str:
        """For a terminal."""
        parts = [self.title, self.conditions, "", *aligned(self.head, self.rows)]
        return "\n".join([*parts, "", self.explained] if self.explained else parts)

    def markdown(self) -> str:
        """For a document: the table, its conditions, and the command that made it."""
        lines = [f"| {' | '.join(self.head)} |", "| --- |" + " ---: |" * (len(self.head) - 1)]
        lines += [f"| {' | '.join(row)} |" for row in self.rows]
        return "\n".join([*lines, "", f"{self.title}: {self.conditions}. Made with `{self.command}`."])

    def write(self, path: Path) -> None:
        """The sheet as JSON. Raises OutputError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Sheet:
        """The sheet in a JSON file that `write` made."""
        return cls(**json.loads(path.read_text()))


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns two spaces apart: the first to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    texts = []
    for first, *others in [head, *rows]:
        numbers = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        texts.append("  ".join([first.ljust(widths[0]), *numbers]))
    return texts
