"""The documentation site: what `make docs` makes of README, docs, schemas and docstrings."""

from __future__ import annotations

import html
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mixbench.catalogue.options import options
from mixbench.schema.train import GROUPS

pytest.importorskip("material", reason="the documentation's packages (extra docs) are not installed")
pytest.importorskip("mkdocstrings_handlers.python")
pytest.importorskip("latex2mathml")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def hook() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "documentation.py"))


@pytest.mark.parametrize(
    ("page", "given", "expected"),
    [
        ("index.md", "[a](docs/data.md#x), [b](CONTRIBUTING.md)", "[a](data.md#x), [b](contributing.md)"),
        ("training.md", "[a](../README.md#the-demo)", "[a](index.md#the-demo)"),
        ("methods/gmix.md", "![a](../pictures/g.png) [b](mixup.md)", "![a](../pictures/g.png) [b](mixup.md)"),
        ("methods/gmix.md", "[a](../../README.md)", "[a](../index.md)"),
        ("index.md", "[docs/methods](docs/methods)", "[docs/methods](methods/index.md)"),
        ("performance.md", "[results/bench](../results/bench)", "`results/bench`"),
        ("index.md", "[Apache-2.0](LICENSE)", "Apache-2.0 (`LICENSE`)"),
        ("index.md", "[a](https://x.org) [b](#c) `[d](e)`", "[a](https://x.org) [b](#c) `[d](e)`"),
    ],
)
def test_links_to_files_become_links_to_pages(hook, page: str, given: str, expected: str) -> None:
    """Oracle: by hand, one of each kind."""
    pages = {
        "index.md",
        "data.md",
        "contributing.md",
        "methods/index.md",
        "methods/mixup.md",
        "pictures/g.png",
    }
    assert hook["with_links"](given, page, pages) == expected


def test_a_link_that_leads_nowhere_is_warned_of(hook, caplog) -> None:
    """Limiting case: no such file, on a page and in the repository. MkDocs counts a warning as an error."""
    hook["with_links"]("[a](docs/nothing.md)", "index.md", {"index.md"})
    assert "README.md: the link to docs/nothing.md leads nowhere" in caplog.text


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"x = \lambda x_i + (1 - \lambda) x_j", "x=λxi+(1−λ)xj"),
        (r"\delta = \rho \frac{g}{\lVert g \rVert_2}", "δ=ρg‖g‖2"),
        (
            r"\begin{aligned} a &\sim \operatorname{Beta}(\alpha, \beta) \\ b &= 1 \end{aligned}",
            "a∼Beta(α,β)b=1",
        ),
    ],
)
def test_formulas_become_mathml(hook, latex: str, text: str) -> None:
    """Oracle: the signs of the formula in their order, by hand."""
    made = hook["mathml"](latex)
    assert html.unescape(re.sub(r"<[^>]+>", "", made)) == text
    assert made.count("<mtr>") == (2 if "aligned" in latex else 0)


@pytest.mark.slow
def test_the_site_has_no_broken_link_and_asks_nobody(tmp_path: Path) -> None:
    """Oracle: MkDocs' own check (strict; with --quiet it would count no warning), and the text of every page."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for path in tmp_path.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        assert not re.search(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"?(?:https?:)?//", page), path
        assert "```" not in page, path
    for card in (tmp_path / "methods").glob("*.html"):
        assert "<math " in card.read_text(encoding="utf-8") or card.stem == "index"
    for group in GROUPS:
        page = (tmp_path / "reference" / f"{group}.html").read_text(encoding="utf-8")
        ours = [
            o for o in options(group) if (ROOT / "conf" / group / f"{o.name}.yaml").is_file()
        ]  # no plugin's
        assert all(f"{group}.{knob}</code>" in page for option in ours for knob in option.knobs)
    python = (tmp_path / "reference" / "python.html").read_text(encoding="utf-8")
    assert all(f">{name}<" in python for name in ("GMix", "SAM", "MixupE", "load_run", "predict", "register"))
