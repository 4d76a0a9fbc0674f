"""Every command that README and docs show is one that mixbench takes."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra._internal.utils import get_args_parser

from mixbench.commands.train import _own_options
from mixbench.config import plugins
from mixbench.config.compose import compose
from mixbench.config.identity import run_id
from mixbench.config.overrides import canonical, expand, of_hydra
from mixbench.papers.library import file_of, load
from mixbench.schema.train import Train

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PLACEHOLDER = re.compile(r"\b[A-Z]{2,}\b|\[|\.\.\.")  # RUN, KEY, FOLDER: the reader's own
# What a reader has who follows a page that speaks of data of their own.
OWN = ("dataset.path=", "--from", "init_from=", "--config-dir")


def commands(page: Path) -> Iterator[list[str]]:
    """The words behind `mixbench` of each line of code, without its comment; a \\ at the end joins lines."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"^    mixbench ([a-z]+ .*|[a-z]+)$", text, re.MULTILINE):
        yield shlex.split(line, comments=True)


FOUND = [(page.relative_to(ROOT), words) for page in PAGES for words in commands(page)]


def test_there_are_commands() -> None:
    """README shows all that a newcomer needs: so many commands, of so many kinds."""
    own = [words for page, words in FOUND if page.name == "README.md"]
    assert {"train", "eval", "export", "runs", "report", "retry", "tune", "tables", "table"} <= {
        w[0] for w in own
    }
    assert len(FOUND) > 60


@pytest.mark.parametrize(
    "words", [words for _, words in FOUND if words[0] == "train"], ids=lambda words: " ".join(words)
)
def test_a_training_composes(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the composer. All keys, options and values of the first of its runs are allowed."""
    monkeypatch.chdir(ROOT)
    if any(word.startswith(OWN) for word in words) or any(map(PLACEHOLDER.search, words)):
        pytest.skip("names data or runs of the reader's own")
    rest, named = plugins.taken(words[1:])
    _, rest = _own_options(rest)
    overrides = canonical(get_args_parser().parse_intermixed_args(rest).overrides)
    if "-sc" in rest:
        pytest.skip("asks for completion")
    with plugins.named(named):
        config = compose([override for override in expand(overrides)[0] if not of_hydra(override)])
    assert isinstance(config, Train)


@pytest.mark.parametrize(
    "words",
    [words for _, words in FOUND if words[0] not in ("train", "data", "methods", "tables", "bench")],
    ids=lambda words: " ".join(words),
)
def test_a_command_takes_its_words(words: list[str]) -> None:
    """Oracle: the command's own parser, and the files of the specs that are named."""
    parser: argparse.ArgumentParser = importlib.import_module(f"mixbench.commands.{words[0]}").parser()
    parser.parse_intermixed_args(plugins.taken(words[1:])[0])
    for word in words[1:]:
        if re.fullmatch(r"[a-z]+20\d\d/\w+", word):
            assert file_of(word).is_file(), word


def test_the_tutorials_table_is_one(tmp_path: Path) -> None:
    """Oracle: the reader of tables. The file that the tutorial shows has the runs of the sweep before it."""
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    spec = tmp_path / "digits.yaml"
    spec.write_text(page.partition("```yaml\n")[2].partition("```")[0])
    sweep = next(words for words in commands(ROOT / "docs" / "tutorial.md") if "-m" in words)
    swept = expand([word for word in sweep[1:] if "=" in word])
    assert {run_id(compose(cell.overrides)) for cell in load(str(spec)).cells()} == {
        run_id(compose(cell)) for cell in swept
    }
