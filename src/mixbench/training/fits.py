"""Whether a checkpoint fits the run that reads it: a checksum says that a file is whole, not who wrote it.

What the config decides is the config's. Of an optimizer's groups (lr, momentum, weight decay ...) and of the loss
scaling nothing but the state is taken.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mixbench.record.schema import (
    Misfit,
    anything,
    check_rows,
    listing,
    mapping,
    misfit,
    number,
    parsed,
    text,
    whole,
)

# What an optimizer keeps of a parameter.
MEMORY = {
    "SGD": {"momentum_buffer"},
    "Adam": {"step", "exp_avg", "exp_avg_sq"},
    "AdamW": {"step", "exp_avg", "exp_avg_sq"},
}
SCALE = ("scale", "_growth_tracker")  # the state of loss scaling


def fitting(name: str, found: Any, part: Any, epochs: int, steps: int) -> Any:
    """What the part `name` of a run of so many epochs of `steps` is to load of its state in a checkpoint, `found`.

    Raises Misfit, before anything is changed, where it is not a state of this part.
    """
    try:
        if name == "optimizer":
            return _optimizer(found, part)
        if name == "scaler":
            _like({key: _of(found, key) for key in SCALE}, {key: part.state_dict()[key] for key in SCALE})
            if found["scale"] <= 0:
                raise misfit(found["scale"], "a scale > 0").at("scale")
            return {**part.state_dict(), **{key: found[key] for key in SCALE}}
        if name == "position":
            return _position(found, epochs, steps)
        if name == "starts":
            return _starts(found)
        if name == "best":
            return _best(found, part, epochs)
        # Sums of metrics are float32 where float64 is missing.
        _like(found, part.state_dict(), exact=name != "metrics")
    except Misfit as error:
        raise error.at(name) from None
    return found


def _of(found: Any, key: Any) -> Any:
    if not isinstance(found, dict) or key not in found:
        raise Misfit(f"has no {key}")
    return found[key]


def _like(found: Any, own: Any, exact: bool = True) -> None:
    """Raise Misfit unless `found` is built as `own` is, of finite numbers; `exact`: of the same dtypes."""
    if isinstance(own, Tensor):
        _tensor(found, tuple(own.shape), own.dtype if exact or not own.is_floating_point() else None)
    elif isinstance(own, Mapping):
        if not isinstance(found, Mapping) or found.keys() != own.keys():
            raise misfit(found, f"one of {len(own)} names as in the run")
        for key, value in own.items():
            try:
                _like(found[key], value, exact)
            except Misfit as error:
                raise error.at(key) from None
    elif isinstance(own, list):
        if not isinstance(found, list) or len(found) != len(own):
            raise misfit(found, f"a list of {len(own)}")
        for place, (one, other) in enumerate(zip(found, own, strict=True)):
            try:
                _like(one, other, exact)
            except Misfit as error:
                raise error.at(place) from None
    elif type(own) is int:
        whole(0)(found)
    elif type(own) is float:
        _finite(found)
    elif type(found) is not type(own):
        raise misfit(found, f"a {type(own).__name__}")


def _tensor(found: Any, shape: tuple[int, ...], dtype: torch.dtype | None, infinite: bool = False) -> None:
    """A tensor of this shape and dtype, None: a floating one, of finite numbers; without NaN, where `infinite`."""
    if not isinstance(found, Tensor) or found.layout != torch.strided:
        raise misfit(found, "a tensor")
    kind = found.dtype == dtype if dtype is not None else found.is_floating_point()
    if tuple(found.shape) != shape or not kind:
        raise Misfit(
            f"is of shape {tuple(found.shape)}, {found.dtype}; expected is {shape}, {dtype or 'floating'}"
        )
    if found.isnan().any() if infinite else not found.isfinite().all():
        raise Misfit("holds NaN" if infinite else "is not finite everywhere")


def _finite(found: Any) -> None:
    """A number; a whole one of at most 63 bits."""
    if not (type(found) is float and math.isfinite(found)) and not (
        type(found) is int and abs(found) < 2**63
    ):
        raise misfit(found, "a finite number")


def _optimizer(found: Any, part: torch.optim.Optimizer) -> dict[str, Any]:
    """The state of the parameters, with the run's own groups."""
    own = part.state_dict()["param_groups"]
    groups, state = _of(found, "param_groups"), _of(found, "state")
    parameters = [p for group in part.param_groups for p in group["params"]]
    if not isinstance(groups, list) or [_of(g, "params") for g in groups] != [g["params"] for g in own]:
        raise Misfit("has groups of other parameters than the run").at("param_groups")
    if not isinstance(state, dict):
        raise misfit(state, "an object").at("state")
    names = MEMORY.get(type(part).__name__)
    for index, memory in state.items():
        try:
            if type(index) is not int or not 0 <= index < len(parameters):
                raise Misfit(f"is of no parameter of the {len(parameters)}")
            if not isinstance(memory, dict) or (names is not None and memory.keys() != names):
                raise misfit(memory, f"an object with {', '.join(sorted(names or ()))}")
            for key, value in memory.items():
                if isinstance(value, Tensor):
                    shape = () if key == "step" else tuple(parameters[index].shape)
                    _tensor(value, shape, None, infinite=True)  # squares of large gradients may be
                elif key == "step" or names is None:
                    _finite(value)
                elif value is not None or key != "momentum_buffer":
                    raise misfit(value, "a tensor").at(key)
        except Misfit as error:
            raise error.at(index).at("state") from None
    return {"state": state, "param_groups": own}


def _position(found: Any, epochs: int, steps: int) -> dict[str, Any]:
    ranges = {"epoch": epochs, "step": steps, "train_seconds": math.inf}
    for key, most in ranges.items():
        value = _of(found, key)
        if key == "train_seconds":
            _finite(value)
        else:
            whole(0)(value)
        if not 0 <= value <= most:
            raise misfit(value, f"from 0 to {most}").at(key)
    if found.keys() != {*ranges, "rows"}:
        raise Misfit(f"has other names than {', '.join(ranges)}, rows")
    listing(mapping(number, {"epoch": whole(1)}, name=text))(found["rows"])
    check_rows(found["rows"])
    if [row["epoch"] for row in found["rows"]] != list(range(1, found["epoch"] + 1)):
        raise Misfit(f"has rows of other epochs than 1 to {found['epoch']}")
    return found


def _starts(found: Any) -> dict[str, Any]:
    """As the summary that they go into will be read."""
    try:
        plain = parsed(json.dumps({key: _of(found, key) for key in ("data", "history")}).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise error if isinstance(error, Misfit) else Misfit(f"cannot be written as JSON: {error}") from None
    mapping(text)(plain["data"])
    listing(mapping(anything))(plain["history"])
    return plain


def _best(found: Any, part: Any, epochs: int) -> dict[str, Any]:
    epoch, weights = _of(found, "epoch"), _of(found, "weights")
    whole(0)(epoch)
    if epoch > epochs:
        raise misfit(epoch, f"from 0 to {epochs}").at("epoch")
    if epoch and part.wanted:
        _like(weights, part.loop.model.state_dict())
    return found
