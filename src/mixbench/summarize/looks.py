"""What a picture is for, a page, a column or a slide, and in which file it is: without drawing anything."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Any

from mixbench.errors import ConfigError

INK = "#010101"  # of text, axes and the seventh line; on a page it becomes the page's own colour of text
STYLE: dict[str, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 8,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.6,
    "grid.color": INK,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "legend.frameon": False,
    "text.parse_math": False,
    "pdf.fonttype": 42,  # text stays text, also in a PDF
    "svg.fonttype": "none",
    "svg.hashsalt": "mixbench",  # the same picture is the same file
}


@dataclass(frozen=True)
class Look:
    """What a picture is for: width in inches, size of letters in points, and the most panels beside each other."""

    width: float
    letters: float
    most_beside: int

    @property
    def scale(self) -> float:
        """Relative to letters of 8 points, for which all other sizes are given."""
        return self.letters / 8

    def rc(self) -> dict[str, Any]:
        """STYLE at this size, as matplotlib's parameters."""
        sized = {k: v * self.scale for k, v in STYLE.items() if k.endswith(("size", "linewidth"))}
        ticks = {
            f"{axis}tick.{which}.{part}": size * self.scale for axis in "xy" for which, part, size in TICKS
        }
        return STYLE | sized | ticks


TICKS = (("major", "size", 3.5), ("major", "width", 0.8), ("minor", "size", 2), ("minor", "width", 0.6))
# Two columns of a journal; one of them; a slide of 16 : 9, read from the back of a room.
PAGE = Look(7.16, 8, 3)
LOOKS = {"page": PAGE, "column": Look(3.5, 8, 1), "slide": Look(12, 18, 2)}


FORMATS = (".png", ".pdf", ".svg", ".pgf")
LATEX = ("lualatex", "xelatex", "pdflatex")  # which measures the texts of a pgf


def check_form(form: str) -> None:
    """Raises ConfigError where this machine cannot make such a picture."""
    if form == "pgf" and latex() is None:
        raise ConfigError(
            f"a .pgf needs a LaTeX, which measures its texts: none of {', '.join(LATEX)} is installed."
            " A .pdf or .svg needs none."
        )


def latex() -> str | None:
    """The LaTeX that measures texts; None where none is installed."""
    return next((program for program in LATEX if shutil.which(program)), None)
