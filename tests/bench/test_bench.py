"""The benchmark's arithmetic against closed forms and NumPy; the command on a tiny network."""

from __future__ import annotations

import csv
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from epochs import train_epochs
from hypothesis import given
from hypothesis import strategies as st
from recorded_graph import stand_in

from mixbench.bench import measure, profile, result, subjects
from mixbench.bench.measure import Timing, matrix_rate, rotated, timed
from mixbench.bench.subjects import METHODS, Subject, configured, made_up, overrides_of, subject
from mixbench.engine import graph
from mixbench.engine.loop import Loop
from mixbench.errors import ConfigError
from mixbench.schema.specs import find
from mixbench.summarize.sheet import Sheet
from mixbench.training.build import build_loop

CPU = torch.device("cpu")
TINY = ["dataset=digits", "model=small_cnn", "batch_size=32"]


def tiny(method: str, *overrides: str) -> Subject:
    return subject(method, configured(method, [*TINY, *overrides]), CPU)


# ---------------------------------------------------------------- timing


def test_rounds_interleave_and_take_turns_in_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: a clock that every step moves by its own known amount, so each time is exact."""
    clock, order = [0.0], []
    monkeypatch.setattr(measure.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(measure, "flops", lambda s: 0.0)
    monkeypatch.setattr(measure, "memory", lambda s, d: None)

    def steps(name: str, seconds: float) -> Iterator[None]:
        for first in itertools.chain([5.0], itertools.repeat(0.0)):
            clock[0] += seconds + first
            order.append(name)
            yield

    subjects = [Subject(n, steps(n, s), 10, 0) for n, s in (("a", 0.5), ("b", 0.25), ("c", 2.0))]
    timings = timed(subjects, CPU, rounds=3, burst=1.0)
    assert [t.first_step for t in timings] == [5.5, 5.25, 7.0]
    assert [t.seconds for t in timings] == [[0.5] * 3, [0.25] * 3, [2.0] * 3]
    rounds = order[3 * (1 + measure.WARM_UP) :]
    one = {"a": ["a"] * 2, "b": ["b"] * 4, "c": ["c"]}  # about a second each, at least one step
    assert rounds == [step for turn in ("abc", "bca", "cab") for name in turn for step in one[name]]


def test_steps_of_different_cost_are_timed_in_whole_periods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the same clock, with every third step dearer. A burst of about a second is two periods, and the time of a
    step is their mean, wherever a burst begins."""
    clock = [0.0]
    monkeypatch.setattr(measure.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(measure, "flops", lambda s: 0.0)
    monkeypatch.setattr(measure, "memory", lambda s, d: None)

    def steps() -> Iterator[None]:
        for seconds in itertools.cycle([0.25, 0.125, 0.125]):
            clock[0] += seconds
            yield

    (timing,) = timed([Subject("a", steps(), 10, 0, period=3)], CPU, rounds=2, burst=1.0)
    assert timing.seconds == [0.5 / 3] * 2
    assert clock[0] == 0.25 + 0.5 * measure.WARM_UP + 2 * 2 * 0.5


@given(st.integers(1, 20), st.integers(0, 100))
def test_everybody_has_a_turn_and_every_place(n: int, by: int) -> None:
    """Properties: each round is a permutation; over n rounds everybody was first once."""
    assert sorted(rotated(n, by)) == list(range(n))
    assert sorted(rotated(n, by + i)[0] for i in range(n)) == list(range(n))


@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=9), st.floats(0.5, 3))
def test_statistics(seconds: list[float], factor: float) -> None:
    """Oracle: numpy.percentile; a method that takes `factor` times as long in every round has exactly that ratio."""
    first = Timing("ERM", 128, 1.0, 2e9, None, seconds, seconds)
    other = Timing("SAM", 128, 1.0, 4e9, 2**20, [factor * s for s in seconds], seconds)
    base, line = result.lines([first, other], 1e10, asynchronous=False)
    median = np.median(np.multiply(seconds, factor))
    assert (base.ratio, base.ratio_low, base.ratio_high) == (1, 1, 1)
    np.testing.assert_allclose([line.ratio_low, line.ratio, line.ratio_high], factor)
    np.testing.assert_allclose([line.ms, line.images_per_second], [1e3 * median, 128 / median])
    np.testing.assert_allclose([line.ms_low, line.ms_high], 1e3 * np.percentile(other.seconds, [25, 75]))
    np.testing.assert_allclose(line.share, 4e9 / median / 1e10)
    assert (line.memory_mib, line.host_ms) == (1, None)


# ---------------------------------------------------------------- counting


def linear_steps(batch: int, inputs: int, outputs: int) -> Iterator[None]:
    """Training steps of one linear layer without bias whose input needs no gradient."""
    layer = torch.nn.Linear(inputs, outputs, bias=False)
    x = torch.randn(batch, inputs)
    while True:
        layer.zero_grad()
        layer(x).sum().backward()
        yield


def test_operations_of_a_linear_layer() -> None:
    """Closed form: 2 B I O forward and as many for the weights' gradient."""
    one = Subject("linear", linear_steps(8, 5, 3), 8, 0)
    assert measure.flops(one) == 4 * 8 * 5 * 3


@pytest.mark.parametrize(
    ("method", "passes"),
    [("SAM", 2.0), ("GSAM", 2.0), ("LookSAM", 1.2), ("G-Mix", 2.0), ("BG-Mix", 2.0), ("DG-Mix", 8 / 3)],
)
def test_operations_of_two_pass_methods(method: str, passes: float) -> None:
    """Closed form: SAM is two steps of ERM, LookSAM one and every fifth time two, DG-Mix has one backward (two thirds
    of a step) more than SAM.

    The first layer needs no gradient for its input, so a backward is a little less than two forwards.
    """
    assert measure.flops(tiny(method)) / measure.flops(tiny("ERM")) == pytest.approx(passes, rel=0.02)


def test_memory_of_a_step_grows_with_the_batch() -> None:
    """Closed form: the activations of a larger batch, at least those of the first layer (32 channels, float32)."""
    small, large = (tiny("ERM", f"batch_size={n}") for n in (32, 128))
    sizes = []
    for one in (small, large):
        next(one.steps)
        sizes.append(measure.memory(one, CPU))
    weights = sum(p.numel() for p in _model().parameters()) * 4
    assert small.state_bytes == 3 * weights
    assert sizes[1] - sizes[0] > (128 - 32) * 32 * 8 * 8 * 4


def _model() -> torch.nn.Module:
    from mixbench.models import MODELS

    return MODELS["small_cnn"](1, 10)


@pytest.mark.parametrize(
    ("tick", "sizes"), [(0.5, {1024, 2048, 4096}), (1.0, {1024})], ids=["all", "till they take too long"]
)
def test_matrix_rate_is_the_best_of_all_sizes(
    tick: float, sizes: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed form: 2 n^3 operations a product, on a clock by which every product takes two ticks; the next size is
    believed to take eight times as long.
    """
    clock = itertools.count()
    products: list[int] = []
    monkeypatch.setattr(measure.time, "perf_counter", lambda: tick * next(clock))
    monkeypatch.setattr(measure.torch, "mm", lambda a, b: products.append(len(a)))
    rate = matrix_rate(CPU, torch.float32, burst=0.5 * tick)
    assert rate == max(sizes) ** 3 / tick
    assert set(products) == sizes


def test_groups_of_operators() -> None:
    """By hand, on names that the profiler gives on CPU and GPU; shares add up to one."""
    names = {
        "aten::mkldnn_convolution": "convolution, forward",
        "ConvolutionBackward0": "convolution, forward",
        "aten::convolution_backward": "convolution, backward",
        "aten::native_batch_norm_backward": "batch normalization",
        "aten::_fused_sgd_": "optimizer and SAM",
        "aten::_foreach_add_": "optimizer and SAM",
        "aten::addmm": "matrix product",
        "aten::threshold_backward": "activation",
        "aten::copy_": "casts and copies",
        "aten::index_select": "indexing",
        "something else": "other",
    }
    assert {name: profile.group_of(name) for name in names} == names
    shares = profile.shares(
        [("aten::mm", 3.0), ("aten::addmm", 1.0), ("aten::relu", 4.0), ("aten::foo", 8.0)]
    )
    assert shares == [("other", 0.5), ("matrix product", 0.25), ("activation", 0.25)]


def test_a_profile_begins_when_steps_are_replays(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: what is profiled are five replays, not the recording and its check; a stand-in records on the CPU."""
    stand_in(monkeypatch)
    built, seen = [], []

    def built_loop(*arguments: Any) -> Loop:
        built.append(build_loop(*arguments))
        built[0].cuda_graph = True
        return built[0]

    def opened(**_: Any) -> Any:
        seen.append(bool(built[0]._graph.updates))
        return plain()

    plain = torch.profiler.profile
    monkeypatch.setattr(subjects, "build_loop", built_loop)
    monkeypatch.setattr(torch.profiler, "profile", opened)
    assert profile.profiled(tiny("ERM"), CPU)
    assert seen == [True]
    assert built[0]._graph.steps_run == graph.WARM_UP + 1


@pytest.mark.parametrize("method", ["LookSAM", "PuzzleMix"])
def test_operations_are_counted_in_plain_steps(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the same method without a graph. A recording would count twice and a replay not at all; measured are
    replays, also where a period has more steps than a warm-up.
    """
    expected = measure.timed([tiny(method)], CPU, rounds=2, burst=0.0)[0]
    stand_in(monkeypatch)
    loops = []

    def built_loop(*arguments: Any) -> Loop:
        loops.append(build_loop(*arguments))
        loops[0].cuda_graph = True
        return loops[0]

    monkeypatch.setattr(subjects, "build_loop", built_loop)
    found = measure.timed([tiny(method)], CPU, rounds=2, burst=0.0)[0]
    assert found.flops == expected.flops
    assert found.memory == pytest.approx(expected.memory, rel=0.25)  # what the profiler sees moves by a tenth
    assert loops[0]._graph.replays > 30


# ---------------------------------------------------------------- subjects


def test_a_subject_trains_as_mixbench_does() -> None:
    """Oracle: the training loop itself, on the same images; weights after seven steps are equal, bit for bit."""
    config = configured("G-Mix", TINY)
    splits = made_up(find("digits"), 96)
    loop = build_loop(config, CPU, splits)
    train_epochs(loop, 2)
    timed_one = subject("G-Mix", config, CPU, splits)
    for _ in range(6):
        next(timed_one.steps)
    model = timed_one.steps.gi_frame.f_locals["loop"].model  # type: ignore[attr-defined]
    assert all(map(torch.equal, model.parameters(), loop.model.parameters()))


def test_methods_by_name_and_by_overrides() -> None:
    """Names in any case, overrides as they are, and a nearest name for a typo; every name composes."""
    assert overrides_of("g-mix") == ["augment=mixup", "opt=sam"]
    assert overrides_of("augment=gmix opt=sam") == ["augment=gmix", "opt=sam"]
    with pytest.raises(ConfigError, match=r"GMixx: no such method\. Did you mean 'GMix'"):
        overrides_of("GMixx")
    for name in METHODS:
        configured(name, TINY)


# ---------------------------------------------------------------- the command


def test_the_command_prints_and_writes(mixbench: Callable) -> None:
    """The printed table, the CSV and the JSON say the same."""
    done = mixbench("bench", *TINY, "precision=float32", "--rounds=2", "--seconds=0.01", "--", "ERM", "SAM")
    assert done.status == 0, done.err
    assert "small_cnn, digits, 32 images a step, float32" in done.out
    sheet = Sheet.read(Path("outputs/bench/methods.json"))
    assert sheet.text() in done.out
    with Path("outputs/bench/methods.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [row[0] for row in sheet.rows] == ["ERM", "SAM"]
    assert [f"{float(r['ratio']):.2f}" for r in rows] == [row[3].split()[0] for row in sheet.rows]
    assert json.loads(Path("outputs/bench/methods.env.json").read_text())["device"] == "cpu"


@pytest.mark.long
def test_beside_the_plain_loop(mixbench: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each method has three lines: ours, which the others' ratios refer to, the loop as usual, and as ours is."""
    overrides = ["dataset=cifar10", "model=small_cnn", "batch_size=32"]
    options = ["--rounds=2", "--seconds=0.01", "--loop=plain"]
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)  # what it adds is tested in test_packaged.py
    monkeypatch.setattr(
        measure, "matrix_rate", lambda device, dtype: 1e9
    )  # minutes without bfloat16 instructions
    for precision, methods in (("float32", ["ERM", "Mixup"]), ("bf16", ["SAM"])):
        done = mixbench("bench", *overrides, f"precision={precision}", *options, "--", *methods)
        assert done.status == 0, done.err
        rows = Sheet.read(Path("outputs/bench/plain.json")).rows
        loops = ("", ", plain loop: float32, contiguous", f", plain loop: {precision}, channels_last")
        assert [row[0] for row in rows] == [f"{name}{loop}" for name in methods for loop in loops]
        assert [row[3] == "1.00 (1.00 to 1.00)" for row in rows] == [row[0] in methods for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "first"),
    [
        ("scaling", "ERM: 32 images, 10 classes, 8 pixels"),
        pytest.param("together", "1", marks=pytest.mark.long),  # all three start processes
        pytest.param("processes", "nothing else", marks=pytest.mark.long),
        pytest.param("startup", "import", marks=pytest.mark.long),
    ],
)
def test_other_modes(mode: str, first: str, mixbench: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each prints the sheet that it writes, beginning with what the others are compared with."""
    from mixbench.bench import growth, processes, scaling

    ways = [processes.Start(), processes.Start({"OMP_WAIT_POLICY": "ACTIVE"}, ("channels_last=false",))]
    monkeypatch.setattr(processes, "starts", lambda threads: ways)
    monkeypatch.setattr(growth, "MEASURES", {"rows": (growth._row, 10, 20)})

    monkeypatch.setattr(scaling, "PIXELS", (8, 12))
    monkeypatch.setattr(scaling, "BATCH_SIZES", (16, 32))
    done = mixbench(
        "bench", *TINY, "precision=float32", "--rounds=2", "--seconds=0.01", f"--{mode}", "--", "ERM"
    )
    assert done.status == 0, done.err
    sheet = Sheet.read(Path(f"outputs/bench/{mode}.json"))
    assert sheet.text() in done.out
    assert sheet.rows[0][0].startswith(first)


def test_profile_shares_add_up(mixbench: Callable) -> None:
    """Closed form: shares of one whole, to rounding; a network of convolutions spends time in them."""
    assert mixbench("bench", *TINY, "--profile", "--", "SAM").status == 0
    rows = dict(Sheet.read(Path("outputs/bench/profile.json")).rows)
    shares = {group: float(share.rstrip(" %")) for group, share in rows.items()}
    assert sum(shares.values()) == pytest.approx(100, abs=0.05 * len(shares))
    assert shares["convolution, forward"] > 0
    assert shares["optimizer and SAM"] > 0


def test_markdown_of_a_sheet() -> None:
    """By hand."""
    sheet = Sheet("Cost", "a CPU", "mixbench bench", ["method", "ms"], [["ERM", "1.0"], ["SAM", "2.0"]])
    assert sheet.markdown() == (
        "| method | ms |\n| --- | ---: |\n| ERM | 1.0 |\n| SAM | 2.0 |\n\nCost: a CPU. Made with `mixbench bench`."
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds=1"], "--rounds 1: must be >= 2"),
        (["--seconds=0"], "--seconds 0: must be > 0"),
        (["--seconds=inf"], "--seconds inf: must be > 0 and finite"),
        (["GMix"], "GMix: is no KEY=VALUE; methods stand behind ' -- '"),
        (["--", "GMixx"], "GMixx: no such method"),
        (["--", "opt.rho=abc"], "opt.rho"),
        (["model=wrn17"], "model=wrn17: no such option"),
        (["--profile", "--", "Nothing"], "Nothing: no such method"),
        (["--together", "--", "Nothing"], "Nothing: no such method"),  # not by a process that fails for it
        (["--processes", "device=cpu", "--", "Nothing"], "mixbench bench: Nothing: no such method"),
        (["--scaling", "--", "ERM", "SAM"], "ERM SAM: here it is one METHOD at a time"),
        (["dataset=digits", "--loop=plain"], "--loop plain: trains on colour images, not on digits"),
    ],
)
def test_mistakes_are_one_message(mixbench: Callable, arguments: list[str], message: str) -> None:
    """Exit status 2, the message on standard error, no traceback, nothing measured."""
    done = mixbench("bench", *arguments)
    assert (done.status, done.out) == (2, "")
    assert message in done.err
    assert "Traceback" not in done.err


def test_a_folder_that_cannot_be_written_is_told_first(mixbench: Callable) -> None:
    """By hand: a file stands where the folder is to be. Nothing has been measured when it is said."""
    Path("taken").write_text("")
    done = mixbench("bench", *TINY, "--out=taken", "--", "ERM")
    assert (done.status, done.out) == (2, "")
    assert "taken: " in done.err
    assert "Traceback" not in done.err


def test_ctrl_c_promises_nothing(mixbench: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: nothing is kept, and the same command begins again. Exit status 130."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mixbench.bench.measure.timed", interrupted)
    monkeypatch.setattr("mixbench.bench.measure.matrix_rate", lambda device, dtype: 1e9)
    done = mixbench("bench", *TINY, "--", "ERM")
    assert (done.status, done.out) == (130, "")
    assert "stopped by Ctrl-C: a table is written when it is complete" in done.err
    assert "goes on" not in done.err


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_a_gpu(mixbench: Callable) -> None:
    """Host time is at most the time of a step, and memory is the allocator's."""
    assert mixbench("bench", *TINY, "--rounds=2", "--seconds=0.05", "--", "ERM", "G-Mix").status == 0
    with Path("outputs/bench/methods.csv").open() as file:
        for row in csv.DictReader(file):
            assert 0 < float(row["host_ms"]) <= float(row["ms"]) * 1.05
            assert float(row["memory_mib"]) > 0
