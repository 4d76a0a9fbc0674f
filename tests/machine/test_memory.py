"""How much memory is free, on this machine and within control groups."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import torch

from mixbench.machine import memory
from mixbench.machine.memory import free_memory

CPU = torch.device("cpu")


def test_the_machine_has_what_psutil_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: psutil, which reads no limits of control groups; other processes may come and go."""
    monkeypatch.setattr(memory, "_allowed", lambda: [])
    found, whose = free_memory(CPU)
    assert found == pytest.approx(psutil.virtual_memory().available, rel=0.3)
    assert whose == "this machine's free memory"


GROUPS = {
    "version 2, a container": (
        "0::/\n",
        {"memory.max": "1000", "memory.current": "700", "memory.stat": "inactive_file 50\n"},
        350,
    ),
    "version 2, no limit": (
        "0::/\n",
        {"memory.max": "max", "memory.current": "700", "memory.stat": ""},
        None,
    ),
    "version 2, a job": (
        "0::/job/step\n",
        {
            "job/step/memory.max": "max",
            "job/memory.max": "900",
            "job/memory.current": "800",
            "job/memory.stat": "anon 700\ninactive_file 60\n",
        },
        160,
    ),
    "version 1": (
        "5:cpu:/x\n4:memory:/x\n",
        {
            "memory/x/memory.limit_in_bytes": "500",
            "memory/x/memory.usage_in_bytes": "520",
            "memory/x/memory.stat": "total_inactive_file 30\n",
        },
        10,
    ),
}


@pytest.mark.parametrize("case", GROUPS)
def test_limits_of_control_groups(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: the limit less what is used, with the cached files back; files as in the kernel's documentation."""
    own, files, expected = GROUPS[case]
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "_available", lambda: 10**6)
    monkeypatch.setattr(memory, "OWN_CGROUPS", tmp_path / "own")
    (tmp_path / "own").write_text(own)
    assert free_memory(CPU)[0] == (10**6 if expected is None else expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_has_what_torch_says() -> None:
    free, whose = free_memory(torch.device("cuda"))
    assert free <= torch.cuda.mem_get_info()[0] + 2**28
    assert whose in ("the GPU's free memory", "this machine's free memory")
