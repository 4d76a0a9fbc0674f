"""Runs side by side: how far the host runs ahead of a device, and what becomes of the others when one fails."""

from __future__ import annotations

import multiprocessing
import os
import time

import pytest
import torch

from mixbench.bench import scaling
from mixbench.bench.scaling import AHEAD, Lead, _rate
from mixbench.errors import MixbenchError


def test_the_host_stays_ahead_by_the_same_number_of_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: from mark AHEAD on it waits at each one for the mark AHEAD before, never for the last one."""
    made, waits = [], []

    class Event:
        def __init__(self, device: torch.device) -> None:
            made.append(self)
            self.number = len(made)

        def record(self) -> None: ...

        def synchronize(self) -> None:
            waits.append((len(made), self.number))

    monkeypatch.setattr(torch, "Event", Event)
    lead = Lead(torch.device("cuda"))
    for _ in range(6):
        lead.mark()
    assert waits == [(n, n - AHEAD) for n in range(AHEAD + 1, 7)]


def test_a_process_that_ends_without_a_rate_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """While another one still runs, as one that waits for it does; a rate that is there comes first."""
    monkeypatch.setattr(scaling, "POLL", 0.05)
    context = multiprocessing.get_context("fork")
    rates = context.Queue()
    processes = [context.Process(target=os._exit, args=(3,)), context.Process(target=time.sleep, args=(60,))]
    for process in processes:
        process.start()
    rates.put(5.0)
    assert _rate(rates, processes) == 5.0
    with pytest.raises(MixbenchError, match="one of 2 processes side by side ended with status 3, see above"):
        _rate(rates, processes)
    assert processes[1].is_alive()
    processes[1].kill()
