"""Lines with bands, bars and maps, as pictures for print and for the page of `mixbench report`.

Colours are those of Okabe and Ito, without their yellow, which is too light for a line on paper; dashes and markers
tell lines apart without colour. Texts are drawn as they are: no mathematical markup is looked for in them.
"""

from __future__ import annotations

import contextlib
import io
import re
import textwrap
import warnings
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import rc_context, style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from mixbench.errors import MixbenchError
from mixbench.summarize import kinds
from mixbench.summarize.charts import Bars, HeatMap, bar_handles, draw_bars, draw_map
from mixbench.summarize.html import Markup
from mixbench.summarize.kinds import letters
from mixbench.summarize.looks import INK, PAGE, Look, check_form, latex
from mixbench.summarize.tex import tex

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#010101")
# With seven colours: 28 lines until one looks like another, and its marker is different even then.
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1.2, 1, 1.2)))
MARKERS = "os^vPX<>*"
INLINE = 3.6  # inches: three on a page of ordinary width, one on a phone


@dataclass(frozen=True)
class Line:
    """Means over seeds against x, with their deviations (NaN: no band), and the paper's points (x, y).

    `style` counts the lines of a picture: the same number looks the same in all its panels. `flat` is a line
    across a panel, without markers; `points` are not joined, and have no band. `low` and `high` are the ends of a band
    that is not the deviation. `seeds` are those behind each point: only neighbours with the same ones are joined, and a
    point with fewer than `asked` is drawn open; empty where all have the same.
    """

    label: str
    style: int
    x: Sequence[float]
    mean: Sequence[float]
    std: Sequence[float]
    printed: Sequence[tuple[float, float]] = ()
    flat: bool = False
    points: bool = False
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    seeds: Sequence[frozenset[Hashable]] = ()
    asked: int = 0

    @property
    def open(self) -> list[bool]:
        """For each point, whether it lacks seeds."""
        return [len(found) < self.asked for found in self.seeds] or [False] * len(self.x)

    @property
    def gaps(self) -> list[int]:
        """The places of the points that are not joined with the one before them."""
        return [i for i in range(1, len(self.seeds)) if self.seeds[i] != self.seeds[i - 1]]


@dataclass(frozen=True)
class Panel:
    """One pair of axes with lines. `ticks` are the places of the numbers on the x axis; empty: matplotlib's choice.
    `log` and `log_y`: logarithmic axes. `named`: words for the ticks, where the places are kinds and no numbers, 1
    apart; a line that has its label there is not in the legend.
    """

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    log: bool = False
    ticks: Sequence[float] = ()
    log_y: bool = False
    named: Sequence[str] = ()


Plot = Panel | Bars | HeatMap


@contextlib.contextmanager
def _styled(look: Look) -> Iterator[None]:
    """Our style, whatever the reader's own matplotlibrc says. What the font lacks is a box, without a warning."""
    with style.context(look.rc(), after_reset=True), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph ")
        yield


def picture(
    panels: Sequence[Plot], per_row: int, title: str, foot: Sequence[str], form: str, look: Look = PAGE
) -> bytes:
    """All panels under one title, with one legend and the lines of `foot` below: a png (300 dpi), pdf, svg or pgf file.

    An empty title or foot takes no room. Raises ConfigError for a pgf where no LaTeX is.
    """
    check_form(form)
    per_row = min(per_row, look.most_beside)
    for named in _named(panels):
        per_row = min(per_row, kinds.beside(named, look.width, 8 * look.scale))
    width = look.width if per_row > 1 or look is not PAGE else look.width * 0.65
    scale = look.scale
    wrap = textwrap.TextWrapper(letters(width, 6.5 * scale), break_on_hyphens=False)
    lines = [line for words in foot for line in wrap.wrap(words)]
    with _styled(look):
        legend = _legend(panels)
        heights = [_height(panels, per_row, width, legend, scale) + 0.25 * scale * bool(title)]
        heights += [(0.12 * len(lines) + 0.05) * scale] if lines else []
        figure = Figure((width, sum(heights)), layout="constrained")
        upper, *below = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        if title:
            upper.suptitle(textwrap.fill(title, letters(width, 9 * scale)), fontsize=9 * scale)
        _fill(upper, panels, per_row, width, legend, scale)
        for lower in below:
            lower.text(0.01, 1, "\n".join(lines), va="top", fontsize=6.5 * scale)
        return _saved(figure, form, metadata=UNDATED[form])


def _named(panels: Sequence[Plot]) -> list[Sequence[str]]:
    """The words under the axes of those panels that have some."""
    return [panel.named for panel in panels if isinstance(panel, Panel) and panel.named]


UNDATED: dict[str, dict[str, None]] = {
    "png": {},
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
    "pgf": {},
}


def inline(panel: Panel) -> Markup:
    """One panel with its legend as an <svg> element: no background, text as text, ink in the page's colour."""
    with _styled(PAGE):
        legend = _legend([panel])
        figure = Figure((INLINE, _height([panel], 1, INLINE, legend, 1)), layout="constrained")
        _fill(figure, [panel], 1, INLINE, legend, 1)
        text = _saved(figure, "svg", transparent=True).decode()
    element = text[text.index("<svg") :]
    for part in ("metadata", "style"):  # its style sheet would reach beyond the picture
        element = re.sub(rf"<{part}.*?</{part}>", "", element, count=1, flags=re.DOTALL)
    element = re.sub(r' width="[\d.]+pt" height="[\d.]+pt"', "", element, count=1)  # as wide as there is room
    # Names such as axes_1 would come again in the next picture.
    element = re.sub(r'<g id="[^"]*">', "<g>", element)
    return Markup(element.replace(INK, "currentColor"))  # texts in it are escaped by matplotlib


def _saved(figure: Figure, form: str, **options: Any) -> bytes:
    content = io.BytesIO()
    if form == "pgf":
        return _pgf(figure)
    figure.savefig(content, format=form, dpi=300, **options)
    return content.getvalue()


def _pgf(figure: Figure) -> bytes:
    """Commands that draw the figure within a LaTeX document, in the document's own fonts."""
    from matplotlib.backends.backend_pgf import LatexError

    content = io.BytesIO()
    for artist in figure.findobj(Text):
        assert isinstance(artist, Text)
        artist.set_text(tex(artist.get_text()))
    try:
        with rc_context({"pgf.texsystem": latex(), "pgf.rcfonts": False}):
            figure.savefig(content, format="pgf")
    except (ValueError, LatexError) as error:
        said = next((line for line in str(error).splitlines() if line.startswith("!")), str(error))
        raise MixbenchError(f"{latex()} cannot measure the texts of a .pgf: {said}") from None
    return content.getvalue()


def _height(
    panels: Sequence[Plot], per_row: int, width: float, legend: Sequence[Artist], scale: float
) -> float:
    """Inches that the panels and their legend take."""
    rows, lines = -(-len(panels) // per_row), -(-len(legend) // _legend_columns(legend, width, scale))
    titles = max(_title(panel, per_row, width, scale).count("\n") for panel in panels)
    words = [kinds.under(named, width / per_row, 8 * scale).height for named in _named(panels)]
    return ((2.1 + 0.14 * titles) * rows + 0.18 * lines) * scale + max(words, default=0) * rows


def _title(panel: Plot, per_row: int, width: float, scale: float) -> str:
    """The panel's title on lines that are no longer than its axes."""
    room = letters(width / per_row, 8 * scale) - 8
    return "\n".join(textwrap.fill(line, room) for line in panel.title.split("\n"))


def _legend_columns(legend: Sequence[Artist], width: float, scale: float) -> int:
    if not legend:
        return 1
    longest = max(len(str(line.get_label())) for line in legend)
    return max(1, min(len(legend), letters(width, 8 * scale) // (longest + 9)))


def _fill(
    figure: FigureBase,
    panels: Sequence[Plot],
    per_row: int,
    width: float,
    legend: list[Artist],
    scale: float,
) -> None:
    """Draw the panels, row by row, and the legend below them."""
    rows = -(-len(panels) // per_row)
    grid = list(figure.subplots(rows, per_row, squeeze=False).flat)
    for axes, panel in zip(grid, panels, strict=False):
        if isinstance(panel, Panel):
            _draw(axes, panel, width / per_row, scale)
        elif isinstance(panel, Bars):
            draw_bars(axes, panel, COLOURS)
        else:
            draw_map(axes, panel)
        axes.set_title(_title(panel, per_row, width, scale))
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    if legend:
        columns = _legend_columns(legend, width, scale)
        figure.legend(handles=legend, loc="outside lower center", ncols=columns, handlelength=3)


def _look(line: Line) -> dict[str, Any]:
    """Colour, dashes and marker of a line, as matplotlib's keywords."""
    look: dict[str, Any] = {
        "color": COLOURS[line.style % len(COLOURS)],
        "linestyle": "none" if line.points else DASHES[line.style % len(DASHES)],
    }
    return look if line.flat else look | {"marker": MARKERS[line.style % len(MARKERS)]}


def _legend(panels: Sequence[Plot]) -> list[Artist]:
    drawn = [(panel, line) for panel in panels if isinstance(panel, Panel) for line in panel.lines]
    lines = {line.label: line for panel, line in drawn if line.label not in panel.named}
    handles: list[Artist] = [Line2D([], [], label=label, **_look(line)) for label, line in lines.items()]
    if any(line.printed for _, line in drawn):
        handles.append(Line2D([], [], label="the paper", color=INK, **PRINTED))
    if any(any(line.open) for _, line in drawn):
        handles.append(Line2D([], [], label="seeds missing", color=INK, marker="o", **OPEN))
    bars = {
        h.get_label(): h for panel in panels if isinstance(panel, Bars) for h in bar_handles(panel, COLOURS)
    }
    return [*handles, *bars.values()]


OPEN: dict[str, Any] = {"linestyle": "none", "markerfacecolor": "none"}
PRINTED = OPEN | {"marker": "D", "markersize": 6}


def _draw(axes: Axes, panel: Panel, width: float, scale: float) -> None:
    axes.set(xlabel=panel.x_label, ylabel=panel.y_label)
    if panel.log:
        axes.set_xscale("log")
    if panel.log_y:
        axes.set_yscale("log")
    if panel.named:
        kinds.write_under(axes, panel.ticks, panel.named, width, 8 * scale)
    elif panel.ticks:
        axes.set_xticks(panel.ticks, _tick_labels(panel.ticks, panel.log))
        axes.minorticks_off()
        axes.set_xlim(*_limits(panel.ticks, panel.log))
    elif all(float(x).is_integer() for line in panel.lines for x in line.x):
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    for line in panel.lines:
        _draw_line(axes, line, scale)
    for axis, log in ((axes.xaxis, panel.log and not panel.ticks), (axes.yaxis, panel.log_y)):
        if log:
            _log_ticks(axis)


def _draw_line(axes: Axes, line: Line, scale: float) -> None:
    x, mean, std = (np.asarray(v, dtype=float) for v in (line.x, line.mean, line.std))
    look = _look(line)
    color, marker = look["color"], look.pop("marker", None)
    low, high = (line.low, line.high) if len(line.low) else (mean - std, mean + std)
    # A gap is a point that is none.
    at, middle, low, high = (
        np.insert(np.asarray(v, dtype=float), line.gaps, np.nan) for v in (x, mean, low, high)
    )
    axes.plot(at, middle, **look)
    every = np.ones(len(x), dtype=bool)
    if len(x) > 20 and not line.points:  # a marker here and there, not at the same epochs for all lines
        every = np.arange(len(x)) % max(1, len(x) // 6) == line.style * len(x) // 40 % max(1, len(x) // 6)
    lacking = np.asarray(line.open, dtype=bool)
    if marker:
        axes.plot(x[every & ~lacking], mean[every & ~lacking], color=color, marker=marker, linestyle="none")
        if lacking.any():
            axes.plot(x[every & lacking], mean[every & lacking], color=color, marker=marker, **OPEN)
    if line.points:
        return
    if len(x) > 1:
        axes.fill_between(at, low, high, color=color, alpha=0.13, linewidth=0)
    alone = [i for i in range(len(x)) if {i, i + 1} <= {0, *line.gaps, len(x)}]
    if alone:
        axes.errorbar(x[alone], mean[alone], std[alone], color=color, capsize=2 * scale, linestyle="none")
    if line.printed:
        printed = PRINTED | {"markersize": PRINTED["markersize"] * scale}
        axes.plot(*zip(*line.printed, strict=True), color=color, **printed)


def _log_ticks(axis: Axis) -> None:
    """Numbers where there is room for them: at 1, 2 and 5 within two decades, few at round places within half of one;
    the ticks between have none.
    """
    low, high = axis.get_view_interval()
    if high < 5 * low:
        axis.set_major_locator(MaxNLocator(4))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))  # powers of ten would be markup
    axis.set_minor_formatter(NullFormatter())


def _limits(ticks: Sequence[float], log: bool) -> tuple[float, float]:
    """The ends of an axis that shows all ticks, also where a panel has points at few of them."""
    low, high = (np.log(x) if log else x for x in (min(ticks), max(ticks)))
    margin = 0.05 * (high - low) or 0.5
    ends = low - margin, high + margin
    return (np.exp(ends[0]), np.exp(ends[1])) if log else ends


def _tick_labels(ticks: Sequence[float], log: bool) -> list[str]:
    """A number for each tick, but none where the one before it is too near to leave room."""
    places = np.log(ticks) if log else np.asarray(ticks, dtype=float)
    labels, last = [], -np.inf
    for tick, place in zip(ticks, places, strict=True):
        free = place - last > 0.07 * np.ptp(places)
        labels.append(f"{tick:g}" if free else "")
        last = place if free else last
    return labels
