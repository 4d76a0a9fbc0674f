"""`dataset=imagenet` and `dataset=imagenet100`: what is taken of a folder, and what is said where it is less."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from own_data import image, save
from whole_runs import result

from mixbench.config.compose import compose
from mixbench.config.identity import run_id
from mixbench.data.own import load_imagenet
from mixbench.errors import ConfigError, DataError
from mixbench.schema.imagenet import CMC, ImageNet

OTHERS = ("n00000001", "n99999999")
HOW = {
    "base_augment": True,
    "crop_padding": 0,
    "flip": True,
    "size": 16,
    "resize": 18,
    "crop_area": [0.3, 1.0],
}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three training pictures and one for validation of 102 classes, the hundred of the list among them."""
    root, random = tmp_path_factory.mktemp("photographs") / "imagenet", np.random.default_rng(0)
    for label, name in enumerate((*CMC, *OTHERS)):
        for part, count in (("train", 3), ("val", 1)):
            for i in range(count):
                shape = (*random.integers(18, 30, 2), 3)
                save(root / part / name / f"{name}_{i}.JPEG", image(random, label % 3, shape))
    return root


def test_a_hundred_classes_of_a_folder_of_more(photographs: Path, tmp_path: Path) -> None:
    """Oracle: the list, in alphabetical order; three and one pictures of each class, which is said to be few."""
    splits = load_imagenet(ImageNet(name="imagenet100", path=str(photographs), **HOW), tmp_path)
    assert splits.spec.classes == tuple(sorted(CMC)) == CMC
    assert splits.train.labels.tolist() == [k for k in range(100) for _ in range(3)]
    assert splits.test.labels.tolist() == list(range(100))
    assert [splits.train.inputs.files[0], splits.test.inputs.files[-1]] == [
        f"train/{CMC[0]}/{CMC[0]}_0.JPEG",
        f"val/{CMC[-1]}/{CMC[-1]}_0.JPEG",
    ]
    assert splits.note == (
        "not the whole set: a class of ImageNet has 732 to 1300 training pictures and 50 for validation, here"
        f" {', '.join(f'train/{name} 3' for name in CMC[:5])} and 195 more"
    )


def test_another_hundred_is_another_run(photographs: Path, tmp_path: Path) -> None:
    others = [*CMC[2:], *OTHERS]
    splits = load_imagenet(ImageNet(name="imagenet100", path=str(photographs), wnids=others, **HOW), tmp_path)
    assert splits.spec.classes == tuple(sorted(others))
    run = ("dataset=imagenet100", f"dataset.path={photographs}", "batch_size=8")
    ids = [run_id(compose([*run, *more])) for more in ([], [f"dataset.wnids=[{','.join(others)}]"])]
    assert ids[0] != ids[1]


def test_where_it_lies_is_no_part_of_the_run(photographs: Path, tmp_path: Path) -> None:
    """Also where it is not on this machine: a table's cells are found by their ids."""
    ids = [
        run_id(compose(["dataset=imagenet100", "batch_size=8", f"dataset.path={path}"]))
        for path in (photographs, tmp_path / "nowhere")
    ]
    assert ids[0] == ids[1]


def test_what_is_not_the_set_is_refused(photographs: Path, tmp_path: Path) -> None:
    def refused(error: type[Exception], message: str, name: str = "imagenet100", **knobs) -> None:
        with pytest.raises(error, match=message):
            load_imagenet(ImageNet(name=name, **({"path": str(photographs)} | HOW | knobs)), tmp_path)

    refused(ConfigError, "has 102 of the 1000 classes of imagenet", "imagenet")
    refused(
        ConfigError,
        "has 99 of the 100 classes of imagenet100: n12345678 missing",
        wnids=[*CMC[1:], "n12345678"],
    )
    refused(
        DataError,
        r"imagenet100: not in .*/nowhere; dataset\.path=DIR, with DIR/train/WNID",
        path=str(tmp_path / "nowhere"),
    )
    copy = shutil.copytree(photographs, tmp_path / "copy")
    bad = copy / "train" / CMC[7] / f"{CMC[7]}_1.JPEG"
    bad.write_bytes(bad.read_bytes()[:20])
    refused(DataError, f"1 picture cannot be read:\n  train/{CMC[7]}/{CMC[7]}_1.JPEG", path=str(copy))


MISTAKES = {
    "dataset.crop_area=[0.5]": "is the least and the largest share",
    "dataset.crop_area=[0.5,0.2]": "is the least and the largest share",
    "dataset.crop_area=[0,1]": "must be > 0 and <= 1",
    "dataset.crop_padding=4": "is instead of the crop with padding",
    "dataset.stream=false": "is cut anew for every batch",
    "dataset.resize=200": "must be at least dataset.size, which is 224",
    "dataset.wnids=[n01440764]": "has 1 different WordNet ids; imagenet100 has 100",
}


@pytest.mark.parametrize("override", MISTAKES)
def test_mistakes_are_named(override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(["dataset=imagenet100", "batch_size=8", override])
    assert MISTAKES[override] in str(caught.value)


def test_a_run(mixbench, workplace: Path, photographs: Path) -> None:
    """From the command line to the record, which says that it is not the whole set."""
    (workplace / "data").mkdir()
    (workplace / "data" / "imagenet").symlink_to(photographs)
    run = ("dataset=imagenet100", "dataset.size=16", "dataset.resize=18", "model=small_cnn", "data_dir=data")
    done = mixbench("train", *run, "epochs=1", "batch_size=50", "dataset.workers=2", "progress=false")
    assert done.status == 0, done.err
    assert "random crops of 8% to 100% of a picture and flip" in done.out
    assert "read for every batch by 2 processes: dataset.crop_area" in done.out
    assert "note     not the whole set" in done.out
    assert len(result(workplace / "outputs")[1]) == 1
