"""Shared fixtures: one thread per process, a data folder for the session, an output folder per test."""

from __future__ import annotations

import copy
import os
import shutil
import signal
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

# Before torch is imported: tests run side by side, and equal thread counts make results comparable bit for bit
# between processes.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault(
    "OMP_WAIT_POLICY", "PASSIVE"
)  # for tests that take more, as mixbench.machine.process has it

import pytest

# In the background of a shell Ctrl-C is ignored, by all processes that are started here as well; tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Note in the report which row of the fault table a test belongs to; scripts/faults.py reads it there."""
    for item in items:
        mark = item.get_closest_marker("fault")
        if mark is not None:
            item.user_properties.append(("fault", mark.args[0]))


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that the tests of one worker share; the digits are prepared into it when first used."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def plugin_room(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No plugins; those that the test loads are forgotten after it."""
    from hydra.core.config_store import ConfigStore
    from hydra.core.plugins import Plugins

    from mixbench.config import compose, options, plugins

    def forget() -> None:
        compose._ours.cache_clear()
        options._option.cache_clear()
        plugins._installed.cache_clear()

    Plugins.instance()  # Hydra's own, which put their options into the store
    monkeypatch.setattr(plugins, "_options", {})
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.setattr(ConfigStore.instance(), "repo", copy.deepcopy(ConfigStore.instance().repo))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv(plugins.VARIABLE, raising=False)
    modules = set(sys.modules)
    forget()
    yield
    forget()
    libraries = tuple(sysconfig.get_paths()[kind] for kind in ("stdlib", "purelib", "platlib"))
    for name in set(sys.modules) - modules:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if not name.startswith(("mixbench.", "hydra_plugins.")) and not file.startswith(libraries):
            del sys.modules[name]  # of the test; a library with extension modules loads once


@pytest.fixture
def workplace(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, with the session's data folder in MIXBENCH_DATA."""
    monkeypatch.setenv("MIXBENCH_DATA", str(data_dir))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def reference_root(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """The output folder of the run in whole_runs.py, never stopped; only to be read."""
    from whole_runs import train_to_the_end

    place = tmp_path_factory.mktemp("reference")
    train_to_the_end(place / "printed", f"output_dir={place}", f"data_dir={data_dir}")
    return place


@pytest.fixture(scope="session")
def reference(reference_root: Path) -> tuple:
    """Weights and rows of that run."""
    from whole_runs import result

    return result(reference_root)


@pytest.fixture
def finished(reference_root: Path, workplace: Path) -> Path:
    """A copy of that run, to be written into: outputs/... in the current folder."""
    from whole_runs import only_run

    directory = only_run(reference_root)
    return Path(shutil.copytree(directory, Path("outputs") / directory.relative_to(reference_root)))


class Result:
    """Exit status and output of one command."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def mixbench(
    workplace: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable]:
    """Run a command line in this process: `mixbench("train", "epochs=1") -> Result`."""
    from mixbench.cli import run

    argv = sys.argv

    def command(*arguments: str) -> Result:
        capfd.readouterr()
        try:
            status = run(list(arguments))
        except SystemExit as end:
            status = int(end.code or 0)
        out, err = capfd.readouterr()
        return Result(status, out, err)

    yield command
    sys.argv = argv
