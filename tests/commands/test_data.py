"""`mixbench data`, and the dataset options of the config."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import official_archives as archives
import pytest
from omegaconf import OmegaConf

from mixbench.config.compose import compose
from mixbench.data.store import download
from mixbench.errors import ConfigError
from mixbench.schema.graphs import GRAPHS
from mixbench.schema.published import PUBLISHED
from mixbench.schema.specs import SPECS

CONF = Path(__file__).parents[2] / "conf/dataset"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with an imported, partial KMNIST."""
    np.savez(tmp_path / "mine.npz", **archives.random_arrays(SPECS["kmnist"]))
    return tmp_path / "data"


def test_sets_of_graphs(mixbench: Callable, tmp_path: Path) -> None:
    """By definition: listed with graphs and folds, not downloaded, the command that helps, a wrong name told."""
    root = ("--data-dir", str(tmp_path))
    rows = mixbench("data", *root).out.splitlines()
    first = {row.split()[0]: row.split() for row in rows if row and row.split()[0] in GRAPHS}
    assert first["mutag"][1:5] == ["missing", "2", "188", "10"]
    assert "`mixbench data import mutag PATH`" in "\n".join(rows)
    done = mixbench("data", "prepare", "mutag", *root)
    assert done.status == 2
    assert "mixbench data import mutag PATH" in done.err
    done = mixbench("data", "import", "mutagg", str(tmp_path), *root)
    assert (done.status, "Did you mean 'mutag'?" in done.err) == (2, True)
    done = mixbench("data", "import", "mutag", str(tmp_path), *root)
    assert (done.status, "no MUTAG.txt in it" in done.err) == (2, True)
    assert mixbench("data", "verify", "mutag", *root).status == 2


def test_import_list_verify(mixbench: Callable, folder: Path, tmp_path: Path) -> None:
    done = mixbench("data", "import", "kmnist", str(tmp_path / "mine.npz"), "--data-dir", str(folder))
    assert done.status == 0
    assert f"kmnist: partial, 30 train and 20 test images in {folder / 'kmnist'}" in done.out

    rows = mixbench("data", "--data-dir", str(folder)).out.splitlines()
    assert str(folder) in rows[0]
    first = {row.split()[0]: row for row in rows if row and row.split()[0] in SPECS}
    assert list(first) == list(SPECS)
    assert first["digits"].split()[1:6] == ["embedded", "10", "1438", "359", "8x8x1"]
    assert first["kmnist"].split()[1] == "partial"
    assert "30 of 60000 train" in rows[rows.index(first["kmnist"]) + 1]
    assert first["svhn"].split()[1] == "missing"
    assert "246 MB to download" in rows[rows.index(first["svhn"]) + 1]

    done = mixbench("data", "verify", "--data-dir", str(folder))
    assert (done.status, done.out) == (
        0,
        "kmnist: partial, as written; 0 of 0 published checksums met\n",
    )


def test_damage_is_listed_and_verified(mixbench: Callable, folder: Path, tmp_path: Path) -> None:
    """A truncated file shows in the list; a changed one in `verify`, with exit status 2. Other sets go on."""
    mixbench("data", "import", "kmnist", str(tmp_path / "mine.npz"), "--data-dir", str(folder))
    mixbench("data", "prepare", "digits", "--data-dir", str(folder))
    path = folder / "kmnist/train_labels.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\1")
    done = mixbench("data", "verify", "--data-dir", str(folder))
    assert done.status == 2
    assert f"{path}: SHA-256" in done.err
    assert "digits: complete, as written; 4 of 4 published checksums met" in done.out
    path.write_bytes(content[:-1])
    rows = mixbench("data", "list", "--data-dir", str(folder)).out.splitlines()
    assert [row.split()[1] for row in rows if row.startswith("kmnist")] == ["damaged"]
    assert "train_labels.npy" in " ".join(rows)


def test_second_import_needs_replace(mixbench: Callable, folder: Path, tmp_path: Path) -> None:
    command = ("data", "import", "kmnist", str(tmp_path / "mine.npz"), "--data-dir", str(folder))
    mixbench(*command)
    other = archives.random_arrays(SPECS["kmnist"], seed=5)
    np.savez(tmp_path / "mine.npz", **other)
    stored = folder / "kmnist/train_images.npy"
    before = stored.read_bytes()
    done = mixbench(*command)
    assert done.status == 0
    assert "already there (partial)" in done.out
    assert stored.read_bytes() == before
    assert mixbench(*command, "--replace").status == 0
    np.testing.assert_array_equal(np.load(stored), other["train_images"])


def test_mirror_is_used_first(mixbench: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSES", (0.0,))
    done = mixbench("data", "prepare", "svhn", "--mirror", "http://127.0.0.1:9", "--data-dir", str(folder))
    assert done.status == 2
    assert "http://127.0.0.1:9/train_32x32.mat: [Errno 111] Connection refused" in done.err


def test_path(mixbench: Callable, data_dir: Path) -> None:
    assert mixbench("data", "path").out == f"{data_dir}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("prepar", "digits"), "no command 'prepar'. Did you mean 'prepare'?"),
        (("prepare", "cifar1000"), "unknown data set 'cifar1000'"),
        (("verify", "svnh"), "Did you mean 'svhn'?"),
        (("verify", "stl10"), "stl10 is not prepared"),
        (("import", "kmnist", "/nowhere"), "/nowhere: expected an .npz file"),
        (("import", "kmnist"), "PATH"),
        (("prepare", "digits", "--data-dir", "/dev/null"), "/dev/null"),
    ],
)
def test_mistakes_end_with_status_2(mixbench: Callable, arguments: tuple[str, ...], message: str) -> None:
    done = mixbench("data", *arguments)
    assert done.status == 2
    assert message in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("arguments", [[], ["list"], ["prepare"], ["import"], ["verify"], ["path"]])
def test_every_command_has_help(mixbench: Callable, arguments: list[str]) -> None:
    done = mixbench("data", *arguments, "--help")
    assert done.status == 0
    assert done.out.startswith("usage: mixbench data")


def test_listing_imports_neither_torch_nor_scikit_learn(folder: Path) -> None:
    """Oracle: sys.modules of a fresh process."""
    code = (
        "import sys; from mixbench.commands.data import main; main([])\n"
        "assert not {'torch', 'torchvision', 'sklearn', 'scipy', 'PIL'} & set(sys.modules)"
    )
    environment = os.environ | {"MIXBENCH_DATA": str(folder)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_set_has_an_option() -> None:
    """The prepared sets, the imported graphs, what is read where it lies, and the options for data of one's own."""
    read_there = {"imagenet", "imagenet100", "speech_commands"}
    own = {"arrays", "folder", "shards"}
    assert {p.stem for p in CONF.glob("*.yaml")} == {*PUBLISHED, *GRAPHS, *read_there, *own}


@pytest.mark.parametrize("name", list(SPECS))
def test_options_fit_their_set(name: str) -> None:
    """The composed, checked config: name as the file's, one mean and deviation per channel, a crop that fits."""
    dataset = compose([f"dataset={name}"]).dataset
    spec = SPECS[name]
    assert dataset.name == name
    assert len(dataset.mean) == len(dataset.std) == spec.shape[2]
    assert dataset.base_augment is True
    assert 0 < dataset.crop_padding <= spec.shape[0] // 8
    assert dataset.flip is (name in ("cifar10", "cifar100", "stl10", "tiny_imagenet"))
    assert (dataset.train_size, dataset.test_size, dataset.val_size) == (None, None, None)
    assert OmegaConf.load(CONF / f"{name}.yaml").name == name


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dataset.mean=[0.5,0.5]", r"dataset\.mean=\[0\.5, 0\.5\]: digits has 1 channels"),
        ("dataset.std=[0]", r"dataset\.std=0(\.0)?: must be > 0"),
        ("dataset.crop_padding=-1", r"dataset\.crop_padding=-1: must be >= 0"),
        ("dataset.val_size=0", r"dataset\.val_size=0: must be >= 1"),
    ],
)
def test_bad_values_are_named(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose([override])
