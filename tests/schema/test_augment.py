"""The augment options' YAML files, schemas and classes agree. Oracle: the classes' signatures."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from probes import constructor_defaults, option_values

from mixbench.augment import AUGMENTS
from mixbench.config.compose import compose
from mixbench.config.identity import run_id, scientific
from mixbench.config.library import conf_dir
from mixbench.errors import ConfigError
from mixbench.models import small_cnn
from mixbench.schema.augment import OPTIONS


def test_every_method_has_a_file_and_a_schema() -> None:
    """The registry, the schemas and the YAML files name the same methods."""
    files = {path.stem for path in (conf_dir() / "augment").glob("*.yaml")}
    assert set(AUGMENTS) == set(OPTIONS) == files
    assert all(schema().name == name for name, schema in OPTIONS.items())
    assert all("Source: " in (schema.__doc__ or "") for schema in OPTIONS.values())


@pytest.mark.parametrize("name", AUGMENTS)
def test_knobs_are_the_constructors_arguments_with_its_defaults(name) -> None:
    """`AUGMENTS[name](num_classes, **knobs)` works, and the YAML values are the class's defaults."""
    knobs = option_values("augment", name)
    model = {"model": small_cnn(1, 10)} if AUGMENTS[name].uses_model else {}
    AUGMENTS[name](10, **model, **knobs)
    defaults = constructor_defaults(AUGMENTS[name])
    assert {k: defaults[k] for k in knobs} == knobs


@pytest.mark.parametrize("name", AUGMENTS)
def test_kinds_are_what_the_class_takes(name: str) -> None:
    """Oracle: the class, given images, table rows and sequences. The kinds are no knob."""
    model = {"model": small_cnn(1, 10)} if AUGMENTS[name].uses_model else {}
    mix, labels = AUGMENTS[name](10, **model), torch.arange(4)
    kinds = OPTIONS[name].kinds
    assert kinds is not None
    assert "image" in kinds
    mix(torch.rand(4, 1, 8, 8), labels)
    for rows in (torch.rand(4, 7), torch.rand(4, 7, 3)):
        if "row" in kinds:
            x, y = mix(rows, labels)
            assert (x.shape, y.shape) == (rows.shape, (4, 10))
        else:
            with pytest.raises(ValueError, match="images"):
                mix(rows, labels)
    assert "kinds" not in {field.name for field in fields(OPTIONS[name])}


@pytest.mark.parametrize("name", ["mixup", "cutmix", "hmix", "gmix", "manifold_mixup"])
def test_beta_is_part_of_the_identity_only_when_it_is_set(name: str) -> None:
    """Limiting case: unset it is left out, so that runs from before the knob keep their ids; any number makes another
    run, alpha's too."""
    run = compose([f"augment={name}"])
    assert run.augment.beta is None
    assert "beta" not in scientific(run)["augment"]
    numbers = (None, 0.3, run.augment.alpha)
    ids = [run_id(replace(run, augment=replace(run.augment, beta=beta))) for beta in numbers]
    assert ids[0] == run_id(run)
    assert len(set(ids)) == 3


@pytest.mark.parametrize(
    ("augment", "value"),
    [
        ("mixup", "augment.beta=0"),
        ("cutmix", "augment.beta=-1"),
        ("hmix", "augment.gamma=0"),
        ("gmix", "augment.beta=inf"),
    ],
)
def test_shapes_outside_their_range_are_refused(augment: str, value: str) -> None:
    """A ConfigError that names the key, what was given and what is allowed."""
    with pytest.raises(ConfigError, match=rf"{value}\S*: must be .*> 0"):
        compose([f"augment={augment}", value])
