"""The options of own data: what is filled in, what names a run, and what a config may say of data that is gone."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from own_data import arrays, folder, npz
from whole_runs import only_run

from mixbench.config.compose import compose
from mixbench.config.identity import run_dir, run_id
from mixbench.config.saved import saved_config
from mixbench.errors import ConfigError
from mixbench.schema.own import Arrays, Folder


def run(*overrides: str):
    return compose(["batch_size=8", *overrides])


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("pets", "pets"),
        ("a/b/my pets.v2/", "my_pets.v2"),
        ("/data/Größen/", "Größen"),
        ("..", "folder"),
        ("", "folder"),
        ("x/cifar10", "cifar10-folder"),  # else its runs would lie among those of the published set
    ],
)
def test_a_folder_names_its_runs(path: str, label: str) -> None:
    assert Folder(path=path).label() == label


def test_an_npz_file_names_its_runs() -> None:
    assert Arrays(path="/x/scans 3.npz").label() == "scans_3"
    assert Arrays(path="digits.npz").label() == "digits-arrays"


def test_what_is_filled_in(workplace: Path) -> None:
    """The place becomes absolute and plays no part in the id; the content does."""
    folder(workplace / "a")
    npz(workplace / "b.npz", arrays())
    for option, path in (("folder", "a"), ("arrays", "b.npz")):
        config = run(f"dataset={option}", f"dataset.path={path}")
        assert config.dataset.path == str(workplace / path)
        assert len(config.dataset.content) == 64
        given = run(f"dataset={option}", f"dataset.path={path}", f"dataset.content={config.dataset.content}")
        assert run_dir(given) == run_dir(config)
        other = dataclasses.replace(config.dataset, path="elsewhere", stream=True, workers=3)
        assert run_id(dataclasses.replace(config, dataset=other)) == run_id(config)
        other = dataclasses.replace(config.dataset, content="0" * 64)
        assert run_id(dataclasses.replace(config, dataset=other)) != run_id(config)


def test_the_config_of_a_run_is_read_where_its_data_are_gone(mixbench, workplace: Path) -> None:
    """As long as nothing is trained: the content that it names is known. Other data at its place are refused."""
    root = folder(workplace / "set")
    overrides = ("dataset=folder", f"dataset.path={root}", "batch_size=8", "epochs=1", "progress=false")
    assert mixbench("train", *overrides).status == 0
    saved = only_run(workplace / "outputs") / "config.yaml"
    before = saved_config(saved)
    assert run_id(before) == saved.parent.name
    (root / "train/ant/00.png").unlink()
    with pytest.raises(
        ConfigError, match=rf"content={before.dataset.content}: is another set than the one in {root}"
    ):
        saved_config(saved)
    shutil.rmtree(root)
    assert saved_config(saved) == before
    done = mixbench("train", *overrides, f"dataset.content={before.dataset.content}", "seed=1")
    assert done.status == 2
    assert f"dataset.path={root}: no such folder" in done.err
