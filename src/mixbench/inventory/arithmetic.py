"""Whether the processor or GPU that a run will use computes fast in bfloat16; asked while a config is composed."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess

AMPERE = 8.0  # compute capability from which NVIDIA's GPUs have bfloat16


def precision(device: str) -> tuple[str, str]:
    """The precision that precision=auto stands for on a device (as in the config), and the reason in words."""
    if device.startswith("cuda") or device == "auto":
        capabilities = [
            float(value) for value in visible("compute_cap") if value.replace(".", "", 1).isdigit()
        ]
        if capabilities:
            has = min(capabilities) >= AMPERE
            return ("bf16", "this GPU has bfloat16") if has else ("float32", "this GPU has no bfloat16")
    if device not in ("auto", "cpu"):
        return "float32", f"nothing is known of bfloat16 on {device}"
    if _cpu_has_bf16():
        return "bf16", "this processor has AVX-512 BF16: up to 3 times faster"
    return "float32", "this processor has no bfloat16 instructions: 8 times slower without"


@functools.cache
def _cpu_has_bf16() -> bool:
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        return "avx512_bf16" in file.read()
    return False


def visible(field: str) -> list[str]:
    """nvidia-smi's `field` of each GPU that CUDA_VISIBLE_DEVICES lets us see, in CUDA's order; empty without any."""
    asked = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader,nounits"]
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        asked.append(f"--id={chosen}")
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.split() if done.returncode == 0 else []
