"""Plugins: what they register is an option like any other, what is wrong with one is said in one message."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from whole_runs import stopped_after

from mixbench.config import plugins
from mixbench.config.compose import compose
from mixbench.config.options import names
from mixbench.config.saved import overrides, saved_config
from mixbench.errors import ConfigError
from mixbench.plugins import register
from mixbench.schema.knob import knob
from mixbench.training import members
from mixbench.training.members import member
from mixbench.training.restore import load_run

pytestmark = pytest.mark.usefixtures("plugin_room")

TINY = ("epochs=1", "dataset.train_size=100", "dataset.test_size=50", "batch_size=50", "train_clean_every=0")
# An augment, written as a user would: what imports torch is a module of its own.
TINT = """
    from dataclasses import dataclass
    from mixbench.plugins import register
    from mixbench.schema.knob import knob

    @dataclass
    class Tint:
        '''Tint: every image gets brighter.

        Source: this test.
        '''

        name: str = "tint"
        strength: float = knob("what is added to every pixel", at_least=0)

    register("augment", "tint", "tint_mix:Tint", Tint, '''# Of this test
    defaults: [/schema/augment/tint@_here_]
    strength: 0.5       # a little
    ''')
"""
TINT_MIX = """
    from mixbench.augment.none import NoMix

    class Tint(NoMix):
        def __init__(self, num_classes, strength):
            super().__init__(num_classes)
            self.strength = strength

        def __call__(self, images, labels, lam=None, generator=None):
            x, y = super().__call__(images, labels, lam, generator)
            return x + self.strength, y
"""


def write(path: Path, text: str) -> Path:
    """The text without its indent, in a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def forget_plugins() -> None:
    """As a new process begins, with no plugin loaded."""
    for option in plugins._options.values():
        sys.modules.pop(option.schema.__module__, None)
    plugins._loaded.clear()
    plugins._options.clear()


@pytest.fixture
def tint(tmp_path: Path) -> str:
    """The plugin above as a file."""
    write(tmp_path / "their own" / "tint_mix.py", TINT_MIX)
    return str(write(tmp_path / "their own" / "tint.py", TINT))


# --- an option like any other -------------------------------------------------------------------


def test_it_composes_is_checked_and_has_an_identity(tint: str) -> None:
    """Its default, a value that is set, and a value outside its range; the config's command line gives it again."""
    with plugins.named([tint]):
        assert compose(["augment=tint"]).augment.strength == 0.5
        config = compose(["augment=tint", "augment.strength=2", "opt=sam", "opt.rho=0.3"])
        assert (config.augment.strength, config.opt.rho) == (2.0, 0.3)
        assert compose(overrides(config)) == config
        with pytest.raises(ConfigError, match=r"augment\.strength=-1(\.0)?: must be >= 0"):
            compose(["augment=tint", "augment.strength=-1"])
        with pytest.raises(ConfigError, match=r"augment\.strenght=1: no such key. Did you mean 'strength'"):
            compose(["augment=tint", "augment.strenght=1"])
        assert "tint" in names("augment")
        assert member("augment", "tint")(10, strength=1.0).strength == 1.0


def test_a_value_that_refers_to_another_is_hydras(tmp_path: Path) -> None:
    """The reference is resolved in every cell, as in an option file of ours."""
    text = TINT.replace("strength: 0.5 ", "strength: ${label_smoothing} ")
    with plugins.named([str(write(tmp_path / "tint.py", text))]):
        found = [compose(["augment=tint", f"label_smoothing={x}"]).augment.strength for x in (0.1, 0.2)]
    assert found == [0.1, 0.2]


def test_it_is_listed_has_a_card_and_stands_in_the_help(mixbench: Callable, tint: str) -> None:
    """`mixbench methods`, the card, `train --help`; the option may stand before the command, too."""
    printed = {
        ("methods",): "tint Tint: every image gets brighter Source: this test",
        ("methods", "tint"): "augment.strength=0.5 what is added to every pixel [>= 0]",
        ("train", "--help"): "puzzlemix, tint",
    }
    for command, words in printed.items():
        assert words not in " ".join(mixbench(*command).out.split())
    for command, words in printed.items():
        assert words in " ".join(mixbench("--plugin", tint, *command).out.split())
        assert words in " ".join(mixbench(*command, f"--plugin={tint}").out.split())


def complete(line: str) -> list[str]:
    environment = {**os.environ, "COMP_LINE": line, "COMP_POINT": str(len(line))}
    command = [sys.executable, "-m", "mixbench", "-sc", "query=bash"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_it_completes(tmp_path: Path) -> None:
    """The plugin of the line's --plugin is known; a line with a broken one completes as without."""
    tint = write(tmp_path / "tint.py", TINT)
    assert complete(f"mixbench train --plugin {tint} augment=ti") == ["augment=tint"]
    assert complete(f"mixbench train --plugin={tint} augment=tint augment.str") == ["augment.strength="]
    assert complete("mixbench train --plugin nowhere.py augment=gm") == []


def test_listing_its_options_does_not_import_torch(tint: str) -> None:
    """Oracle: sys.modules of a fresh process."""
    code = (
        "import sys; from mixbench.cli import run\n"
        f"assert run(['methods', 'tint', '--plugin', {tint!r}]) == 0\n"
        f"assert run(['train', 'augment=tint', 'augment.strength=-1', '--plugin', {tint!r}]) == 2\n"
        "assert not {'torch', 'tint_mix'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- the record ---------------------------------------------------------------------------------


def test_a_run_names_its_plugin_and_resumes_with_it(mixbench: Callable, workplace: Path, tint: str) -> None:
    """env.json has name and checksum; the same command shows the finished run; without it one message says which."""
    command = ("train", "augment=tint", "--plugin", tint, *TINY)
    done = mixbench(*command)
    assert done.status == 0, done.err
    assert "finished" in mixbench(*command).out
    (record,) = Path("outputs/digits/small_cnn/tint").iterdir()
    environment = json.loads((record / "env.json").read_text())
    name, version = environment["plugins"].popitem()
    assert (name, version[:7], len(version)) == ("tint.py", "sha256:", 71)
    assert saved_config(record / "config.yaml").augment.strength == 0.5
    lost = "import sys; from pathlib import Path; from mixbench.config.saved import saved_config\n"
    lost += f"saved_config(Path({str(record / 'config.yaml')!r}))"
    out = subprocess.run([sys.executable, "-c", lost], capture_output=True, text=True).stderr
    assert (
        f"config.yaml: augment.name=tint: no such option. The run was made with the plugins tint.py ({version})"
        in out
    )
    assert "load them with --plugin" in out


def code(plugin: str) -> str:
    """Version or checksum of the one plugin there is, as a new process finds it."""
    forget_plugins()
    with plugins.named([plugin] if plugin else []):
        return plugins.versions().popitem()[1]


def test_the_checksum_is_that_of_all_its_files(tint: str) -> None:
    """A change of the module, or of a module beside it that one of them imports, changes what is recorded; no other
    file does: one that nothing imports, one that bears the name of a module of Python, a YAML file.
    """
    folder = Path(tint).parent
    write(
        folder / "tint_mix.py", TINT_MIX + "\n    def late():\n        from layers.block import Block, wave\n"
    )
    write(folder / "layers" / "__init__.py", "")
    write(folder / "layers" / "block.py", "from . import parts\nimport random, sine as s\nBlock = wave = 1\n")
    for name in ("layers/parts", "sine", "layers/other", "random", "alone"):
        write(folder / f"{name}.py", "x = 1\n")
    write(folder / "sine.yaml", "x: 1\n")
    own = ["tint", "tint_mix", "layers/__init__", "layers/block", "layers/parts", "sine"]
    others = ["layers/other", "random", "alone"]
    found = [code(tint)]
    for path in [*(f"{name}.py" for name in (*own, *others)), "sine.yaml"]:
        (folder / path).write_text((folder / path).read_text() + "# changed\n")
        found.append(code(tint))
    assert len(set(found[: len(own) + 1])) == len(own) + 1
    assert set(found[len(own) :]) == {found[len(own)]}
    assert "layers" not in sys.modules  # they are read, not run


def test_the_checksum_of_a_package_is_that_of_its_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Imports within it, relative and absolute; in a folder of libraries what else lies there is not the plugin's."""
    site = tmp_path / "site-packages"
    write(site / "theirs" / "__init__.py", "")
    write(site / "theirs" / "option.py", TINT.replace("tint_mix:", "theirs.mix:"))
    write(site / "theirs" / "mix.py", "    from .layers import block\n    import library" + TINT_MIX)
    for name in ("theirs/layers/__init__", "theirs/layers/block", "library"):
        write(site / f"{name}.py", "x = 1\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(
        plugins, "distribution_of", lambda _: None
    )  # which looks through all that are installed
    found = [code("theirs.option")]
    for name in ("theirs/__init__", "theirs/mix", "theirs/layers/__init__", "theirs/layers/block", "library"):
        (site / f"{name}.py").write_text((site / f"{name}.py").read_text() + "# changed\n")
        found.append(code("theirs.option"))
    assert len(set(found)) == 5
    assert found[-1] == found[-2]


# --- handed on ----------------------------------------------------------------------------------


def states() -> list[str]:
    return [json.loads(p.read_text())["state"] for p in Path("outputs").rglob("summary.json")]


@pytest.mark.slow
@pytest.mark.long
def test_runs_side_by_side_have_it(mixbench: Callable, workplace: Path, tint: str) -> None:
    """The processes of a sweep with --jobs, of a retry and of a search, all of which are started anew."""
    done = mixbench("train", "-m", "augment=tint", "seed=0,1", "--jobs", "2", "--plugin", tint, *TINY)
    assert (done.status, states()) == (0, ["finished"] * 2), done.err
    assert plugins.VARIABLE not in os.environ
    done = mixbench(
        "tune", "augment=tint", "augment.strength=0,1", "dataset.val_size=50", "--trials", "1", "--plugin", tint, *TINY
    )  # fmt: skip
    assert (done.status, states()) == (0, ["finished"] * 3), done.err


def test_a_run_is_retried_with_it(mixbench: Callable, workplace: Path, tint: str) -> None:
    """The failed run's config names the option; retry finds it through the plugin."""
    assert mixbench("train", "augment=tint", "opt.lr=1e30", "--plugin", tint, *TINY).status == 1
    listed = mixbench("retry", "--dry-run", "--plugin", tint)
    assert listed.status == 0, listed.err
    assert "1 failed" in listed.out


def test_the_commands_of_a_table_name_it(mixbench: Callable, workplace: Path, tint: str) -> None:
    """--dry-run prints command lines; with them the plugin that they need."""
    table = write(
        workplace / "mine.yaml",
        f"""
        kind: table
        title: mine
        source: mine
        base: [{", ".join(TINY)}]
        rows: {{Tint: [augment=tint]}}
        columns: {{digits: [dataset=digits]}}
        metrics: [{{name: accuracy, column: test_acc}}]
        seeds: 1
        """,
    )
    listed = mixbench("table", str(table), "--dry-run", "--plugin", tint)
    assert listed.status == 0, listed.err
    assert f"mixbench train --plugin '{tint}' " in listed.out


@pytest.mark.long
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_jobs_of_a_launcher_have_it(workplace: Path, tint: str, launcher: str) -> None:
    """A job is a pickle that names the schema's module; it must be found there, too."""
    command = [sys.executable, "-m", "mixbench", "train", "-m", "augment=tint", "seed=0,1", *TINY]
    done = subprocess.run(
        [*command, f"hydra/launcher={launcher}", "--plugin", tint], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert states() == ["finished"] * 2


def test_a_folder_that_hides_pythons_modules(mixbench: Callable, workplace: Path, tint: str) -> None:
    """Our workers search it last; a launcher's jobs would be hit, and are refused before anything begins."""
    Path(tint).with_name("random.py").write_text("raise SystemExit('their random')")
    sweep = ("train", "-m", "augment=tint", "seed=0,1", *TINY, "--plugin", tint)
    done = mixbench(*sweep, "hydra/launcher=joblib")
    assert done.status == 2
    assert "random.py would hide Python's own module random from the launcher's jobs" in done.err
    assert not Path("outputs").exists()
    done = mixbench(*sweep, "--jobs", "2")
    assert done.status == 0, done.err
    assert states() == ["finished"] * 2


# --- installed packages -------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like site-packages, with the plugin as an installed distribution."""
    site = tmp_path / "site"
    write(site / "tint.py", TINT)
    write(site / "tint_mix.py", TINT_MIX)
    write(
        site / "their_tint-1.2.dist-info" / "METADATA",
        "Metadata-Version: 2.1\nName: their-tint\nVersion: 1.2\n",
    )
    write(site / "their_tint-1.2.dist-info" / "entry_points.txt", "[mixbench.plugins]\ntint = tint\n")
    monkeypatch.syspath_prepend(str(site))
    plugins._installed.cache_clear()
    return site


def test_an_installed_plugin_is_there_without_a_word(
    mixbench: Callable, workplace: Path, installed: Path
) -> None:
    """Its option is listed and trains; the record has the distribution's name and version."""
    assert "every image gets brighter" in mixbench("methods").out
    assert mixbench("train", "augment=tint", *TINY).status == 0
    (path,) = Path("outputs").rglob("env.json")
    assert json.loads(path.read_text())["plugins"] == {"their-tint": "1.2"}
    # Named as well, it is loaded once.
    assert mixbench("methods", "tint", "--plugin", str(installed / "tint.py")).status == 0


@pytest.mark.parametrize("how", ["as pip and uv do it", "as setup.py does it"])
def test_a_plugin_that_is_installed_as_editable_has_a_checksum(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Its version stays while its code changes: `pip install -e` leaves the metadata alone in the place of libraries;
    an egg-info lies beside the code. Oracle: the checksum that the file has where it is named.
    """
    source, info = installed, installed / "their_tint-1.2.dist-info"
    if how == "as pip and uv do it":
        source = tmp_path / "source"
        source.mkdir()
        for name in ("tint.py", "tint_mix.py"):
            (installed / name).rename(source / name)
        monkeypatch.syspath_prepend(str(source))
    else:
        info = info.rename(installed / "their_tint.egg-info")
        (info / "METADATA").rename(info / "PKG-INFO")
    found = [code("")]
    with (source / "tint_mix.py").open("a") as file:
        file.write("# changed\n")
    found.append(code(""))
    shutil.rmtree(info)
    plugins._installed.cache_clear()
    assert found[0] != found[1] == code(str(source / "tint.py"))


def test_a_broken_installed_plugin_is_named(mixbench: Callable, installed: Path) -> None:
    """With its version and the line, so that one knows what to take away."""
    write(installed / "tint.py", "import no_such_module")
    done = mixbench("methods")
    assert done.status == 2
    assert (
        "the installed plugin their-tint 1.2: ModuleNotFoundError: No module named 'no_such_module'"
        in done.err
    )
    assert "tint.py, line 1" in done.err


def test_a_module_is_named_by_its_distribution(mixbench: Callable, workplace: Path, installed: Path) -> None:
    """`--plugin MODULE`: the version of the package that it comes from."""
    (installed / "their_tint-1.2.dist-info" / "entry_points.txt").unlink()
    write(installed / "their_tint-1.2.dist-info" / "top_level.txt", "tint\n")
    with plugins.named(["tint"]):
        assert plugins.versions() == {"tint": "1.2"}


# --- mistakes -----------------------------------------------------------------------------------

BROKEN = {
    "raises": ("x = 1\nraise KeyError('of theirs')", ["KeyError: 'of theirs'", "line 2"]),
    "exits": ("import sys\nsys.exit(3)", ["SystemExit: 3", "line 2"]),
    "is no Python": ("def", ["SyntaxError"]),
    "registers nothing": ("x = 1", ["registers no option"]),
    "has a name of ours": (
        TINT.replace('"tint"', '"gmix"').replace("/tint@", "/gmix@"),
        ["mixbench has an option"],
    ),
    "has no such group": (TINT.replace('"augment"', '"augmnt"'), ["no such group. Did you mean 'augment'?"]),
    "has a data set without images": (
        TINT.replace("augment", "dataset"),
        ["must be a subclass of mixbench.schema.examples.ImageDataset"],
    ),
    "has a network without a base": (
        TINT.replace("augment", "model"),
        ["must be a subclass of mixbench.schema.model.Model"],
    ),
    "has another name": (TINT.replace('name: str = "tint"', 'name: str = "tnt"'), ["name: str = 'tint'"]),
    "has a bare field": (
        TINT.replace('knob("what is added to every pixel", at_least=0)', "0.0"),
        ["field strength must be a"],
    ),
    "has no schema line": (
        TINT.replace("defaults:", "default:"),
        ["must have the line 'defaults: [/schema/augment/tint"],
    ),
    "has a key too many": (
        TINT.replace("strength: 0.5", "strenght: 0.5"),
        ["the YAML does not fit", "strenght"],
    ),
    "has a wrong value": (TINT.replace("strength: 0.5", "strength: much"), ["the YAML does not fit", "much"]),
    "has a value out of range": (
        TINT.replace("strength: 0.5", "strength: -1"),
        ["the YAML has strength=-1.0: must be >= 0"],
    ),
    "has no value": (TINT.replace("strength: 0.5", ""), ["the YAML has no value for strength"]),
    "has a broken YAML": (
        TINT.replace("strength: 0.5", "strength: [0.5"),
        ["the YAML cannot be read", "line 4"],
    ),
    "has no dataclass": (TINT.replace("@dataclass", ""), ["schema Tint must be a @dataclass"]),
    "has no docstring": (re.sub("'''Tint.*?'''", "", TINT, flags=re.DOTALL), ["Tint needs a docstring"]),
    "has no file of values": (
        TINT + "\n    open('nowhere.yaml')\n",
        ["FileNotFoundError", "broken.py, line 21"],
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_plugin_that_does_not_fit_is_one_message(mixbench: Callable, tmp_path: Path, kind: str) -> None:
    """Status 2, the file and what is wrong with it, no traceback; what it has registered until then is forgotten."""
    text, words = BROKEN[kind]
    path = write(tmp_path / "broken.py", text)
    done = mixbench("methods", "--plugin", str(path))
    assert done.status == 2
    assert f"mixbench methods: --plugin {path}: " in done.err
    for word in words:
        assert word in done.err
    assert "Traceback" not in done.err
    assert plugins.options("augment") == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plugin", "nowhere.py"], "nowhere.py: no such file"),
        (["--plugin=no_such_module_9"], "--plugin no_such_module_9: ModuleNotFoundError: No module named"),
        (["--plugin", "../folder"], "--plugin ../folder: is neither the name of a module nor a file"),
        (["--plugin"], "--plugin: is followed by a module, or a file"),
        (["--plugin", "json"], "--plugin json: registers no option"),
    ],
)
def test_a_plugin_that_is_not_there(mixbench: Callable, arguments: list[str], message: str) -> None:
    """Status 2 and one message, in any command."""
    for command in ("train", "methods", "tables", "runs", "bench"):
        done = mixbench(command, *arguments)
        assert (done.status, "Traceback" in done.err) == (2, False)
        assert message in done.err


def test_two_plugins_of_one_name(mixbench: Callable, tmp_path: Path) -> None:
    """The second one is named, and the first one as well."""
    one, two = write(tmp_path / "one.py", TINT), write(tmp_path / "two.py", TINT)
    done = mixbench("methods", "--plugin", str(one), "--plugin", str(two))
    assert done.status == 2
    assert (
        f"--plugin {two}: register('augment', 'tint', ...): plugin one.py has an option of this name"
        in done.err
    )


def test_a_file_with_the_name_of_another_module(mixbench: Callable, tmp_path: Path) -> None:
    """It cannot be loaded beside it, whether that one is loaded yet or not."""
    for name in ("json.py", "wave.py", "a-b.py"):
        done = mixbench("methods", "--plugin", str(write(tmp_path / name, TINT)))
        assert done.status == 2
        assert "rename the file" in done.err or "must be that of a module" in done.err


def test_a_member_that_is_not_there_is_named(mixbench: Callable, workplace: Path, tint: str) -> None:
    """A lazy member is looked up when the run is built; the message names plugin, option and member."""
    write(Path(tint), TINT.replace("tint_mix:Tint", "tint_mix:Tnt"))
    done = mixbench("train", "augment=tint", "--plugin", tint, *TINY)
    assert done.status == 2
    assert "plugin tint.py: augment=tint is tint_mix:Tnt: AttributeError" in done.err
    assert "Traceback" not in done.err


def test_a_finished_run_of_another_version_of_a_plugin_says_so(
    mixbench: Callable, workplace: Path, tint: str
) -> None:
    """The knobs are the same, so is the run; the code behind them is not: both checksums and force=true are named."""
    chosen = ("train", "augment=tint", "--plugin", tint, *TINY)
    assert mixbench(*chosen).status == 0
    again = mixbench(*chosen)
    assert "the code of plugin" not in again.out
    path = Path(tint).with_name("tint_mix.py")
    path.write_text(path.read_text().replace("x + self", "x - self"))
    plugins._loaded.clear()
    done = mixbench(*chosen)
    assert done.status == 0
    said = r"note: the code of plugin tint\.py \((.*?)\) .* trained with, tint\.py \((.*?)\); force=true"
    found = re.search(said, done.out)
    assert found
    assert found[1] != found[2]
    assert mixbench(*chosen, "force=true").status == 0
    assert "the code of plugin" not in mixbench(*chosen).out


def test_a_finished_run_of_another_file_says_so(mixbench: Callable, workplace: Path, tint: str) -> None:
    """The option of this name comes from a file of another name. Oracle: a copy has the same code, and is not told of;
    a changed copy is, with both names; a plugin that no option of the run comes from is no matter.
    """
    run = ("augment=tint", *TINY)
    assert mixbench("train", *run, "--plugin", tint).status == 0
    for name, more, told in (("copy.py", "", False), ("changed.py", "# changed\n", True)):
        name = f"tint_{name}"
        path = Path(tint).with_name(name)
        path.write_text(Path(tint).read_text() + more)
        forget_plugins()
        done = mixbench("train", *run, "--plugin", str(path))
        assert done.status == 0, done.err
        said = rf"note: the code of plugin {name} \(sha256:.* trained with, tint\.py \(sha256:\w{{8}}\); force=true"
        assert bool(re.search(said, done.out)) == told, done.out
    assert mixbench("train", *TINY).status == 0
    assert "the code of" not in mixbench("train", *TINY, "--plugin", str(path)).out


def test_a_run_that_goes_on_with_other_code_says_so(mixbench: Callable, workplace: Path, tint: str) -> None:
    """After two epochs of four the file is changed. Oracle: one note with its name; none where nothing was changed."""
    command = ("train", "augment=tint", "--plugin", tint, *TINY, "epochs=4", "checkpoint_seconds=0")
    told = []
    for more in ("", "", "# changed\n"):
        Path(tint).write_text(Path(tint).read_text() + more)
        plugins._loaded.clear()
        with stopped_after(1 + len(told)):
            mixbench(*command)
        (log,) = Path("outputs").rglob("train.log")
        told.append(log.read_text().count("note     the code of plugin tint.py (sha256:"))
    assert told == [0, 0, 1]


def test_a_plugin_that_raises_in_training_is_a_failed_run_that_is_named(
    mixbench: Callable, workplace: Path, tint: str
) -> None:
    """What is wrong is the traceback's to show; the record's place and what to do stand below it."""
    path = Path(tint).with_name("tint_mix.py")
    path.write_text(path.read_text().replace("return x + self.strength, y", "raise ValueError('of theirs')"))
    with pytest.raises(ValueError, match="of theirs") as raised:
        mixbench("train", "augment=tint", "--plugin", tint, *TINY)
    if sys.version_info >= (3, 11):
        (note,) = raised.value.__notes__
        assert "is recorded as failed; once that is mended, the same command goes on." in note


NET = """
    from dataclasses import dataclass
    from mixbench.plugins import register
    from mixbench.schema.model import Model

    @dataclass
    class Net(Model):
        '''A layer.'''

        name: str = "net"

    def build(channels, num_classes):
        from torch.nn import Flatten, Linear, Sequential, Tanh, Unflatten
        return Sequential(LAYERS)

    register("model", "net", build, Net, "defaults: [/schema/model/net@_here_]")
"""


NEEDED = "digits has 10 classes: needs (B, 10)."


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ("Flatten(), Linear(64, 11)", ["gives (B, 11) for inputs", NEEDED]),
        ("Flatten(), Linear(64, 1)", ["gives (B, 1) for inputs", NEEDED]),
        ("Flatten(), Linear(64, 10), Unflatten(1, (10, 1))", ["gives (B, 10, 1) for inputs", NEEDED]),
        (
            "Flatten(), Linear(100, 10)",
            ["does not take the inputs", "of digits: RuntimeError: ", "2x64 and 100x10"],
        ),
    ],
)
def test_a_network_that_does_not_fit_the_data_is_one_message(
    mixbench: Callable, workplace: Path, layers: str, words: list[str]
) -> None:
    """Oracle: the shapes that its layers give by hand; of digits, 8 by 8 pixels in 10 classes."""
    net = str(write(workplace / "net.py", NET.replace("LAYERS", layers)))
    done = mixbench("train", "model=net", "--plugin", net, *TINY)
    assert done.status == 2
    for word in ["mixbench train: model=net: ", "(B, 1, 8, 8)", *words]:
        assert word in done.err
    assert "Traceback" not in done.err
    assert states() == ["failed"]
    net = write(workplace / "net.py", NET.replace("LAYERS", "Flatten(), Linear(64, num_classes)"))
    forget_plugins()
    assert mixbench("train", "model=net", "--plugin", str(net), *TINY).status == 0
    assert states() == ["finished"]


COSINE = """
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Cosine(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(64, 10)

        def forward(self, x):
            seen = self.fc.weight
            assert isinstance(seen, nn.Parameter) and seen.dtype == torch.float32, seen.dtype
            return 10 * F.linear(F.normalize(x), F.normalize(seen))
"""


def test_a_network_that_reads_its_weights_has_them_as_they_are(mixbench: Callable, workplace: Path) -> None:
    """Limiting case: in half precision a network of ours computes with copies of its weights, made for all layers at
    once; one that computes with a weight itself, as a cosine classifier does, finds the float32 parameter."""
    write(workplace / "cosine.py", COSINE)
    net = str(write(workplace / "net.py", NET.replace("LAYERS", "Flatten(), __import__('cosine').Cosine()")))
    done = mixbench("train", "model=net", "--plugin", net, *TINY, "precision=bf16")
    assert (done.status, states()) == (0, ["finished"]), done.err


def test_a_network_of_other_code_is_not_measured(mixbench: Callable, workplace: Path) -> None:
    """Limiting case: a layer without weights more, so that the weights still fit, and every number would be another.
    With the code of the training, and of a copy of the weights alone, all goes."""
    layers = "Flatten(), Linear(64, num_classes)"
    net = write(workplace / "net.py", NET.replace("LAYERS", layers))
    assert mixbench("train", "model=net", "--plugin", str(net), *TINY).status == 0
    (run,) = (summary.parent for summary in Path("outputs").rglob("summary.json"))
    forget_plugins()
    forgotten = mixbench("eval", "--only", "accuracy", str(run))
    assert (
        "one that comes from a plugin needs it loaded (--plugin, or import it). The run was" in forgotten.err
    )
    assert "was trained with net.py." in forgotten.err
    write(net, NET.replace("LAYERS", f"{layers}, Tanh()"))
    for command in (["eval", "--only", "accuracy"], ["export", "--format", "state_dict"]):
        done = mixbench(*command, "--plugin", str(net), str(run))
        assert done.status != 0
        assert "the code of plugin net.py (sha256:" in done.err
        assert "load the code that it was trained with" in done.err
    assert not (run / "evaluations").exists()
    with plugins.named([str(net)]):
        copy = shutil.copy(run / "model.safetensors", workplace)
        assert load_run(copy).predict(torch.zeros(2, 8, 8, 1)).shape == (2, 10)
    forget_plugins()
    write(net, NET.replace("LAYERS", layers))
    assert mixbench("eval", "--only", "accuracy", "--plugin", str(net), str(run)).status == 0


def test_a_shorter_run_of_other_code_is_not_offered_to_begin_with(
    mixbench: Callable, workplace: Path
) -> None:
    """Limiting case: with the same code it is."""
    layers = "Flatten(), Linear(64, num_classes)"
    net = write(workplace / "net.py", NET.replace("LAYERS", layers))
    train = ("train", "model=net", "--plugin", str(net), *TINY)
    assert mixbench(*train).status == 0
    assert "would begin with its weights" in mixbench(*train, "epochs=2").out
    forget_plugins()
    write(net, NET.replace("LAYERS", f"{layers}, Tanh()"))
    assert "is the same with" not in mixbench(*train, "epochs=3").out


def test_registering_needs_no_command_line() -> None:
    """In Python, as an import of the plugin does it: the option is there, and has a version."""

    @dataclasses.dataclass
    class Plain:
        """Constant.

        Source: this test.
        """

        name: str = "plain"
        factor: float = knob("factor", above=0)

    register("schedule", "plain", lambda progress, epochs, factor: factor, Plain,
             "defaults: [/schema/schedule/plain@_here_]\nfactor: 0.5\n")  # fmt: skip
    config = compose(["schedule=plain"])
    assert member("schedule", "plain")(0.0, 3, factor=config.schedule.factor) == 0.5
    assert list(plugins.versions()) == [__name__]


BUILT = '''
    from dataclasses import dataclass
    from mixbench.plugins import register
    from mixbench.schema.knob import knob
    from mixbench.schema.model import Model

    @dataclass
    class Own(BASE):
        """As ours.

        Source: this test.
        """

        name: str = "own"
        width: int = knob("neurons", default=3)

    def member(HEAD):
        BODY

    member.uses_model = member.uses_mean_image = False
    register("GROUP", "own", member, Own, "defaults: [/schema/GROUP/own@_here_]")
'''


def built(folder: Path, group: str, head: str, body: str) -> Path:
    """A plugin with one option of a group, behind which stands a function with this head and body."""
    text = BUILT.replace("GROUP", group).replace("HEAD", head).replace("BODY", body)
    return write(folder / "own.py", text.replace("BASE", "Model" if group == "model" else "object"))


LINEAR = "import torch.nn as n; return n.Sequential(n.Flatten(), n.Linear(64, num_classes))"


@pytest.mark.parametrize(
    ("head", "body", "words"),
    [
        (
            "channels, num_classes, depth",
            LINEAR,
            "missing a required argument: 'depth'; it takes (channels, num_c",
        ),
        (
            "channels, num_classes",
            LINEAR,
            "got an unexpected keyword argument 'width'; it takes (channels, num_c",
        ),
        ("width", LINEAR, "it takes (width)"),
        ("channels, num_classes, width", "pass", "gives None for (1, 10, width=3)."),
        ("*channels, **knobs", "return [1, 2]", "gives [1, 2] for (1, 10, width=3)."),
        ("*channels, **knobs", "import torch; return torch.nn.Linear", "gives a type for (1, 10, width=3)."),
        (
            "*channels, **knobs",
            "return {}['of theirs']",
            "fails for (1, 10, width=3): KeyError: 'of theirs' (",
        ),
    ],
)
def test_a_builder_that_does_not_do_what_it_should_is_one_message(
    mixbench: Callable, workplace: Path, head: str, body: str, words: str
) -> None:
    """Plugin, option, function, file and line, what was given, and what a model is; nothing of a traceback.

    Oracle: the call that a model is documented to get; digits have one channel and ten classes.
    """
    own = built(workplace, "model", head, body)
    done = mixbench("train", "model=own", "--plugin", str(own), *TINY)
    assert done.status == 2, done.err
    assert "mixbench train: plugin own.py: model=own: member " in done.err
    assert f"{own}, line {17}" in done.err
    assert "(1, 10, width=3)" in done.err
    assert words in done.err
    assert (
        "Expected for a model: member(channels, num_classes, and the knobs of its schema by name)" in done.err
    )
    assert "which gives a torch.nn.Module" in done.err
    assert "Traceback" not in done.err
    assert states() == ["failed"]


@pytest.mark.parametrize(
    ("group", "given", "expected"),
    [
        ("augment", "(10, width=3)", "which gives a callable that mixes a batch"),
        ("regularizer", "(width=3)", "which gives a callable that computes the losses"),
        ("schedule", "(0.0, 1, width=3)", "which gives a number"),
    ],
)
def test_members_of_other_groups_are_told_in_the_same_way(
    mixbench: Callable, workplace: Path, group: str, given: str, expected: str
) -> None:
    """One that raises, with the line where it does, and one that gives nothing. Oracle: the calls of mixbench.seams."""
    for body, words in (("raise KeyError(1)", "KeyError: 1 ({}, line 18)"), ("pass", "gives None for ")):
        own = built(workplace, group, "*arguments, **knobs", body)
        forget_plugins()
        done = mixbench("train", f"{group}=own", "--plugin", str(own), *TINY)
        assert done.status == 2, done.err
        for word in (f"plugin own.py: {group}=own: member ", words.format(own), given, expected):
            assert word in done.err
        assert "Traceback" not in done.err


def test_a_call_of_a_step_that_a_member_does_not_take_is_one_message(
    mixbench: Callable, workplace: Path
) -> None:
    """Here `choose` says what the host decides, and the call lacks `choice=`; told before the first step.

    Oracle: the calls that the loop makes, as mixbench.seams has them.
    """
    call = "lambda self, images, labels, lam=None, generator=None: (images, labels)"
    own = built(
        workplace,
        "augment",
        "*arguments, **knobs",
        f"return type('Mix', (), {{'choose': lambda self, images, generator: 1, '__call__': {call}}})()",
    )
    done = mixbench("train", "augment=own", "--plugin", str(own), *TINY)
    assert done.status == 2, done.err
    assert "Traceback" not in done.err
    assert (
        "gives a Mix, whose __call__ gets (images, labels, generator=, choice=): got an unexpected keyword argument"
        " 'choice'; it takes (images, labels, lam=None, generator=None). See mixbench/seams.py."
    ) in done.err


CHOOSE = {"choose": lambda self, images, generator: 1}
STEP = dict.fromkeys(("base", "scaler", "alike", "tensors", "state_dict", "load_state_dict"))


@pytest.mark.parametrize(
    ("group", "methods", "words"),
    [
        (
            "augment",
            {"__call__": lambda self, images, labels: 0},
            "__call__ gets (images, labels, generator=): ",
        ),
        (
            "augment",
            {
                "choose": lambda self, images: 1,
                "__call__": lambda self, images, labels, generator, choice: 0,
            },
            "choose gets (images, generator): too many positional arguments; it takes (images).",
        ),
        (
            "regularizer",
            {"__call__": lambda self, model, x, y: 0},
            "__call__ gets (model, x, y, images, labels, loss): too many positional arguments",
        ),
        ("opt", {**STEP, "step": lambda self: 0}, "step gets (losses): too many positional arguments"),
        (
            "opt",
            {**STEP, **CHOOSE, "step": lambda self, *parts: 0},
            "step gets (losses, choice=): got an unexpected keyword argument 'choice'; it takes (*parts).",
        ),
        ("augment", {"__call__": lambda self, images, labels, lam=None, generator=None: 0}, ""),
        ("augment", {**CHOOSE, "__call__": lambda self, *arguments, **more: 0}, ""),
        ("opt", {**STEP, **CHOOSE, "step": lambda self, *parts, choice=None: 0}, ""),
    ],
)
def test_calls_of_a_step_that_members_take_or_not(
    group: str, methods: dict[str, Callable], words: str
) -> None:
    """With `choose` the calls have `choice=` besides. Oracle: the calls that the loop makes; "": it is built."""

    @dataclasses.dataclass
    class Own:
        """As ours.

        Source: this test.
        """

        name: str = "own"

    def builder(**knobs: object) -> object:
        return type("Mine", (), methods)()

    builder.uses_model = builder.uses_mean_image = False
    register(group, "own", builder, Own, f"defaults: [/schema/{group}/own@_here_]\n")
    if words:
        with pytest.raises(ConfigError, match=re.escape(f"gives a Mine, whose {words}")):
            members.built(group, "own")
    else:
        assert type(members.built(group, "own")).__name__ == "Mine"


@pytest.mark.parametrize("method", ["problems(self)", "conflicts(self, run)"])
def test_a_schema_that_raises_is_one_message(mixbench: Callable, workplace: Path, method: str) -> None:
    """Its own checks are the plugin's code, too: plugin, error, file and line. Oracle: the line that raises."""
    own = built(workplace, "model", "*arguments, **knobs", "pass")
    lines = own.read_text().replace(
        "def member", f"    def {method}:\n        raise KeyError('of theirs')\n\ndef member", 1
    )
    own.write_text(lines)
    done = mixbench("train", "model=own", "--plugin", str(own), *TINY)
    assert done.status == 2
    line = 1 + lines.split("raise KeyError")[0].count("\n")
    assert done.err == (
        f"mixbench train: plugin own.py: a schema of its own fails: KeyError: 'of theirs' ({own}, line {line})\n"
    )


def test_a_short_name_that_cannot_be_formatted_is_one_message(mixbench: Callable, workplace: Path) -> None:
    """It is tried with the option file's values when the option is registered."""
    own = built(workplace, "model", "*arguments, **knobs", "pass")
    own.write_text(own.read_text().replace("name: str =", "short = '{0.widht}'\n    name: str ="))
    done = mixbench("methods", "--plugin", str(own))
    assert done.status == 2
    assert (
        "the short name '{0.widht}' of Own cannot be formatted: 'Own' object has no attribute 'widht'"
        in done.err
    )


def test_an_augment_without_its_attribute_is_one_message(
    mixbench: Callable, workplace: Path, tint: str
) -> None:
    """A function in the place of a class, say. Oracle: the attribute that mixbench.seams.Augment has."""
    text = "def Tint(num_classes, strength):\n    return lambda images, labels: (images, labels)\n"
    write(Path(tint).with_name("tint_mix.py"), text)
    done = mixbench("train", "augment=tint", "--plugin", tint, *TINY)
    assert done.status == 2
    assert "plugin tint.py: augment=tint: Tint " in done.err
    assert "lacks the attribute uses_model" in done.err


def test_a_script_may_register_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `python mine.py` runs is no module that its name finds; it has a checksum, with what lies beside."""
    text = "if __name__ == '__main__':\n        from mixbench.config import plugins\n        print(plugins.versions())"
    script = write(tmp_path / "mine.py", f"    import beside{TINT}    {text}")
    found = set()
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)  # commands that have run in this process set it
    for line in ("x = 1", "x = 2"):
        write(tmp_path / "beside.py", line)
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
        assert done.stdout.startswith("{'__main__': 'sha256:"), done.stderr
        found.add(done.stdout)
    assert len(found) == 2


OWN = """
    from dataclasses import dataclass
    from mixbench.plugins import register
    from mixbench.schema import opt, regularizer, schedule

    @dataclass
    class Rule(opt.SAM):
        '''As ours.'''

        name: str = "own_rule"

    @dataclass
    class Loss(regularizer.NoRegularizer):
        '''As ours.'''

        name: str = "own_loss"

    @dataclass
    class Pace(schedule.Step):
        '''As ours.'''

        name: str = "own_pace"

    def add(group, member, schema, **values):
        lines = [f"defaults: [/schema/{group}/{schema.name}@_here_]", *(f"{k}: {v}" for k, v in values.items())]
        register(group, schema.name, member, schema, "\\n".join(lines))

    add("opt", "mixbench.optim:SAM", Rule, rho=0.05, perturb="all", bn_stats="first", decay_in_ascent="false", lr=0.1,
        momentum=0.9, nesterov="false", weight_decay=5e-4)
    add("regularizer", "mixbench.regularize:NoRegularizer", Loss)
    add("schedule", "mixbench.schedule:step", Pace, milestones=[0.65, 0.85], factor=0.1, warmup_epochs=0,
        warmup_start=0.1)
"""


def test_rules_objectives_and_schedules_are_built_as_ours(mixbench: Callable, workplace: Path) -> None:
    """Oracle: the same members under our names; the weights are the same bits."""
    own = str(write(workplace / "own.py", OWN))
    chosen = ("opt=own_rule", "regularizer=own_loss", "schedule=own_pace", "--plugin", own)
    for extra in (("opt=sam",), chosen):
        done = mixbench("train", "augment=mixup", *extra, *TINY)
        assert done.status == 0, done.err
    ours, theirs = (load_file(path) for path in Path("outputs").rglob("model.safetensors"))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_what_stands_behind_two_dashes_is_no_plugin() -> None:
    """`mixbench bench ... -- METHOD`: methods are left alone."""
    argv = ["bench", "--plugin", "a.py", "x=1", "--plugin=b", "--", "--plugin", "c"]
    assert plugins.taken(argv) == (["bench", "x=1", "--", "--plugin", "c"], ["a.py", "b"])
