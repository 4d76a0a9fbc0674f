"""Put the newest benchmark results into docs/performance.md.

    python scripts/performance.py [FILE]

Between the lines `<!-- sheet: PATH -->` and `<!-- end -->` of the document stands the table in the JSON file PATH,
which `mixbench bench --out DIR` wrote. What is there is replaced; all other text stays.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from mixbench.bench.sheet import Sheet

BLOCK = re.compile(r"(<!-- sheet: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str, root: Path) -> str:
    """`text` with every block filled anew from the files below `root`."""
    return BLOCK.sub(lambda block: f"{block[1]}{Sheet.read(root / block[2]).markdown()}\n{block[3]}", text)


def main() -> None:
    """Rewrite the document in place."""
    root = Path(__file__).resolve().parents[1]
    document = Path(sys.argv[1]) if len(sys.argv) > 1 else root / "docs" / "performance.md"
    document.write_text(filled(document.read_text(), root))
    print(f"written: {document}")


if __name__ == "__main__":
    main()
