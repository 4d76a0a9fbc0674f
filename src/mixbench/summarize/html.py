"""HTML in which nothing but markup made here is markup: every other text is escaped where it enters an element."""

from __future__ import annotations

import html

VOID = ("meta",)


class Html(str):
    """Text that is markup already."""


def tag(name: str, /, *children: str | None, **attributes: str) -> Html:
    """An element. Children that are not `Html` are escaped, None is left out; `class_` stands for class."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(v)}"' for key, v in attributes.items()
    )
    inside = "".join(c if isinstance(c, Html) else html.escape(c) for c in children if c is not None)
    return Html(f"<{name}{given}>" if name in VOID else f"<{name}{given}>{inside}</{name}>")


def join(*parts: str | None) -> Html:
    """Elements and texts one after another, without an element around them."""
    return Html("\n".join(p if isinstance(p, Html) else html.escape(p) for p in parts if p is not None))


def table(head: list[str], rows: list[list[str]]) -> Html:
    """A table that scrolls inside its own frame where it is wider than the page."""
    top = tag("thead", tag("tr", *(tag("th", c) for c in head)))
    body = tag("tbody", *(tag("tr", *(tag("td", c) for c in row)) for row in rows))
    return tag("div", tag("table", top, body), class_="wide")


def pairs(entries: dict[str, str]) -> Html:
    """Names with their values, in as many columns as fit."""
    return tag("dl", *(tag("div", tag("dt", key), tag("dd", value)) for key, value in entries.items()))
