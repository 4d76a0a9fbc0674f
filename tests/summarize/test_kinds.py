"""Words under an axis: every one is there, and none lies on another."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mixbench.analysis.compare import Group
from mixbench.analysis.drawn import plots as comparison
from mixbench.summarize import plots
from mixbench.summarize.kinds import beside, under
from mixbench.summarize.looks import LOOKS
from mixbench.summarize.settings import Setting

NAMES = [
    "ERM",
    "Mixup alpha 0.5",
    "Mixup alpha 1",
    "G-Mix rho 0.05, adaptive false",
    "G-Mix rho 0.2, adaptive true",
]
NAMELESS = SimpleNamespace(method="", summary={"method": ""})  # a run known by the label of its setting


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("count", [1, 2, 3, 8, 20])
def test_settings_of_a_comparison_have_their_names(
    look: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the extents of the texts, as matplotlib draws them: names under each panel, apart from each other and
    within the picture, and none of them in a legend as well.
    """
    names = [f"{name} {i}" for i, name in zip(range(count), itertools.cycle(NAMES), strict=False)]
    results = {0: {"eigenvalue": 3.0, "trace": 4.0}, 1: {"eigenvalue": 4.0, "trace": 2.0}}
    groups = [Group(Setting([NAMELESS], {}, name), results) for name in names]
    saved: list[Figure] = []
    monkeypatch.setattr(plots, "_saved", lambda figure, *_, **__: saved.append(figure))
    plots.picture(comparison("hessian", groups, {}), 2, "hessian: digits", ["Runs."], "png", LOOKS[look])
    (figure,) = saved
    FigureCanvasAgg(figure).draw()
    (upper, _) = figure.subfigs
    assert not upper.legends
    shown = []
    for axes in upper.axes:
        labels = axes.get_xticklabels()
        assert [label.get_text().replace("\n", " ") for label in labels] == names
        shown += [label.get_window_extent() for label in labels]
        assert axes.get_window_extent().height > 1.2 * figure.dpi  # of 2.1 inches with title and words
    for one, other in itertools.combinations(shown, 2):
        assert not one.overlaps(other)
    for box in shown:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1


def test_words_by_hand() -> None:
    """By hand: three short words lie flat, eight stand upright; of 40, two panels have no room beside each other."""
    assert under(["last", "best mean", "best by fold"], 3.5, 8) == (
        ["last", "best mean", "best by fold"],
        False,
        10 / 72,
    )
    many = under([f"setting {i}" for i in range(8)], 2.4, 8)
    assert many.upright
    assert many.height == pytest.approx(len("setting 0") * 0.55 * 8 / 72)
    assert beside(["a"] * 8, 7.16, 8) >= 3
    assert beside(["a"] * 40, 7.16, 8) == 1
