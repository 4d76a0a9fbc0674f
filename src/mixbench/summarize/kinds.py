"""Words under an axis whose places are kinds, such as settings: flat where they fit beside each other, else upright."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

LETTER = 0.55  # mean width of a letter, relative to the font's size
LEADING = 1.25  # from one line of text to the next, relative to the font's size
BESIDE = 0.65  # inches beside a panel's axes, for the numbers and words of the y axis in letters of 8 points
MOST_LINES = 3  # of flat words


class Words(NamedTuple):
    """The words with their line breaks, whether they stand upright, and the inches that they take below the axis."""

    lines: list[str]
    upright: bool
    height: float


def letters(width: float, size: float) -> int:
    """How many letters of a font of `size` points fit into `width` inches."""
    return int(width * 72 / (size * LETTER))


def under(named: Sequence[str], width: float, size: float) -> Words:
    """The words under a panel of `width` inches, in letters of `size` points."""
    room = _room(len(named), width, size)
    flat = [_broken(words, letters(room, size) - 1) for words in named]
    if max(line.count("\n") for line in flat) < MOST_LINES and _longest(flat) < letters(room, size):
        return Words(flat, False, LEADING * size / 72 * (1 + max(line.count("\n") for line in flat)))
    beside = max(1, int(room * 72 / (LEADING * size)))
    longest = max(map(len, named))
    for most in range(min(16, longest), longest + 1):
        lines = [_broken(words, most) for words in named]
        if _longest(lines) <= most and max(line.count("\n") for line in lines) < beside:
            break
    return Words(lines, True, _longest(lines) * LETTER * size / 72)


def beside(named: Sequence[str], width: float, size: float) -> int:
    """How many panels of a picture of `width` inches can stand in a row without words that overlap, at least 1."""
    per_row = 1
    while _room(len(named), width / (per_row + 1), size) * 72 >= LEADING * size:
        per_row += 1
    return per_row


def write_under(axes: Axes, places: Sequence[float], named: Sequence[str], width: float, size: float) -> None:
    """The words at their places, which are 1 apart, on the x axis of a panel of `width` inches."""
    words = under(named, width, size)
    axes.set_xticks(places, words.lines, rotation="vertical" if words.upright else "horizontal")
    axes.minorticks_off()
    axes.set_xlim(places[0] - 0.5, places[-1] + 0.5)


def _room(count: int, width: float, size: float) -> float:
    """Inches of the axis for each of so many kinds."""
    return (width - BESIDE * size / 8) / count


def _broken(words: str, most: int) -> str:
    """The words on lines of so many letters at most, where they have places to break."""
    return textwrap.fill(words, max(1, most), break_long_words=False, break_on_hyphens=False)


def _longest(texts: Sequence[str]) -> int:
    return max(len(line) for text in texts for line in text.split("\n"))
