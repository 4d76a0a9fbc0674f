"""README and docs say what was measured."""

from __future__ import annotations

import re
import runpy
import subprocess
from pathlib import Path

import pytest

from mixbench.commands import claims
from mixbench.config.options import options
from mixbench.schema.train import GROUPS

ROOT = Path(__file__).resolve().parents[1]
NUMBERS = runpy.run_path(str(ROOT / "scripts" / "measured.py"))


def test_make_asks_for_tables_that_are_there() -> None:
    """Oracle: the spec files. `make -n table-PAPER-NAME` names each of them."""
    specs = sorted(
        path for path in (ROOT / "conf" / "paper").rglob("*.yaml") if not path.stem.startswith("fig")
    )
    keys = [f"{path.parent.name}/{path.stem}" for path in specs]
    targets = ["table-" + key.replace("/table", "-").replace("/", "-") for key in keys]
    done = subprocess.run(["make", "-n", *targets], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.findall(r"mixbench table (\S+) --run", done.stdout) == keys


def test_keys_in_the_documents_exist() -> None:
    """Oracle: the options' schemas. GROUP.KEY=VALUE in a page of docs/ or the README names a key of some option."""
    known = {f"{group}.{key}" for group in GROUPS for option in options(group) for key in option.values}
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        named = re.findall(rf"\b((?:{'|'.join(GROUPS)})\.\w+)=", page.read_text(encoding="utf-8"))
        assert set(named) <= known, page


PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Oracle: the files of the repository, and the headings of the pages in them as repository browsers name them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\((?!https://)([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
        names = [re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings]
        assert not anchor or anchor in names, target


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
