"""The config: every option composes, is typed and documented, and has an identity that means something."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
from pathlib import Path

import hydra
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from own_data import arrays, folder, npz, shards

from mixbench.config.compose import by_hydra, compose
from mixbench.config.identity import run_dir, run_id, scientific
from mixbench.config.library import conf_dir
from mixbench.config.options import register
from mixbench.schema.graphs import GRAPHS
from mixbench.schema.tables import TABLES
from mixbench.schema.train import GROUPS, Train

OPTIONS = {g: sorted(p.stem for p in (conf_dir() / g).glob("*.yaml")) for g in GROUPS}


def config(*overrides: str) -> Train:
    return compose(list(overrides))


@pytest.mark.parametrize(("group", "option"), [(g, o) for g in GROUPS for o in OPTIONS[g]])
def test_every_option_composes(group: str, option: str, tmp_path: Path) -> None:
    """Each option file gives an instance of its schema whose values are all allowed."""
    where = {
        "folder": lambda: folder(tmp_path / "set"),
        "arrays": lambda: npz(tmp_path / "set.npz", arrays()),
        "shards": lambda: shards(folder(tmp_path / "set"), tmp_path / "shards"),
    }
    beside = dict.fromkeys(("resnet50", "vit_b16", "coatnet0"), "dataset=imagenet")
    beside |= dict.fromkeys(("lenet", "vgg11", "vgg13"), "dataset=speech_commands")
    path = [f"dataset.path={where[option]()}", "batch_size=9"] if option in where else []
    rows = ["model=mlp", "batch_size=9"] if option in TABLES else []
    rows += ["dataset=iris", "batch_size=9"] if option == "mlp" else []
    rows += ["model=gin"] if option in GRAPHS else []
    rows += ["dataset=mutag"] if option == "gin" else []
    path += [beside[option]] if option in beside else []
    run = config(f"{group}={option}", *path, *rows)
    assert dataclasses.is_dataclass(getattr(run, group))


def test_every_pair_of_seams_composes() -> None:
    """Brute force over augment x opt x regularizer."""
    for augment, opt, regularizer in itertools.product(
        *(OPTIONS[g] for g in ("augment", "opt", "regularizer"))
    ):
        run = config(f"augment={augment}", f"opt={opt}", f"regularizer={regularizer}")
        assert (run.augment.name, run.opt.name, run.regularizer.name) == (augment, opt, regularizer)


@pytest.mark.parametrize("group", [*GROUPS, "train"])
def test_every_knob_is_documented_and_every_option_has_a_source(group: str) -> None:
    """Fields carry a text; docstrings carry one line and a source."""
    for schema in importlib.import_module(f"mixbench.schema.{group}").OPTIONS.values():
        assert schema.__doc__
        for field in dataclasses.fields(schema):
            if field.name not in ("name", *GROUPS):
                assert field.metadata["doc"], f"{schema.__name__}.{field.name}"
        if group != "train":
            assert "Source: " in schema.__doc__, schema


def leaves(node, prefix=""):
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        if dataclasses.is_dataclass(value):
            yield from leaves(value, f"{prefix}{field.name}.")
        elif field.name != "name":
            yield prefix + field.name, value, field.metadata


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_identity_changes_with_science_alone(data: st.DataObject) -> None:
    """Property: a knob changes the run's id exactly when it is scientific."""
    run = config("augment=hmix", "opt=sam", "schedule=cosine", "dataset.train_size=300")
    before = run_id(run)
    key, value, metadata = data.draw(st.sampled_from(list(leaves(run))))
    owner, _, leaf = key.rpartition(".")
    node = getattr(run, owner) if owner else run
    changed = {
        bool: lambda v: not v,
        int: lambda v: v + 1,
        float: lambda v: v + 0.125,
        str: lambda v: v + "x",
    }
    if value is None:
        new = 7
    elif isinstance(value, list):
        new = [*value, "x"]
    else:
        new = changed[type(value)](value)
    setattr(node, leaf, new)
    assert (run_id(run) != before) == metadata.get("scientific", True)


VALUES = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 9).map(str),
        "opt.lr": st.sampled_from(["0.1", "1e-3", "5"]),
        "augment": st.sampled_from(["gmix", "none", "hmix"]),
        "dataset": st.sampled_from(["cifar10", "digits"]),
        "dataset.train_size": st.sampled_from(["100", "null"]),
        "schedule.milestones": st.sampled_from(["[0.5]", "[1,2.5]", "[]"]),
        "output_dir": st.sampled_from(["a", "'b c'", "x/${seed}"]),
        "hydra.job.name": st.just("n"),
    },
)


@settings(max_examples=8, deadline=None)
@given(VALUES)
def test_composing_is_hydras(values: dict[str, str]) -> None:
    """Oracle: hydra.compose on the same overrides."""
    overrides = [f"{key}={value}" for key, value in values.items()]
    ours = by_hydra(overrides)
    register()
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        assert ours == hydra.compose("train", overrides)


def test_identity_is_stable_between_versions() -> None:
    """A fixed number: results of earlier versions are found again. Change it only when runs must be redone."""
    assert run_id(config("augment=gmix", "opt=sam")) == "6c32e9f13e25"


def test_a_knob_added_later_with_a_default_keeps_old_identities() -> None:
    """The scientific part leaves out what stands at its schema default, but never a name."""

    @dataclasses.dataclass
    class Option:
        name: str = "x"
        added_later: int = 3

    assert scientific(Option()) == {"name": "x"}
    assert scientific(Option(added_later=4)) == {"name": "x", "added_later": 4}


@pytest.mark.parametrize(
    ("overrides", "method"),
    [
        ([], "erm"),
        (["augment=mixup"], "mixup"),
        (["augment=gmix", "opt=sam"], "gmix-sam"),
        (["opt=adamw"], "adamw"),
    ],
)
def test_the_directory_names_the_method(overrides: list[str], method: str) -> None:
    """outputs/<dataset>/<model>/<method>/<id>."""
    place = run_dir(config(*overrides))
    assert place.parts[:-1] == ("outputs", "digits", "small_cnn", method)
    assert len(place.name) == 12
