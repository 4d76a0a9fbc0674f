"""A request to stop, and one that is repeated."""

from __future__ import annotations

import signal

import pytest
from omegaconf._utils import format_and_raise

from mixbench.machine import signals
from mixbench.machine.signals import (
    ECHO_SECONDS,
    SIGNALS,
    Interrupted,
    outlive_terminal,
    stop_on_signals,
    stopped,
)


def test_an_echo_asks_once_and_a_repeated_request_is_not_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limiting cases, on a clock of our own: the same signal just before and just after ECHO_SECONDS.

    The second then acts as it would have without us: Python's own handler of SIGINT raises KeyboardInterrupt.
    """
    now = 100.0
    monkeypatch.setattr(signals.time, "monotonic", lambda: now)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), stop_on_signals() as stop:  # noqa: PT012  # what it holds is the test
        assert stop.number is None
        signal.raise_signal(signal.SIGINT)
        now += ECHO_SECONDS - 0.01
        signal.raise_signal(signal.SIGINT)
        assert stop.number == signal.SIGINT
        now += 0.02
        signal.raise_signal(signal.SIGTERM)  # of another kind: another request
        assert stop.number == signal.SIGTERM
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_closed_terminal_asks_to_stop_only_where_sighup_is_not_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By hand: a process of its own ignores SIGHUP, a rank of torchrun is asked by it, and under nohup is not."""
    before = signal.getsignal(signal.SIGHUP)
    try:
        for size, handler, asked in (
            (None, signal.SIG_DFL, None),
            ("2", signal.SIG_DFL, signal.SIGHUP),
            ("2", signal.SIG_IGN, None),
        ):
            monkeypatch.delenv("WORLD_SIZE", raising=False)
            if size:
                monkeypatch.setenv("WORLD_SIZE", size)
            signal.signal(signal.SIGHUP, handler)
            outlive_terminal()
            with stop_on_signals() as stop:
                signal.raise_signal(signal.SIGHUP)
                assert stop.number == asked
    finally:
        signal.signal(signal.SIGHUP, before)


def test_before_there_is_something_to_save_the_first_signal_ends() -> None:
    """While loading or downloading nobody looks at the request: the first signal raises, and only the first."""
    with stop_on_signals(at_once=True) as stop:
        with pytest.raises(Interrupted, match=r"^stopped by SIGTERM: training had not begun") as stopped:
            signal.raise_signal(signal.SIGTERM)
        assert stopped.value.exit_status == 128 + signal.SIGTERM
        signal.raise_signal(signal.SIGTERM)  # its echo, while the first is being recorded
    with stop_on_signals(at_once=True) as stop:
        stop.at_once = False
        signal.raise_signal(signal.SIGTERM)
        assert stop.number == signal.SIGTERM


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (signal.SIGINT, "Ctrl-C"),
        (signal.SIGTERM, "SIGTERM"),
        (signal.SIGHUP, "SIGHUP"),
        (signal.SIGUSR1, "SIGUSR1 (a scheduler's warning)"),
        (signal.SIGUSR2, "SIGUSR2 (a scheduler's warning)"),
    ],
)
def test_one_sentence_for_every_signal_that_stops(number: int, name: str) -> None:
    """By hand: who asked, what was kept, how to go on; 128 + signal, as a shell has it."""
    stop = stopped(number, "this and that is saved")
    assert str(stop) == f"stopped by {name}: this and that is saved; the same command goes on from there."
    assert stop.exit_status == 128 + number
    assert number in SIGNALS


def test_a_signal_while_a_config_is_composed_is_the_interruption_that_it_was() -> None:
    """Oracle: OmegaConf, which makes an exception that comes from inside of it anew, from a message of its own. Who
    asked, what to do and 128 + signal stay."""
    with pytest.raises(Interrupted) as raised, stop_on_signals(at_once=True):  # noqa: PT012  # what it holds is the test
        try:
            signal.raise_signal(signal.SIGINT)
        except Interrupted as cause:
            format_and_raise(None, None, None, msg=f"{cause}\n    full_key: opt.rho", cause=cause)
    assert raised.value.exit_status == 128 + signal.SIGINT
    assert str(raised.value).startswith("stopped by Ctrl-C: ")
    assert "full_key" not in str(raised.value)
