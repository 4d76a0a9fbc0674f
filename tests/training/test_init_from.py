"""More epochs are another run, and say so; `init_from` begins a run with the weights of another."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from whole_runs import stopped_after

from mixbench.config.compose import compose
from mixbench.config.identity import run_dir, run_id
from mixbench.record.run import SavedRun

SMALL = ("dataset.train_size=100", "dataset.test_size=50", "batch_size=50", "device=cpu")


@pytest.fixture
def source(mixbench, workplace: Path) -> Path:
    """A finished run of one epoch."""
    assert mixbench("train", *SMALL, "epochs=1").status == 0
    return run_dir(compose([*SMALL, "epochs=1"]))


def test_more_epochs_are_said_to_be_another_run(mixbench, source: Path) -> None:
    """Once, when it begins; not for another seed, nor for fewer epochs."""
    longer = mixbench("train", *SMALL, "epochs=2")
    assert (
        f"{source} is the same with 1 epochs, and finished. This run begins anew; init_from={source}"
        in longer.out
    )
    assert "is the same with" not in mixbench("train", *SMALL, "epochs=2").out
    assert "is the same with" not in mixbench("train", *SMALL, "epochs=2", "seed=1").out


def test_a_run_begins_with_the_weights_of_another(mixbench, source: Path) -> None:
    """Oracle: with a learning rate of next to nothing the weights stay those of the source. Identity: the SHA-256 of
    the file, wherever it lies; without init_from the id is what it was.
    """
    still = (*SMALL, "epochs=1", "opt.lr=1e-30", "opt.weight_decay=0", "schedule=constant")
    done = mixbench("train", *still, f"init_from={source}")
    assert done.status == 0, done.err
    weights = source / "model.safetensors"
    config = compose([*still, f"init_from={source}"])
    assert config.init_content == hashlib.sha256(weights.read_bytes()).hexdigest()
    run = SavedRun(run_dir(config))
    assert (run.state, run.values["init_content"]) == ("finished", config.init_content)
    before, after = load_file(weights), load_file(run.weights)
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]) or "running" in name or "num_batches" in name, name
    shutil.copy(weights, "copy.safetensors")
    assert run_id(compose([*still, "init_from=copy.safetensors"])) == run.id
    assert run_id(compose([*still])) != run.id
    assert run.config == config


def test_a_stopped_run_goes_on_without_its_source(mixbench, source: Path) -> None:
    """The checkpoint holds all that is needed: `retry`, which goes by config.yaml, ends it."""
    with stopped_after(1):
        mixbench("train", *SMALL, "epochs=2", "seed=1", f"init_from={source}", "checkpoint_seconds=0")
    shutil.rmtree(source)
    done = mixbench("retry")
    assert done.status == 0, done.err
    assert "resume   after epoch 1" in done.out


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["init_from=nowhere"], "init_from=nowhere: there is no file .*nowhere"),
        (["init_from=/dev/zero"], "init_from=/dev/zero: there is no file"),
        (["init_from='~nosuchuser/x'"], "init_from=~nosuchuser/x: .*home"),
        (["init_content=abc"], "init_content: is the checksum"),
        (["init_from={source}", "init_content=abc"], "init_content=abc: the weights in .* are others"),
        (["init_from={source}", "model=mobilenet"], "the network: small_cnn there, mobilenet in this run"),
    ],
)
def test_what_does_not_fit_is_one_message(mixbench, source: Path, overrides: list[str], words: str) -> None:
    """Status 2, and no new run."""
    refused = mixbench("train", *SMALL, "epochs=3", *(o.format(source=source) for o in overrides))
    assert refused.status == 2
    assert re.search(words, refused.err), refused.err
    assert [p.parent for p in Path("outputs").rglob("summary.json")] == [source]
