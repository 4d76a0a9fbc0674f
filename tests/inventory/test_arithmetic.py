"""precision=auto: what it stands for on each machine."""

from __future__ import annotations

import pytest

from mixbench.config.compose import compose
from mixbench.config.identity import run_id
from mixbench.inventory import arithmetic


@pytest.mark.parametrize(
    ("device", "gpus", "cpu", "wanted"),
    [
        ("auto", ["8.0"], False, "bf16"),
        ("cuda", ["9.0", "7.5"], True, "float32"),  # any of them may be the one
        ("cpu", ["9.0"], False, "float32"),
        ("cpu", [], True, "bf16"),
        ("auto", [], True, "bf16"),
        ("auto", [], False, "float32"),
        ("mps", [], True, "float32"),
    ],
)
def test_auto_is_what_the_device_computes_fast_in(
    monkeypatch: pytest.MonkeyPatch, device: str, gpus: list[str], cpu: bool, wanted: str
) -> None:
    """Oracle: compute capability 8.0 (Ampere) is NVIDIA's first with bfloat16; avx512_bf16 is the CPU's flag for it.
    The run is the same one, with the same id, as with that precision given.
    """
    monkeypatch.setattr(arithmetic, "visible", lambda field: gpus)
    monkeypatch.setattr(arithmetic, "_cpu_has_bf16", lambda: cpu)
    found = compose(["precision=auto", f"device={device}"])
    assert found.precision == wanted
    assert run_id(found) == run_id(compose([f"precision={wanted}"]))


def test_the_flag_is_the_kernel_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: /proc/cpuinfo of this machine, where there is one."""
    try:
        with open("/proc/cpuinfo") as file:
            flags = {word for line in file if line.startswith("flags") for word in line.split()}
    except OSError:
        flags = set()
    assert arithmetic._cpu_has_bf16() == ("avx512_bf16" in flags)
