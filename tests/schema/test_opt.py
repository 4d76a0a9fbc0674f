"""The opt and regularizer options' YAML files, schemas and classes agree. Oracle: the classes' signatures."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from probes import constructor_defaults, option_values
from torch import nn

from mixbench.config.compose import compose
from mixbench.config.identity import scientific
from mixbench.config.library import conf_dir
from mixbench.errors import ConfigError
from mixbench.optim import RULES
from mixbench.optim.build import build_rule
from mixbench.regularize import REGULARIZERS
from mixbench.schema.opt import BGMix, DGMix

KINDS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
AROUND = sorted(set(RULES) - set(KINDS))  # the rules around a base optimizer


@pytest.mark.parametrize(("group", "registry"), [("opt", RULES), ("regularizer", REGULARIZERS)])
def test_every_member_has_a_file_and_a_schema(group: str, registry: dict) -> None:
    """The registry, the schemas and the YAML files name the same members."""
    options = importlib.import_module(f"mixbench.schema.{group}").OPTIONS
    assert set(registry) == set(options) == {path.stem for path in (conf_dir() / group).glob("*.yaml")}
    assert all(schema().name == name for name, schema in options.items())
    assert all("Source: " in (schema.__doc__ or "") for schema in options.values())


@pytest.mark.parametrize(
    ("name", "base"), [*((name, name) for name in KINDS), *itertools.product(AROUND, KINDS)]
)
def test_knobs_build_the_rule(name: str, base: str) -> None:
    """Every knob is used by the rule or by the base optimizer that it belongs to; those of the rule itself have the
    constructor's defaults, and Adam's have torch's."""
    knobs = option_values("opt", name)
    rule: Any = build_rule(name, nn.Linear(2, 2), **knobs | ({"base": base} if name in AROUND else {}))
    assert type(rule.base) is KINDS[base]
    assert knobs.pop("base", name) == ("sgd" if name in AROUND else name)
    group = rule.base.param_groups[0]
    assert group["lr"] == knobs.pop("lr")
    assert group["weight_decay"] == knobs.pop("weight_decay")
    adam = [knobs.pop(key, None) for key in ("beta1", "beta2", "eps")]
    sgd = [knobs.pop(key, None) for key in ("momentum", "nesterov")]
    if base == "sgd":
        assert [group["momentum"], group["nesterov"]] == sgd
    else:
        assert [*group["betas"], group["eps"]] == adam
        defaults = inspect.signature(KINDS[base]).parameters
        assert [*defaults["betas"].default, defaults["eps"].default] == adam
    if name in ("adam", "adamw"):
        assert group["lr"] == inspect.signature(KINDS[base]).parameters["lr"].default
    defaults = constructor_defaults(type(rule))
    assert {key: getattr(rule, key) for key in knobs} == knobs
    if name == "asam":  # the class's default is SAM's, an order of magnitude smaller
        assert rule.adaptive
        assert knobs.pop("rho") == 0.5
    assert {key: defaults[key] for key in knobs} == knobs


@pytest.mark.parametrize("name", AROUND)
def test_the_base_is_part_of_the_run_and_its_default_is_not(name: str) -> None:
    """Oracle: the identity. What was trained before there was a choice keeps its id."""
    kept = [
        scientific(compose([f"opt={name}", *more]))["opt"]
        for more in (
            [],
            ["opt.base=sgd", "opt.beta1=0.9", "opt.beta2=0.999", "opt.eps=1e-8"],
            ["opt.base=adam"],
        )
    ]
    assert kept[0] == kept[1]
    assert not {"base", "beta1", "beta2", "eps"} & set(kept[0])
    assert kept[2] == kept[0] | {"base": "adam"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["opt=sam", "opt.base=adamw", "opt.decay_in_ascent=true"],
            "opt.decay_in_ascent=true: AdamW's weight decay is no part of the loss; allowed with opt.base=adamw:"
            " false.",
        ),
        (["opt=sam", "opt.beta1=0.5"], "opt.beta1=0.5: has no effect with opt.base=sgd; allowed there: 0.9."),
        (["opt=asam", "opt.base=rmsprop"], "opt.base=rmsprop: not one of sgd, adam, adamw."),
        (["opt=sam", "opt.momentum=0", "opt.nesterov=true"], "opt.nesterov=true: needs opt.momentum > 0."),
        (["opt=gsam", "opt.rho_min=0.1"], "opt.rho_min=0.1: must be at most opt.rho=0.05."),
        (["opt=looksam", "opt.rho=0"], "opt.rho=0.0: must be > 0."),
        (["opt=looksam", "opt.k=0"], "opt.k=0: must be >= 1 and <= 1000000."),
    ],
)
def test_knobs_that_do_not_go_together_are_refused(overrides: list[str], message: str) -> None:
    """One readable line, before torch is loaded."""
    with pytest.raises(ConfigError) as refusal:
        compose(overrides)
    assert str(refusal.value) == message


def test_nesterov_is_of_sgd_alone() -> None:
    """Where Adam is the base, SGD's knobs are not looked at."""
    overrides = ["opt=sam", "opt.base=adam", "opt.momentum=0", "opt.nesterov=true"]
    assert compose(overrides).opt.base == "adam"


@pytest.mark.parametrize(
    ("option", "named", "instead"),
    [
        (BGMix(compute="subset"), "opt.compute=subset", "masked"),
        (DGMix(decompose="logit"), "opt.decompose=logit", "gradient"),
    ],
)
def test_forms_that_need_the_whole_batch_conflict_with_parts(option: Any, named: str, instead: str) -> None:
    """A line that names the knob and what is allowed; none for a batch in one part, and none for the other form."""
    run = SimpleNamespace(devices=1, accumulate=4)
    (line,) = option.conflicts(run)
    assert line == f"{named}: needs the batch in one part; allowed with accumulate=4: {instead}."
    key = named.partition("=")[0].removeprefix("opt.")
    assert list(dataclasses.replace(option, **{key: instead}).conflicts(run)) == []
    for whole in (SimpleNamespace(devices=1), SimpleNamespace(devices=1, accumulate=1)):
        assert list(option.conflicts(whole)) == []


@pytest.mark.parametrize("name", REGULARIZERS)
def test_knobs_are_the_constructors_arguments_with_its_defaults(name: str) -> None:
    """`REGULARIZERS[name](**knobs)` works, and the YAML values are the class's defaults."""
    knobs = option_values("regularizer", name)
    REGULARIZERS[name](**knobs)
    defaults = constructor_defaults(REGULARIZERS[name])
    assert {key: defaults[key] for key in knobs} == knobs
