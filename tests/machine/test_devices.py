"""The device and its random numbers."""

from __future__ import annotations

import pytest
import torch

from mixbench.machine.devices import make_current, seed_default


def test_the_default_generator_is_seeded_as_by_torch() -> None:
    """Oracle: torch.manual_seed."""
    with torch.random.fork_rng():
        torch.manual_seed(1234567890123)
        wanted = torch.rand(5)
        seed_default(1234567890123, torch.device("cpu"))
        assert torch.equal(torch.rand(5), wanted)


@pytest.mark.parametrize(("name", "made"), [("cuda:1", 1), ("cuda", None), ("cpu", None)])
def test_the_gpu_that_was_named_becomes_the_current_one(
    monkeypatch: pytest.MonkeyPatch, name: str, made: int | None
) -> None:
    """Only one with a number; its own default generator is the one that is seeded."""

    class Generator:
        seeded = 0

        def manual_seed(self, seed: int) -> None:
            self.seeded = seed

    generators, current = [Generator(), Generator()], []
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: current.append(device.index))
    monkeypatch.setattr(torch.cuda, "default_generators", generators)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    make_current(torch.device(name))
    assert current == ([] if made is None else [made])
    with torch.random.fork_rng(devices=[]):
        seed_default(7, torch.device(name))
    wanted = {"cuda:1": [0, 7], "cuda": [7, 0], "cpu": [0, 0]}[name]
    assert [generator.seeded for generator in generators] == wanted
