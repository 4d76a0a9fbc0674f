"""Configs, records and checkpoints from somebody hostile: nothing in them is ever run, or read from the environment."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mixbench as package

TINY = ("epochs=1", "dataset.train_size=200", "dataset.test_size=50", "batch_size=50")
OVERRIDES = [
    "augment._target_=os.system",
    "++augment={_target_:os.system}",
    "hydra.launcher._target_=os.system",
    "tracker={name:none,_target_:os.system}",
    "output_dir=${oc.env:HOME}",
    "output_dir='${oc.decode:${oc.env:HOME}}'",
    "data_dir=${oc.select:seed}/${hydra:runtime.cwd}",
    "opt.lr=${eval:1}",
]


@pytest.mark.fault("hostile")
@pytest.mark.parametrize("override", OVERRIDES)
@pytest.mark.parametrize("sweep", [(), ("-m", "seed=0,1")])
def test_an_override_cannot_call(mixbench, workplace: Path, override: str, sweep: tuple) -> None:
    """Status 2, the override is named, nothing begun."""
    done = mixbench("train", override, *TINY, *sweep)
    assert done.status == 2
    assert override in done.err
    assert "Traceback" not in done.err
    assert not Path("outputs").exists()


FILES = {
    "target": "defaults: [/schema/augment/mixup@_here_]\n_target_: os.system\n",
    "nested target": "defaults: [/schema/augment/mixup@_here_]\nalpha: {_target_: os.getcwd}\n",
    "environment": "defaults: [/schema/augment/mixup@_here_]\nalpha: ${oc.env:HOME}\n",
    "python tag": "defaults: [/schema/augment/mixup@_here_]\nalpha: !!python/object/apply:os.mkdir [owned]\n",
    "no YAML": "defaults: [\n",
    "no schema": "name: mixup\nalpha: 1.0\n",
    "launcher": "# @package _global_\nhydra: {launcher: {_target_: os.mkdir, name: owned}}\n",
}


@pytest.mark.fault("hostile")
@pytest.mark.parametrize("kind", FILES)
def test_an_option_file_cannot_call(mixbench, workplace: Path, kind: str) -> None:
    """A folder of option files given with --config-dir: status 2, one message, nothing called."""
    (workplace / "theirs" / "augment").mkdir(parents=True)
    (workplace / "theirs" / "augment" / "evil.yaml").write_text(FILES[kind])
    done = mixbench("train", "augment=evil", "--config-dir=theirs", *TINY)
    assert done.status == 2, done.out
    assert "Traceback" not in done.err
    assert not (workplace / "owned").exists()
    assert not Path("outputs").exists()


@pytest.mark.fault("hostile")
def test_the_environment_stays_out_of_records(mixbench, workplace: Path, monkeypatch) -> None:
    """A secret in the environment, and one in a reference, stand in no file of the run."""
    monkeypatch.setenv("MIXBENCH_SECRET", "hunter2hunter2")
    assert mixbench("train", "hydra.job.name=${oc.env:MIXBENCH_SECRET}", *TINY).status == 0
    files = [path for path in Path("outputs").rglob("*") if path.is_file()]
    assert len(files) >= 5
    assert not [path for path in files if b"hunter2" in path.read_bytes()]


def calls() -> Iterator[tuple[str, ast.Call]]:
    for path in Path(package.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield f"{path.name}: {ast.unparse(node)}", node


def test_nothing_in_the_source_runs_what_it_reads() -> None:
    """Oracle: the syntax tree. torch.load with weights_only, np.load without pickle, no eval, exec, yaml.load."""
    loads = 0
    for text, node in calls():
        name = ast.unparse(node.func)
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        assert name not in ("eval", "exec", "os.system", "yaml.load", "yaml.unsafe_load"), text
        assert not name.startswith(("pickle.load", "cloudpickle", "dill", "hydra.utils.instantiate")), text
        assert given.get("shell", "False") == "False", text
        if name == "torch.load":
            assert given["weights_only"] == "True", text
        if name == "np.load":
            assert given["allow_pickle"] == "False", text
        loads += name in ("torch.load", "np.load")
    assert loads >= 3
