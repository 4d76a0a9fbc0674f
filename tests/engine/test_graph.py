"""Steps as a CUDA graph. What needs no GPU is tested on the CPU with a recorder that stands in for the graph."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from epochs import train_epochs
from recorded_graph import RecordedGraph, stand_in
from torch import Tensor

from mixbench.bench.subjects import METHODS, configured, made_up
from mixbench.engine import graph
from mixbench.engine import loop as engine_loop
from mixbench.engine.graph import WARM_UP, relative_difference
from mixbench.engine.loop import Loop
from mixbench.engine.position import Position
from mixbench.engine.progress import Progress
from mixbench.schema.specs import find
from mixbench.training.build import build_loop, graph_choice

CPU = torch.device("cpu")
TINY = ["dataset=digits", "model=small_cnn", "batch_size=16"]
# What the host may decide of a step: PuzzleMix's blocks, Manifold Mixup's stage, whether LookSAM climbs.
CHOICES = {
    "PuzzleMix": {(2, None), (4, None), (8, None)},
    "Manifold Mixup": {(0, None), (1, None), (2, None)},
    "LookSAM": {(None, True), (None, False)},
}


def loop_of(method: str, device: torch.device, *overrides: str) -> Loop:
    """Epochs of 8 steps, and with drop_last=false a smaller one."""
    return build_loop(configured(method, [*TINY, *overrides]), device, made_up(find("digits"), 16 * 8 + 5))


def run(loop: Loop, epochs: int = 2) -> list[Tensor]:
    """Weights, statistics and metrics after some epochs of 8 steps."""
    train_epochs(loop, epochs)
    return [t.detach().clone() for t in loop._changing()]


def whole(loop: Loop) -> list[dict[str, float]]:
    """Rows of a training run, with evaluations after its epochs; the seconds are left out."""
    position = Position()
    with Progress(1, 0, loop.steps, 16, shown=False) as progress:
        while not loop.finished(position):
            for _ in loop.run_epoch(position, progress):
                pass
            loop.close_epoch(position)
    return [{k: v for k, v in row.items() if not k.endswith("seconds") and v == v} for row in position.rows]


class IdleGraph(RecordedGraph):
    """A replay that does nothing, as if the recording had missed everything."""

    def replay(self) -> None: ...


def _refuse(*_: Any, **__: Any) -> Any:
    raise RuntimeError("operation not permitted when stream is capturing\nand more")


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """StepGraph on the CPU, with recordings that are replayed without Python."""
    stand_in(monkeypatch)


# What changes from step to step, and what happens between steps, with the methods that could notice.
CIRCUMSTANCES = [
    ("ERM", "schedule=cosine schedule.warmup_epochs=1"),
    ("ERM", "schedule=step"),
    ("G-Mix", "ema.decay=0.9"),
    ("ERM", "drop_last=false dataset.crop_padding=2"),
    ("ERM", "clip_norm=0.1 label_smoothing=0.1"),
    ("G-Mix", "accumulate=2"),
    ("BG-Mix", "accumulate=2"),
    ("DG-Mix", "accumulate=2"),
    ("G-Mix", "precision=bf16"),
    ("Mixup", "augment.per_sample=true augment.prob=0.7 augment.pairing=derange"),
    ("CutMix", "augment.per_sample=true augment.prob=0.5"),
    ("HMix", "augment.gamma=0.5"),
    ("GMix", "augment.variant=paper"),
    ("SAM", "opt.decay_in_ascent=true opt.bn_stats=both opt.perturb=no_norm_bias"),
    ("PuzzleMix", "precision=bf16 opt=sam"),
    ("Manifold Mixup", "opt=looksam opt.k=2 drop_last=false"),
    ("LookSAM", "opt.k=1"),
]
# Those that compute with the learning rate in float64, where a graph's is a float32 tensor.
ROUNDED = [
    ("GSAM", "schedule=cosine opt.rho_min=0.01"),
    ("ERM", "opt=adam"),
    ("ERM", "opt=adamw schedule=cosine"),
    ("SAM", "opt.base=adam schedule=step"),
]


@pytest.mark.parametrize(("method", "overrides"), [*((m, "") for m in METHODS), *CIRCUMSTANCES])
def test_recorded_steps_are_the_plain_ones(method: str, overrides: str, fake_cuda: None) -> None:
    """Oracle: the loop without a graph, bit for bit: order, random numbers, learning rates, metrics, evaluations."""
    plain, recorded = (loop_of(method, CPU, *overrides.split(), "epochs=2") for _ in range(2))
    assert_recorded_alike(plain, recorded)


@pytest.mark.parametrize(("method", "overrides"), ROUNDED)
def test_recorded_steps_at_a_rounded_rate(method: str, overrides: str, fake_cuda: None) -> None:
    """Oracle: the same steps, with the learning rate in a tensor, of which none is recorded, bit for bit."""
    plain, recorded = (loop_of(method, CPU, *overrides.split(), "epochs=2") for _ in range(2))
    plain.cuda_graph, plain._graph.usable = True, False
    assert_recorded_alike(plain, recorded)


def assert_recorded_alike(plain: Loop, recorded: Loop) -> None:
    """The rows of both loops, and all that their steps change, are equal; the second one's steps were recorded."""
    recorded.cuda_graph = True
    assert whole(plain) == whole(recorded)
    assert all(map(torch.equal, plain._changing(), recorded._changing()))
    assert recorded._graph.updates
    assert recorded._graph.steps_run == WARM_UP + len(recorded._graph.updates)


@pytest.mark.parametrize(("method", "choices"), CHOICES.items())
def test_each_choice_of_the_host_is_recorded(
    method: str, choices: set, fake_cuda: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand: in 64 steps all choices come up, and each has a graph; then steps are settled, and not before."""
    monkeypatch.setattr(engine_loop, "UNCHANGED", 16)
    loop = loop_of(method, CPU)
    loop.cuda_graph = True
    run(loop, epochs=1)
    assert not loop.steps_are_settled()
    train_epochs(loop, 8)
    assert loop._graph.updates.keys() == choices
    assert loop.steps_are_settled()


def test_a_choice_that_cannot_be_recorded_ends_all_recording(
    fake_cuda: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: the loop without a graph, bit for bit. LookSAM climbs in the steps 0, 5, 10; one between comes first."""
    plain, recorded = loop_of("LookSAM", CPU), loop_of("LookSAM", CPU)
    recorded.cuda_graph = True
    capture, captured = torch.cuda.graph, []

    def failing(*arguments: Any, **options: Any) -> Any:
        captured.append(len(recorded._graph.updates))
        return _refuse() if captured[-1] else capture(*arguments, **options)

    monkeypatch.setattr(torch.cuda, "graph", failing)
    assert all(map(torch.equal, run(plain), run(recorded)))
    assert captured == [0, 0, 1]  # the batch, a step between, a climb
    assert not recorded._graph.updates
    assert len(caplog.records) == 1


def test_a_second_recording_without_memory_is_given_up(
    fake_cuda: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: the loop without a graph, bit for bit, though memory ends within the second kind of step; without any
    recording, which could be given up, the error comes through.
    """
    plain, recorded = loop_of("LookSAM", CPU), loop_of("LookSAM", CPU)
    recorded.cuda_graph = True
    second_pass, full = recorded.rule.second_pass, [False]

    def failing(*arguments: Any) -> None:
        second_pass(*arguments)
        if full[0] or recorded._graph.updates:
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(recorded.rule, "second_pass", failing)
    assert all(map(torch.equal, run(plain), run(recorded)))
    assert not recorded._graph.usable
    assert ["no memory is left" in record.message for record in caplog.records] == [True]
    full[0] = True
    with pytest.raises(torch.OutOfMemoryError):
        run(recorded)


def test_a_loss_scale_moves_in_recorded_steps(fake_cuda: None) -> None:
    """Oracle: the loop without a graph, bit for bit, also from a scale at which steps are skipped until it fits."""
    plain, recorded = (loop_of("ERM", CPU, "precision=fp16", "clip_norm=1") for _ in range(2))
    recorded.cuda_graph = True
    scalers = [loop.rule.scaler for loop in (plain, recorded)]
    for scale in (2.0**8, 2.0**24):
        for scaler in scalers:
            scaler.load_state_dict(scaler.state_dict() | {"scale": scale})
        assert all(map(torch.equal, run(plain, epochs=1), run(recorded, epochs=1)))
        one, other = (scaler.state_dict() for scaler in scalers)
        assert one == other
    assert recorded._graph.updates
    assert 1 < one["scale"] < 2**24


def test_a_step_that_moves_nothing_is_not_recorded(fake_cuda: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: the learning rate is 0 in the first six of eight steps; what is recorded wrongly then shows."""
    loop = loop_of("ERM", CPU)
    loop.cuda_graph, loop.learning_rate = True, lambda progress: 0.1 * (progress >= 6 / 8)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", IdleGraph)
    run(loop, epochs=1)
    assert loop._graph.steps_run == 8
    assert not loop._graph.usable


def test_what_python_computes_in_a_recorded_step_shows(
    fake_cuda: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in does not call a step again: a radius that Python counts up stays what it was while recording."""
    plain, recorded = loop_of("SAM", CPU), loop_of("SAM", CPU)
    recorded.cuda_graph = True
    calls = Counter[object]()

    def radius(rule: object) -> float:
        calls[rule] += 1
        return 0.01 * calls[rule]

    monkeypatch.setattr(type(plain.rule), "radius", radius)
    assert not all(map(torch.equal, run(plain), run(recorded)))
    assert (calls[plain.rule], calls[recorded.rule]) == (16, WARM_UP + 2)


@pytest.mark.parametrize(
    ("what", "replacement", "said"),
    [
        ("graph", _refuse, "cannot be recorded (operation not permitted when stream is capturing)"),
        ("CUDAGraph", IdleGraph, "differs from a plain one by 1 of its length"),
    ],
)
def test_a_failed_recording_changes_nothing(
    what: str,
    replacement: Any,
    said: str,
    fake_cuda: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Oracle: the loop without a graph, bit for bit; one warning says why."""
    monkeypatch.setattr(torch.cuda, what, replacement)
    plain, recorded = loop_of("G-Mix", CPU), loop_of("G-Mix", CPU)
    recorded.cuda_graph = True
    assert all(map(torch.equal, run(plain), run(recorded)))
    assert not recorded._graph.updates
    assert [said in record.message for record in caplog.records] == [True]


class Generator:
    """As far as a graph is concerned: it refuses a seed while its state says that a recording is under way."""

    def __init__(self) -> None:
        self.device, self.state = torch.device("cuda", 0), {"recording": False, "seed": 1}

    def graphsafe_get_state(self) -> dict:
        return self.state

    def graphsafe_set_state(self, state: dict) -> None:
        self.state = state

    def clone_state(self) -> dict:
        return dict(self.state)

    def manual_seed(self, seed: int) -> None:
        assert not self.state["recording"], "cannot be seeded while recording"
        self.state["seed"] = seed


def test_after_a_broken_recording_generators_and_stream_are_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Oracle: what torch 2.11 was seen to leave: states that say that they record, and the recording's stream."""
    own, default, streams = Generator(), Generator(), ["usual"]
    monkeypatch.setattr(torch.cuda, "default_generators", [default])
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: streams[-1])
    monkeypatch.setattr(torch.cuda, "set_stream", streams.append)
    restore = graph._captured_apart(own)
    for generator in (own, default):
        generator.state["recording"] = True
    streams.append("recording")
    restore()
    assert streams[-1] == "usual"
    for generator in (own, default):
        generator.manual_seed(2)
        assert generator.state == {"recording": False, "seed": 2}


def test_relative_difference() -> None:
    """Closed form: moved by (3, 4), apart by 1; what does not count is ignored, NaN stays NaN."""
    before, one = [torch.zeros(2), torch.zeros(1)], [torch.tensor([3.0, 4.0]), torch.ones(1)]
    other = [torch.tensor([3.0, 5.0]), torch.full((1,), 100.0)]
    assert relative_difference(before, one, other, [True, False]) == pytest.approx(0.2)
    assert relative_difference(before, before, before, [True, True]) == 0
    nan = [torch.full((2,), torch.nan), torch.zeros(1)]
    assert not relative_difference(before, one, nan, [True, True]) <= 1


@pytest.mark.parametrize(
    ("method", "overrides", "said"),
    [
        ("G-Mix", [], "steps as a CUDA graph (cuda_graph=true)"),
        ("G-Mix", ["cuda_graph=false"], "steps one by one (cuda_graph=false)"),
        ("ERM", ["precision=fp16"], "steps as a CUDA graph (cuda_graph=true)"),
        ("PuzzleMix", [], "steps as a CUDA graph (cuda_graph=true)"),
        ("LookSAM", [], "steps as a CUDA graph (cuda_graph=true)"),
    ],
)
def test_the_choice_and_its_reason(method: str, overrides: list[str], said: str) -> None:
    """By hand; without a GPU there is nothing to say."""
    config = configured(method, ["dataset=cifar10", "model=small_cnn", *overrides])
    loop = build_loop(config, CPU, made_up(find("cifar10"), 200))
    assert graph_choice(config, torch.device("cuda"), loop.augment, loop.rule, loop.model) == (
        "as a CUDA graph" in said,
        said,
    )
    assert graph_choice(config, CPU, loop.augment, loop.rule, loop.model) == (False, "")


def test_what_the_host_decides_unsaid_is_not_recorded() -> None:
    """By hand: an augmentation that asks the model and does not say what it decides, one that computes on the
    processor, a rule whose steps differ. A plugin may have any of these.
    """
    cuda = torch.device("cuda")
    config = configured("PuzzleMix", ["dataset=cifar10", "model=small_cnn"])
    loop = build_loop(config, CPU, made_up(find("cifar10"), 200))
    config.augment.solver = "gco"
    said = "steps one by one (augment.solver=gco computes on the processor)"
    assert graph_choice(config, cuda, loop.augment, loop.rule, loop.model) == (False, said)
    config.augment.solver = "torch"
    loop.rule.alike = False
    said = "steps one by one (opt=sgd: not all of its steps are alike)"
    assert graph_choice(config, cuda, loop.augment, loop.rule, loop.model) == (False, said)
    said = "steps one by one (augment=puzzlemix asks the model)"
    assert graph_choice(config, cuda, SimpleNamespace(uses_model=True), loop.rule, loop.model) == (
        False,
        said,
    )


def test_no_graph_with_dropout() -> None:
    """A second pass needs the first one's masks; dropout of nothing is none."""
    config = configured("G-Mix", ["dataset=cifar10", "model=small_cnn"])
    loop = build_loop(config, CPU, made_up(find("cifar10"), 200))
    for share, usable in ((0.5, False), (0.0, True)):
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(share), torch.nn.Linear(3072, 10))
        chosen, said = graph_choice(config, torch.device("cuda"), loop.augment, loop.rule, model)
        assert chosen == usable
        assert ("model=small_cnn has dropout" in said) == (not usable)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
@pytest.mark.parametrize("method", METHODS)
def test_on_a_gpu(method: str, precision: str, caplog: pytest.LogCaptureFixture) -> None:
    """Oracle: plain steps on the same GPU, from the same weights; the losses of all steps to rounding. When an epoch is
    trained for the third time, each choice of the host in it is recorded, and all steps are replays.
    """
    cuda = torch.device("cuda")
    overrides = ["dataset=digits", f"precision={precision}"]
    plain, recorded = loop_of(method, cuda, *overrides, "cuda_graph=false"), loop_of(method, cuda, *overrides)
    assert (plain.cuda_graph, recorded.cuda_graph) == (False, True)
    tolerance = 1e-3 if precision == "float32" else 3e-2
    for _ in range(3):
        run(plain, epochs=1)
        run(recorded, epochs=1)
        torch.testing.assert_close(
            recorded.metrics.step_losses, plain.metrics.step_losses, rtol=tolerance, atol=tolerance
        )
        with torch.no_grad():
            for one, other in zip(plain._changing(), recorded._changing(), strict=True):
                one.copy_(other)
    assert recorded._graph.replays >= 8, caplog.text


@pytest.mark.parametrize(
    "method",
    [
        "ERM",
        "opt=adam",
        "MixupE",
        "PuzzleMix",
        "Manifold Mixup",
        "G-Mix",
        "LookSAM",
        "BG-Mix, subset",
        "DG-Mix, logit",
    ],
)
def test_a_loop_leaves_no_memory_behind(method: str, fake_cuda: None) -> None:
    """By hand: with the last name of a loop, its tensors go at once, though Python does not look for circles."""
    assert_nothing_is_left(method, graph=True)


@pytest.mark.parametrize("method", ["ERM", "G-Mix"])
def test_a_compiled_network_leaves_no_memory_behind(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: the same with compile=true, whose compiler here takes over what Python does."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    assert_nothing_is_left(method, "compile=true", graph=False)


def assert_nothing_is_left(method: str, *overrides: str, graph: bool) -> None:
    """All tensors of a loop, and its graph, go with its last name."""
    gc.collect()
    gc.disable()
    try:
        loop = loop_of(method, CPU, *overrides)
        loop.cuda_graph = graph
        run(loop, epochs=1)
        kept = [weakref.ref(tensor) for tensor in loop._changing()]
        if graph:
            kept.append(weakref.ref(loop._graph))
        del loop
        assert {ref() for ref in kept} == {None}
    finally:
        gc.enable()
