"""Li & Tang: what the text says of the tables, beside the tables."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mixbench.papers.library import load
from mixbench.papers.spec import Table
from mixbench.studies.study import CONFIRMED, CORRECTED, REFUTED, Judgement, Study

if TYPE_CHECKING:
    import pandas as pd

    from mixbench.summarize.plots import Plot

ORDER = ("Vanilla", "SAM", "Mixup", "G-Mix", "BG-Mix", "DG-Mix")  # as the text ranks them, the best last
TABLES = ("li2023/table1", "li2023/table2")
METRICS = ("Test_Acc", "Gap")


@dataclass
class Parameters:
    """None: the tables are as they are printed."""


def compute(parameters: Parameters, part: str) -> pd.DataFrame:
    """Every printed number of a table."""
    import pandas as pd

    table = load(part)
    assert isinstance(table, Table)
    rows: list[dict[str, Any]] = []
    for metric, row in itertools.product(METRICS, ORDER):
        for column, cell in zip(table.columns, table.printed[metric][row], strict=True):
            rows.append({"column": column, "method": row, "metric": metric, "value": cell.value})
    return pd.DataFrame(rows)


def _cells(numbers: pd.DataFrame, metric: str) -> dict[str, dict[str, float]]:
    """The printed values by method and column."""
    found: dict[str, dict[str, float]] = {method: {} for method in ORDER}
    of = numbers[numbers["metric"] == metric]
    for method, column, value in zip(of["method"], of["column"], of["value"], strict=True):
        found[method][column] = float(value)
    return found


def draw(numbers: pd.DataFrame, parameters: Parameters) -> list[Plot]:
    """The train accuracy that each cell implies, against its test accuracy."""
    from mixbench.summarize.plots import Line, Panel

    test, gap = _cells(numbers, "Test_Acc"), _cells(numbers, "Gap")
    lines = []
    for style, method in enumerate(ORDER):
        x = list(test[method].values())
        y = [test[method][column] - gap[method][column] for column in test[method]]
        lines.append(Line(method, style, x, y, [float("nan")] * len(x), points=True))
    return [Panel("all 42 cells", "Test_Acc (%)", "Test_Acc - Gap (%)", lines)]


def order(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """Every pair of methods in every column."""
    words, wrong = [], 0
    for metric in METRICS:
        of = _cells(numbers, metric)
        pairs = [(a, b, c) for a, b in itertools.combinations(ORDER, 2) for c in of[a]]
        against = [f"{a} above {b} on {c}" for a, b, c in pairs if of[a][c] >= of[b][c]]
        wrong += len(against)
        words.append(
            f"{metric}: {len(pairs) - len(against)} of {len(pairs)} pairs, against it {', '.join(against)}"
        )
    return Judgement(REFUTED if wrong else CONFIRMED, "; ".join(words), "By the paper's own tables.")


def best(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """The best method of each column of Table I."""
    told, columns = [], 0
    for metric in METRICS:
        of = _cells(numbers[numbers["part"] == "li2023/table1"], metric)
        for column in of["DG-Mix"]:
            first = max(ORDER, key=lambda method: of[method][column])
            told += [f"{metric} on {column}: {first}"] if first != "DG-Mix" else []
            columns += 1
    return Judgement(
        REFUTED if told else CONFIRMED,
        f"of {columns} columns {columns - len(told)}" + (f"; not {', '.join(told)}" if told else ""),
        "By the paper's own table.",
    )


def percent(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """DG-Mix beside Mixup in per cent of Mixup's number: where both are as the text says, and whether on CIFAR-100."""
    words, fits = [], []
    cells = [_cells(numbers, metric) for metric in METRICS]
    for column in cells[0]["DG-Mix"]:
        test, gap = (100 * (of["DG-Mix"][column] / of["Mixup"][column] - 1) for of in cells)
        found = abs(test - 3.9) < 0.1 and abs(gap - 54.4) < 0.5
        fits += [column] if found else []
        words += [f"{column}: {test:.1f} and {gap:.1f} %"] if found or column.startswith("CIFAR-100") else []
    right = [column for column in fits if column.startswith("CIFAR-100")]
    return Judgement(
        CONFIRMED if right else CORRECTED if fits else REFUTED,
        "; ".join(words),
        f"The numbers are those of {fits[0]}." if fits and not right else "By the paper's own tables.",
    )


STUDY = Study(
    about="What the text says of the tables, beside the tables",
    parameters=Parameters,
    parts=lambda parameters: list(TABLES),
    compute=compute,
    draw=draw,
    judges={"order": order, "best": best, "percent": percent},
)
