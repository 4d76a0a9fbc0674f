"""`mixbench methods` and the method cards: nothing forgotten, nothing made up."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from mixbench.augment import AUGMENTS
from mixbench.bench.subjects import METHODS as BENCHED
from mixbench.catalogue import gallery
from mixbench.catalogue.options import options
from mixbench.cli import run
from mixbench.config.compose import by_hydra, compose
from mixbench.config.library import conf_dir
from mixbench.models import small_cnn
from mixbench.optim import RULES
from mixbench.regularize import REGULARIZERS
from mixbench.schema.methods import METHODS
from mixbench.schema.train import GROUPS

CARDS = Path(__file__).parents[2] / "docs" / "methods"
SEAMS = ("augment", "regularizer", "opt")


def printed(capsys, *argv: str) -> str:
    assert run(["methods", *argv]) == 0
    return capsys.readouterr().out


def test_the_list_holds_every_option_and_its_source(capsys):
    """Oracle: the files under conf/ and the docstrings of the schemas."""
    text = printed(capsys)
    squeezed = " ".join(text.split())
    for group in GROUPS:
        section = text[text.index(f"\n{group}: ") :]
        for path in (conf_dir() / group).glob("*.yaml"):
            assert re.search(rf"^  {path.stem}( |$)", section, re.MULTILINE), path
        if group != "dataset":
            for schema in importlib.import_module(f"mixbench.schema.{group}").OPTIONS.values():
                source = schema.__doc__.partition("Source:")[2].split()
                assert " ".join(source).rstrip(".") in squeezed


def test_the_two_methods_of_one_name_are_told_apart(capsys):
    """Oracle: Park et al., section 4 (GMix) and Li & Tang, algorithm 1 (G-Mix)."""
    for argv in ([], ["gmix"], ["G-Mix"]):
        text = " ".join(printed(capsys, *argv).split())
        assert "augment=gmix is GMix, Gaussian Mixup (Park et al. 2022)" in text
        assert "G-Mix of Li & Tang is Mixup under SAM: augment=mixup opt=sam" in text
    assert "augment=gmix" in printed(capsys, "gmix").splitlines()[0]
    assert "mixbench train augment=mixup regularizer=none opt=sam opt.rho=0.5" in printed(capsys, "g-mix")


def test_papers_methods_are_the_published_triples(capsys):
    """Oracle: the papers' own definitions, as (augment, regularizer, opt)."""
    triples = {m.title: (m.augment, m.regularizer, m.opt) for m in METHODS}
    assert triples == {
        "Vanilla (ERM)": ("none", "none", "sgd"),
        "Mixup": ("mixup", "none", "sgd"),
        "CutMix": ("cutmix", "none", "sgd"),
        "Mixup & CutMix": ("mixup_cutmix", "none", "sgd"),
        "HMix": ("hmix", "none", "sgd"),
        "GMix": ("gmix", "none", "sgd"),
        "PuzzleMix": ("puzzlemix", "none", "sgd"),
        "Manifold Mixup": ("manifold_mixup", "none", "sgd"),
        "MixupE": ("mixup", "mixupe", "sgd"),
        "ERM + additional loss": ("none", "mixupe", "sgd"),
        "SAM": ("none", "none", "sam"),
        "ASAM": ("none", "none", "asam"),
        "GSAM": ("none", "none", "gsam"),
        "LookSAM": ("none", "none", "looksam"),
        "G-Mix": ("mixup", "none", "sam"),
        "BG-Mix": ("mixup", "none", "bgmix"),
        "DG-Mix": ("mixup", "none", "dgmix"),
    }
    rows = [line.split() for line in printed(capsys).splitlines()]
    for title, triple in triples.items():
        assert any(row[: len(title.split()) + 3] == [*title.split(), *triple] for row in rows)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.title)
def test_the_printed_command_composes(method):
    """Oracle: the config itself. The command that a card prints gives a valid run of that method."""
    config = compose(method.command.split()[2:])
    assert tuple(getattr(config, seam).name for seam in SEAMS) == (
        method.augment,
        method.regularizer,
        method.opt,
    )


@functools.cache
def composed_by_hydra():
    """Every option by group and name; the first ones of all groups are composed at once, then the second ones, ..."""
    found = {}
    for row in itertools.zip_longest(
        *([(group, option.name) for option in options(group)] for group in GROUPS)
    ):
        chosen = [pair for pair in row if pair]
        config = by_hydra(["=".join(pair) for pair in chosen])
        found |= {(group, name): config[group] for group, name in chosen}
    return found


@pytest.mark.parametrize("group", GROUPS)
def test_a_card_shows_every_knob_with_its_default(capsys, group):
    """Oracle: composing the option with Hydra gives the printed values; every knob has its meaning beside it."""
    for option in options(group):
        text = " ".join(printed(capsys, option.name).split())
        composed = composed_by_hydra()[group, option.name]
        assert set(option.knobs) == set(composed) - {"name"}
        for field in dataclasses.fields(option.schema):
            if field.name == "name":
                continue
            shown = re.search(rf" {group}\.{field.name}=(\S+) (.*)", text)
            assert shown, field.name
            assert OmegaConf.create(f"seed: 0\nvalue: {shown[1]}").value == composed[field.name]
            assert shown[2].startswith(field.metadata["doc"])


def test_everything_fits_80_columns(capsys):
    """Limiting case: the width of a plain terminal."""
    names = [o.name for group in GROUPS for o in options(group)] + [m.title for m in METHODS]
    for argv in ([], *([n] for n in dict.fromkeys(names))):
        assert max(map(len, printed(capsys, *argv).splitlines())) < 80, argv


@pytest.mark.parametrize(("typo", "meant"), [("gmx", "gmix"), ("wrn16_8", "wrn16_4"), ("BG-Mx", "BG-Mix")])
def test_an_unknown_name_is_answered_with_the_nearest(capsys, typo, meant):
    """Oracle: exit status 2 and the name that was meant, on standard error."""
    assert run(["methods", typo]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert f"{typo}: no such option or method. Did you mean '{meant}'?" in output.err


def test_torch_is_not_imported():
    """Oracle: sys.modules of a fresh interpreter after the command has run."""
    code = "import sys; from mixbench.cli import run; sys.exit(run(['methods']) or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


# --- docs/methods -------------------------------------------------------------------------------


def test_every_method_has_a_card_and_every_card_a_method():
    """Oracle: the table of methods and the folder of cards."""
    assert {p.stem for p in CARDS.glob("*.md")} == {m.name for m in METHODS}


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.title)
def test_a_card_on_paper_names_every_knob_with_its_default(method):
    """Oracle: the option files. Each knob of the method's own option stands in the card's table, value included."""
    card = (CARDS / f"{method.name}.md").read_text(encoding="utf-8")
    own = [o for seam in SEAMS for o in options(seam) if o.name == method.name]
    for option in own:
        rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", card, re.MULTILINE))
        assert set(rows) == set(option.knobs)
        for knob, value in option.knobs.items():
            assert OmegaConf.create(f"value: {rows[knob]}").value == value, knob


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.title)
def test_a_card_has_all_its_parts(method):
    """Oracle: the list of sections; the command is the one that `mixbench methods` prints."""
    card = (CARDS / f"{method.name}.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", card, re.MULTILINE)
    assert headings == ["Formula", "Knobs", "Paper and code", "Cost", "Our runs", "Citation"]
    assert method.command in card
    assert re.search(r"^```math\n", card.partition("## Formula")[2].partition("## ")[0], re.MULTILINE)
    paper = re.search(
        r"\[arXiv:(\d{4}\.\d{5})\]\(https://arxiv\.org/abs/\1\)", card.partition("## Citation")[2]
    )
    assert paper or method.name == "erm"  # a book


# --- a member of a registry ---------------------------------------------------------------------

# What is no published method: plain images, plain losses, and torch's own optimizers.
PLAIN = {"none", "sgd", "adam", "adamw"}
MEMBERS = [
    (seam, name, getattr(made, "func", made))
    for seam, registry in zip(SEAMS, (AUGMENTS, REGULARIZERS, RULES), strict=True)
    for name, made in registry.items()
    if name not in PLAIN
]


@pytest.mark.parametrize(("seam", "name", "member"), MEMBERS, ids=[name for _, name, _ in MEMBERS])
def test_a_member_is_named_wherever_methods_are(seam, name, member):
    """Oracle: the registries. Each has an entry in the list of methods, and with it a card, and a line in `bench`."""
    assert [m for m in METHODS if getattr(m, seam) == name]
    assert (CARDS / f"{name}.md").is_file()
    assert [overrides for overrides in BENCHED.values() if f"{seam}={name}" in overrides]


@pytest.mark.parametrize(("seam", "name", "member"), MEMBERS, ids=[name for _, name, _ in MEMBERS])
def test_a_member_has_tests_that_name_their_oracle(seam, name, member):
    """Oracle: the registries. tests/ROOM/test_MODULE.py is there, and says of every test what it is compared with."""
    room, module = member.__module__.split(".")[-2:]
    tree = ast.parse((CARDS.parents[1] / "tests" / room / f"test_{module}.py").read_text(encoding="utf-8"))
    tests = [
        part for part in tree.body if isinstance(part, ast.FunctionDef) and part.name.startswith("test_")
    ]
    assert tests
    assert ast.get_docstring(tree) or all(map(ast.get_docstring, tests))


def test_the_gallery_shows_every_mask():
    """Oracle: the registry. Not shown are one that mixes no images, and one that is two others by turns."""
    columns = gallery.methods(2, small_cnn(3, 2))
    drawn = {kind for _, mix in columns for kind in type(mix).__mro__}
    assert {name for name, member in AUGMENTS.items() if member not in drawn} <= {
        "none",
        "mixup_cutmix",
        "manifold_mixup",
    }
