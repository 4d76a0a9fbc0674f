"""A stand-in for CUDA graphs on the CPU: the operations of a step, recorded with their tensors and run again without
the Python that called them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import torch
from probes import NoHostSync
from torch import Tensor
from torch.utils._pytree import tree_leaves

from mixbench.engine import graph


class Recording(NoHostSync):
    """What a CUDA graph keeps of the code inside the block: which operation ran on which tensors, and nothing else.

    A number that Python computed is what it was while recording, and so is every choice that Python made. Random
    numbers come from the generators' present states, as with generators that a graph knows. Like a capture, recording
    changes no tensor: at the end of the block all that were there before have the contents that they had.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple, dict, Any]] = []
        self.own: set[int] = set()  # storages made inside the block, which the calls keep alive
        self.before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for storage in _storages((args, kwargs)):
            if storage._cdata not in self.own and storage._cdata not in self.before:
                self.before[storage._cdata] = storage, storage.clone()
        result = super().__torch_dispatch__(func, types, args, kwargs)
        self.own |= {storage._cdata for storage in _storages(result)} - self.before.keys()
        self.calls.append((func, args, kwargs or {}, result))
        return result

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for storage, contents in self.before.values():
            storage.copy_(contents)

    def replay(self) -> None:
        """Run the operations again, on the same tensors, with the results in the same places."""
        with torch.no_grad():
            for func, args, kwargs, result in self.calls:
                again = func(*args, **kwargs)
                for kept, new in zip(_tensors(result), _tensors(again), strict=True):
                    if kept.untyped_storage()._cdata != new.untyped_storage()._cdata:
                        kept.copy_(new)


def _tensors(values: Any) -> Iterable[Tensor]:
    return [value for value in tree_leaves(values) if torch.is_tensor(value)]


def _storages(values: Any) -> Iterable[torch.UntypedStorage]:
    return [tensor.untyped_storage() for tensor in _tensors(values)]


class RecordedGraph:
    """Stands in for torch.cuda.CUDAGraph."""

    recording: Recording

    def register_generator_state(self, generator: torch.Generator) -> None: ...

    def replay(self) -> None:
        self.recording.replay()

    def pool(self) -> None: ...


class _Stream:
    def __init__(self, *_: Any) -> None: ...

    def wait_stream(self, other: Any) -> None: ...


@contextlib.contextmanager
def _capture(into: RecordedGraph, pool: Any, stream: Any, capture_error_mode: str) -> Iterator[None]:
    with Recording() as recording:
        yield
    into.recording = recording


def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let StepGraph work on the CPU: streams do nothing, and a graph is a `RecordedGraph`."""
    monkeypatch.setattr(torch.cuda, "Stream", _Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: _Stream())
    monkeypatch.setattr(torch.cuda, "stream", lambda s: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "graph", _capture)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", RecordedGraph)
    monkeypatch.setattr(graph, "_captured_apart", lambda generator: lambda: None)
