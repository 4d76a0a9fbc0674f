"""PuzzleMix (Kim, Choo, Song, Puzzle Mix: Exploiting Saliency and Local Statistics, ICML 2020)."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from importlib.util import find_spec
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mixbench.augment.base import check_batch, check_choice, check_positive
from mixbench.augment.draws import Draws
from mixbench.augment.gridcut import graph_cut, tree_reweighted
from mixbench.augment.puzzle_energy import energy_terms, shares
from mixbench.augment.ratio import RatioMix, fixed_ratio
from mixbench.augment.transport import arrange, masked_transport
from mixbench.losses import cross_entropy, one_hot

GRIDS = (2, 4, 8, 16)
SOLVERS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"torch": tree_reweighted, "gco": graph_cut}


class PuzzleMix(RatioMix):
    """Masks that keep what is salient in either image, in blocks; the label is the mean of each mask.

    Saliency is the gradient of the loss with respect to the image, from a forward and backward pass of the
    model in evaluation mode. A batch is cut into b x b blocks, b drawn from 2, 4, 8 and 16 as far as the images
    have so many pixels. For every pair, a mask with levels 0, 1/2 and 1 is found that hides little saliency,
    is smooth, follows borders in the images and has a mean near lambda (`puzzle_energy`, `gridcut`); then the
    blocks of both images move to where the mask shows them (`transport`).

    As the official code, without its adversarial part and its extra loss on clean images. Two differences:
    colours are scaled to the contrast of pixels in [0, 1] instead of being de-normalised, and in the transport
    a block that loses its place looks for another one, as in the paper; in the public code it vanishes.

    Args:
        model: gives the saliency; its mode and gradients are left as they are.
        alpha: lambda is drawn from Beta(alpha, alpha), always symmetric here; finite and > 0.
        beta: weight of smooth masks, >= 0; the name that it has in the paper and the code.
        gamma: weight of the colours' jumps in it, >= 0.
        eta: weight of the prior, >= 0.
        neigh_size: pixels over which colours are averaged at a border, >= 1.
        n_labels: levels of the mask, 2 to 4.
        transport: move the blocks.
        t_size: side of a moved block in pixels, >= 1; smaller mask blocks are moved as they are.
        t_eps: price of moving, > 0.
        solver: "torch", on the device, or "gco", the graph cut of the optional package gco-wrapper.
        per_sample: a ratio for each pair; the masks differ in any case.
        Others: see `MaskMix`.

    Raises:
        ImportError: solver="gco" without the package.
    """

    uses_model: ClassVar[bool] = True

    def __init__(
        self,
        num_classes: int,
        alpha: float = 1.0,
        *,
        model: nn.Module,
        beta: float = 1.2,
        gamma: float = 0.5,
        eta: float = 0.2,
        neigh_size: int = 4,
        n_labels: int = 3,
        transport: bool = True,
        t_size: int = 4,
        t_eps: float = 0.8,
        solver: str = "torch",
        **shared: Any,
    ) -> None:
        super().__init__(num_classes, **shared)
        check_positive("alpha", alpha)
        check_positive("t_eps", t_eps)
        for name, value in (("beta", beta), ("gamma", gamma), ("eta", eta)):
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name}={value}: must be a finite number >= 0")
        if neigh_size < 1 or t_size < 1:
            raise ValueError(f"neigh_size={neigh_size}, t_size={t_size}: must be >= 1")
        if not 2 <= n_labels <= 4:
            raise ValueError(f"n_labels={n_labels}: must be >= 2 and <= 4")
        check_choice("solver", solver, tuple(SOLVERS))
        if solver == "gco" and find_spec("gco") is None:
            raise ImportError("solver=gco needs the package gco-wrapper: pip install 'mixbench[gco]'")
        self.model = model
        self.alpha = alpha
        self.beta = beta
        self.gamma = gamma
        self.eta = eta
        self.neigh_size = neigh_size
        self.n_labels = n_labels
        self.transport = transport
        self.t_size = t_size
        self.t_eps = t_eps
        self.solver = solver

    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        lam: float | Tensor | None = None,
        generator: torch.Generator | None = None,
        *,
        choice: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The mixed images and their soft labels, as `MaskMix`; `lam` is the mean that the prior asks for.

        `choice` is b, of the b x b blocks; None: it is drawn.
        """
        batch, (height, width) = len(images), self.size(images)
        check_batch(images, labels)
        grid = self.choose(images, generator) if choice is None else choice
        draws = Draws(generator, images.device)
        partners = draws.partners(self.pairing, batch)
        n = self.count(batch, lam)
        ratio = fixed_ratio(lam, n, draws)
        ratio = draws.beta(self.alpha, n) if ratio is None else ratio
        saliency = self.saliency(images, labels)

        with torch.no_grad():
            margin = (0, -width % grid, 0, -height % grid)
            padded, saliency = F.pad(images, margin, "replicate"), F.pad(saliency, margin)
            mask = self.cut(padded, saliency, partners, ratio.expand(batch), grid)
            unmixed = self.unmixed(n, draws)
            if unmixed is not None:
                mask = mask.masked_fill(unmixed[:, None, None], 1.0)
            own, other = padded, padded[partners]
            if self.transport:
                own, other = self._transported(own, other, saliency, partners, mask)
            full = F.interpolate(mask[:, None], size=padded.shape[2:], mode="nearest")
            mixed = torch.lerp(other, own, full.to(images.dtype))[..., :height, :width]
            x = torch.empty_like(images).copy_(mixed)  # in the memory format of `images`
        return x, self.soft_labels(labels, full[..., :height, :width].mean((1, 2, 3)), partners)

    def choose(self, images: Tensor, generator: torch.Generator | None) -> int:
        """b, of the b x b blocks that these images are cut into; see `seams.Choosing`."""
        fitting = [b for b in GRIDS if b <= min(self.size(images))] or GRIDS[:1]
        return fitting[Draws(generator, images.device).choice(len(fitting))]

    def saliency(self, images: Tensor, labels: Tensor) -> Tensor:
        """(B, H, W): root mean square over channels of the cross-entropy's gradient with respect to the image.

        In float32 where float16 is asked for, in which the gradients of confident images vanish.
        """
        kind = images.device.type
        half = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16
        modes = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        try:
            with torch.enable_grad(), torch.autocast(kind, enabled=False) if half else nullcontext():
                probed = images.detach().requires_grad_()
                loss = cross_entropy(self.model(probed), one_hot(labels, self.num_classes)).sum()
                (gradient,) = torch.autograd.grad(loss, probed)
        finally:
            for module, training in modes:
                module.training = training
        return gradient.float().square().mean(1).sqrt()

    def cut(self, images: Tensor, saliency: Tensor, partners: Tensor, lam: Tensor, grid: int) -> Tensor:
        """(B, grid, grid) masks of the own images, for ratios (B,) and sizes that `grid` divides."""
        terms = energy_terms(
            images,
            saliency,
            partners,
            lam,
            grid,
            beta=self.beta,
            gamma=self.gamma,
            eta=self.eta,
            neigh_size=self.neigh_size,
            n_labels=self.n_labels,
        )
        return 1 - SOLVERS[self.solver](*terms) / (self.n_labels - 1)

    def _transported(
        self, own: Tensor, other: Tensor, saliency: Tensor, partners: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Both images with their blocks moved to where the mask (B, grid, grid) shows them."""
        grid = mask.shape[1]
        height, width = (side // grid for side in own.shape[2:])
        most = max(1, min(height, width) // self.t_size)
        parts = next(p for p in range(most, 0, -1) if height % p == 0 and width % p == 0)
        share = shares(saliency, grid * parts)
        fine = mask.repeat_interleave(parts, 1).repeat_interleave(parts, 2)
        return (
            arrange(own, masked_transport(share, fine > 0, self.t_eps)),
            arrange(other, masked_transport(share[partners], fine < 1, self.t_eps)),
        )
