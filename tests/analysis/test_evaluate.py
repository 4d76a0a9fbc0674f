"""Evaluations that are kept: when one is made again, what it can be made on, and what cannot be evaluated."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from run_records import opened as opened_record

from mixbench import load_run
from mixbench.analysis import measure, stored
from mixbench.analysis.evaluate import evaluations
from mixbench.analysis.evaluators import changed
from mixbench.analysis.source import source
from mixbench.config.identity import run_dir
from mixbench.errors import ConfigError, DataError, MixbenchError
from mixbench.files import write_json
from mixbench.inventory import arithmetic
from mixbench.record import checksum
from mixbench.record.run import SavedRun
from mixbench.training.export import export
from mixbench.training.weights import packed

ACCURACY = ["accuracy"]


def new(directory: Path, on: str = "test") -> list[str]:
    """Which of `accuracy` is measured now, and not only read."""
    return evaluations(directory, ACCURACY, source(on))[1]


def test_a_second_call_reads(finished: Path) -> None:
    """Oracle: sys.modules of a fresh process, which has no torch and prints what the first one measured."""
    (first,), made = evaluations(finished)[0][:1], evaluations(finished, ["confusion"])[1]
    assert made == []
    code = "\n".join(
        [
            "import json, sys; from pathlib import Path; from mixbench.analysis.evaluate import evaluations",
            "found, new = evaluations(Path(sys.argv[1]))",
            "print(json.dumps([found[0], new, 'torch' in sys.modules, len(found)]))",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code, finished], capture_output=True, text=True)
    assert json.loads(done.stdout) == [first, [], False, 5], done.stderr
    assert {path.stem for path in (finished / "evaluations").iterdir()} == {
        "accuracy", "per_class", "confusion", "calibration", "deformations",
    }  # fmt: skip


def test_another_precision_is_measured_when_it_is_asked_for(finished: Path, tmp_path: Path) -> None:
    """Oracle: the network by hand under autocast; what there is in another precision is taken where none is named."""
    run = load_run(shutil.copytree(finished, tmp_path / "run"))
    shutil.rmtree(run.directory / "evaluations", ignore_errors=True)
    examples = run.examples(run.splits().test)
    ((images, labels),) = examples.eval_batches(1000)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = run.model()(images).float()
    loss = torch.nn.functional.cross_entropy(logits, labels).item()
    for precision, expected, measured in (("bf16", "bf16", 1), (None, "bf16", 0), ("float32", "float32", 1)):
        ((found,), new) = evaluations(run.directory, ACCURACY, precision=precision)
        assert (found["device"]["precision"], len(new)) == (expected, measured)
        assert (found["result"]["loss"] == pytest.approx(loss, rel=1e-6)) == (expected == "bf16")


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("fast", ["float32", "bf16"])
def test_a_processor_that_is_slow_in_the_precision_of_training_says_so(
    finished: Path,
    precision: str,
    fast: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By hand: bf16 without its instructions; one line, only where nothing else was asked for."""
    monkeypatch.setattr(arithmetic, "precision", lambda device: (fast, "it is so"))
    network = load_run(finished).network(precision=precision)
    words = "was trained in bf16, which this processor computes slowly"
    said = f"{words}; mixbench eval --precision float32 is faster"
    assert measure._slow(network) == (said if (precision, fast) == ("bf16", "float32") else "")


def test_what_is_kept(finished: Path) -> None:
    """By hand: everything that says what was measured, on what, and by what."""
    (found,), _ = evaluations(finished, ACCURACY)
    run = SavedRun(finished)
    assert found["weights"] == run.summary["files"]["model.safetensors"]
    assert found["data"] == {"dataset": "digits", "part": "test", "examples": 100, "note": ""}
    assert found["device"]["precision"] == "float32"
    assert found["versions"]["torch"] == run.environment["packages"]["torch"]
    assert json.loads((finished / "evaluations" / "accuracy.json").read_text()).items() > found.items()
    assert stored.numbers(run) == {f"accuracy/{key}": found["result"][key] for key in ("acc", "top5", "loss")}


def test_other_weights_are_measured_again(finished: Path) -> None:
    """Limiting case: one weight that is another number. Until then nothing is measured twice."""
    assert new(finished) == ACCURACY
    assert new(finished) == []
    run = load_run(finished)
    model = run.model()
    model[0][0].weight.data[0] += 1
    (finished / "model.safetensors").write_bytes(packed(model, run.description))
    with opened_record(finished) as record:
        record.write_summary(run.summary)
    assert stored.numbers(SavedRun(finished)) == {}
    assert new(finished) == ACCURACY
    assert len(stored.numbers(SavedRun(finished))) == 3


def test_other_options_are_another_evaluation(finished: Path) -> None:
    """Limiting case: the same options are read, others measured and kept apart; tables show the defaults alone."""
    first, again, fewer = (changed([f"calibration.bins={bins}"]) for bins in (15, 15, 4))
    for options, name in ((first, ["calibration"]), (again, []), (fewer, ["calibration"]), (fewer, [])):
        (found,), made = evaluations(finished, ["calibration"], options=options)
        assert made == name
        assert found["options"] == options["calibration"]
    kept = {p.name: json.loads(p.read_text()) for p in (finished / "evaluations").glob("calibration*")}
    assert len(kept) == 2
    default = kept.pop("calibration.json")["result"]
    assert stored.numbers(SavedRun(finished))["calibration/ece"] == default["ece"]
    (other,) = kept.values()
    assert other["result"]["equal_count"] != default["equal_count"]
    path = stored.place(finished, "calibration", fewer["calibration"], "test")
    path.replace(finished / "evaluations" / "calibration.json")  # in the place of the default
    assert "calibration/ece" not in stored.numbers(SavedRun(finished))


def test_a_file_from_before_there_were_options(finished: Path) -> None:
    """Oracle: the same file without the key, with its checksum: it is read."""
    new(finished)
    path = finished / "evaluations" / "accuracy.json"
    content = json.loads(path.read_text())
    for key in ("options", "sha256"):
        del content[key]
    write_json(path, {**content, "sha256": checksum.of_summary(content)})
    assert new(finished) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("robustness.step=3", "Did you mean 'steps'"),
        ("robustness.steps=0", "robustness.steps=0: must be >= 1"),
        ("robustnes.steps=3", "Did you mean 'robustness'"),
        ("sharpness.rho=[0.1,-1]", "sharpness.rho=-1"),
        ("hessian.draws=many", "hessian.draws=many"),
        ("accuracy.n=3", "Allowed: none"),
    ],
)
def test_options_that_are_none(change: str, words: str) -> None:
    """One message that names the key, what was given and what is allowed."""
    with pytest.raises(ConfigError, match=re.escape(words)):
        changed([change])


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"sha256": null}', "number"])
def test_damaged_files_are_measured_again(finished: Path, content: str) -> None:
    """No file, or one that is not what was written, counts as none; one digit is enough."""
    new(finished)
    path = finished / "evaluations" / "accuracy.json"
    whole = path.read_text()
    path.write_text(whole.replace('"n": 100', '"n": 101') if content == "number" else content)
    assert stored.numbers(SavedRun(finished)) == {}
    assert new(finished) == ACCURACY
    kept, before = json.loads(path.read_text()), json.loads(whole)
    assert kept["result"] == before["result"]
    assert new(finished) == []


def test_evaluations_are_no_part_of_the_run(finished: Path) -> None:
    """The record is whole and the same as before; its directory is still the config's."""
    before = SavedRun(finished).summary
    new(finished)
    run = SavedRun(finished)
    assert run.summary == before
    assert run.damages() == []
    assert run_dir(run.config).name == finished.name


# ---------------------------------------------------------------- data of one's own


def as_arrays(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def as_pictures(path: Path, images: np.ndarray, labels: np.ndarray, names: list[str]) -> Path:
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        (path / names[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[:, :, 0]).save(path / names[label] / f"{i:03}.png")
    return path


def test_ones_own_files_of_the_test_images(finished: Path, tmp_path: Path) -> None:
    """Oracle: the run's own test set, as bytes, as floats, and as pictures; each kept under its own name."""
    run = load_run(finished)
    test = run.splits().test
    (expected,), _ = evaluations(finished, ACCURACY)
    given = [
        as_arrays(tmp_path / "a.npz", images=test.inputs, labels=test.labels),
        as_arrays(tmp_path / "b.npz", inputs=test.inputs / 255, labels=test.labels.astype(np.uint8)),
        as_arrays(
            tmp_path / "c.npz", test_images=test.inputs, test_labels=test.labels, train_images=test.inputs
        ),
        as_pictures(tmp_path / "d", test.inputs, test.labels, run.class_names),
        as_arrays(
            tmp_path / "e.npz", images=test.inputs[..., 0], labels=np.array(run.class_names)[test.labels]
        ),
    ]
    for path in given:
        (found,), _ = evaluations(finished, ACCURACY, source(str(path)))
        assert found["result"]["acc"] == expected["result"]["acc"], path
        assert found["result"]["loss"] == pytest.approx(expected["result"]["loss"], rel=1e-5)
        assert found["data"]["path"] == str(path)
        assert new(finished, str(path)) == []
    kept = sorted(path.name.partition("@")[2][:2] for path in (finished / "evaluations").iterdir())
    assert kept == ["", "a-", "b-", "c-", "d-", "e-"]


def test_runs_on_data_of_ones_own(mixbench, tmp_path: Path) -> None:
    """Oracle: the last row. Of a run on labels 3, 7 and 12 those are the names of its classes; floats have their own
    units; pictures of all sizes are resized as in training, and evaluated while they are read.
    """
    generator = np.random.default_rng(0)
    images, labels = generator.normal(7, 3, (60, 12, 9, 2)), generator.permutation(np.repeat([3, 7, 12], 20))
    images += labels[:, None, None, None]
    whole = as_arrays(tmp_path / "whole.npz", images=images, labels=labels)
    pictures = tmp_path / "pictures"
    for i, label in enumerate(labels):
        path = pictures / ("test" if i % 3 == 0 else "train") / f"kind {label}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = tuple(generator.integers(9, 14, 2))
        Image.fromarray(generator.integers(0, 20 * label, (*size, 3), dtype=np.uint8)).save(path)
    tiny = ("epochs=1", "batch_size=10")
    own = (f"dataset.path={whole}", "dataset.test_share=0.25", "dataset.val_size=9")
    folder = (f"dataset.path={pictures}", "dataset.size=8", "dataset.stream=true", "dataset.workers=1")
    assert mixbench("train", "dataset=arrays", *own, *tiny).status == 0
    assert mixbench("train", "dataset=folder", *folder, *tiny).status == 0
    runs = {p.parent.parts[1]: p.parent for p in Path("outputs").rglob("summary.json")}
    for directory in runs.values():
        row = SavedRun(directory).rows[-1]
        (found,), _ = evaluations(directory, ACCURACY)
        assert {f"test_{key}": found["result"][key] for key in ("acc", "top5", "loss")}.items() <= row.items()
        (found,), _ = evaluations(directory, ACCURACY, source("train"))
        assert found["result"]["acc"] == row["train_acc_clean"]
    arrays, streamed = load_run(runs["whole"]), load_run(runs["pictures"])
    assert (arrays.class_names, arrays.description.stored) == (["3", "7", "12"], "float32")
    held_out = arrays.splits().test
    names = np.array([3, 7, 12])[held_out.labels]
    mine = as_arrays(tmp_path / "mine.npz", images=held_out.inputs, labels=names)
    (found,), _ = evaluations(runs["whole"], ACCURACY, source(str(mine)))
    assert found["result"]["acc"] == arrays.rows[-1]["test_acc"]
    (found,), _ = evaluations(runs["pictures"], ACCURACY, source(str(pictures / "test")))
    assert found["result"]["acc"] == streamed.rows[-1]["test_acc"]
    assert streamed.class_names == ["kind 12", "kind 3", "kind 7"]
    shutil.rmtree(pictures)
    assert evaluations(runs["pictures"], ACCURACY)[1] == []
    with pytest.raises(MixbenchError, match=str(pictures)):
        evaluations(runs["pictures"], ["confusion"])
    assert export(streamed, "torchscript").images == "100 made-up images"


def test_another_content_is_another_evaluation(finished: Path, tmp_path: Path) -> None:
    """A file or folder is known by its content: one label, or one picture, makes another."""
    run = load_run(finished)
    test = run.splits().test
    path = tmp_path / "mine.npz"
    for labels in (test.labels, np.roll(test.labels, 1)):
        as_arrays(path, images=test.inputs, labels=labels)
        assert new(finished, str(path)) == ACCURACY
    folder = as_pictures(tmp_path / "mine", test.inputs[:9], test.labels[:9], run.class_names)
    assert new(finished, str(folder)) == ACCURACY
    next(folder.rglob("*.png")).unlink()
    assert new(finished, str(folder)) == ACCURACY
    assert len(list((finished / "evaluations").iterdir())) == 4


IMAGES, LABELS = np.zeros((4, 8, 8, 1), np.uint8), np.arange(4)
UNFIT: dict[str, tuple[dict[str, np.ndarray], list[str]]] = {
    "names": ({"x": IMAGES, "y": LABELS}, ["has x, y", "images and labels"]),
    "shape": ({"images": np.zeros((4, 1, 8, 8), np.uint8), "labels": LABELS}, ["(N, 8, 8, 1)"]),
    "lengths": ({"images": IMAGES, "labels": LABELS[:3]}, ["(4, 8, 8, 1)", "(3,)"]),
    "none": ({"images": IMAGES[:0], "labels": LABELS[:0]}, ["as many of each"]),
    "label": ({"images": IMAGES, "labels": LABELS + 7}, ["10 is no class of the run, which knows 0 to 9"]),
    "name": (
        {"images": IMAGES, "labels": np.array(["one", "two", "tree", "six"])},
        ["tree is no class", "three"],
    ),
    "fractions": ({"images": IMAGES, "labels": LABELS / 2}, ["labels are float64", "whole numbers or texts"]),
    "range": ({"images": IMAGES + 100.0, "labels": LABELS}, ["from 100 to 100"]),
    "objects": ({"images": np.array([None, {}]), "labels": LABELS}, ["no .npz file of arrays"]),
}


@pytest.mark.parametrize("case", UNFIT)
def test_arrays_that_do_not_fit_are_named(finished: Path, tmp_path: Path, case: str) -> None:
    """One DataError; nothing is kept."""
    arrays, words = UNFIT[case]
    path = as_arrays(tmp_path / "mine.npz", **arrays)
    with pytest.raises(DataError) as error:
        new(finished, str(path))
    assert all(word in str(error.value) for word in words), error.value
    assert not (finished / "evaluations").exists()


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("zero/a.png", (8, 9), ["a.png: 9x8 pixels", "8x8"]),
        ("null/a.png", (8, 8), ["null is no class of the run", "zero, one"]),
        ("zero/a.txt", (8, 8), ["no folder CLASS"]),
        ("zero/b.jpg", None, ["b.jpg: cannot be decoded"]),
    ],
)
def test_pictures_that_do_not_fit_are_named(
    finished: Path, tmp_path: Path, name: str, size: tuple[int, int] | None, words: list[str]
) -> None:
    """One DataError with the file, or the name of its folder."""
    path = tmp_path / "mine" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no picture")
    if size:
        Image.new("RGB", size).save(path, format="PNG")
    with pytest.raises(DataError) as error:
        new(finished, str(tmp_path / "mine"))
    assert all(word in str(error.value) for word in words), error.value


def test_what_cannot_be_evaluated_is_said(finished: Path, mixbench, tmp_path: Path) -> None:
    """No path, no archive, no held-out examples, no finished run: one message each."""
    with pytest.raises(DataError, match="neither test, val nor train"):
        source("tset")
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(DataError, match=r"text\.npz: is no \.npz file"):
        new(finished, str(tmp_path / "text.npz"))
    with pytest.raises(DataError, match="is no run"):
        new(tmp_path)
    assert mixbench("train", "epochs=1", "dataset.train_size=100", "batch_size=50").status == 0
    (other,) = (p.parent for p in Path("outputs").rglob("summary.json") if p.parent != finished)
    with pytest.raises(ConfigError, match=r"--on val: .* held out no examples"):
        new(other, "val")
    with opened_record(finished) as record:
        record.write_summary(SavedRun(finished).summary | {"state": "failed"})
    with pytest.raises(MixbenchError, match="the run is failed"):
        new(finished)
