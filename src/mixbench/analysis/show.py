"""An evaluation in words and columns, for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mixbench.analysis.stored import Evaluation
from mixbench.record.run import is_number

MATRIX = 20  # classes up to which a confusion matrix is shown whole
PAIRS = 15  # of the most confused classes where it is not


def text(evaluation: Evaluation) -> str:
    """The result under a line that says what it is of, and when it was measured."""
    data, device = evaluation["data"], evaluation["device"]
    what = _own(data) or f"{data['part']} set of {data['dataset']}"
    head = f"{evaluation['name']}: {data['examples']} examples, {what}; {device['precision']} on {device['name']};"
    lines = SHOWN.get(evaluation["name"], _plain)(evaluation["result"])
    return "\n".join([f"{head} measured {evaluation['measured']}", *(f"  {line}" for line in lines)])


def _own(data: dict[str, Any]) -> str:
    """A path, with how it was read; empty for a part of the run's own data."""
    path, note = data.get("path", ""), data.get("note")
    return f"{path} ({note})" if path and note else path


def _accuracy(result: dict[str, Any]) -> Iterator[str]:
    yield f"top-1 {result['acc']:.2f} %, top-5 {result['top5']:.2f} %, loss {result['loss']:.4f}"


def _per_class(result: dict[str, Any]) -> Iterator[str]:
    rows = [["class", "n", "recall %", "precision %", "F1 %"]]
    rows += [
        [entry["class"], str(entry["n"]), *(_number(entry[key]) for key in ("recall", "precision", "f1"))]
        for entry in result["classes"]
    ]
    yield from _aligned(rows)


def _confusion(result: dict[str, Any]) -> Iterator[str]:
    classes, matrix = result["classes"], result["matrix"]
    if len(classes) <= MATRIX:
        yield "rows: what it is; columns: what it is taken for, in the same order"
        rows = [["", *map(str, range(len(classes)))]]
        rows += [
            [f"{i} {name}", *(str(count) if count else "." for count in counts)]
            for i, (name, counts) in enumerate(zip(classes, matrix, strict=True))
        ]
        yield from _aligned(rows)
        return
    pairs = [(n, i, j) for i, counts in enumerate(matrix) for j, n in enumerate(counts) if n and i != j]
    yield "the most confused classes:" if pairs else "no example is taken for another class"
    rows = [
        [f"{classes[i]} taken for {classes[j]}", f"{n} of {sum(matrix[i])}"]
        for n, i, j in sorted(pairs, key=lambda pair: -pair[0])[:PAIRS]
    ]
    yield from _aligned(rows)


def _deformations(result: dict[str, Any]) -> Iterator[str]:
    yield from _aligned([["deformation", "accuracy %"], *([name, _number(v)] for name, v in result.items())])


def _plain(result: dict[str, Any]) -> Iterator[str]:
    """The numbers; lists and dictionaries are for pictures."""
    yield from _aligned([[key, f"{value:.5g}"] for key, value in result.items() if is_number(value)])


SHOWN: dict[str, Callable[[dict[str, Any]], Iterator[str]]] = {
    "accuracy": _accuracy,
    "per_class": _per_class,
    "confusion": _confusion,
    "deformations": _deformations,
}


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    for first, *rest in rows:
        cells = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        yield "  ".join([first.ljust(widths[0]), *cells])
