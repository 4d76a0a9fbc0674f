"""Randomness that depends on (seed, epoch, step) only: a resumed run needs no saved generator."""

from __future__ import annotations

import hashlib

import torch


def derived_seed(*parts: int | str) -> int:
    """A 64-bit seed from a hash of `parts`; different parts give unrelated seeds."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


def batch_sizes(n: int, batch_size: int, drop_last: bool = True) -> list[int]:
    """The sizes of an epoch's batches of `n` examples: full ones and, unless `drop_last`, the rest.

    Raises ValueError if there is no batch.
    """
    whole, rest = divmod(n, batch_size) if batch_size >= 1 else (0, 0)
    sizes = [batch_size] * whole + ([rest] if rest and not drop_last else [])
    if not sizes:
        raise ValueError(f"batch_size={batch_size}: must be between 1 and the {n} training examples.")
    return sizes


def epoch_order(
    n: int, batch_size: int, seed: int, epoch: int, *, drop_last: bool = True, stream: str = "order"
) -> tuple[torch.Tensor, ...]:
    """The batches of one epoch, int64 (B,) on the CPU: a fresh permutation of 0..n-1, cut as in `batch_sizes`.

    The order is drawn on the CPU, whose generator gives the same numbers whatever the training device. Another
    `stream` is another order. Raises ValueError if there is no batch.
    """
    sizes = batch_sizes(n, batch_size, drop_last)
    generator = torch.Generator().manual_seed(derived_seed(stream, seed, epoch))
    return torch.randperm(n, generator=generator)[: sum(sizes)].split(sizes)


def step_generator(
    device: torch.device | str, seed: int, epoch: int, step: int, stream: str = "step"
) -> torch.Generator:
    """A generator on `device` for the draws of one step; another `stream` is independent of it.

    The CPU generator keeps 32 bits of its seed, so among the 80,000 steps of a long run about one pair
    draws the same crops, for different images. That does no harm.
    """
    return torch.Generator(device=device).manual_seed(derived_seed(stream, seed, epoch, step))
