"""SAM of another package in our loop trains the same weights, so that a comparison of times is one of equals."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from epochs import train_epochs
from recorded_graph import stand_in
from torch import Tensor

from mixbench.bench import measure
from mixbench.bench.packaged import PACKAGE, packaged_loop, version
from mixbench.bench.subjects import configured, made_up
from mixbench.engine.loop import Loop
from mixbench.schema.specs import find
from mixbench.summarize.sheet import Sheet
from mixbench.training.build import build_loop

CPU = torch.device("cpu")
TINY = ["dataset=digits", "model=small_cnn", "batch_size=16", "precision=float32"]
needs_package = pytest.mark.skipif(version() is None, reason=f"{PACKAGE} is not installed")

# SAM by its equations, for a machine without the package; `step` as the package's own.
STAND_IN = """
import torch

class SAM(torch.optim.Optimizer):
    def __init__(self, params, base_optimizer, rho, **options):
        super().__init__(params, {"rho": rho, **options})
        self.base_optimizer = base_optimizer(self.param_groups, **options)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def step(self, closure):
        weights = [w for group in self.param_groups for w in group["params"]]
        before, length = [w.clone() for w in weights], torch.stack([w.grad.norm() for w in weights]).norm()
        for w in weights:
            w += self.param_groups[0]["rho"] * w.grad / (length + 1e-12)
        self.zero_grad()
        with torch.enable_grad():
            closure()
        for w, old in zip(weights, before):
            w.copy_(old)
        self.base_optimizer.step()
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A stand-in of version 9.8.7, whatever is installed."""
    place = tmp_path / "installed"
    for name, text in ((PACKAGE, STAND_IN), (f"{PACKAGE}-9.8.7.dist-info", "")):
        (place / name).mkdir(parents=True)
        (place / name / "__init__.py").write_text(text)
    (place / f"{PACKAGE}-9.8.7.dist-info" / "METADATA").write_text(f"Name: {PACKAGE}\nVersion: 9.8.7\n")
    monkeypatch.syspath_prepend(place)
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        monkeypatch.delitem(sys.modules, name)
    yield
    sys.modules.pop(PACKAGE, None)


def trained(loop: Loop, epochs: int = 2) -> dict[str, Tensor]:
    """Weights, statistics and momentum after epochs of 8 steps, and the losses of the last one's."""
    train_epochs(loop, epochs)
    momentum = {f"momentum {i}": s["momentum_buffer"] for i, s in enumerate(loop.rule.base.state.values())}
    return {**loop.model.state_dict(), **momentum, "losses": loop.metrics.step_losses}


def loops(*overrides: str) -> tuple[Loop, Loop]:
    """Ours and the one with the package's SAM."""
    splits = made_up(find("digits"), 16 * 8)
    config = configured("G-Mix", [*TINY, *overrides])
    return build_loop(config, CPU, splits), packaged_loop(config, CPU, splits)


def assert_the_same_weights(*overrides: str, apart: tuple[str, ...] = ()) -> None:
    ours, theirs = (trained(loop) for loop in loops(*overrides))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        close = torch.allclose(value.float(), theirs[name].float(), rtol=1e-4, atol=1e-5)
        assert close != name.endswith(apart), name


@needs_package
@pytest.mark.parametrize("overrides", [[], ["opt.nesterov=true", "schedule=cosine", "accumulate=2"]])
def test_the_package_trains_our_weights(overrides: list[str]) -> None:
    """Oracle: our SAM on the same batches, float32, 16 steps, with running statistics of both passes as there: weights,
    statistics, momentum and losses to rounding. With those of the first pass only, the statistics alone differ.
    """
    assert_the_same_weights(*overrides, "opt.bn_stats=both")
    apart = ("running_mean", "running_var", "num_batches_tracked")
    assert_the_same_weights(*overrides, "opt.bn_stats=first", apart=apart)


def test_a_stand_in_of_the_package_trains_our_weights(package: None) -> None:
    """Oracle: the same, with SAM by its equations in the package's place."""
    assert_the_same_weights("opt.bn_stats=both")


@needs_package
def test_the_package_is_recorded_as_ours_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: its steps without a graph, bit for bit. So on a GPU it loses no time to Python that ours does not."""
    stand_in(monkeypatch)
    plain, recorded = loops()[1], loops()[1]
    recorded.cuda_graph = True
    expected, found = trained(plain), trained(recorded)
    assert recorded._graph.updates
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


def test_without_the_package_one_line_says_so(mixbench: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: what is not installed is named once, and the rest is measured."""
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    assert version() is None
    rows, _, out = measured(mixbench, monkeypatch, "precision=float32")
    assert out.count(f"{PACKAGE} is not installed (pip install {PACKAGE}): its SAM is left out\n") == 1
    assert rows == [
        "SAM",
        "SAM, plain loop: float32, contiguous",
        "SAM, plain loop: float32, channels_last",
        "ERM",
        "ERM, plain loop: float32, contiguous",
        "ERM, plain loop: float32, channels_last",
    ]


def test_the_table_says_what_is_compared(
    package: None, mixbench: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand: the package's line, its version, and each SAM's time in steps of the ERM of the same loop."""
    rows, sheet, _ = measured(mixbench, monkeypatch, "precision=bf16")
    assert rows == [
        "SAM",
        "SAM, plain loop: float32, contiguous",
        "SAM, plain loop: bf16, channels_last",
        f"SAM, {PACKAGE}",
        "ERM",
        "ERM, plain loop: float32, contiguous",
        "ERM, plain loop: bf16, channels_last",
    ]
    said = f"ours bf16, channels_last; {PACKAGE} 9.8.7: its SAM in our loop, all else as in ours"
    assert sheet.conditions.endswith(said)
    column = sheet.head.index("/ 2 ERM")
    # Seconds of a step, from the first line on: 1, 2, ... 7.
    assert [row[column] for row in sheet.rows] == ["0.100", "0.167", "0.214", "0.400", "-", "-", "-"]
    ratios = [row[sheet.head.index("ratio")].split()[0] for row in sheet.rows]
    assert ratios == ["1.00", "2.00", "3.00", "4.00", "1.00", "1.20", "1.40"]


def measured(mixbench: Callable, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> tuple:
    """First column, sheet and output of `bench --loop plain` where the i-th subject's steps take i + 1 seconds."""

    def timed(subjects: list, *_: object, **__: object) -> list[measure.Timing]:
        for subject in subjects:
            if "plain" not in subject.name:  # whose workers take seconds to begin
                next(subject.steps)
        return [
            measure.Timing(s.name, s.batch_size, 1.0, 1e9, None, [i, i], [i, i])
            for i, s in enumerate(subjects, start=1)
        ]

    monkeypatch.setattr(measure, "timed", timed)
    monkeypatch.setattr(measure, "matrix_rate", lambda device, dtype: 1e9)
    tiny = ["dataset=cifar10", "model=small_cnn", "batch_size=16", *overrides]
    done = mixbench("bench", *tiny, "--rounds=2", "--loop=plain", "--", "SAM", "ERM")
    assert done.status == 0, done.err
    sheet = Sheet.read(Path("outputs/bench/plain.json"))
    return [row[0] for row in sheet.rows], sheet, done.out
