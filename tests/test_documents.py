"""README and docs say what was measured."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from mixbench.commands import claims

ROOT = Path(__file__).resolve().parents[1]
NUMBERS = runpy.run_path(str(ROOT / "scripts" / "measured.py"))


@pytest.mark.parametrize("document", NUMBERS["DOCUMENTS"], ids=lambda path: path.name)
def test_tables_show_the_measured_numbers(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the commands that made the tables, run again on the records in results/."""
    monkeypatch.chdir(ROOT)
    text = document.read_text()
    assert text.count("<!-- end -->") >= 4
    assert NUMBERS["filled"](text) == text


def test_claims_are_those_of_the_stored_numbers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Oracle: `make claims` on the numbers in results/; none of their studies is missing."""
    monkeypatch.chdir(ROOT)
    written = tmp_path / "claims.md"
    assert claims.main(["--output-dir", "results", "--format", "md", "--out", str(written)]) == 0
    assert written.read_text() == (ROOT / "docs" / "claims.md").read_text()
    assert "not computed" not in written.read_text()
