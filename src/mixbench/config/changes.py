"""What a run has that its options do not have by themselves: the values that tell it from others of its kind."""

from __future__ import annotations

import dataclasses
from typing import Any

from mixbench.config import yaml_files
from mixbench.config.identity import flat
from mixbench.config.library import conf_dir
from mixbench.config.options import option
from mixbench.schema.train import GROUPS, Train


def changes(run: Train) -> dict[str, Any]:
    """The values of a run that decide its result and are not the defaults of its options, by the keys that set them.

    The seed is always among them, the options themselves are not. Nothing is composed: this can be asked within Hydra.
    """
    plain = {
        key: value for key, value in yaml_files.load(conf_dir() / "train.yaml").items() if key != "defaults"
    }
    for group in GROUPS:
        own = getattr(run, group)
        plain |= {f"{group}.{field.name}": field.default for field in dataclasses.fields(own)}
        if named := option(group, own.name):
            plain |= {f"{group}.{key}": value for key, value in named.values.items()}
    schema = {field.name: field.default for field in dataclasses.fields(run)} | {"ema.decay": 0.0}
    return {
        key: value
        for key, value in flat(run, all_keys=False).items()
        if key not in GROUPS and (key == "seed" or value != plain.get(key, schema.get(key)))
    }
