"""Where and in which arithmetic a run computes, and the sentence that says why."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Iterator

# Before torch, which swallows a Ctrl-C in its own first import of numpy, and then fails for what was left half done.
import numpy  # noqa: F401
import torch

from mixbench.errors import ConfigError, MixbenchError
from mixbench.inventory.arithmetic import precision

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str) -> tuple[torch.device, str]:
    """The device called `name` and why it was chosen. Raises ConfigError where there is none of that kind.

    `auto` takes a CUDA device, else Apple's mps, else the CPU.
    """
    cuda, mps = torch.cuda.device_count(), torch.backends.mps.is_available()
    if name == "auto":
        if cuda:
            return torch.device("cuda", torch.cuda.current_device()), "auto: a CUDA device is there"
        if mps:
            return torch.device("mps"), "auto: no CUDA device, but Apple's mps"
        return torch.device("cpu"), "auto: no CUDA device"
    known = ["auto", "cpu", *(["mps"] if mps else []), *(["cuda"] if cuda else [])]
    known += [f"cuda:{i}" for i in range(cuda)]
    if name not in known:
        raise ConfigError(f"device={name}: not on this machine. Allowed here: {', '.join(known)}.")
    return torch.device(name), "as asked"


def make_current(device: torch.device) -> None:
    """Let streams and captures that name no GPU mean this one: else cuda:1 would record its steps on GPU 0."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)


def rank_device(name: str, local_rank: int) -> tuple[torch.device, str]:
    """The device of one of several ranks, the `local_rank`-th on its machine, and why it was chosen.

    Raises ConfigError where it has none of its own.
    """
    cuda = torch.cuda.device_count()
    if name == "cpu" or (name == "auto" and not cuda):
        return torch.device("cpu"), "as asked" if name == "cpu" else "auto: no CUDA device"
    if name not in ("auto", "cuda"):
        raise ConfigError(
            f"device={name}: with several devices each rank has its own; allowed: auto, cpu, cuda."
        )
    if local_rank >= cuda:
        raise ConfigError(
            f"device={name}: this machine has {cuda} CUDA devices, and rank {local_rank} on it needs one of its own;"
            f" allowed: torchrun --nproc-per-node 1 to {cuda}, or device=cpu."
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank), "one for each rank"


def device_title(device: torch.device) -> str:
    """The device's product name, or the number of CPU threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{threads} thread{'' if threads == 1 else 's'}" if device.type == "cpu" else "Apple GPU"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context for forward passes: does nothing in float32."""
    return torch.autocast(device.type, dtype=DTYPES[precision], enabled=precision != "float32")


def precision_hint(device: torch.device, chosen: str) -> str:
    """A line for people who leave speed on the table, or lose it; or an empty string."""
    fast, reason = precision(str(device))
    if chosen in ("float32", "bf16") and chosen != fast:
        return f"precision={fast} would be faster: {reason}"
    return ""


def set_determinism(deterministic: bool) -> None:
    """Ask torch for deterministic kernels, or allow the fastest ones."""
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with it
    if deterministic != torch.are_deterministic_algorithms_enabled():  # the call imports the compiler: 0.5 s
        torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = not deterministic


def seed_default(seed: int, device: torch.device) -> None:
    """Seed torch's default generators of the CPU and of this device, as torch.manual_seed does for all devices.

    That one looks for every kind of device that torch may know, and takes 1 ms in each step for it.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(seed)
    elif device.type != "cpu":
        torch.manual_seed(seed)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given, so that a clock reads the truth."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def reset_peak_memory(device: torch.device) -> None:
    """Start measuring the peak anew, where the device can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Bytes: allocated by tensors on a CUDA device; else the resident set of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@contextlib.contextmanager
def memory_errors_in_words() -> Iterator[None]:
    """Turn the error of a device or machine that is out of memory into a MixbenchError that says what to try."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        # The system kills a process when memory, or /dev/shm, is used up.
        if "DataLoader worker" in str(error):
            raise MixbenchError(
                f"a process that reads ahead was killed ({str(error).splitlines()[0].strip()}).\nTry a smaller"
                " dataset.workers, or 0; in a container, more shared memory (docker run --shm-size=8g)."
            ) from None
        on_cpu = isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error)  # a plain RuntimeError
        if not (on_cpu or isinstance(error, torch.OutOfMemoryError)):
            raise
        reason = next(iter(str(error).splitlines()), "")
        raise MixbenchError(
            f"{'the machine' if on_cpu else 'the device'} is out of memory. {reason}\n"
            "Try precision=bf16, a smaller eval_batch_size, or a smaller batch_size (which is another run)."
        ) from None
