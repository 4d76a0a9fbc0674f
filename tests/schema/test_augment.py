"""The augment options' YAML files, schemas and classes agree. Oracle: the classes' signatures."""

from __future__ import annotations

import pytest
from probes import constructor_defaults, option_values

from mixbench.augment import AUGMENTS
from mixbench.config.library import conf_dir
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
