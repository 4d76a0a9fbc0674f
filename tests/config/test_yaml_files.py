"""YAML files from outside: what is counted without being built is what it would have been, built."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from mixbench.config import yaml_files
from mixbench.config.library import conf_dir
from mixbench.errors import ConfigError

LAUGHS = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 10)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
OURS = sorted(path.read_text(encoding="utf-8") for path in conf_dir().rglob("*.yaml"))
REFUSED = {
    "a billion": (LAUGHS, "it stands for more than 200,000 values, line 6."),
    "itself": ("x: &x [1, *x]\n", "*x stands inside of what it names, line 1."),
    "deep": ("x: " + "[" * 100_000, "it is nested deeper than 30 levels, line 1."),
    "large": ("x: " + "1" * 5_000_000, "it has more than 4,194,304 bytes"),
    "unknown name": ("a: 1\nx: *y\n", "line 2: found undefined alias"),
    "twice": ("a: 1\na: 2\n", "line 2: found duplicate key a."),
    "not UTF-8": (b"a: \xe9\n", "'utf-8' codec can't decode byte 0xe9"),
    "no YAML": ("a: [\n", "line 2: did not find expected node content."),
    "a kind of its own": ("a: 1\nb: !!set {c}\n", "line 2: could not determine a constructor for the tag"),
    "an object": ("a: !!python/object/apply:pathlib.Path [b]\n", "line 1: could not determine a constructor"),
    "a list as key": ("? [a]\n: 1\n", "line 1: found unhashable key."),
    "a word": ("a\n", "it is no mapping of keys to values."),
}
READ = {  # YAML's own rules, with OmegaConf's for numbers and dates
    "": {},
    "x: [1e-3, 0x1F, .5, 1_000, 2026-11-26, 1:30, ~, yes]": {
        "x": [0.001, 31, 0.5, 1000, "2026-11-26", 90, None, True]
    },
    "a: &a {b: 1}\nc: {<<: *a, d: '${e}'}": {"a": {"b": 1}, "c": {"b": 1, "d": "${e}"}},
}


@pytest.mark.fault("hostile")
@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_too_much_is_one_message(tmp_path: Path, kind: str) -> None:
    """The message names the file, the reason and the line, and comes before anything is built."""
    text, reason = REFUSED[kind]
    path = tmp_path / "x.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError) as caught:
        yaml_files.load(path)
    assert str(caught.value).startswith(f"{path}: cannot be read: {reason}")
    assert "\n" not in str(caught.value)


@pytest.mark.fault("hostile")
@pytest.mark.parametrize(
    "words",
    [
        ("table", "FILE"),
        ("analyze", "FILE"),
        ("train", "--from", "FILE"),
        ("train", "--config-dir=.", "augment=x"),
    ],
)
def test_every_door_refuses_a_bomb(mixbench, workplace: Path, words: tuple) -> None:
    """A spec, a study, a saved config and an option file: status 2 and the one message."""
    head = {"table": "kind: table\n", "analyze": "kind: study\n"}.get(words[0], "")
    path = workplace / "augment" / "x.yaml"
    path.parent.mkdir()
    path.write_text(head + LAUGHS)
    done = mixbench(*(word.replace("FILE", "augment/x.yaml") for word in words))
    assert done.status == 2
    assert "stands for more than 200,000 values" in done.err


def test_what_is_read_is_what_omegaconf_reads(tmp_path: Path) -> None:
    """OmegaConf, which takes twelve times as long, on all files of ours and on kinds of values that they have not."""
    for number, text in enumerate([*READ, *OURS]):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text, encoding="utf-8")
        found = yaml_files.load(path)
        assert repr(found) == repr(OmegaConf.to_container(OmegaConf.create(text)))  # 1 is not True, nor 1.0
        assert found == READ.get(text, found)


def _size(node: object) -> int:
    if isinstance(node, dict):
        return 1 + sum(1 + _size(value) for value in node.values())
    return 1 + sum(map(_size, node)) if isinstance(node, list) else 1


SHARED = st.lists(st.integers(0, 9), max_size=3)
NODES = st.recursive(
    st.integers(0, 9) | st.none() | SHARED,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(node=st.lists(NODES, min_size=1, max_size=4), twice=st.booleans())
def test_values_are_counted_as_they_will_be(monkeypatch: pytest.MonkeyPatch, node: list, twice: bool) -> None:
    """Brute force: every value of the built node is one, references counted as often as they stand.

    PyYAML writes a list that occurs twice as an anchor and a reference to it.
    """
    text = yaml.safe_dump([node, node, node] if twice else node)
    size = _size(yaml.safe_load(text))
    monkeypatch.setattr(yaml_files, "MOST_VALUES", size)
    assert yaml_files._excess(text) == ""
    monkeypatch.setattr(yaml_files, "MOST_VALUES", size - 1)
    assert "stands for more" in yaml_files._excess(text)
