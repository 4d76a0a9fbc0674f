"""The loop's own knobs: partial batches, accumulation, the moving average, early stopping, clipping."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mixbench.bench.subjects import configured, made_up
from mixbench.data.order import epoch_order, step_generator
from mixbench.engine.average import MovingAverage
from mixbench.engine.loop import Loop
from mixbench.engine.position import Position
from mixbench.engine.progress import Progress
from mixbench.errors import ConfigError
from mixbench.record.read import read_rows, read_summary
from mixbench.record.select import selections
from mixbench.schema.specs import find
from mixbench.training.build import build_loop

CPU = torch.device("cpu")
TINY = ["dataset=digits", "model=small_cnn", "precision=float32"]


def loop_of(*overrides: str, images: int = 50) -> Loop:
    return build_loop(configured("ERM", [*TINY, *overrides]), CPU, made_up(find("digits"), images))


def train(loop: Loop, epochs: int = 1) -> Position:
    position = Position()
    with Progress(1, 0, loop.steps, 16, shown=False) as progress:
        for _ in range(epochs):
            for _ in loop.run_epoch(position, progress):
                pass
            loop.close_epoch(position)
    return position


def weights(loop: Loop) -> Tensor:
    return torch.cat([p.detach().flatten() for p in loop.model.parameters()])


class ByHand:
    """Plain SGD with momentum on the same network and the same batches, written out."""

    def __init__(self, *overrides: str) -> None:
        self.loop = loop_of(*overrides)
        for module in self.loop.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
        self.parameters = list(self.loop.model.parameters())
        self.optimizer = torch.optim.SGD(self.parameters, lr=0.1, momentum=0.9, weight_decay=5e-4)

    def epoch(self, order: tuple[Tensor, ...]) -> list[float]:
        losses = []
        self.loop.model.train()
        for step, indices in enumerate(order):
            self.loop._reseed(0, step)
            images, labels = self.loop.train.batch((indices,), self.loop._generator)
            loss = nn.functional.cross_entropy(self.loop.model(images), labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
        return losses


def test_the_last_partial_batch_is_trained_on() -> None:
    """Oracle: the loop written out with torch.optim.SGD, over batches of 16, 16, 16 and 2 of 50 images; the mean loss
    counts examples."""
    loop = loop_of("batch_size=16", "drop_last=false")
    row = train(loop).rows[0]
    hand = ByHand("batch_size=16")
    losses = hand.epoch(epoch_order(50, 16, 0, 0, drop_last=False))
    assert len(losses) == loop.steps == 4
    assert loop.examples == 50
    torch.testing.assert_close(weights(loop), weights(hand.loop), rtol=1e-4, atol=1e-6)
    expected = sum(loss * n for loss, n in zip(losses, (16, 16, 16, 2), strict=True)) / 50
    assert row["train_loss"] == pytest.approx(expected, rel=1e-5)


def test_fewer_examples_than_a_batch_are_one_batch() -> None:
    """Limiting case: 50 images in batches of 60 are one step with all of them."""
    loop = loop_of("batch_size=60", "drop_last=false")
    train(loop)
    hand = ByHand("batch_size=50")
    hand.epoch(epoch_order(50, 50, 0, 0))
    assert loop.steps == 1
    torch.testing.assert_close(weights(loop), weights(hand.loop), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("opt", ["sgd", "sam", "bgmix", "dgmix"])
def test_accumulated_parts_are_the_whole_batch(opt: str) -> None:
    """Oracle: the batch at once. BatchNorm in evaluation mode, as it is what sees a part; both SAM passes."""
    loops = [
        loop_of(f"opt={opt}", "augment=mixup", "batch_size=24", f"accumulate={parts}") for parts in (1, 4)
    ]
    rows = []
    for loop in loops:
        for module in loop.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.train = lambda mode=True, module=module: module  # type: ignore[method-assign, misc]
                module.training = False
        rows.append(train(loop, epochs=2).rows[-1])
    torch.testing.assert_close(weights(loops[0]), weights(loops[1]), rtol=1e-4, atol=1e-5)
    for key in ("train_loss", "train_acc_weighted", "test_loss"):
        assert rows[0][key] == pytest.approx(rows[1][key], rel=1e-4), key


def test_gradients_are_clipped() -> None:
    """Oracle: torch.nn.utils.clip_grad_norm_ in the loop written out; a limit that is never reached changes no bit."""
    loop, hand = loop_of("batch_size=16", "clip_norm=0.3"), ByHand("batch_size=16")
    train(loop)
    step = hand.optimizer.step
    lengths = []

    def clipped() -> None:
        lengths.append(float(nn.utils.clip_grad_norm_(hand.parameters, 0.3)))
        step()

    hand.optimizer.step = clipped  # type: ignore[method-assign, assignment]
    hand.epoch(epoch_order(50, 16, 0, 0))
    assert max(lengths) > 0.3
    torch.testing.assert_close(weights(loop), weights(hand.loop), rtol=1e-4, atol=1e-6)
    far, without = loop_of("batch_size=16", "clip_norm=1e6"), loop_of("batch_size=16")
    train(far)
    train(without)
    assert torch.equal(weights(far), weights(without))


def test_the_moving_average_is_torchs() -> None:
    """Oracle: torch.optim.swa_utils.AveragedModel with get_ema_multi_avg_fn and use_buffers, over ten steps of SGD."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2))
    expected = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.8), use_buffers=True)
    average = MovingAverage(model, 0.8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(10):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
        expected.update_parameters(model)
        average.update()
    own = {name: t.clone() for name, t in model.state_dict().items()}
    with average.in_place():
        for name, t in expected.module.state_dict().items():
            if t.is_floating_point():
                torch.testing.assert_close(model.state_dict()[name], t, msg=name)
    assert all(torch.equal(t, own[name]) for name, t in model.state_dict().items())


def test_the_average_is_what_is_evaluated() -> None:
    """Oracle: the test loss of a network that holds the averages; decay 0 is the network itself, bit for bit."""
    loop, plain = loop_of("batch_size=16", "ema.decay=0.9"), loop_of("batch_size=16")
    row, without = train(loop, 2).rows[-1], train(plain, 2).rows[-1]
    assert torch.equal(weights(loop), weights(plain))
    assert row["train_loss"] == without["train_loss"]
    assert row["test_loss"] != without["test_loss"]
    assert loop.average is not None
    with loop.average.in_place():
        assert loop._evaluate(loop.test)["loss"] == row["test_loss"]


def test_early_stopping_waits_for_validation_accuracy() -> None:
    """By hand: of accuracies 3, 5, 4, 5, 4 the highest came first in epoch 2; patience 2 ends after 4, 3 after 5."""
    accuracies = [3.0, 5.0, 4.0, 5.0, 4.0]
    rows = [{"epoch": epoch, "val_acc": accuracy} for epoch, accuracy in enumerate(accuracies, 1)]
    for patience, ends in ((1, 3), (2, 4), (3, 5), (4, None), (0, None)):
        loop = loop_of("batch_size=16", "dataset.val_size=10")
        loop.early_stopping = patience
        stops = [
            n for n in range(1, 6) if loop.finished(Position(epoch=n, rows=rows[:n], step=0, train_seconds=0))
        ]
        assert (stops[0] if stops else None) == ends, patience


def test_an_early_end_is_a_finished_run(mixbench: Callable) -> None:
    """By hand from the rows: the run ends two epochs after the first best one, and not before.

    The last row has the clean accuracy that is only measured at the end; the same command shows the finished run.
    """
    arguments = ("train", "epochs=40", "early_stopping=2", "dataset.val_size=100", "dataset.train_size=100",
                 "batch_size=50", "train_clean_every=40")  # fmt: skip
    assert mixbench(*arguments).status == 0
    (summary,) = Path("outputs").rglob("summary.json")
    assert (read_summary(summary.parent) or {})["state"] == "finished"
    rows = read_rows(summary.parent)
    accuracies = [row["val_acc"] for row in rows]
    waited = [n - accuracies[: n + 1].index(max(accuracies[: n + 1])) for n in range(len(rows))]
    assert [wait >= 2 for wait in waited] == [False] * (len(rows) - 1) + [True]
    assert [math.isnan(row["train_acc_clean"]) for row in rows] == [True] * (len(rows) - 1) + [False]
    assert "finished" in mixbench(*arguments).out


def test_at_best_measures_what_the_selections_need(mixbench: Callable) -> None:
    """Oracle: the same run measured after every epoch. Selected rows are the same, and so are all measured ones: those
    of the highest test or validation accuracy so far, by brute force, and the last."""
    found = []
    for every in (1, "at_best"):
        arguments = [
            "epochs=12",
            "dataset.val_size=60",
            "dataset.train_size=100",
            "dataset.test_size=60",
            "opt.lr=0.05",
        ]
        arguments += ["batch_size=50", f"train_clean_every={every}", f"train_mixed_every={every}"]
        assert mixbench("train", *arguments, f"output_dir={every}").status == 0
        (summary,) = Path(str(every)).rglob("summary.json")
        rows = read_rows(summary.parent)
        found.append([{key: value for key, value in row.items() if "seconds" not in key} for row in rows])
    always, rows = found
    best = [
        any(row[key] > max((r[key] for r in always[:n]), default=-1.0) for key in ("test_acc", "val_acc"))
        for n, row in enumerate(always)
    ]
    due = [*best[:-1], True]
    assert 2 < sum(due) < len(due)
    for row, full, measured in zip(rows, always, due, strict=True):
        missing = {key for key, value in row.items() if math.isnan(value)}
        assert missing == (set() if measured else {key for key in row if key.endswith(("clean", "mixed"))})
        assert {k: v for k, v in row.items() if k not in missing} == {
            k: full[k] for k in row if k not in missing
        }
    for rule in ("last", "best_test", "best_val"):
        assert selections(rows)[rule] == selections(always)[rule]


def test_mixed_accuracy_is_that_of_single_batches() -> None:
    """Oracle: the batches of an epoch one by one, each example mixed by its own ratio, from the same draws."""
    loop = loop_of("batch_size=16", "drop_last=false")
    generator = step_generator(CPU, 0, 0, 0, "train_acc_mixed")
    loop.model.eval()
    weight, ratios = 0.0, set[float]()
    for indices in epoch_order(50, 16, 0, 0, drop_last=False):
        x, y = loop.mixup(*loop.train.batch((indices,), None), generator=generator)
        ratios |= {*y.max(1).values.tolist()}
        weight += y.gather(1, loop.model(x).argmax(1, keepdim=True)).sum().item()
    assert len(ratios) > 25
    calls: list[int] = []
    loop.model.register_forward_pre_hook(lambda model, inputs: calls.append(len(inputs[0])))
    assert loop._mixed_accuracy(0) == pytest.approx(100 * weight / 50, rel=1e-6)
    assert calls == [50]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["early_stopping=3"], r"early_stopping=3: looks at validation accuracy; add dataset\.val_size=N"),
        (["batch_size=50", "accumulate=4"], r"accumulate=4: must divide the 50 examples of a batch\."),
        (
            ["batch_size=64", "accumulate=4", "drop_last=false"],
            r"drop_last=false: the last batch has 30 examples",
        ),
        (
            ["augment=manifold_mixup", "accumulate=2"],
            r"accumulate=2: manifold_mixup needs every batch whole and alone",
        ),
        (["train_clean_every=at_bst"], r"not one of at_best or a number >= 0\. Did you mean 'at_best'\?"),
        (["train_mixed_every=1.5"], r"train_mixed_every=1\.5: must be at_best or a whole number >= 0\."),
        (["ema.decay=1"], r"ema\.decay=1(\.0)?: must be >= 0 and < 1"),
        (["clip_norm=0"], r"clip_norm=0(\.0)?: must be > 0"),
        (["batch_size=2000"], r"1 to 1438, or any with drop_last=false"),
    ],
)
def test_what_does_not_go_together(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configured("ERM", [*TINY, *overrides])


def test_knobs_that_are_off_leave_the_identity() -> None:
    """Ids of earlier runs stay; each knob that is on makes another run."""
    from mixbench.config.identity import run_id, scientific

    config = configured("ERM", TINY)
    assert not {"ema", "clip_norm", "accumulate", "early_stopping", "drop_last"} & scientific(config).keys()
    changed = [
        dataclasses.replace(config, **{key: value})
        for key, value in (("accumulate", 2), ("clip_norm", 1.0), ("drop_last", False), ("early_stopping", 2))
    ]
    changed.append(configured("ERM", [*TINY, "ema.decay=0.5"]))
    assert len({run_id(c) for c in [config, *changed]}) == 6
