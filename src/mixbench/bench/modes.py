"""What `mixbench bench` can measure, each as a table of its own. Torch is loaded when all mistakes have been told."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mixbench.errors import ConfigError


@dataclass(frozen=True)
class Request:
    """What was asked for, checked."""

    overrides: list[str]
    methods: list[str]
    rounds: int
    seconds: float
    out: Path
    command: str


def _methods(request: Request) -> None:
    from mixbench.bench.subjects import METHODS, configured

    methods = request.methods or list(METHODS)
    configs = {
        method: configured(method, request.overrides) for method in methods
    }  # all mistakes, before torch

    from mixbench.bench.subjects import subject

    subjects = [subject(name, config, _device(request)) for name, config in configs.items()]
    _timed(request, subjects, "Cost of a training step", "methods")


def _plain(request: Request) -> None:
    from mixbench.bench.subjects import configured

    methods = request.methods or ["ERM", "Mixup", "CutMix", "SAM", "G-Mix"]
    configs = {method: configured(method, request.overrides) for method in methods}

    from mixbench.bench import packaged
    from mixbench.bench.plain import beside, memory_format

    version = packaged.version()
    subjects, references, passes = beside(configs, _device(request), packaged=version is not None)
    config = next(iter(configs.values()))
    compared = f"ours {config.precision}, {memory_format(config)}"
    if any(config.opt.name == "sam" for config in configs.values()):
        if version is None:
            _tell(
                f"{packaged.PACKAGE} is not installed (pip install {packaged.PACKAGE}): its SAM is left out"
            )
        else:
            compared += f"; {packaged.PACKAGE} {version}: its SAM in our loop, all else as in ours"
    _timed(request, subjects, "Beside the loop written by hand", "plain", references, passes, compared)


def _scaling(request: Request) -> None:
    from mixbench.bench.growth import HEAD, grown
    from mixbench.bench.scaling import varied

    subjects = varied(_one_method(request), request.overrides, _device(request))
    _timed(request, subjects, "Growth of the cost of an image", "scaling")
    with tempfile.TemporaryDirectory() as scratch:
        rows = grown(Path(scratch))
    _listed(request, "Growth with runs, epochs and cells", HEAD, rows, "growth")


def _timed(
    request: Request,
    subjects: Sequence,
    title: str,
    name: str,
    references: Sequence[int] | None = None,
    passes: Sequence[int | None] | None = None,
    compared: str = "",
) -> None:
    from mixbench.bench import result
    from mixbench.bench.measure import matrix_rate, timed
    from mixbench.bench.subjects import configured
    from mixbench.machine.devices import DTYPES
    from mixbench.training.environment import environment

    device = _device(request)
    rate = matrix_rate(device, DTYPES[configured("ERM", request.overrides).precision])
    timings = timed(subjects, device, rounds=request.rounds, burst=request.seconds, tell=_tell)
    found = result.lines(
        timings, rate, asynchronous=device.type != "cpu", references=references, passes=passes
    )
    conditions = f"{_conditions(request)}; matrix products {rate / 1e9:,.0f} GFLOP/s; {request.rounds} rounds"
    conditions += f"; {compared}" if compared else ""
    made = result.sheet(found, title, conditions, request.command)
    result.write(found, made, environment(device), request.out, name)
    print(f"\n{made.text()}\n\nwritten: {request.out / name}.csv, .json, .env.json")


def _together(request: Request) -> None:
    method = _one_method(request)

    from mixbench.bench.scaling import side_by_side

    rates, how = side_by_side(method, request.overrides, _device(request), 5 * request.seconds)
    rows = [[f"{n}", f"{rate:,.0f}", f"{rate / rates[1]:.2f}"] for n, rate in rates.items()]
    head = ["runs at once", "images/s together", "relative to one"]
    title = f"Runs of {method} at once on one device{how and f', {how}'}"
    _listed(request, title, head, rows, "together")


def _processes(request: Request) -> None:
    method = _one_method(request)
    device = _device(request)
    if device.type != "cpu":
        raise ConfigError(
            f"device={device}: --processes compares ways to start a run on a processor; allowed: cpu."
        )

    import torch

    from mixbench.bench.processes import HEAD, compared, starts

    ways = starts(torch.get_num_threads())
    rows = compared(method, request.overrides, ways, request.rounds, request.seconds, _tell)
    _listed(request, f"Steps of {method} in processes that are started differently", HEAD, rows, "processes")


def _profile(request: Request) -> None:
    from mixbench.bench.subjects import configured

    method = _one_method(request)
    config = configured(method, request.overrides)

    from mixbench.bench.profile import profiled
    from mixbench.bench.subjects import subject

    device = _device(request)
    found = profiled(subject(method, config, device), device)
    rows = [[group, f"{100 * share:.1f} %"] for group, share in found]
    _listed(request, f"Where the time of a step of {method} goes", ["operations", "share"], rows, "profile")


def _loading(request: Request) -> None:
    from mixbench.bench.subjects import configured

    method = _one_method(request)
    config = configured(method, request.overrides)

    from mixbench.bench.loading import HEAD, rates

    found = rates(method, config, _device(request), request.seconds, request.rounds)
    _listed(request, f"Reading pictures, beside steps of {method}", HEAD, [*found.rows()], "loading")


def _startup(request: Request) -> None:
    from mixbench.bench.startup import measured, programs

    with tempfile.TemporaryDirectory() as scratch:
        found = measured(*programs(request.overrides, scratch), request.rounds)
    labels = {
        "bare": "import torch, build the model (s)",
        "train": "mixbench train to its first step (s)",
        "ratio": "ratio",
    }
    rows = []
    for key, label in labels.items():
        low, median, high = found[key]
        rows.append([label, f"{median:.2f}", f"{low:.2f} to {high:.2f}"])
    _listed(request, "Start-up", ["from the prompt", "median", "quartiles"], rows, "startup")


def _listed(request: Request, title: str, head: list[str], rows: list[list[str]], name: str) -> None:
    from mixbench.summarize.sheet import Sheet

    sheet = Sheet(title, _conditions(request), request.command, head, rows)
    sheet.write(request.out / f"{name}.json")
    print(f"{sheet.text()}\n\nwritten: {request.out / name}.json")


def _one_method(request: Request) -> str:
    """The METHOD of a mode that takes one. A mistake in it is told here, not by the processes that would train it."""
    from mixbench.bench.subjects import configured

    if len(request.methods) > 1:
        raise ConfigError(f"{' '.join(request.methods)}: here it is one METHOD at a time.")
    method = request.methods[0] if request.methods else "G-Mix"
    configured(method, request.overrides)
    return method


def _device(request: Request):  # type: ignore[no-untyped-def]  # a torch.device, and torch is not to be loaded here
    from mixbench.bench.subjects import configured
    from mixbench.machine.devices import resolve_device, set_determinism

    config = configured("ERM", request.overrides)
    set_determinism(config.deterministic)
    return resolve_device(config.device)[0]


def _conditions(request: Request) -> str:
    """Device, versions, model, data, batch, precision, commit."""
    from mixbench.bench.subjects import configured
    from mixbench.schema.model import label
    from mixbench.training.environment import environment

    config, made = configured("ERM", request.overrides), environment(_device(request))
    on = f"{made['cpu']}, {made['threads']} threads"
    if made["device"] != "cpu":
        on = f"{made['device_name']}, driver {made['driver']}"
    commit = (made["commit"] or f"mixbench {made['mixbench']}")[:10] + (
        " with changes" if made["uncommitted"] else ""
    )
    compiled = ", compiled" if config.compile else ""
    return (
        f"{label(config.model)}, {config.dataset.label()}, {config.batch_size} images a step,"
        f" {config.precision}{compiled}; {on}; torch {made['packages']['torch']}; commit {commit}"
    )


def _tell(line: str) -> None:
    print(line, flush=True)


MODES = {
    "methods": _methods,
    "plain": _plain,
    "scaling": _scaling,
    "together": _together,
    "processes": _processes,
    "profile": _profile,
    "loading": _loading,
    "startup": _startup,
}
