"""Panels of a picture that are not lines: shares as bars, and values in the plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from numpy.typing import NDArray


@dataclass(frozen=True)
class Bars:
    """Histograms on the same bins: `edges` has one number more than each of the `groups` (label: heights)."""

    title: str
    x_label: str
    y_label: str
    edges: Sequence[float]
    groups: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class HeatMap:
    """Values (H, W) at the places `x` (W) and `y` (H), as colours between `low` and `high` (None: those that occur)."""

    title: str
    x_label: str
    y_label: str
    x: Sequence[float]
    y: Sequence[float]
    values: NDArray[np.float64]
    low: float | None = None
    high: float | None = None


def draw_bars(axes: Axes, bars: Bars, colours: Sequence[str]) -> None:
    """Outlines that are filled: none hides another."""
    axes.set(xlabel=bars.x_label, ylabel=bars.y_label)
    for (_, heights), colour in zip(bars.groups.items(), colours, strict=False):
        axes.stairs(heights, bars.edges, fill=True, color=colour, alpha=0.25)
        axes.stairs(heights, bars.edges, color=colour)
    axes.set_ylim(bottom=0)


def bar_handles(bars: Bars, colours: Sequence[str]) -> list[Patch]:
    """What stands in the legend."""
    look: dict[str, Any] = {"alpha": 0.5}
    return [
        Patch(color=colour, label=label, **look) for label, colour in zip(bars.groups, colours, strict=False)
    ]


def draw_map(axes: Axes, heat: HeatMap) -> None:
    """Colours that are in order also in grey, and the scale beside them."""
    axes.set(xlabel=heat.x_label, ylabel=heat.y_label)
    mesh = axes.pcolormesh(
        heat.x, heat.y, heat.values, cmap="cividis", vmin=heat.low, vmax=heat.high, rasterized=True
    )
    axes.grid(visible=False)
    axes.set_aspect("equal" if np.ptp(heat.x) == np.ptp(heat.y) else "auto")
    if axes.figure is not None:
        axes.figure.colorbar(mesh, ax=axes, shrink=0.85)
