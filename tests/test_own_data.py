"""`dataset=folder` and `dataset=arrays` from the command line to the record, streamed or not, stopped or not."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from own_data import CLASSES, arrays, folder, image, npz, save
from PIL import Image
from whole_runs import assert_same, forked, only_run, result, state

from mixbench.engine.loop import Loop
from mixbench.record.read import read_summary
from mixbench.record.write import OpenRecord

METHOD = (
    "model=small_cnn",
    "augment=gmix",
    "opt=sam",
    "batch_size=8",
    "progress=false",
    "train_mixed_every=1",
)


def test_a_folder_of_pictures_of_another_shape(mixbench, workplace: Path) -> None:
    """The first lines say what was found; the id is the same for a copy elsewhere, another after one pixel changed."""
    folder(workplace / "my pets", shape=(20, 12, 3))
    shutil.copytree(workplace / "my pets", workplace / "copy" / "pets")
    shutil.copytree(workplace / "my pets", workplace / "changed")
    path = workplace / "changed/train/ant/00.png"
    pixels = np.array(Image.open(path))
    pixels[0, 0, 0] ^= 1
    save(path, pixels)
    ids = []
    for place, label in (("my pets", "my_pets"), (f"{workplace}/copy/pets", "pets"), ("changed", "changed")):
        run = (*METHOD, "epochs=1", "dataset=folder", f"dataset.path={place}", "augment.alpha=0.5")
        done = mixbench("train", *run)
        assert done.status == 0, done.err
        directory = only_run(workplace / "outputs" / label)
        assert directory.parts[-4:-1] == (label, "small_cnn", "gmix-sam")
        summary = read_summary(directory)
        assert summary is not None
        assert summary["dataset"] == label
        ids.append(summary["id"])
        assert (
            f"{label}: 24 training, 12 test images 20x12x3, 3 classes; crop with padding 4 and flip"
            in done.out
        )
        assert "of a class to train on: ant 8, bee 8, cat 8" in done.out
        assert re.search(
            r"mean 0\.\d+ 0\.\d+ 0\.\d+, standard deviation 0\.\d+ 0\.\d+ 0\.\d+ \(of the train", done.out
        )
        assert mixbench("train", *run).out.startswith("finished")
    assert ids[0] == ids[1] != ids[2]


def test_an_npz_file_of_another_shape(mixbench, workplace: Path) -> None:
    npz(workplace / "spectra.npz", arrays(shape=(40, 24, 1)) | {"classes": np.array(["up", "down", "flat"])})
    done = mixbench("train", *METHOD, "epochs=1", "dataset=arrays", "dataset.path=spectra.npz")
    assert done.status == 0, done.err
    assert "spectra: 24 training, 12 test images 40x24x1, 3 classes; no base augmentation" in done.out
    assert "of a class to train on: up 8, down 8, flat 8" in done.out
    result(workplace / "outputs/spectra")


def test_a_folder_and_an_npz_file_of_the_same_pictures_train_alike(mixbench, workplace: Path) -> None:
    """Oracle: dataset=arrays with what Pillow reads; rows and weights bit for bit."""
    root = folder(workplace / "set")
    made = {}
    for part in ("train", "test"):
        paths = sorted((root / part).glob("*/*.png"))
        made[f"{part}_images"] = np.stack([np.asarray(Image.open(path)) for path in paths])
        made[f"{part}_labels"] = np.array([path.parent.name for path in paths])
    npz(workplace / "set.npz", made)
    augment = ("dataset.crop_padding=1", "dataset.flip=true", "epochs=2", "dataset.val_size=3")
    for kind, path in (("folder", root), ("arrays", workplace / "set.npz")):
        run = mixbench(
            "train", *METHOD, *augment, f"dataset={kind}", f"dataset.path={path}", f"output_dir={kind}"
        )
        assert run.status == 0, run.err
    assert_same(result(workplace / "folder"), result(workplace / "arrays"))


MESSAGES = {
    "no path": ("dataset=folder", r"dataset\.path: is not given; dataset=folder reads DIR/train/CLASS"),
    "no test part": (
        "dataset=folder dataset.path=train_only",
        r"no test part\. dataset\.test_share=0\.2 holds",
    ),
    "another run": (
        "dataset=folder dataset.path=set dataset.content=abc",
        r"dataset\.content=abc: is another set than the one in .*/set, whose content is [0-9a-f]{64}, and",
    ),
    "batch": (
        "dataset=folder dataset.path=set batch_size=100",
        "batch_size=100: larger than the 24 training examples of set",
    ),
    "model": (
        "dataset=folder dataset.path=set model=resnet18 model.stem_stride=2",
        "model=resnet18: needs images of at least",
    ),
    "channels": (
        "dataset=folder dataset.path=set dataset.mean=[0.5] dataset.std=[0.5]",
        r"dataset\.mean=\[0\.5\]: folder has 3 channels",
    ),
    "share": (
        "dataset=arrays dataset.path=set.npz dataset.test_share=1.5",
        r"dataset\.test_share=1\.5: must be > 0 and < 1",
    ),
    "picture": (
        "dataset=folder dataset.path=bad",
        r"1 picture cannot be read:\n  train/ant/00\.png: is empty",
    ),
    "pickle": ("dataset=arrays dataset.path=objects.npz", "train_labels holds Python objects"),
    "nan": ("dataset=arrays dataset.path=nan.npz", r"train_images\[0\] is not finite"),
}


@pytest.fixture(scope="module")
def mistakes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("mistakes")
    for name in ("set", "train_only", "bad"):
        folder(place / name)
    shutil.rmtree(place / "train_only/test")
    (place / "bad/train/ant/00.png").write_bytes(b"")
    made = arrays()
    npz(place / "set.npz", made)
    npz(place / "objects.npz", made | {"train_labels": made["train_labels"].astype(object)})
    floats = {k: v.astype(float) if v.ndim == 4 else v for k, v in made.items()}
    floats["train_images"][0] = np.nan
    npz(place / "nan.npz", floats)
    return place


@pytest.mark.parametrize("case", MESSAGES)
def test_mistakes_are_one_message_with_status_2(mixbench, mistakes: Path, monkeypatch, case: str) -> None:
    monkeypatch.chdir(mistakes)
    overrides, message = MESSAGES[case]
    done = mixbench("train", "batch_size=8", *overrides.split())
    assert done.status == 2
    assert re.search(message, done.err), done.err
    assert "Traceback" not in done.err


def test_a_sweep_looks_at_the_pictures_once(mixbench, workplace: Path, monkeypatch) -> None:
    from mixbench.inventory import folder as module

    root, looks = folder(workplace / "set"), []
    looked = module._looked
    monkeypatch.setattr(module, "_looked", lambda *arguments: looks.append(1) or looked(*arguments))
    swept = ("dataset=folder", f"dataset.path={root}", "batch_size=8", "seed=range(20)", "opt.lr=0.1,0.2")
    done = mixbench("train", "-m", "--dry-run", *swept)
    assert done.status == 0, done.err
    assert "40 runs, 40 different" in done.out
    assert len(looks) == 1


# --- streamed -----------------------------------------------------------------------------------

STREAMED = ("dataset=folder", "dataset.stream=true", "epochs=3", *METHOD)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of many sizes in several formats."""
    place, random = tmp_path_factory.mktemp("pictures") / "set", np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 3)):
        for label, name in enumerate(CLASSES):
            for i in range(count):
                shape = (*random.integers(9, 30, 2), 3)
                save(
                    place / part / name / f"{i}.{('png', 'jpg', 'webp')[i % 3]}", image(random, label, shape)
                )
    return place


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, pictures: Path, data_dir: Path) -> tuple:
    """Weights and rows of the run that keeps its pictures on the device."""
    place = tmp_path_factory.mktemp("whole")
    run = (*STREAMED, *places(pictures, place, data_dir), "dataset.stream=false")
    process = forked(place / "printed", run=run)
    process.join()
    assert process.exitcode == 0, (place / "printed").read_text()
    return result(place)


def places(pictures: Path, output: Path, data_dir: Path) -> tuple[str, ...]:
    return f"dataset.path={pictures}", "dataset.size=9", f"output_dir={output}", f"data_dir={data_dir}"


@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_is_the_same_run(mixbench, workplace, pictures, whole, data_dir, workers: int) -> None:
    """Oracle: the resident set; the weights and all rows, bit for bit, and the same id."""
    run = (*STREAMED, *places(pictures, workplace / "out", data_dir), f"dataset.workers={workers}")
    done = mixbench("train", *run)
    assert done.status == 0, done.err
    who = {0: "this process", 2: "2 processes"}[workers]
    assert f"read for every batch by {who}: dataset.stream=true" in done.out
    assert_same(result(workplace / "out"), whole)


class Killed(BaseException):
    """Stands for a kill."""


CROPPED = ("dataset.crop_area=[0.3,0.9]", "dataset.crop_padding=0", "dataset.resize=11")


@pytest.mark.parametrize("how", [(), CROPPED], ids=["padded", "cropped"])
def test_streamed_goes_on_from_the_middle_of_an_epoch(
    mixbench, workplace, pictures, whole, data_dir, monkeypatch, how: tuple[str, ...]
) -> None:
    """Oracle: the run that was never stopped, resident, or with random crops by this process alone. One with a reader
    is killed in the steps 3, 8 and 13, each epoch has 4.
    """
    if how:
        alone = (*STREAMED, *how, *places(pictures, workplace / "alone", data_dir), "dataset.workers=0")
        done = mixbench("train", *alone)
        assert "random crops of 30% to 90% of a picture and flip" in done.out
        whole = result(workplace / "alone")
    run = (
        *STREAMED,
        *how,
        *places(pictures, workplace / "out", data_dir),
        "dataset.workers=1",
        "checkpoint_seconds=1e-9",
    )
    step, count = Loop._step, [0]

    def counted(*arguments):
        count[0] += 1
        if count[0] in (3, 8, 13):
            raise Killed
        return step(*arguments)

    monkeypatch.setattr(Loop, "_step", counted)
    monkeypatch.setattr(OpenRecord, "write_summary", lambda *_: None)
    for _ in range(3):
        with pytest.raises(Killed):
            mixbench("train", *run)
        assert not readers(psutil.Process().pid)
    monkeypatch.undo()
    assert mixbench("train", *run).status == 0
    assert_same(result(workplace / "out"), whole)


def readers(pid: int) -> list[psutil.Process]:
    """The processes below one that read pictures for it: torch names them."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        try:
            if process.name() == "pt_data_worker" and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def begun(tmp_path: Path, pictures: Path, data_dir: Path):
    """A streamed run with two readers that would take minutes, in the middle of it."""
    run = (
        *STREAMED,
        *places(pictures, tmp_path, data_dir),
        "dataset.workers=2",
        "epochs=100000",
        "checkpoint_seconds=3600",
    )
    process = forked(tmp_path / "printed", run=run)
    deadline = time.monotonic() + 60
    while not (list(tmp_path.rglob("epochs.csv")) and (found := readers(process.pid))):
        assert process.is_alive(), (tmp_path / "printed").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process, found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_all_processes_of_a_run_saves_it_and_leaves_nobody(
    tmp_path: Path, pictures: Path, data_dir: Path, number: signal.Signals
) -> None:
    """As Ctrl-C and batch systems send it: to the readers as well, which must not fail the run that is stopping."""
    process, found = begun(tmp_path, pictures, data_dir)
    for reader in found:
        reader.send_signal(number)
    os.kill(process.pid, number)
    process.join(60)
    printed = (tmp_path / "printed").read_text()
    assert process.exitcode == 128 + number, printed
    assert "Traceback" not in printed
    assert state(tmp_path) == "interrupted"
    assert (only_run(tmp_path) / "last.pt").exists()
    _, alive = psutil.wait_procs(found, timeout=10)
    assert not alive


def test_a_reader_that_is_killed_fails_the_run_in_words(
    tmp_path: Path, pictures: Path, data_dir: Path
) -> None:
    """As the system does it when memory is used up."""
    process, found = begun(tmp_path, pictures, data_dir)
    found[0].kill()
    process.join(60)
    printed = (tmp_path / "printed").read_text()
    assert process.exitcode == 1, printed
    assert re.search(
        r"a process that reads ahead was killed \(DataLoader worker .*\)\.\nTry a smaller dataset\.w", printed
    )
    assert "Traceback" not in printed
    assert state(tmp_path) == "failed"


def test_readers_die_with_a_run_that_is_killed(tmp_path: Path, pictures: Path, data_dir: Path) -> None:
    process, found = begun(tmp_path, pictures, data_dir)
    process.kill()
    process.join()
    _, alive = psutil.wait_procs(found, timeout=10)
    assert not alive
