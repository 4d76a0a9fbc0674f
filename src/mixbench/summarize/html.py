"""The one writer of HTML: templates whose own markup is the only markup; every text put into one is escaped.

A template, NAME.html.j2, lies beside the module that fills it in.
"""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

ENVIRONMENT = Environment(
    loader=PackageLoader("mixbench", "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def render(template: str, **given: Any) -> Markup:
    """The template, by its path in the package such as "report/page.html.j2", with `given` put in.

    Texts are escaped; what is `Markup`, such as the result of another call, goes in as it is. Raises
    jinja2.UndefinedError where the template asks for something that is not given.
    """
    return Markup(ENVIRONMENT.get_template(template).render(given))
