"""The opt and regularizer options' YAML files, schemas and classes agree. Oracle: the classes' signatures."""

from __future__ import annotations

import importlib
import inspect

import pytest
import torch
from probes import constructor_defaults, option_values
from torch import nn

from mixbench.config.library import conf_dir
from mixbench.optim import RULES
from mixbench.optim.build import build_rule
from mixbench.regularize import REGULARIZERS

BASES = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


@pytest.mark.parametrize(("group", "registry"), [("opt", RULES), ("regularizer", REGULARIZERS)])
def test_every_member_has_a_file_and_a_schema(group: str, registry: dict) -> None:
    """The registry, the schemas and the YAML files name the same members."""
    options = importlib.import_module(f"mixbench.schema.{group}").OPTIONS
    assert set(registry) == set(options) == {path.stem for path in (conf_dir() / group).glob("*.yaml")}
    assert all(schema().name == name for name, schema in options.items())
    assert all("Source: " in (schema.__doc__ or "") for schema in options.values())


@pytest.mark.parametrize("name", RULES)
def test_knobs_build_the_rule(name: str) -> None:
    """Every knob is used, and those of the rule itself have the constructor's defaults."""
    knobs = option_values("opt", name)
    rule = build_rule(name, nn.Linear(2, 2), **knobs)
    group = rule.base.param_groups[0]
    assert group["lr"] == knobs.pop("lr")
    assert group["weight_decay"] == knobs.pop("weight_decay")
    if name in BASES:
        assert group["betas"] == (knobs.pop("beta1"), knobs.pop("beta2"))
        assert group["eps"] == knobs.pop("eps")
        defaults = inspect.signature(BASES[name]).parameters
        assert (group["lr"], group["betas"]) == (defaults["lr"].default, defaults["betas"].default)
    else:
        assert group["momentum"] == knobs.pop("momentum")
        assert group["nesterov"] == knobs.pop("nesterov")
    defaults = constructor_defaults(type(rule))
    assert {key: getattr(rule, key) for key in knobs} == knobs
    if name == "asam":  # the class's default is SAM's, an order of magnitude smaller
        assert rule.adaptive
        assert knobs.pop("rho") == 0.5
    assert {key: defaults[key] for key in knobs} == knobs


@pytest.mark.parametrize("name", REGULARIZERS)
def test_knobs_are_the_constructors_arguments_with_its_defaults(name: str) -> None:
    """`REGULARIZERS[name](**knobs)` works, and the YAML values are the class's defaults."""
    knobs = option_values("regularizer", name)
    REGULARIZERS[name](**knobs)
    defaults = constructor_defaults(REGULARIZERS[name])
    assert {key: defaults[key] for key in knobs} == knobs
