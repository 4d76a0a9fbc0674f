"""A whole run: its numbers against independent ones, its limits, and what makes it the same run."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from sklearn.metrics import accuracy_score, log_loss, top_k_accuracy_score

from mixbench import data
from mixbench.bench.measure import Operations
from mixbench.config.compose import compose
from mixbench.config.identity import run_dir
from mixbench.engine.evaluators import evaluate, mixed_accuracy
from mixbench.engine.metrics import TrainMetrics
from mixbench.models import MODELS
from mixbench.optim.base import Descent
from mixbench.record.read import read_rows, read_summary
from mixbench.training.build import knobs

TINY = ("epochs=2", "dataset.train_size=300", "dataset.test_size=100", "batch_size=50")


@pytest.fixture
def trained(mixbench):
    """Train with overrides; returns the run's directory, config, rows and final weights."""

    def train(*overrides: str) -> tuple:
        overrides = (*TINY, *overrides)
        done = mixbench("train", *overrides)
        assert done.status == 0, done.err
        config = compose(list(overrides))
        directory = run_dir(config)
        weights = safetensors.torch.load_file(directory / "model.safetensors")
        rows = [{k: v for k, v in row.items() if "seconds" not in k} for row in read_rows(directory)]
        return directory, config, rows, weights

    return train


def same_weights(one: dict, two: dict) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def test_reported_accuracies_are_those_of_the_saved_model(trained) -> None:
    """Oracle: the saved weights, run by hand on plainly normalised images, scored by scikit-learn."""
    _, config, rows, weights = trained("augment=mixup", "dataset.val_size=100")
    dataset = config.dataset
    splits = data.load("digits", train_size=300, test_size=100, val_size=100)
    model = MODELS["small_cnn"](1, 10, **knobs(config.model))
    model.load_state_dict(weights)
    model.eval()

    def scores(split: data.Split) -> tuple[float, float, float]:
        pixels = np.asarray(split.inputs).transpose(0, 3, 1, 2) / 255
        x = (pixels - np.reshape(dataset.mean, (1, -1, 1, 1))) / np.reshape(dataset.std, (1, -1, 1, 1))
        with torch.no_grad():
            p = model(torch.tensor(x, dtype=torch.float32)).double().softmax(1).numpy()
        classes = np.arange(10)
        return (
            100 * accuracy_score(split.labels, p.argmax(1)),
            100 * top_k_accuracy_score(split.labels, p, k=5, labels=classes),
            log_loss(split.labels, p, labels=classes),
        )

    last = rows[-1]
    assert splits.val is not None
    for name, split in (("test", splits.test), ("val", splits.val)):
        expected = scores(split)
        found = (last[f"{name}_acc"], last[f"{name}_top5"], last[f"{name}_loss"])
        assert found == pytest.approx(expected, abs=1e-4), name
    assert last["train_acc_clean"] == pytest.approx(scores(splits.train)[0], abs=1e-4)
    assert last["gap_clean"] == pytest.approx(last["test_acc"] - last["train_acc_clean"])


def test_weighted_train_accuracy_is_the_two_term_formula() -> None:
    """Equation: lam*[p = y_a] + (1-lam)*[p = y_b], averaged; and the first label's plain accuracy."""
    generator = torch.Generator().manual_seed(0)
    metrics = TrainMetrics([8] * 5, torch.device("cpu"))
    weighted, first, count = 0.0, 0, 0
    for step in range(5):
        a = torch.randint(0, 4, (8,), generator=generator)
        b = torch.randint(0, 4, (8,), generator=generator)
        lam = float(torch.rand((), generator=generator))
        logits = torch.randn(8, 4, generator=generator)
        y = lam * torch.eye(4)[a] + (1 - lam) * torch.eye(4)[b]
        metrics.update(torch.tensor(step), torch.tensor(float(step)), logits, y, a)
        for i, p in enumerate(logits.argmax(1).tolist()):
            weighted += lam * (p == a[i]) + (1 - lam) * (p == b[i])
            first += p == int(a[i])
            count += 1
    row = metrics.read()
    assert row["train_acc_weighted"] == pytest.approx(100 * float(weighted) / count, rel=1e-6)
    assert row["train_acc_first"] == pytest.approx(100 * first / count)
    assert row["train_loss"] == 2.0


@pytest.mark.parametrize("batch", [1, 5, 128, 1000])
def test_the_sums_of_a_batch_take_six_operations(batch: int) -> None:
    """Oracle: each sum for itself, bit for bit, of batches whose last one is smaller; argmax, gather, comparison, sum,
    addition and the place of the loss.
    """
    generator = torch.Generator().manual_seed(batch)
    sizes = [batch, batch, (batch + 1) // 2]
    metrics = TrainMetrics(sizes, torch.device("cpu"))
    expected = torch.zeros(3, dtype=torch.float64)
    for step, n in enumerate(sizes):
        logits, y = (torch.randn(n, 10, generator=generator).softmax(1) for _ in range(2))
        labels = torch.randint(0, 10, (n,), generator=generator)
        number, loss = torch.tensor(step), y.mean()
        with Operations() as counted:
            metrics.update(number, loss, logits, y, labels)
        assert counted.calls == 6
        predicted = logits.argmax(1)
        weighted, first = y.gather(1, predicted[:, None]).sum(), (predicted == labels).sum()
        expected += torch.tensor([float(weighted), int(first), n], dtype=torch.float64)
        assert metrics.step_losses[step] == loss
    assert torch.equal(metrics.sums, expected)


def test_the_first_bad_step_is_named() -> None:
    """Brute force: each step in turn is the first whose loss is not finite."""
    for bad in range(4):
        metrics = TrainMetrics([2] * 4, torch.device("cpu"))
        for step in range(4):
            loss = torch.tensor(math.nan if step >= bad else 1.0)
            metrics.update(torch.tensor(step), loss, torch.zeros(1, 2), torch.eye(2)[:1], torch.tensor([0]))
        assert metrics.first_bad_step(4) == bad
        assert metrics.first_bad_step(bad) is None


def test_mixed_accuracy_of_a_perfect_model_has_its_ceiling() -> None:
    """Closed form: predicting the heavier label scores E[max(lam, 1-lam)] = 0.75 for distinct labels, lam ~ U(0,1)."""
    from mixbench.augment import Mixup

    generator = torch.Generator().manual_seed(0)
    classes = 4000
    mix = Mixup(classes, alpha=1.0, per_sample=True)
    labels = torch.arange(classes)
    images = torch.eye(classes).view(classes, 1, 1, classes)
    oracle = torch.nn.Flatten()  # on one-hot "images" the mixture itself says which label is heavier
    accuracy = mixed_accuracy(
        oracle,
        [mix(images, labels, generator=generator)],
        torch.autocast("cpu", enabled=False),
    )
    assert accuracy == pytest.approx(75.0, abs=1.0)


def test_evaluation_does_not_depend_on_the_batch_size() -> None:
    """Limiting cases: batches of 1, of 7 with a remainder, and all at once give the same three numbers."""
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(50, 1, 4, 4, generator=generator), torch.arange(50) % 10
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(16), torch.nn.Linear(16, 10))
    off = torch.autocast("cpu", enabled=False)
    whole = evaluate(model, [(images, labels)], off)
    for size in (1, 7):
        parts = zip(images.split(size), labels.split(size), strict=True)
        assert evaluate(model, parts, off) == pytest.approx(whole, rel=1e-5)


def test_a_seed_fixes_everything(trained) -> None:
    """Twice the same command in two places: equal bits. Another seed: other weights."""
    _, _, rows, weights = trained("augment=gmix", "opt=sam")
    _, _, again_rows, again = trained("augment=gmix", "opt=sam", "output_dir=elsewhere")
    _, _, _, other = trained("augment=gmix", "opt=sam", "seed=1")
    assert rows == again_rows
    assert same_weights(weights, again)
    assert not same_weights(weights, other)


@pytest.mark.parametrize(
    ("plain", "limit"),
    [
        ((), ("opt=sam", "opt.rho=0")),
        ((), ("augment=mixup", "augment.prob=0")),
        (("augment=mixup",), ("augment=hmix", "augment.r=0")),
    ],
)
def test_limits_of_methods_hold_for_whole_runs(trained, plain: tuple, limit: tuple) -> None:
    """Bit for bit: SAM with rho=0 is SGD, mixing with probability 0 is not mixing, HMix with r=0 is Mixup."""
    _, _, rows, weights = trained(*plain)
    _, _, limit_rows, limit_weights = trained(*limit)
    assert rows == limit_rows
    assert same_weights(weights, limit_weights)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("opt", ["sgd", "sam"])
def test_low_precision_stays_near_float32(trained, precision: str, opt: str) -> None:
    """Oracle: the float32 run. The loss of every epoch agrees to 5 %."""
    _, _, rows, _ = trained(f"opt={opt}", "opt.lr=0.02")
    _, _, low_rows, low = trained(f"opt={opt}", "opt.lr=0.02", f"precision={precision}")
    assert all(t.dtype in (torch.float32, torch.int64) for t in low.values())
    for one, two in zip(rows, low_rows, strict=True):
        assert two["train_loss"] == pytest.approx(one["train_loss"], rel=0.05)


def test_memory_format_and_determinism_do_not_change_the_run(trained) -> None:
    """Same identity, so also the same numbers: to float tolerance for the layout, bit for bit for the flag."""
    directory, _, rows, weights = trained("augment=cutmix")
    other_directory, _, other, _ = trained("augment=cutmix", "channels_last=false", "output_dir=b")
    _, _, strict, strict_weights = trained("augment=cutmix", "deterministic=true", "output_dir=c")
    torch.use_deterministic_algorithms(False)
    assert directory.name == other_directory.name
    assert rows[0]["train_loss"] == pytest.approx(other[0]["train_loss"], rel=1e-4)
    assert rows == strict
    assert same_weights(weights, strict_weights)


def test_measuring_does_not_change_the_training(trained) -> None:
    """More or fewer evaluations leave the weights as they are, bit for bit."""
    _, _, rows, weights = trained("augment=mixup", "train_clean_every=0")
    _, _, more_rows, more = trained("augment=mixup", "train_clean_every=2", "train_mixed_every=1")
    assert same_weights(weights, more)
    assert math.isnan(more_rows[0]["train_acc_clean"])
    assert not math.isnan(more_rows[1]["train_acc_clean"])
    assert "train_acc_clean" not in rows[0]
    assert 0 < more_rows[0]["train_acc_mixed"] <= 100


@pytest.mark.fault("failure")
def test_divergence_is_a_failed_run_with_advice(mixbench) -> None:
    """A learning rate of 1e30: status 1, state failed, the epoch and step; the directory keeps its record."""
    result = mixbench("train", "opt.lr=1e30", *TINY)
    assert result.status == 1
    assert "epoch 1, step" in result.err
    assert "smaller opt.lr" in result.err
    assert "Traceback" not in result.err
    (summary,) = Path("outputs").rglob("summary.json")
    record = json.loads(summary.read_text())
    assert record["state"] == "failed"
    assert "epoch 1, step" in record["error"]


@pytest.mark.fault("failure")
@pytest.mark.parametrize(
    ("decay", "words"),
    [
        ("1e3", r"is not finite any more after epoch 1, step 1 of 1\."),
        ("0", r"the test loss is (nan|inf) at the end of training\."),  # of weights that are finite
    ],
)
def test_a_last_update_that_destroys_the_network_is_a_failed_run(mixbench, decay: str, words: str) -> None:
    """One step in all, whose own loss is finite: nothing of it may get into a table."""
    result = mixbench(
        "train",
        *TINY,
        "opt.lr=1e38",
        f"opt.weight_decay={decay}",
        "epochs=1",
        "batch_size=200",
        "dataset.train_size=200",
    )
    assert result.status == 1
    assert re.search(words, result.err)
    assert "smaller opt.lr" in result.err
    (summary,) = Path("outputs").rglob("summary.json")
    record = json.loads(summary.read_text())
    assert record["state"] == "failed"
    assert "selections" not in record
    assert not (summary.parent / "model.safetensors").exists()


def on_the_device() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def on_the_machine() -> None:
    torch.empty(2**60)


@pytest.mark.fault("failure")
@pytest.mark.parametrize("fault", [on_the_device, on_the_machine])
def test_out_of_memory_is_a_failed_run_with_advice(mixbench, monkeypatch, fault) -> None:
    """In the fourth step of a sweep's first run: that run is failed and says what to try, the second one ends."""
    step, steps = Descent.step, [0]

    def greedy(self, closure):
        steps[0] += 1
        if steps[0] == 4:
            fault()
        return step(self, closure)

    monkeypatch.setattr(Descent, "step", greedy)
    done = mixbench("train", "-m", "seed=0,1", *TINY)
    assert done.status == 1
    assert "Traceback" not in done.out + done.err
    assert "1 of 2 runs finished" in done.out
    records = [json.loads(path.read_text()) for path in Path("outputs").rglob("summary.json")]
    assert sorted(record["state"] for record in records) == ["failed", "finished"]
    (failed,) = (record for record in records if record["state"] == "failed")
    assert "out of memory" in failed["error"]
    assert "smaller batch_size" in failed["error"]


def test_the_record_says_what_ran(trained) -> None:
    """env.json, config.yaml and summary.json of a finished run."""
    directory, _, rows, _ = trained("augment=gmix")
    env = json.loads((directory / "env.json").read_text())
    assert env["packages"]["torch"] == torch.__version__
    assert env["device"] == "cpu"
    assert "alpha: 0.5" in (directory / "config.yaml").read_text()
    summary = read_summary(directory)
    assert summary is not None
    assert summary["selections"]["last"]["test_acc"] == rows[-1]["test_acc"]
    assert summary["images_per_second"] == pytest.approx(600 / summary["train_seconds"])
    assert not (directory / "last.pt").exists()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
@pytest.mark.parametrize("opt", ["sgd", "sam"])
def test_a_gpu_gives_what_the_cpu_gives(trained, precision: str, opt: str) -> None:
    """Oracle: the same run on the CPU in float32, without random draws that differ between devices."""
    plain = (f"opt={opt}", "opt.lr=0.02", "dataset.base_augment=false")
    _, _, rows, _ = trained(*plain, "device=cpu")
    _, _, gpu_rows, _ = trained(*plain, "device=cuda", f"precision={precision}", "output_dir=gpu")
    for one, two in zip(rows, gpu_rows, strict=True):
        assert two["train_loss"] == pytest.approx(
            one["train_loss"], rel=0.02 if precision == "float32" else 0.1
        )


def test_exact_mixupe_is_given_the_training_sets_mean_image(trained, monkeypatch) -> None:
    """The paper's x-bar is the mean over the data set; oracle: numpy on the same stratified subset."""
    from mixbench.regularize import REGULARIZERS

    seen = []

    class Spy(REGULARIZERS["mixupe"]):
        def __init__(self, **arguments) -> None:
            seen.append(arguments["mean_image"])
            super().__init__(**arguments)

    monkeypatch.setitem(REGULARIZERS, "mixupe", Spy)
    _, config, _, _ = trained("regularizer=mixupe", "regularizer.variant=exact", "augment=mixup")
    mean = np.asarray(data.load("digits", train_size=300).train.inputs).mean(0).transpose(2, 0, 1) / 255
    expected = (mean - config.dataset.mean[0]) / config.dataset.std[0]
    np.testing.assert_allclose(seen[0].numpy(), expected, atol=1e-5)
