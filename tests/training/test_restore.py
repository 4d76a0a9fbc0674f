"""Saved runs that are opened: networks and predictions against the saved tensors, and what cannot be opened."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from run_records import opened as opened_record
from sklearn.metrics import accuracy_score

from mixbench import load_run
from mixbench.errors import ConfigError, DataError, MixbenchError
from mixbench.models import small_cnn
from mixbench.record.run import SavedRun
from mixbench.training.weights import opened, packed


def rewritten(directory: Path, content: bytes) -> None:
    """Other weights in a finished run, with the record that belongs to them."""
    (directory / "model.safetensors").write_bytes(content)
    summary = SavedRun(directory).summary
    with opened_record(directory) as record:
        record.write_summary(summary)


def test_the_model_is_the_saved_one(finished: Path) -> None:
    """Oracle: the tensors in the file, bit for bit; torch's own modes and formats."""
    model = load_run(finished).model()
    saved = safetensors.torch.load_file(finished / "model.safetensors")
    assert model.state_dict().keys() == saved.keys()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in model.state_dict().items())
    assert not any(module.training for module in model.modules())
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}
    weight = next(t for t in model.parameters() if t.ndim == 4 and t.shape[1] > 1)
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_predictions_are_those_of_a_forward_by_hand(finished: Path) -> None:
    """Oracle: the saved tensors in a network of its own, on images normalised by numpy; scikit-learn's accuracy is that
    of the last row, to the last bit.
    """
    run = load_run(finished)
    test, base = run.splits().test, run.config.dataset
    model = small_cnn(1, 10, stem_stride=1).eval()
    model.load_state_dict(safetensors.torch.load_file(finished / "model.safetensors"))
    x = (test.inputs.transpose(0, 3, 1, 2) / 255 - base.mean[0]) / base.std[0]
    with torch.no_grad():
        expected = model(torch.tensor(x, dtype=torch.float32)).softmax(1)
    found = run.predict(test.inputs)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    assert 100 * accuracy_score(test.labels, found.argmax(1)) == run.rows[-1]["test_acc"]


def test_inputs_of_all_forms_are_the_same_images(finished: Path) -> None:
    """Limiting cases: a tensor is its array, an image a batch of one, a 255th of bytes floats; no image, no row."""
    run = load_run(finished)
    images = run.splits().test.inputs[:7]
    expected = run.predict(images)
    assert torch.equal(run.predict(torch.from_numpy(images.copy())), expected)
    for given in (images / 255, torch.from_numpy(images / 255).half().double()):
        torch.testing.assert_close(run.predict(given), expected, atol=2e-3, rtol=0)
    torch.testing.assert_close(run.predict(images[3]), expected[3:4])
    assert torch.equal(run.predict(images[..., 0]), expected)  # as training takes one channel
    torch.testing.assert_close(run.predict(images[3, ..., 0]), expected[3:4])
    assert run.predict(images[:0]).shape == (0, 10)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (np.zeros((3, 1, 8, 8), np.uint8), ["(N, 8, 8, 1)", "not (3, 1, 8, 8)"]),
        (np.zeros((3, 8, 8, 1), np.int64), ["uint8, or float in [0, 1]", "int64"]),
        (np.full((3, 8, 8, 1), 255.0), ["float in [0, 1]", "from 255 to 255"]),
        (np.full((3, 8, 8, 1), np.nan), ["float in [0, 1]", "nan"]),
        ([[0, 1], [2]], ["numbers"]),
    ],
)
def test_inputs_that_do_not_fit_are_named(finished: Path, inputs: object, words: list[str]) -> None:
    """One DataError: what the run takes, and what was given."""
    with pytest.raises(DataError) as error:
        load_run(finished).predict(inputs)
    assert all(word in str(error.value) for word in words), error.value


def test_images_in_units_of_their_own(finished: Path, tmp_path: Path) -> None:
    """Closed form: of a run on float images, x with mean m and deviation s is what a run on bytes gets from
    (x - m) / s * s' + m'. Bytes are refused there.
    """
    run = load_run(finished)
    about, images = run.description, run.splits().test.inputs[:9] / 255
    other = dataclasses.replace(about, stored="float32", mean=[7.0], std=[3.0])
    (tmp_path / "floats.safetensors").write_bytes(packed(run.model(), other))
    own = (images - about.mean[0]) / about.std[0] * 3 + 7
    floats = load_run(tmp_path / "floats.safetensors")
    torch.testing.assert_close(floats.predict(own), run.predict(images), atol=1e-5, rtol=1e-4)
    with pytest.raises(DataError, match="float, in their own units; these are uint8"):
        floats.predict(np.zeros((2, 8, 8, 1), np.uint8))


def test_weights_open_anywhere(finished: Path, tmp_path: Path) -> None:
    """Oracle: the run. A copy of the file is enough for the network; nothing else random is drawn anew."""
    copy = shutil.copy(finished / "model.safetensors", tmp_path / "best.safetensors")
    images = load_run(finished).splits().test.inputs[:5]
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    there = load_run(copy)
    found = there.predict(images)
    assert torch.equal(torch.rand(4), expected)
    assert torch.equal(found, load_run(finished).predict(images))
    assert there.class_names[:3] == ["zero", "one", "two"]
    assert there.rows == []
    assert torch.equal(load_run(finished / "model.safetensors").predict(images), found)
    assert load_run(finished / "model.safetensors").rows == SavedRun(finished).rows


def test_what_weights_say_of_themselves(finished: Path) -> None:
    """Oracles: safetensors' own reader; the config; the same bytes from another process, whose hashes are salted."""
    with safetensors.safe_open(finished / "model.safetensors", "pt") as file:
        said = json.loads(file.metadata()["mixbench"])
    config = SavedRun(finished).config
    assert (said["shape"], said["mean"], said["std"]) == ([8, 8, 1], config.dataset.mean, config.dataset.std)
    assert said["model"] == {"name": "small_cnn", "stem_stride": 1}
    assert (said["stored"], said["precision"], said["run"]) == ("uint8", "float32", finished.name)
    code = "\n".join(
        [
            "import hashlib, sys; from mixbench import load_run; from mixbench.training.weights import packed",
            "run = load_run(sys.argv[1])",
            "print(hashlib.sha256(packed(run.model(), run.description)).hexdigest())",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code, finished], capture_output=True, text=True)
    assert done.stdout.strip() == SavedRun(finished).summary["files"]["model.safetensors"], done.stderr


def test_weights_of_earlier_versions(finished: Path, tmp_path: Path) -> None:
    """Weights without metadata open beside their config.yaml, as the run that they were; nowhere else."""
    about = load_run(finished).description
    weights = safetensors.torch.load((finished / "model.safetensors").read_bytes())
    rewritten(finished, safetensors.torch.save(weights))
    run = load_run(finished)
    assert run.description == about
    assert all(torch.equal(t, weights[name]) for name, t in run.model().state_dict().items())
    copy = shutil.copy(finished / "model.safetensors", tmp_path / "old.safetensors")
    with pytest.raises(DataError, match=r"does not say which network.*beside config\.yaml"):
        load_run(copy).model()


def no_weights(directory: Path) -> None:
    (directory / "model.safetensors").unlink()


def flipped_bit(directory: Path) -> None:
    content = bytearray((directory / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (directory / "model.safetensors").write_bytes(content)


def cut_short(directory: Path) -> None:
    rewritten(directory, (directory / "model.safetensors").read_bytes()[:-7])


def no_tensors(directory: Path) -> None:
    rewritten(directory, b"something else")


def another_network(directory: Path) -> None:
    rewritten(directory, packed(small_cnn(3, 10, stem_stride=1), load_run(directory).description))


def another_version(directory: Path) -> None:
    weights = safetensors.torch.load((directory / "model.safetensors").read_bytes())
    metadata = {"mixbench": json.dumps({"version": "9.1", "graph": {}})}
    rewritten(directory, safetensors.torch.save(weights, metadata=metadata))


def foreign_model(directory: Path) -> None:
    about = dataclasses.replace(load_run(directory).description, model={"name": "theirs", "depth": 3})
    rewritten(directory, packed(load_run(directory).model(), about))


def unknown_knob(directory: Path) -> None:
    about = dataclasses.replace(load_run(directory).description, model={"name": "small_cnn", "depth": 3})
    rewritten(directory, packed(load_run(directory).model(), about))


def interrupted(directory: Path) -> None:
    summary = SavedRun(directory).summary | {"state": "interrupted"}
    with opened_record(directory) as record:
        record.write_summary(summary)


def damaged_summary(directory: Path) -> None:
    (directory / "summary.json").write_text("{")


FAULTS: dict[Callable[[Path], None], tuple[type[MixbenchError], list[str]]] = {
    no_weights: (DataError, ["model.safetensors", "there are no weights"]),
    flipped_bit: (DataError, ["model.safetensors is damaged", "checksum expected"]),
    cut_short: (DataError, ["model.safetensors does not fit", "damaged"]),
    no_tensors: (DataError, ["model.safetensors is no file of weights"]),
    another_network: (DataError, ["does not fit the network that it names", "stem"]),
    another_version: (DataError, ["was written by mixbench 9.1", "cannot read"]),
    foreign_model: (ConfigError, ["model.name=theirs", "plugin"]),
    unknown_knob: (DataError, ["does not fit the network that it names", "depth"]),
    interrupted: (
        MixbenchError,
        ["is interrupted, after 3 of 3 epochs", "no result", "mixbench retry --output-dir"],
    ),
    damaged_summary: (DataError, ["summary.json cannot be read"]),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_what_cannot_be_opened_is_said(finished: Path, fault: Callable[[Path], None]) -> None:
    """One message of ours for each fault, from every door."""
    fault(finished)
    kind, words = FAULTS[fault]
    run = load_run(finished)
    for use in (run.model, lambda: run.predict(np.zeros((1, 8, 8, 1), np.uint8))):
        with pytest.raises(kind) as error:
            use()
        assert all(word in str(error.value) for word in words), error.value


def test_weights_that_stayed_elsewhere(finished: Path, tmp_path: Path) -> None:
    """By hand: a copy of a record without its weights, as git has it, says where what was measured on them lies."""
    copy = shutil.copytree(finished, tmp_path / "copy")
    no_weights(copy)
    (copy / "evaluations").mkdir()
    (copy / "evaluations" / "accuracy.json").write_text("{}")
    with pytest.raises(DataError, match=f"there are no weights .*; what was measured on them lies in {copy}"):
        load_run(copy).model()


def test_places_without_a_run(finished: Path, tmp_path: Path) -> None:
    """A DataError that says what is there instead."""
    with pytest.raises(DataError, match="no such file or folder"):
        load_run(tmp_path / "nothing")
    with pytest.raises(DataError, match=f"is no run; 1 lie below it, such as .*{finished.name}"):
        load_run("outputs")
    with pytest.raises(ConfigError, match=r"device=cuda:63"):
        load_run(finished).model("cuda:63")


def test_opening_needs_no_torch_before_it_is_asked_for(finished: Path) -> None:
    """Oracle: sys.modules of a fresh process; reading what weights say of themselves needs none either."""
    code = "import sys, mixbench, mixbench.training.weights; assert 'load_run' in mixbench.__all__; "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert opened(SavedRun(finished))[1] == load_run(finished).description
