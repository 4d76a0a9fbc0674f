"""The writer of HTML: what is put into a template is text, whatever it says, and no template lets anything else in."""

from __future__ import annotations

import ast
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError, nodes

import mixbench as package
from mixbench.summarize.html import ENVIRONMENT, Markup, render

TEMPLATES = [name for name in ENVIRONMENT.list_templates() if name.endswith(".j2")]


class Reader(HTMLParser):
    """The tags of a page, its attributes' values and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.values: list[str | None] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        self.values += [value for _, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


@given(
    st.text(st.sampled_from("<>&\"'`=/ {}%#ab;") | st.characters(codec="utf-8", exclude_characters="\r\0"))
)
def test_a_text_comes_back_as_it_was_given(words: str) -> None:
    """Oracle: html.parser, from an attribute and from the text of an element."""
    read = Reader(ENVIRONMENT.from_string('<p title="{{ words }}">{{ words }}</p>').render(words=words))
    assert (read.tags, read.values, read.text) == (["p"], [words], words)


def test_markup_goes_in_as_it_is() -> None:
    """By hand: a fragment beside a text, in a shipped template; what is not given is an error, not an empty text."""
    shown = {"title": "a < b", "caption": ["<i>"], "notes": []}
    made = render("report/figure.html.j2", plots=[Markup("<b>c</b>")], **shown)
    assert "<h2>a &lt; b</h2>" in made
    assert "<b>c</b>" in made
    assert "<p>&lt;i&gt;</p>" in made
    with pytest.raises(UndefinedError, match="plots"):
        render("report/figure.html.j2", **shown)


def test_no_template_turns_the_escaping_off() -> None:
    """Oracle: jinja2's syntax tree. No |safe, no autoescape block, and every attribute is quoted."""
    assert len(TEMPLATES) >= 6
    for name in TEMPLATES:
        source = ENVIRONMENT.loader.get_source(ENVIRONMENT, name)[0]  # type: ignore[union-attr]
        tree = ENVIRONMENT.parse(source)
        assert "safe" not in {found.name for found in tree.find_all(nodes.Filter)}, name
        assert not list(tree.find_all((nodes.EvalContextModifier, nodes.ScopedEvalContextModifier))), name
        assert "={{" not in source, name


def test_two_places_say_what_is_markup() -> None:
    """Oracle: the syntax tree. The filled-in template and matplotlib's drawing; no text is ever a template."""
    places = set()
    for path in Path(package.__file__).parent.rglob("*.py"):
        called = {
            ast.unparse(n.func) for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)
        }
        assert not [name for name in called if name.endswith("from_string")], path
        if "Markup" in {name.rpartition(".")[2] for name in called}:
            places.add(f"{path.parent.name}/{path.name}")
    assert places == {"summarize/html.py", "summarize/plots.py"}
