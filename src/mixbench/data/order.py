"""Randomness that depends on (seed, epoch, step) only: a resumed run needs no saved generator."""

from __future__ import annotations

import hashlib

import torch


def derived_seed(*parts: int | str) -> int:
    """A 64-bit seed from a hash of `parts`; different parts give unrelated seeds."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


def epoch_order(n: int, batch_size: int, seed: int, epoch: int, stream: str = "order") -> torch.Tensor:
    """The batches of one epoch: int64 (n // batch_size, batch_size) on the CPU, a fresh permutation of
    0..n-1.

    The n % batch_size examples left over are dropped, so that every step has the same shape. The order is
    drawn on the CPU, whose generator gives the same numbers whatever the training device. Another `stream`
    is another order. Raises ValueError if there is not even one full batch.
    """
    if not 1 <= batch_size <= n:
        raise ValueError(f"batch_size={batch_size}: must be between 1 and the {n} training images.")
    generator = torch.Generator().manual_seed(derived_seed(stream, seed, epoch))
    steps = n // batch_size
    return torch.randperm(n, generator=generator)[: steps * batch_size].view(steps, batch_size)


def step_generator(
    device: torch.device | str, seed: int, epoch: int, step: int, stream: str = "step"
) -> torch.Generator:
    """A generator on `device` for the draws of one step; another `stream` is independent of it.

    The CPU generator keeps 32 bits of its seed, so among the 80,000 steps of a long run about one pair
    draws the same crops, for different images. That does no harm.
    """
    return torch.Generator(device=device).manual_seed(derived_seed(stream, seed, epoch, step))
