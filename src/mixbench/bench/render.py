"""A benchmark's result as text for the terminal and as Markdown for the documentation."""

from __future__ import annotations

from collections.abc import Sequence

from mixbench.bench.result import Line, Result

EXPLAINED = """\
ms, ratio: median over rounds (lower to upper quartile); ratio: time of a step relative to the first line, round by
round. MiB: tensors at the peak of a step. GFLOP: convolutions and matrix products of a step; share: of the rate that
the device reaches in large matrix products. first: seconds of the first step, with compilation."""


def conditions(result: Result) -> str:
    """One line: device, versions, model, data, batch, precision, commit."""
    e, s = result.environment, result.settings
    threads = f", {e['threads']} threads" if e["device"] == "cpu" else f", driver {e['driver']}"
    device = e["cpu"] if e["device"] == "cpu" else e["device_name"]
    commit = (e["commit"] or f"mixbench {e['mixbench']}")[:10] + (" with changes" if e["uncommitted"] else "")
    return (
        f"{s['model']}, {s['dataset']}, {s['batch_size']} images a step, {s['precision']}; {device}{threads}; torch"
        f" {e['packages']['torch']}; matrix products {result.matrix_gflops_per_second:,.0f} GFLOP/s;"
        f" {s['rounds']} rounds; commit {commit}"
    )


def table(result: Result) -> tuple[list[str], list[list[str]]]:
    """Head and rows as texts; columns that were not measured are left out."""
    head = ["method", "images/s", "ms/step", "ratio", "MiB", "GFLOP", "GFLOP/s", "share", "first (s)"]
    rows = [_row(line) for line in result.lines]
    if any(line.host_ms is not None for line in result.lines):
        head.insert(4, "host (ms)")
        for row, line in zip(rows, result.lines, strict=True):
            row.insert(4, "-" if line.host_ms is None else f"{line.host_ms:.2f}")
    return head, rows


def _row(line: Line) -> list[str]:
    return [
        line.name,
        f"{line.images_per_second:,.0f}",
        f"{line.ms:.2f} ({line.ms_low:.2f} to {line.ms_high:.2f})",
        f"{line.ratio:.2f} ({line.ratio_low:.2f} to {line.ratio_high:.2f})",
        "-" if line.memory_mib is None else f"{line.memory_mib:,.0f}",
        f"{line.gflops:,.1f}",
        f"{line.gflops_per_second:,.0f}",
        f"{100 * line.share:.0f} %",
        f"{line.first_step_seconds:.2f}",
    ]


def text(result: Result) -> str:
    """For a terminal."""
    head, rows = table(result)
    return "\n".join([result.title, conditions(result), "", *aligned(head, rows), "", EXPLAINED])


def markdown(result: Result) -> str:
    """For docs/performance.md: the table, and the command that made it."""
    head, rows = table(result)
    lines = [f"| {' | '.join(head)} |", "| --- |" + " ---: |" * (len(head) - 1)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, "", f"{conditions(result)}. `{result.command}`"])


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns two spaces apart: the first to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    texts = []
    for first, *others in [head, *rows]:
        numbers = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        texts.append("  ".join([first.ljust(widths[0]), *numbers]))
    return texts
