"""config.yaml of any age as a config. Oracles: the config that was written, the directories' names in results/."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mixbench.config import saved
from mixbench.config.compose import compose
from mixbench.config.identity import run_id
from mixbench.config.saved import from_saved, overrides, saved_config
from mixbench.errors import ConfigError
from mixbench.schema.train import Train

RESULTS = sorted((Path(__file__).parents[2] / "results").rglob("config.yaml"))
RUN = ["augment=gmix", "opt=sam", "model=wrn16_4", "schedule.milestones=[0.5]", "dataset.train_size=300"]


def write(folder: Path, config: Train, **changes: object) -> Path:
    """The config as training writes it; `changes` by key replace or add a value, `...` takes it away."""
    content = dataclasses.asdict(config)
    for key, value in changes.items():
        *parts, leaf = key.split("__")
        node = content
        for part in parts:
            node = node[part]
        if value is ...:
            del node[leaf]
        else:
            node[leaf] = value
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_all_records_of_ours_load() -> None:
    """Oracle: a run's directory has its id for a name."""
    assert len(RESULTS) >= 120
    for path in RESULTS:
        assert run_id(saved_config(path)) == path.parent.name, path


def test_every_tenth_record_of_ours_is_a_command_line() -> None:
    """The command line composes to the config."""
    for path in RESULTS[::10]:
        config = saved_config(path)
        assert compose(overrides(config)) == config


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """A round trip, types included."""
    config = compose([*RUN, "label_smoothing=1e-5", "data_dir='a b'", "dataset.mirrors=['x:1']"])
    assert saved_config(write(tmp_path, config)) == config


def test_a_key_that_is_newer_than_the_file_has_its_default(tmp_path: Path) -> None:
    """Of the run, of an option, and a whole group: as if the run was made today without a word on them."""
    config = compose(RUN)
    older = write(tmp_path, config, devices=..., cuda_graph=..., opt__ascent=..., tracker=...)
    assert saved_config(older) == config


def test_a_key_that_is_gone_is_dropped_where_it_held_its_old_default(tmp_path: Path, monkeypatch) -> None:
    """A key of the run and one of an option; with another value the run is one that we cannot have any more."""
    monkeypatch.setattr(saved, "REMOVED", {"warped": False, "opt.warp": 3})
    config = compose(RUN)
    assert saved_config(write(tmp_path, config, warped=False, opt__warp=3)) == config
    for change in ({"warped": True}, {"opt__warp": 4}):
        with pytest.raises(ConfigError, match=r"config\.yaml: (warped=True|opt\.warp=4): no such key"):
            saved_config(write(tmp_path, config, **change))


MISTAKES = {
    "an unknown key": ({"epoch": 3}, "epoch=3: no such key. Did you mean 'epochs'"),
    "of an option": ({"opt__rhoo": 3}, "opt.rhoo=3: no such key. Did you mean 'rho'"),
    "an unknown option": ({"opt__name": "smam"}, "opt.name=smam: no such option. Did you mean 'sam'"),
    "a schema's name": ({"dataset__name": "images"}, "dataset.name=images: no such option"),
    "no name": ({"opt__name": ...}, "opt.name=None: no such option"),
    "a list of names": ({"opt__name": ["sam"]}, "opt.name=['sam']: no such option"),
    "no group": ({"opt": 3}, "opt.name=None: no such option"),
    "a wrong type": ({"opt__rho": "far"}, "opt.rho=far: must be a number >= 0"),
    "a list for a number": ({"epochs": [1, 2]}, "epochs=[1, 2]: must be a whole number >= 1"),
    "a mapping for a number": ({"epochs": {"a": 1}}, "epochs={'a': 1}: must be a whole number >= 1"),
    "a number for a list": ({"schedule__milestones": 3}, "schedule.milestones=3: must be a list"),
    "null": ({"epochs": None}, "epochs=None: must be a whole number"),
    "out of range": ({"opt__rho": -1.0}, "opt.rho=-1.0: must be >= 0"),
    "a missing value": ({"opt__rho": ...}, "opt.rho: is missing"),
    "question marks": ({"opt__rho": "???"}, "opt.rho: is missing"),
    "a reference": ({"output_dir": "${oc.env:HOME}"}, "output_dir=${oc.env:HOME}: is no value"),
    "a call": ({"augment___target_": "os.system"}, "augment._target_=os.system: no such key"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_anything_else_is_one_message(tmp_path: Path, kind: str) -> None:
    """It names the file and the key."""
    changes, message = MISTAKES[kind]
    path = write(tmp_path, compose(RUN), **changes)
    with pytest.raises(ConfigError, match=re.escape(f"{path}: {message}")):
        saved_config(path)


@pytest.mark.parametrize(
    "text", ["seed: [", "", "3", "- a", "\x00", "a: !!python/name:os.system", "[" * 5000, "a: &a [*a]"]
)
def test_a_file_that_is_no_config_is_named(tmp_path: Path, text: str) -> None:
    """Torn, empty, of another kind, hostile, nested too deep; and one that is not there."""
    path = tmp_path / "config.yaml"
    with pytest.raises(ConfigError, match=re.escape(f"{path}: cannot be read")):
        saved_config(path)
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(f"{path}: ")):
        saved_config(path)


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6))
VALUES = st.recursive(
    SCALARS,
    lambda v: st.lists(v, max_size=2) | st.dictionaries(st.text(max_size=3), v, max_size=2),
    max_leaves=4,
)
KEYS = st.sampled_from(
    ["seed", "opt.rho", "opt.name", "opt", "augment", "ema", "ema.decay", "schedule.milestones", "output_dir", "hydra",
     "plugins", "_target_", "opt._target_", "a.b", "x[0]", ""]
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(KEYS, VALUES, max_size=3))
def test_any_change_of_a_file_is_a_config_or_one_message(tmp_path_factory, changes: dict) -> None:
    """Property: a config, which its command line composes to, or a ConfigError that names the file."""
    path = tmp_path_factory.mktemp("saved") / "config.yaml"
    content = dataclasses.asdict(compose(RUN))
    for key, value in changes.items():
        group, _, leaf = key.rpartition(".")
        node = content.setdefault(group, {}) if group else content
        if isinstance(node, dict):
            node[leaf] = value
    path.write_text(yaml.safe_dump(content))
    try:
        config = saved_config(path)
    except ConfigError as error:
        named = str(error).startswith(f"{path}: ")
    else:
        named = compose(overrides(config)) == config
    assert named


def test_a_run_from_a_saved_config_with_changes(tmp_path: Path) -> None:
    """Oracle: the command line that was asked for in the first place, with the changes behind it."""
    asked = ["augment=gmix", "opt=sam", "opt.rho=0.3", "epochs=7", "output_dir='a b'"]
    path = write(tmp_path, dataclasses.replace(compose(asked), force=True))
    assert compose(from_saved(path, [])) == compose(asked)
    for changes in (["seed=3", "opt.rho=0.1"], ["opt=asam"], ["opt=adamw", "opt.lr=0.01", "augment.alpha=2"]):
        kept = [o for o in asked if not (changes[0].startswith("opt=") and o.startswith("opt"))]
        assert compose(from_saved(path, changes)) == compose([*kept, *changes])


def test_the_command_trains_from_a_saved_config(mixbench, tmp_path: Path, monkeypatch) -> None:
    """A single run, and the runs of a sweep; a file that is none is named."""
    found: list[Train] = []
    monkeypatch.setattr("mixbench.commands.train.execute", found.append)
    path = write(tmp_path, compose(RUN))
    assert mixbench("train", "--from", str(path), "seed=5").status == 0
    assert found == [compose([*RUN, "seed=5"])]
    swept = mixbench("train", "--from", str(path), "-m", "seed=1,2", "--dry-run")
    assert all(run_id(compose([*RUN, f"seed={seed}"])) in swept.out for seed in (1, 2))
    wrong = mixbench("train", "--from", str(tmp_path / "nothing.yaml"))
    assert wrong.status == 2
    assert "nothing.yaml: cannot be read" in wrong.err
