"""Checkpoints: whole or found out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from run_records import opened

from mixbench.record.write import OpenRecord
from mixbench.training import checkpoint
from mixbench.training.checkpoint import CheckpointError, Snapshot


@pytest.fixture
def record(tmp_path: Path) -> Iterator[OpenRecord]:
    """An open record in the test's folder."""
    with opened(tmp_path) as one:
        yield one


def states() -> tuple[dict, dict]:
    torch.manual_seed(0)
    return tuple({"identity": "a", "w": torch.randn(20), "rows": [{"x": 0.1, "n": i}]} for i in range(2))


def test_a_state_comes_back(record: OpenRecord) -> None:
    """Oracle: identity, and plain torch.load on the file."""
    state, _ = states()
    checkpoint.write(record, state)
    loaded, damaged = checkpoint.read(record.directory)
    assert damaged == []
    assert loaded is not None
    assert torch.equal(loaded["w"], state["w"])
    assert loaded["rows"] == state["rows"]
    assert torch.equal(torch.load(record.directory / "last.pt", weights_only=True)["w"], state["w"])


@pytest.mark.fault("damage")
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_anywhere_is_found_and_the_one_before_is_used(tmp_path_factory, data: st.DataObject) -> None:
    """Brute force over truncations and bit flips: never the damaged content, always the previous state."""
    directory = tmp_path_factory.mktemp("damage")
    first, second = states()
    with opened(directory) as record:
        checkpoint.write(record, first)
        checkpoint.write(record, second)
    path = directory / "last.pt"
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[place:]
    path.write_bytes(content)
    loaded, damaged = checkpoint.read(directory)
    assert loaded is not None
    assert loaded["rows"] == first["rows"]
    assert len(damaged) == 1
    assert "last.pt is damaged" in damaged[0]


@pytest.mark.fault("damage")
def test_all_damaged_is_an_error_that_says_what_to_do(record: OpenRecord) -> None:
    """With no whole file left the run is refused, never started silently from nothing."""
    checkpoint.write(record, states()[0])
    (record.directory / "last.pt").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match="force=true"):
        checkpoint.read(record.directory)


@pytest.mark.fault("kill")
@pytest.mark.parametrize("survivors", [1, 2, 3])
def test_a_kill_between_the_renames_loses_nothing(record: OpenRecord, monkeypatch, survivors: int) -> None:
    """Brute force: stop before each of the renames of a write; the newest whole state is found each time."""
    first, second = states()
    checkpoint.write(record, first)
    rename, done = os.replace, []

    def killed(source, target) -> None:
        if len(done) == survivors:
            raise KeyboardInterrupt
        done.append(target)
        rename(source, target)

    monkeypatch.setattr(os, "replace", killed)
    if survivors < 3:
        with pytest.raises(KeyboardInterrupt):
            checkpoint.write(record, second)
    else:
        checkpoint.write(record, second)
    monkeypatch.setattr(os, "replace", rename)
    loaded, damaged = checkpoint.read(record.directory)
    assert loaded is not None
    assert loaded["rows"] == second["rows"]
    assert damaged == []


@pytest.mark.fault("hostile")
def test_another_runs_checkpoint_is_refused(record: OpenRecord) -> None:
    """A directory copied under another identity never passes for the run."""
    layer = torch.nn.Linear(2, 2)
    Snapshot(record, model=layer).save()
    other = OpenRecord(record.directory, "two", record.claim)
    with pytest.raises(CheckpointError, match=f"belongs to run {record.id}, not to two"):
        Snapshot(other, model=layer).restore()


@pytest.mark.fault("hostile")
def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    """A pickled call in the file is refused by torch's weights_only loading."""
    import hashlib
    import io

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    buffer = io.BytesIO()
    torch.save({"identity": "a", "w": Evil()}, buffer)
    data = buffer.getvalue()
    (tmp_path / "last.pt").write_bytes(data + hashlib.sha256(data).hexdigest().encode())
    with pytest.raises(CheckpointError, match="is not loaded"):
        checkpoint.read(tmp_path)
    assert not (tmp_path / "owned").exists()
