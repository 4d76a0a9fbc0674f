"""Random numbers of the augmentations: from one generator, without a wait for the device."""

from __future__ import annotations

import random

import torch
from torch import Tensor

PAIRINGS = ("randperm", "flip", "derange")


class Draws:
    """Draws from one `torch.Generator` for tensors on `device`.

    A number is drawn on the generator's device and moved to `device` without waiting, so a CPU generator
    gives the same mixes on every device. Without a generator, the default one of `device` is used.
    Draws are float64 (float32 on MPS, which has no float64).
    """

    def __init__(self, generator: torch.Generator | None, device: torch.device | str) -> None:
        self.generator = generator
        self.device = torch.device(device)
        # MPS has no float64 and no gamma sampler; its few numbers per batch come from the CPU.
        own = torch.device("cpu") if self.device.type == "mps" else self.device
        self.source = own if generator is None else generator.device
        self.dtype = torch.float32 if self.device.type == "mps" else torch.float64

    def _moved(self, drawn: Tensor) -> Tensor:
        dtype = self.dtype if drawn.is_floating_point() else drawn.dtype
        return drawn.to(self.device, dtype, non_blocking=True)

    def uniform(self, n: int) -> Tensor:
        """(n,) numbers, uniform on [0, 1)."""
        return self._moved(torch.rand(n, generator=self.generator, device=self.source, dtype=torch.float64))

    def integers(self, high: int, n: int) -> Tensor:
        """(n,) int64 numbers, uniform on {0, ..., high - 1}."""
        return self._moved(torch.randint(high, (n,), generator=self.generator, device=self.source))

    def choice(self, count: int) -> int:
        """A number from {0, ..., count - 1} for the host to branch on, without waiting for the device.

        It is derived from the generator's state, which lies on the host for every device.
        """
        generator = self.generator or default_generator(self.source)
        number = random.Random(generator.get_state().numpy().tobytes()).randrange(count)
        self.uniform(1)  # the next choice has another state
        return number

    def beta(self, alpha: float, n: int, beta: float | None = None) -> Tensor:
        """(n,) ratios from Beta(alpha, beta), for every alpha > 0 and beta > 0; None: beta = alpha.

        X / (X + Y) with X from Gamma(alpha) and Y from Gamma(beta). The logarithm of a Gamma(a) variable is drawn as
        that of Gamma(a + 1) plus log(U) / a: below a of about 1e-3 the variables themselves are too small for
        float64. For alpha, beta -> 0 the ratios become 1 and 0, 1 with probability alpha / (alpha + beta).
        """
        shapes = (alpha, alpha if beta is None else beta)
        # `full` takes the number along with its kernel, where a tensor made from a list would be copied to the device.
        rows = [torch.full((n,), a + 1, device=self.source, dtype=torch.float64) for a in shapes]
        boosted = torch._standard_gamma(torch.stack(rows), generator=self.generator)
        uniform = torch.rand(2, n, generator=self.generator, device=self.source, dtype=torch.float64)
        log_uniform = torch.log1p(-uniform)
        log_gamma = boosted.log() + torch.stack([log_uniform[i] / a for i, a in enumerate(shapes)])
        return self._moved(torch.sigmoid(log_gamma[0] - log_gamma[1]))

    def partners(self, pairing: str, n: int) -> Tensor:
        """(n,) int64 indices: with which image each of n is mixed.

        "randperm": a uniform permutation, in which an image can meet itself. "flip": the batch in reverse
        order, as timm pairs. "derange": a uniform choice among the (n-1)! single cycles through the whole
        batch, so no image meets itself (n > 1) and each other image is its partner with equal probability.
        """
        if pairing == "flip":
            return torch.arange(n - 1, -1, -1, device=self.device)
        order = self._moved(torch.randperm(n, generator=self.generator, device=self.source))
        if pairing == "randperm":
            return order
        return torch.empty_like(order).scatter_(0, order, order.roll(1))


def default_generator(device: torch.device) -> torch.Generator:
    """The generator that torch uses on the CPU or a CUDA device when none is given."""
    if device.type == "cuda":
        return torch.cuda.default_generators[device.index or 0]
    return torch.default_generator
