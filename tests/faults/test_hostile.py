"""Configs, records and checkpoints from somebody hostile: nothing in them is ever run, or read from the environment."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

import mixbench as package
from mixbench.config import plugins
from mixbench.config.trust import CALLING, LAUNCHERS, check_composed
from mixbench.errors import ConfigError

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
    "variable": "# @package _global_\nhydra: {job: {env_set: {PYTHONSTARTUP: owned.py}}}\n",
    "log handler": "# @package hydra.job_logging\nroot: {handlers: [x]}\nhandlers: {x: {(): os.mkdir, path: owned}}\n",
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
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("job.env_set.PATH", "theirs"),
        ("job.env_copy", ["HOME"]),
        ("job_logging.root.handlers", ["theirs"]),
        ("hydra_logging.root.level", "DEBUG"),
        ("launcher.setup", ["sh theirs"]),
        ("mode", "MULTIRUN"),
        ("sweeper.params", {"seed": "0,1"}),
        ("callbacks.theirs", {"on_run_start": 1}),
        ("sweep.dir", "/theirs"),
    ],
)
def test_hydras_own_config_is_set_by_hand_alone(key: str, value: object) -> None:
    """What a file sets there is refused by its key, without the value; what the command line sets is the same in what
    Hydra composes without the file."""
    alone = OmegaConf.create({"seed": 1, "hydra": {"mode": None, "runtime": {"cwd": "/here"}}})
    config = OmegaConf.merge(alone, {"seed": 2, "hydra": {"runtime": {"cwd": "/there"}}})
    check_composed(config, alone)
    OmegaConf.update(config, f"hydra.{key}", value)
    with pytest.raises(ConfigError, match=rf"^hydra\.{key}(\.\w+)*: is not for a file to set"):
        check_composed(config, alone)
    check_composed(config, config)


CALL = {"_target_": "hydra_plugins.mixbench_ray.Path.touch", "_args_": ["owned"]}
LAUNCHER = {"_target_": "hydra_plugins.mixbench_ray.RayLauncher", "cpus_per_run": 1}


@pytest.mark.fault("hostile")
@pytest.mark.parametrize(
    "launcher",
    [
        CALL,
        LAUNCHER | {"address": CALL},
        LAUNCHER | {"address": [1, [CALL]]},
        LAUNCHER | {"address": {"a": {"_partial_": True}}},
        LAUNCHER | {"address": "${oc.env:HOME}"},
        LAUNCHER | {"_target_": "hydra_plugins.mixbench_ray.os.getcwd"},
        LAUNCHER | {"_target_": "hydra_plugins.mixbench_ray.RayLauncher.launch"},
        LAUNCHER | {"_target_": ["hydra_plugins.mixbench_ray.RayLauncher"]},
        LAUNCHER | {"_target_": None},
    ],
    ids=str,
)
def test_a_launcher_is_ours_or_hydras_with_plain_values(launcher: dict) -> None:
    """By its exact name; nested nodes and lists are looked through before anything is instantiated."""
    check_composed(OmegaConf.create({"hydra": {"launcher": LAUNCHER | {"address": [1, {"a": None}]}}}))
    with pytest.raises(ConfigError, match=r"^hydra\.launcher\."):
        check_composed(OmegaConf.create({"hydra": {"launcher": launcher}}))


NODES = st.recursive(
    st.none() | st.integers() | st.sampled_from(["${seed}", "${oc.env:HOME}", "os.getcwd", *LAUNCHERS.values()]),
    lambda node: st.lists(node, min_size=1, max_size=3)
    | st.dictionaries(st.sampled_from([*CALLING, "address", "x", ""]), node, min_size=1, max_size=3),
    max_leaves=8,
)  # fmt: skip


@pytest.mark.fault("fuzz")
@settings(max_examples=200, deadline=None)
@given(NODES, st.sampled_from(["launcher", "sweeper", "callbacks", "job", "augment"]))
def test_what_is_accepted_calls_nothing(node: object, part: str) -> None:
    """Oracle: the text of the config, in which nothing that calls stands but the launcher's own exact name."""
    config = {"augment": node} if part == "augment" else {"hydra": {part: node}}
    try:
        check_composed(OmegaConf.create(config))
    except ConfigError:
        return
    if part == "launcher" and isinstance(node, dict) and "_target_" in node:
        assert node["_target_"] in LAUNCHERS.values()
        del node["_target_"]
    text = json.dumps(config)
    assert not [word for word in CALLING if f'"{word}"' in text]
    assert "${oc.env" not in text or part in ("callbacks", "job")


@pytest.mark.fault("hostile")
@pytest.mark.parametrize("sweep", [(), ("-m",)])
def test_a_launcher_of_a_folder_is_none(mixbench, workplace: Path, sweep: tuple) -> None:
    """The launcher that wrote files through the names of our module of Ray: refused in one message."""
    place = workplace / "theirs" / "hydra" / "launcher" / "mine.yaml"
    place.parent.mkdir(parents=True)
    place.write_text(yaml.safe_dump(LAUNCHER | {"address": CALL}))
    done = mixbench("train", *TINY, "hydra/launcher=mine", "--config-dir=theirs", *sweep)
    assert done.status == 2
    assert "hydra/launcher=mine: no such option.\nAllowed: basic, joblib, ray," in done.err
    assert "Traceback" not in done.err
    assert not (workplace / "owned").exists()
    assert not Path("outputs").exists()


@pytest.mark.fault("hostile")
def test_no_file_reads_the_environment_or_starts_a_sweep(mixbench, workplace: Path, monkeypatch) -> None:
    """One option file that asks for both, by each way that Hydra knows: status 2, and the secret is nowhere."""
    monkeypatch.setenv("MIXBENCH_SECRET", "hunter2hunter2")
    option = workplace / "theirs" / "augment" / "theirs.yaml"
    option.parent.mkdir(parents=True)
    for content in (
        "hydra: {mode: MULTIRUN, sweeper: {params: {output_dir: '${oc.env:MIXBENCH_SECRET}'}}}",
        "hydra: {mode: MULTIRUN, sweeper: {params: {output_dir: elsewhere}}}",
        "hydra: {job: {env_copy: [MIXBENCH_SECRET]}}\noutput_dir: ${hydra.job.env_set.MIXBENCH_SECRET}",
    ):
        option.write_text(
            f"# @package _global_\ndefaults: ['/augment/mixup@augment']\n{content}\n", encoding="utf-8"
        )
        done = mixbench("train", "augment=theirs", "--config-dir=theirs", *TINY)
        assert done.status == 2
        assert "hunter2" not in done.err + done.out
        assert not list(workplace.rglob("*hunter2*"))
        assert not Path("outputs").exists()


EVIL = """
from pathlib import Path
Path("owned").touch()
"""
NAMES = st.sampled_from(
    ["plugin", "plugins", "--plugin", "MIXBENCH_PLUGINS", "env_set", "env_copy", "job", "hydra", "searchpath", "mode",
     "launcher", "sweeper", "params", "callbacks", "job_logging", "root", "handlers", "class", "()", "formatters",
     "_target_", "defaults", "alpha", "name", "augment", "tracker", "output_dir", "x"]
)  # fmt: skip
LEAVES = st.sampled_from(
    ["evil", "evil.py", "./evil.py", '["evil.py"]', "pkg://evil", "file://.", "evil.Class", "ext://evil.x", "MULTIRUN",
     "/schema/augment/mixup@_here_", "${oc.env:HOME}", "!!python/module:evil", 1, None, ["evil.py"], ["evil"]]
)  # fmt: skip
FILE = st.dictionaries(
    NAMES,
    st.recursive(LEAVES, lambda node: st.dictionaries(NAMES, node, min_size=1, max_size=3), max_leaves=6),
    max_size=4,
)
PACKAGES = st.sampled_from(
    ["", "# @package _global_\n", "# @package hydra\n", "# @package hydra.job.env_set\n"]
)


@pytest.mark.fault("fuzz")
@pytest.mark.parametrize("examples", [8, pytest.param(1500, marks=pytest.mark.long)])
def test_no_file_loads_a_plugin(
    mixbench, workplace: Path, monkeypatch, plugin_room, examples: int, record_property
) -> None:
    """Whatever an option file or a saved config says, in a run or a sweep: a module that lies there to be found, and
    leaves a trace when it is imported, is not. What is accepted is not trained here."""
    (workplace / "evil.py").write_text(EVIL)
    monkeypatch.syspath_prepend(str(workplace))
    for module in ("commands.train", "sweep.launch"):
        monkeypatch.setattr(f"mixbench.{module}.execute", lambda config: None)
    options = [workplace / "theirs" / group / "theirs.yaml" for group in ("augment", "experiment")]
    for option in options:
        option.parent.mkdir(parents=True)
    counted = [0]

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        FILE,
        PACKAGES,
        st.booleans(),
        st.sampled_from([("augment=theirs",), ("+experiment=theirs",), ("augment=theirs", "-m", "seed=0,1")]),
    )
    @example(
        {"MIXBENCH_PLUGINS": '["evil"]'},
        "# @package hydra.job.env_set\n",
        True,
        ("augment=theirs", "-m", "seed=0,1"),
    )
    @example({"searchpath": ["pkg://evil"]}, "# @package hydra\n", False, ("+experiment=theirs",))
    def any_file(content: dict, package: str, ours: bool, asked: tuple) -> None:
        counted[0] += 1
        head = (
            {"defaults": ["/schema/augment/mixup@_here_" if not package else "/augment/mixup"]}
            if ours
            else {}
        )
        for option in options:
            option.write_text(package + yaml.safe_dump({**head, **content}))
        done = mixbench("train", *asked, "--config-dir=theirs", *TINY)
        assert done.status in (0, 1, 2)
        assert "Traceback" not in done.err
        saved = mixbench("train", "--from", str(options[0]), *TINY)
        assert saved.status in (0, 2)
        assert "Traceback" not in saved.err
        assert not (workplace / "owned").exists()
        assert plugins._loaded == {}

    any_file()
    record_property("faults", 2 * counted[0])


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
