"""A spec file into a Table or Figure. A mistake is a ConfigError that names the file, the place and what is allowed."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from mixbench.config.yaml_files import load
from mixbench.errors import ConfigError
from mixbench.papers.metric import EPOCH_COLUMNS, EVALUATION_COLUMNS, TRANSFORMS, Metric
from mixbench.papers.spec import MOST_SEEDS, CellNote, Figure, Protocol, Published, Spec, Sweep, Table
from mixbench.record.run import COST
from mixbench.schema.knob import nearest

SELECTIONS = ("last", "best_test", "best_val")
KINDS = {str: "a text", int: "a whole number", bool: "true or false"}

T = TypeVar("T")


def parse(path: Path, key: str) -> Table | Figure:
    """The spec in the YAML file `path`, to be known as `key`."""
    given = load(path)
    try:
        return _spec(key, _mapping(given, "the file"))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _spec(key: str, given: dict[str, Any]) -> Table | Figure:
    """Every field that is not a plain text or number is read by its own function; `_build` checks the rest."""
    kind = _one_of(given.pop("kind", None), ("table", "figure"), "kind")
    columns = None if given.get("needs") else (*EPOCH_COLUMNS, *COST, *EVALUATION_COLUMNS)
    readers: dict[str, Callable[[Any, str], Any]] = {
        "metrics": lambda v, at: tuple(_metric(_mapping(m, at), at, columns) for m in _list(v, at)),
        "rows": _layers,
        "columns": _layers,
        "base": _overrides,
        "protocols": lambda v, at: {k: _protocol(p, f"{at}: {k}") for k, p in _mapping(v, at).items()},
        "cell_notes": lambda v, at: tuple(_build(CellNote, _mapping(n, at), at) for n in _list(v, at)),
        "notes": _texts,
        "printed": _mapping,
        "x": _axis,
    }
    read = {name: reader(given[name], name) for name, reader in readers.items() if name in given}
    spec: Table | Figure = (
        _build(Table, given, "table", key=key, **read)
        if kind == "table"
        else _build(Figure, given, "figure", key=key, **read)
    )
    _check(spec)
    return dataclasses.replace(spec, printed=_printed(spec))


def study_table(key: str, given: Any, **shared: Any) -> Table:
    """The table that a study's numbers fill, from `table` in its spec: rows and columns are names, protocols texts.

    `shared` are title, source and notes. Raises ConfigError.
    """
    own = _mapping(given, "table")
    readers: dict[str, Callable[[Any, str], Any]] = {
        "metrics": lambda v, at: tuple(_own_number(_mapping(m, at), at) for m in _list(v, at)),
        "rows": lambda v, at: dict.fromkeys(_texts(v, at), ()),
        "columns": lambda v, at: dict.fromkeys(_texts(v, at), ()),
        "protocols": lambda v, at: {
            name: Protocol(about) for name, about in _mapping(v, at).items() if _texts([about], at)
        },
        "cell_notes": lambda v, at: tuple(_build(CellNote, _mapping(n, at), at) for n in _list(v, at)),
        "printed": _mapping,
    }
    read = {name: reader(own[name], f"table: {name}") for name, reader in readers.items() if name in own}
    for name in own:
        _one_of(name, [*readers, "seeds", "protocol"], "table")
    spec = _build(Table, {**own, **shared}, "table", key=key, notes=shared["notes"], **read)
    _check(spec)
    return dataclasses.replace(spec, printed=_printed(spec))


def _own_number(given: dict[str, Any], at: str) -> Metric:
    """A metric that reads the study's number of the same name, unless it names another."""
    return _metric({"column": given.get("name", ""), **given}, at, None)


def _check(spec: Spec) -> None:
    """Names that one part of a spec says of another."""
    _one_of(spec.select, SELECTIONS, "select")
    _one_of(spec.protocol, spec.protocols, "protocol")
    if not 1 <= spec.seeds <= MOST_SEEDS:
        raise ConfigError(f"seeds must be at least 1 and at most {MOST_SEEDS}, not {spec.seeds}.")
    if not spec.metrics:
        raise ConfigError("metrics: must have at least one entry.")
    names = [metric.name for metric in spec.metrics]
    for metric in spec.metrics:
        if names.count(metric.name) > 1:
            raise ConfigError(f"metrics: two are called '{metric.name}'.")
        if metric.reference is not None:
            _one_of(metric.reference, spec.rows, f"metrics: {metric.name}")
        if metric.printed:
            _one_of(metric.printed, spec.printed, f"metrics: {metric.name}: printed")
    for name, protocol in spec.protocols.items():
        for row in protocol.rows:
            _one_of(row, spec.rows, f"protocols: {name}: rows")
        for column in protocol.columns:
            _one_of(column, spec.columns, f"protocols: {name}: columns")
    for note in spec.cell_notes:
        _one_of(note.row, spec.rows, "cell_notes: row")
        _one_of(note.column, spec.columns, "cell_notes: column")
    if isinstance(spec, Figure) and spec.x is None:
        for metric in spec.metrics:
            if metric.evaluated_columns:
                raise ConfigError(
                    f"metrics: {metric.name}: {metric.evaluated_columns[0]} is measured on the final weights, not after"
                    " every epoch; in a figure its x must be a knob."
                )
    if isinstance(spec, Figure) and spec.x is not None:
        for row in spec.x.flat:
            _one_of(row, spec.rows, "x: flat")


def _printed(spec: Table | Figure) -> dict[str, Any]:
    """The published numbers, typed, of a table or a figure whose rows and columns are known."""
    blocks: dict[str, Any] = {}
    for block, lines in spec.printed.items():
        _one_of(block, [m.block for m in spec.metrics], "printed")
        blocks[block] = {}
        for row, given in _mapping(lines, f"printed: {block}").items():
            at = f"printed: {block}: {_one_of(row, spec.rows, f'printed: {block}')}"
            if isinstance(spec, Table):
                blocks[block][row] = tuple(_entry(e, at) for e in _list(given, at, len(spec.columns)))
            else:
                panels = {_one_of(c, spec.columns, at): _list(p, at) for c, p in _mapping(given, at).items()}
                blocks[block][row] = {c: tuple(_point(p, at) for p in points) for c, points in panels.items()}
    return blocks


def _entry(given: Any, at: str) -> Published | None:
    if given is None or not isinstance(given, list):
        return None if given is None else Published(_number(given, at))
    value, std = _list(given, at, 2)
    return Published(_number(value, at), _number(std, at))


def _point(given: Any, at: str) -> tuple[float, float]:
    x, y = _list(given, at, 2)
    return _number(x, at), _number(y, at)


def _metric(given: dict[str, Any], at: str, columns: Iterable[str] | None) -> Metric:
    at = f"{at}: {given.get('name', '?')}"
    read = {}
    if "column" in given:
        names = [given["column"]] if isinstance(given["column"], str) else given["column"]
        read["column"] = _texts(names, f"{at}: column")
    metric = _build(Metric, given, at, **read)
    takes, _ = TRANSFORMS[_one_of(metric.transform, TRANSFORMS, f"{at}: transform")]
    _list(list(metric.column), f"{at}: column, with transform={metric.transform},", takes)
    for column in metric.column if columns is not None else ():
        _one_of(column, columns or (), f"{at}: column")
    if metric.better is not None:
        _one_of(metric.better, ("higher", "lower"), f"{at}: better")
    if metric.ratio_to and metric.difference_to:
        raise ConfigError(f"{at}: ratio_to and difference_to exclude each other.")
    return metric


def _protocol(given: Any, at: str) -> Protocol:
    own = _mapping(given, at)
    read: dict[str, Any] = {"base": _overrides(own.get("base", []), f"{at}: base")}
    for layer in ("columns", "rows"):
        read[layer] = _layers(own.get(layer, {}), f"{at}: {layer}", empty=True)
    return _build(Protocol, own, at, **read)


def _axis(given: Any, at: str) -> Sweep | None:
    if given == "epoch":
        return None
    own = _mapping(given, f"{at} (epoch, or a knob and its values)")
    values = tuple(_number(v, f"{at}: values") for v in _list(own.get("values"), f"{at}: values"))
    return _build(Sweep, own, at, values=values, flat=_texts(own.get("flat", []), f"{at}: flat"))


def _layers(given: Any, at: str, empty: bool = False) -> dict[str, tuple[str, ...]]:
    layers = {name: _overrides(entry, f"{at}: {name}") for name, entry in _mapping(given, at).items()}
    if not layers and not empty:
        raise ConfigError(f"{at}: must have at least one entry.")
    return layers


# ---------------------------------------------------------------- plain values


def _one_of(given: Any, known: Iterable[str], at: str) -> str:
    choices = list(known)
    if given not in choices:
        raise ConfigError(f"{at}: no '{given}'.{nearest(str(given), choices)}\nKnown: {', '.join(choices)}.")
    return str(given)


def _mapping(given: Any, at: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise ConfigError(f"{at}: must be a mapping (name: value), not {given!r}.")
    return {str(key): value for key, value in given.items()}


def _list(given: Any, at: str, length: int | None = None) -> list[Any]:
    if not isinstance(given, list):
        raise ConfigError(f"{at}: must be a list, not {given!r}.")
    if length is not None and len(given) != length:
        raise ConfigError(f"{at} must have {length} entries, not {len(given)}.")
    return given


def _number(given: Any, at: str) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise ConfigError(f"{at}: must be a number, not {given!r}.")
    return float(given)


def _texts(given: Any, at: str) -> tuple[str, ...]:
    for entry in _list(given, at):
        if not isinstance(entry, str):
            raise ConfigError(f"{at}: must be texts, not {entry!r}.")
    return tuple(given)


def _overrides(given: Any, at: str) -> tuple[str, ...]:
    for entry in _texts(given, at):
        if "=" not in entry:
            raise ConfigError(f"{at}: '{entry}' is not an override; write key=value.")
    return tuple(given)


def _build(cls: type[T], given: Mapping[str, Any], at: str, **read: Any) -> T:
    """An instance of the dataclass `cls`. Fields in `read` are done; the others must be plain values in `given`."""
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name in given:
        _one_of(name, [f for f in fields if f != "key"], at)
    for name, field in fields.items():
        required = field.default is field.default_factory is dataclasses.MISSING
        if required and name not in given and name not in read:
            raise ConfigError(f"{at}: '{name}' is missing.")
    hints = typing.get_type_hints(cls)
    plain = {name: value for name, value in given.items() if name not in read}
    for name, value in plain.items():
        kinds = typing.get_args(hints[name]) or (hints[name],)
        if type(value) not in kinds:
            words = [KINDS[kind] for kind in kinds if kind is not types.NoneType]
            raise ConfigError(f"{at}: {name} must be {' or '.join(words)}, not {value!r}.")
    return cls(**plain, **read)
