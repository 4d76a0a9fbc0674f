"""README and docs say what was measured."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NUMBERS = runpy.run_path(str(ROOT / "scripts" / "measured.py"))


@pytest.mark.parametrize("document", NUMBERS["DOCUMENTS"], ids=lambda path: path.name)
def test_tables_show_the_measured_numbers(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the commands that made the tables, run again on the records in results/."""
    monkeypatch.chdir(ROOT)
    text = document.read_text()
    assert text.count("<!-- end -->") >= 4
    assert NUMBERS["filled"](text) == text
