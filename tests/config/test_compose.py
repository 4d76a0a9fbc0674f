"""The fast way to a cell's config gives what Hydra gives, and refuses what Hydra refuses."""

from __future__ import annotations

import itertools
import re
import shutil
import time
from pathlib import Path

import hydra
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from omegaconf.errors import OmegaConfBaseException

from mixbench.config.check import typed
from mixbench.config.compose import Composer, _object, by_hydra, compose
from mixbench.config.library import conf_dir
from mixbench.config.options import names, register
from mixbench.config.overrides import NUMBER, expand, read
from mixbench.errors import ConfigError
from mixbench.schema.train import GROUPS, Train

CHOICES = {
    "augment": ["gmix", "mixup", "none", "manifold_mixup", "nonsense"],
    "opt": ["sam", "sgd", "asam", "adamw", "dgmix"],
    "model": ["wrn16_4", "small_cnn", "resnet18"],
    "dataset": ["cifar10", "digits"],
    "schedule": ["step", "cosine"],
    "regularizer": ["none", "mixupe"],
}
VALUES = {
    "opt.rho": ["0.1", "1", "-1", "null", "abc", "1e-3", "${label_smoothing}"],
    "opt.lr": ["0.1", "'0.5'", "inf", "[1]"],
    "opt.nesterov": ["true", "0", "yes"],
    "augment.alpha": ["0.5", "2", "0"],
    "schedule.milestones": ["[0.5]", "[0.2,0.9]", "[]", "[a]", "3"],
    "dataset.train_size": ["100", "null", "1.5", "10000000"],
    "dataset.name": ["svhn", "digits"],
    "model.width": ["2", "4"],
    "seed": ["0", "7", "1.0", "${epochs}"],
    "epochs": ["1", "30", "0"],
    "label_smoothing": ["0.1", "1"],
    "output_dir": ["elsewhere", "'a b'", "'x=1,2'", "${loss}", "a\\,b", "{a:1}"],
    "loss": ["bce_softmax", "hinge"],
}
OTHERS = ["opt={rho:0.2}", "a/b=1", "nokey=1", "opt@x=sam"]  # additions and deletions (+, ~) are refused

choice = st.sampled_from([f"{group}={name}" for group, names in CHOICES.items() for name in names])
value = st.sampled_from([f"{key}={text}" for key, texts in VALUES.items() for text in texts])
cells = st.lists(st.one_of(choice, value, value, value), max_size=6)
odd_cells = st.tuples(cells, st.sampled_from(OTHERS), cells).map(
    lambda parts: [*parts[0], parts[1], *parts[2]]
)

composer = Composer()  # one for all examples: what an earlier cell left behind must not show in a later one


def oracle(cell: list[str]) -> Train | None:
    """The oracle: Hydra's own compose, checked; None where it is refused.

    Hydra looks at the last choice in a group alone; for us a mistake in an earlier one is one, too.
    """
    if "augment=nonsense" in cell:
        return None
    register()
    try:
        for override in cell:
            read(override)  # what nobody may give
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return typed(hydra.compose("train", cell))
    except (HydraException, OmegaConfBaseException, ConfigError):
        return None


def fast(cell: list[str]) -> Train | None:
    try:
        return composer(cell)
    except ConfigError:
        return None


@settings(deadline=None, max_examples=8, phases=[Phase.explicit, Phase.generate])
@given(st.one_of(cells, cells, cells, odd_cells))
@example(["seed=${epochs}", "epochs=3"])
@example(["opt.rho=0.3", "opt=sam", "opt.rho=0.2"])
@example(["opt=sam", "opt=sgd"])
@example(["opt={rho:0.2}", "opt=sam"])
@example(["opt@x=sam"])
@example(["opt=sam", "opt.lr=0.3", "label_smoothing=0.1", "seed=5"])
def test_a_cell_is_what_hydra_composes(cell: list[str]) -> None:
    """Oracle: Hydra's compose, with all its rules; equal as dataclasses, or refused by both."""
    assert fast(cell) == oracle(cell)


def test_every_option_is_what_hydra_composes() -> None:
    """Oracle: Hydra, with the first options of all groups, then the second ones, ...; and the run's own values."""
    for row in itertools.zip_longest(*([(group, name) for name in names(group)] for group in GROUPS)):
        chosen = {group: f"{group}={name}" for group, name in filter(None, row)}
        composer._base(tuple(chosen.values()))
        config = by_hydra(list(chosen.values()))
        ours = {group: composer._options[group, choice] for group, choice in chosen.items()}
        assert repr(ours) == repr({group: _object(config[group]) for group in chosen})  # 1 is not 1.0
        assert repr(composer._run) == repr({key: _object(config[key]) for key in config if key not in GROUPS})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "defaults: [/schema/augment/gmix@_here_]\nalhpa: 1\n",
            "In 'augment/mine': Key 'alhpa' not in 'GMix'",
        ),
        (
            "defaults: [/schema/augment/gmx@_here_]\n",
            "In 'augment/mine': Could not load 'schema/augment/gmx'",
        ),
        ("name: mine\n", "augment: the option has no schema"),
        ("a: [\n", "a file cannot be read as YAML"),
    ],
)
def test_a_mistake_in_a_file_of_ours_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    """One that somebody has added: the message is that of a composition by Hydra, and no traceback."""
    places = shutil.copytree(conf_dir(), tmp_path / "conf")
    for module in ("library", "compose"):
        monkeypatch.setattr(f"mixbench.config.{module}.conf_dir", lambda: places)
    (places / "augment" / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message) as ours:
        Composer()(["augment=mine"])
    with pytest.raises(ConfigError) as hydras:
        typed(by_hydra(["augment=mine"]))
    assert str(ours.value) == str(hydras.value)


def test_an_option_that_refers_to_another_value(tmp_path: Path) -> None:
    """A user's own option with an interpolation: the value that it refers to is set after the option is composed."""
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt" / "tied.yaml").write_text(
        "defaults: [/schema/opt/sam@_here_, /opt/sam@_here_]\nrho: ${label_smoothing}\n"
    )
    cells = Composer(str(tmp_path))
    found = [cells(["opt=tied", f"label_smoothing={x}"]).opt.rho for x in (0.1, 0.2)]
    assert found == [0.1, 0.2]


def test_cells_share_nothing_that_changes() -> None:
    """A config's values stay its own when another one is composed, and when one is changed afterwards.

    The cells of a sweep, which nobody changes, share options that are alike.
    """
    first, second = compose(["opt=sam", "opt.rho=0.1"]), compose(["opt=sam", "opt.rho=0.2"])
    first.epochs, first.opt.lr, first.model.name = 1, 7.0, "other"
    assert (first.opt.rho, second.opt.rho) == (0.1, 0.2)
    again = compose(["opt=sam", "opt.rho=0.1"])
    assert (again.epochs, again.opt.lr, again.model.name) == (30, 0.1, "small_cnn")


def test_a_number_is_read_as_by_hydras_grammar() -> None:
    """Oracle: Hydra's parser, for what looks like a whole number of a key and for what nearly does."""
    keys, values = (
        ("seed", "opt.k", "a.b.c", "_a", "a..b", "A"),
        ("0", "-0", "7", "-12", "007", "1_0", "+3", "9" * 18, ""),
    )
    for key, value in itertools.product(keys, values):
        line = f"{key}={value}"
        if NUMBER.fullmatch(line):
            (expected,) = OverridesParser.create().parse_overrides([line])
            assert read(line) == expected, line
            assert type(read(line).value()) is int
    assert NUMBER.fullmatch("seed=7")
    assert NUMBER.fullmatch("opt.k=-12")
    assert not NUMBER.fullmatch("seed=007")


def test_a_range_without_steps_is_no_sweep() -> None:
    """One message that names it."""
    with pytest.raises(ConfigError, match=r"opt\.rho=interval\(0,1\): a sweep needs single values"):
        expand(["seed=0,1", "opt.rho=interval(0,1)"])


def test_too_many_cells_are_refused_before_they_are_listed() -> None:
    """A thousand million seeds: one message, where the list would take 100 GB."""
    with pytest.raises(ConfigError, match=r"a sweep over 2,000,000,000 cells: at most 200,000"):
        expand(["seed=range(1000000000)", "opt=sam,sgd"])


@pytest.mark.long
def test_ten_thousand_cells_are_fast() -> None:
    """4 s here, where Hydra's compose would take 400; the limit leaves room for a slow machine."""
    cells = expand(["augment=gmix,mixup", "opt=sam,asam", "opt.rho=range(0.01,0.51,0.01)", "seed=range(50)"])
    assert len(cells) == 10_000
    start = time.process_time()
    runs = [composer(cell) for cell in cells]
    assert time.process_time() - start < 30
    assert len({(run.augment.name, run.opt.name, run.opt.rho, run.seed) for run in runs}) == 10_000


@pytest.mark.parametrize("name", ["augment/mixup.yaml", "train.yaml", "schema/opt/sam.yaml"])
def test_a_file_of_our_name_is_refused(tmp_path: Path, name: str) -> None:
    """Ours would be taken in its place, without a word."""
    place = tmp_path / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("alpha: 7\n")
    with pytest.raises(
        ConfigError, match=rf"--config-dir .*: {name} (is not read|has the name of an option)"
    ):
        by_hydra([], str(tmp_path))


@pytest.mark.parametrize("name", ["a b", "a=b,c", "it's [1]{2}", 'say "x"', "Größe $HOME", "100%", "a:b"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    """Its option files are found; nothing of its name is read as an override."""
    place = tmp_path / name / "augment" / "mine.yaml"
    place.parent.mkdir(parents=True)
    place.write_text("defaults: [/schema/augment/mixup@_here_, /augment/mixup@_here_]\nalpha: 0.7\n")
    assert by_hydra(["augment=mine"], str(tmp_path / name)).augment.alpha == 0.7


EXPERIMENT = """# @package _global_
defaults: [override /augment: gmix, override /opt: sam]
epochs: 7
opt: {rho: 0.3}
"""


def test_an_experiment_of_ones_own(tmp_path: Path) -> None:
    """Oracle: the same keys on the command line, which has the last word; several are swept over."""
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "soft.yaml").write_text(EXPERIMENT)
    cells = Composer(str(tmp_path))
    plain = ["augment=gmix", "opt=sam", "epochs=7", "opt.rho=0.3"]
    assert cells(["+experiment=soft"]) == composer(plain)
    changes = ["opt.rho=0.1", "augment.alpha=2", "seed=4"]
    assert cells(["+experiment=soft", *changes]) == composer([*plain, *changes])
    assert expand(["+experiment=soft,hard"]) == [["+experiment=soft"], ["+experiment=hard"]]


@pytest.mark.parametrize(
    ("text", "asked", "message"),
    [
        (EXPERIMENT, ["+experiment=sof"], "experiment=sof: no such option. Did you mean 'soft'"),
        (EXPERIMENT, ["+experiment=../x"], "named as its file"),
        (EXPERIMENT, ["+experiment=soft", "opt.rhoo=1"], "opt.rhoo=1: no such key. Did you mean 'rho'"),
        ("# @package _global_\nepoch: 3", ["+experiment=soft"], "'experiment/soft': Key 'epoch' not in 'Train'"),
        ("# @package _global_\nhydra: {mode: MULTIRUN}", ["+experiment=soft"], "hydra.mode: is not for a file"),
        ("# @package _global_\noutput_dir: ${oc.env:HOME}", ["+experiment=soft"], "only references to keys"),
        ("epochs: 3", ["+experiment=soft"], "Key 'experiment' not in 'Train'"),
    ],
)  # fmt: skip
def test_a_mistake_with_an_experiment(tmp_path: Path, text: str, asked: list[str], message: str) -> None:
    """One message with the cause."""
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "soft.yaml").write_text(text)
    with pytest.raises(ConfigError, match=re.escape(message)):
        Composer(str(tmp_path))(asked)
    with pytest.raises(ConfigError, match=r"\+experiment=soft: experiments are files"):
        composer(["+experiment=soft"])
