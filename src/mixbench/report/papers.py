"""Which tables and figures of the papers a set of runs belongs to, at whatever scale the runs were made."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from statistics import mode
from typing import Any, NamedTuple

from mixbench.config.identity import flat, run_id
from mixbench.errors import ConfigError
from mixbench.papers import figure, table
from mixbench.papers.cells import Planned, plan
from mixbench.papers.library import load, names
from mixbench.papers.render import page
from mixbench.papers.spec import Figure, Spec, Table
from mixbench.report import plots
from mixbench.summarize.html import Markup, render
from mixbench.summarize.settings import METHOD, Run

# A run that differs from a cell in these alone is that cell at another scale; so is one with another size of the model.
SCALE = ("epochs", "precision", "dataset.train_size", "dataset.test_size", "dataset.val_size")
MOST_SEEDS = 100  # a table has a run for each seed up to its highest, so a seed like 20261120 is left out


class Version(NamedTuple):
    """One way in which runs differ from a table or figure: overrides, and whether epochs are not the spec's."""

    overrides: tuple[str, ...]
    other_epochs: bool


def fragments(runs: Sequence[Run], scales: int | None = None) -> Iterator[Markup]:
    """The published tables and figures that some of the runs belong to, as they stand; `scales` of each at most.

    Protocols share rows: the one with most of the runs comes first, another only if it has runs of its own.
    """
    groups = alike(runs)
    for key in names():
        spec = load(key)
        protocols = sorted(spec.protocols, key=lambda name: name != spec.protocol)
        found = [
            (name, planned) for name in protocols for planned in islice(belonging(spec, name, groups), scales)
        ]
        shown: set[Path] = set()
        for protocol, planned in sorted(found, key=lambda pair: -len(_places(pair[1]))):
            if not _places(planned) <= shown:
                shown |= _places(planned)
                if isinstance(spec, Table):
                    yield _folded(spec, planned, page(table.assemble(spec, planned, protocol=protocol)))
                else:
                    yield from _drawing(spec, planned, protocol)


def _folded(spec: Spec, planned: Sequence[Planned], body: Markup) -> Markup:
    """Under a line that says how complete it is; open where most of its runs are finished."""
    done = sum(run.state == "finished" for run in planned)
    return render(
        "report/paper.html.j2",
        title=spec.key,
        words=f"{done} of {len(planned)} runs finished",
        opened=2 * done >= len(planned),
        body=body,
    )


def _places(planned: Sequence[Planned]) -> set[Path]:
    return {run.directory for run in planned if run.state != "missing"}


def _drawing(spec: Figure, planned: list[Planned], protocol: str) -> Iterator[Markup]:
    """The figure; nothing where these runs are a single point of a sweep."""
    drawing = figure.assemble(spec, planned, protocol=protocol)
    if any(len(set(line.x)) > 1 for panel in drawing.panels for line in panel.lines if not line.flat):
        body = render(
            "report/figure.html.j2",
            title=drawing.title,
            plots=[plots.element(panel) for panel in drawing.panels],
            caption=drawing.caption,
            notes=drawing.notes,
        )
        yield _folded(spec, planned, body)


def alike(runs: Sequence[Run]) -> list[list[Run]]:
    """Those of the runs that may belong to tables, in groups that differ in the seed alone."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        values = dict(run.values)
        if values.pop("seed", None) in range(MOST_SEEDS) and type(values.get("epochs")) is int:
            groups.setdefault(json.dumps(values, sort_keys=True), []).append(run)
    return list(groups.values())


def belonging(spec: Spec, protocol: str, groups: Sequence[Sequence[Run]]) -> Iterator[list[Planned]]:
    """The runs of a spec at each scale at which some of `groups` (as by `alike`) were made, the commonest first.

    Columns without any run are left out. Columns may have different numbers of epochs, as --budget makes them;
    where one column has several, they come one after another.
    """
    matches: dict[Version, list[tuple[Run, str]]] = {}
    for group, cell, differences in _matches(spec, protocol, groups):
        other = differences.pop("epochs", None) is not None
        version = Version(tuple(f"{k}={json.dumps(v)}" for k, v in sorted(differences.items())), other)
        matches.setdefault(version, []).extend((run, cell.cell.column) for run in group)
    for version, found in sorted(matches.items(), key=lambda item: -len(item[1])):
        while found:
            columns = dict.fromkeys(column for _, column in found)
            epochs = {c: mode(run.values["epochs"] for run, column in found if column == c) for c in columns}
            used = [run for run, column in found if run.values["epochs"] == epochs[column]]
            with contextlib.suppress(ConfigError):  # what another version of mixbench allowed
                yield _planned(spec, protocol, version, epochs, used)
            found = [(run, column) for run, column in found if run.values["epochs"] != epochs[column]]


def _matches(
    spec: Spec, protocol: str, groups: Sequence[Sequence[Run]]
) -> Iterator[tuple[Sequence[Run], Planned, dict[str, Any]]]:
    """Each group with the cell that is nearest to it, where one differs in scale alone, and the differences."""
    data = {f"dataset={group[0].values.get('dataset')}" for group in groups}
    columns = {c.column for c in spec.cells(protocol, seeds=1) if not data.isdisjoint(c.overrides)}
    if spec.needs or not columns:
        return
    cells = plan(spec, protocol=protocol, seeds=1, columns=[c for c in spec.columns if c in columns])
    wanted: dict[tuple[str, ...], list[tuple[Planned, dict[str, Any]]]] = {}
    for cell in cells:
        if cell.config is not None:
            config = flat(cell.config, all_keys=False)
            wanted.setdefault(_names(config), []).append((cell, config))
    for group in groups:
        values = group[0].values
        near = [
            (cell, d)
            for cell, config in wanted.get(_names(values), ())
            if (d := _differences(values, config)) is not None
        ]
        if near:
            yield group, *min(near, key=lambda pair: len(pair[1]))


def _names(values: Mapping[str, Any]) -> tuple[str, ...]:
    """What a run has in common with every cell that it may belong to: it need not be compared with the others."""
    return tuple(str(values.get(key)) for key in ("dataset", *METHOD))


def _differences(ours: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a run has for the keys in which it differs from a cell; None where they are another experiment's."""
    found = {}
    for key, value in spec.items():
        if key != "seed" and key in ours and ours[key] != value:
            if key not in SCALE and not key.startswith("model."):
                return None
            found[key] = ours[key]
    return found


def _planned(
    spec: Spec, protocol: str, version: Version, epochs: Mapping[str, int], runs: Sequence[Run]
) -> list[Planned]:
    """The cells of the columns in `epochs`, with what there is of each among `runs`."""
    by_id = {run.id: run for run in runs}
    seeds = max(spec.seeds, *(run.values["seed"] + 1 for run in runs))
    planned = []
    for column, number in epochs.items():
        planned += plan(
            spec, protocol=protocol, seeds=seeds, epochs=number, extra=version.overrides, columns=[column]
        )
    return [_found(cell, by_id) for cell in planned]


def _found(planned: Planned, by_id: Mapping[str, Run]) -> Planned:
    run = by_id.get(run_id(planned.config)) if planned.config is not None else None
    return dataclasses.replace(planned, saved=run if run is not None and run.epochs_done else None)
