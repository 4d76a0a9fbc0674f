"""What the documentation site (`make docs`, mkdocs.yml) shows besides docs/, as MkDocs calls it.

Pages are written to be read where they lie, in a repository browser. So here: the pages that lie elsewhere get a place
on the site; links are turned from files to pages; formulas, LaTeX in a fence `math`, become MathML, which needs no
script; and the reference is made from schemas, commands and the table of methods.
"""

from __future__ import annotations

import logging
import posixpath
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latex2mathml.converter import convert

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "scripts")]

import reference  # noqa: E402

log = logging.getLogger("mkdocs.hooks.documentation")  # below mkdocs, so that --strict counts its warnings

ELSEWHERE = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "security.md": "SECURITY.md",
    "examples.md": "examples/README.md",
    "examples/resizemix.md": "examples/resizemix/README.md",
    "examples/timm_model.md": "examples/timm_model/README.md",
    "examples/dataset.md": "examples/dataset/README.md",
}
FOLDERS = {"docs/methods": "methods/index.md", "examples": "examples.md"}
# Columns beside the text that are left to it: the contents, of wide tables; the section, of pages without one.
HIDDEN = dict.fromkeys(("claims.md", "measured.md", "performance.md", "gpu.md"), "toc")
HIDDEN |= dict.fromkeys(("index.md", "tutorial.md", "first-hour.md", "faq.md"), "navigation")

# A fence, code of one line, or a link: only the last is looked into.
LINKS = re.compile(r"^```.*?^```$|`[^`\n]+`(?!\])|(!?)\[([^\]]+)\]\(([^)\s]+)\)", re.DOTALL | re.MULTILINE)
FORMULA = re.compile(r"^```math\n(.*?)\n```$", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    from mkdocs.structure.files import File

    written = {page: (ROOT / source).read_text(encoding="utf-8") for page, source in ELSEWHERE.items()}
    for page, text in {**written, **reference.pages()}.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files into links to pages, and formulas into MathML."""
    name = page.file.src_uri
    if name in HIDDEN:
        page.meta["hide"] = [HIDDEN[name]]
    known = {file.src_uri for file in files}
    return with_formulas(with_links(markdown, name, known))


def with_links(markdown: str, page: str, pages: set[str]) -> str:
    """`markdown` of a page with its links to files of the repository as links to `pages`, where there are such.

    A link to any other file becomes the file's path, as nothing is known of where the repository is read. One to a
    file that there is not is warned of.
    """
    source = ELSEWHERE.get(page, f"docs/{page}")
    places = {file: place for place, file in ELSEWHERE.items()} | FOLDERS

    def turned(match: re.Match[str]) -> str:
        image, text, target = match.groups()
        if text is None or re.match(r"[a-z]+:|#", target):
            return match[0]
        path, _, anchor = target.partition("#")
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        place = places.get(file, file.removeprefix("docs/"))
        if place in pages:
            link = posixpath.relpath(place, posixpath.dirname(page) or ".")
            return f"{image}[{text}]({link}{'#' * bool(anchor)}{anchor})"
        if not (ROOT / file).exists():
            log.warning(f"{source}: the link to {target} leads nowhere.")
        return f"`{file}`" if text.strip("`") in (file, path) else f"{text} (`{file}`)"

    return LINKS.sub(turned, markdown)


def with_formulas(markdown: str) -> str:
    """`markdown` with its fences `math` as MathML."""
    return FORMULA.sub(lambda match: f'<div class="formula">{mathml(match[1])}</div>', markdown)


def mathml(latex: str) -> str:
    """A displayed formula as MathML.

    `latex` is what repository browsers typeset. The converter knows `align*` in place of `aligned`, sees a pair of bars
    only with `left` and `right`, and gives the names of functions the room of a relation.
    """
    latex = latex.replace("{aligned}", "{align*}")
    latex = re.sub(r"\\l([vV])ert(?![a-z])", r"\\left\\l\1ert", latex)
    latex = re.sub(r"\\r([vV])ert(?![a-z])", r"\\right\\r\1ert", latex)
    made = convert(latex, display="block")
    if "\\" in made or "<mi>&</mi>" in made:
        log.warning(f"a formula has what cannot be converted: {latex}")
    made = made.replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")  # the sign of a distribution
    made = re.sub(r'<mo>(\w{2,})</mo>(?=<mo stretchy="false">&#x00028;)', r"<mi>\1</mi>", made)
    return re.sub(r"<mo>(\w{2,})</mo>", r'<mo lspace="0.167em" rspace="0.167em">\1</mo>', made)


def on_page_content(html: str, page: Page, **_: Any) -> str:
    """Let the style sheet know the claims, whose cells are sentences."""
    return f'<div class="sentences">{html}</div>' if page.file.src_uri == "claims.md" else html


def on_post_page(output: str, page: Page, config: Any) -> str:
    """The text on `page` as a reader without network gets it: nothing is fetched from another host."""
    fetched = re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"?(https?:[^\">\s]+)", output)
    if fetched:
        log.warning(f"{page.file.src_uri}: asks other hosts: {', '.join(fetched)}")
    return output
