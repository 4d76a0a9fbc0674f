"""Put the measured numbers in results/ into docs: measured.md, performance.md and gpu.md.

    python scripts/measured.py

Between a line `<!-- sheet: PATH -->` and the next `<!-- end -->` stands the table in the JSON file PATH, which
`mixbench bench --out DIR` wrote; behind `<!-- table: ARGUMENTS -->`, the table that `mixbench table ARGUMENTS` prints.
What is there is replaced; all other text stays.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
from pathlib import Path

from mixbench.commands import table
from mixbench.summarize.sheet import Sheet

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "docs" / name for name in ("measured.md", "performance.md", "gpu.md")]
BLOCK = re.compile(r"(<!-- (sheet|table): (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """`text` with every block filled anew. The working directory must be the repository's root."""
    return BLOCK.sub(lambda block: f"{block[1]}{FILLERS[block[2]](block[3])}\n{block[4]}", text)


def _sheet(path: str) -> str:
    return Sheet.read(Path(path)).markdown()


def _table(arguments: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        table.main([*shlex.split(arguments), "--format", "md"])
    return "\n".join(line for line in printed.getvalue().splitlines() if line.startswith("|"))


FILLERS = {"sheet": _sheet, "table": _table}


def main() -> None:
    """Rewrite the documents in place."""
    os.chdir(ROOT)
    for document in DOCUMENTS:
        document.write_text(filled(document.read_text()))
        print(f"written: {document}")


if __name__ == "__main__":
    main()
