"""PuzzleMix (Kim, Choo, Song, Puzzle Mix: Exploiting Saliency and Local Statistics, ICML 2020)."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mixbench.augment.base import MaskMix, check_batch, check_choice, fixed_ratio
from mixbench.augment.draws import Draws
from mixbench.augment.gridcut import graph_cut, min_sum
from mixbench.augment.transport import arrange, masked_transport
from mixbench.losses import cross_entropy, one_hot

GRIDS = (2, 4, 8, 16)
SOLVERS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"torch": min_sum, "gco": graph_cut}


class PuzzleMix(MaskMix):
    """Masks that keep what is salient in either image, in blocks; the label is the mean of each mask.

    Saliency is the gradient of the loss with respect to the image, from a forward and backward pass of the
    model in evaluation mode. A batch is cut into b x b blocks, b drawn from 2, 4, 8 and 16 (as far as the
    images have so many pixels). Each pair's mask, with levels m in {0, 1/2, 1} for three labels, minimises

        sum over blocks of  m s(partner) + (1 - m) s(own) + (eta / b^2) prior(m)
        + sum over neighbours of  (beta / 16 b) (1 + gamma D) (m - m')^2, and D's linear part

    with s the saliency in the block as a share of the image's, prior the negative logarithm of the binomial
    probabilities of lambda, and D the jumps of colour across the blocks' border. Then the blocks of both images
    are moved to where the mask shows them. Follows the official code without its adversarial part and its
    extra loss on clean images; colours are scaled to a standard deviation of 1/4, that of CIFAR's pixels,
    instead of being de-normalised. Sizes that b does not divide are padded for it.

    Args:
        model: gives the saliency; its mode and gradients are left as they are.
        beta: weight of smooth masks, >= 0.
        gamma: weight of the colours' jumps in it, >= 0.
        eta: weight of the prior, >= 0.
        neigh_size: pixels over which colours are averaged at a border, >= 1.
        n_labels: levels of the mask, 2 to 4.
        transport: move the blocks.
        t_size: side of a moved block in pixels, >= 1; smaller mask blocks are moved as they are.
        t_eps: price of moving, >= 0.
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
        super().__init__(num_classes, alpha, **shared)
        for name, value in (("beta", beta), ("gamma", gamma), ("eta", eta), ("t_eps", t_eps)):
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
    ) -> tuple[Tensor, Tensor]:
        """The mixed images and their soft labels, as `MaskMix`; `lam` is the mean that the prior asks for."""
        check_batch(images, labels)
        draws = Draws(generator, images.device)
        batch, _, height, width = images.shape
        fitting = [b for b in GRIDS if b <= min(height, width)] or GRIDS[:1]
        grid = fitting[draws.choice(len(fitting))]
        partners = draws.partners(self.pairing, batch)
        n = batch if self.per_sample or (isinstance(lam, Tensor) and lam.dim() == 1) else 1
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
                own, other = self._transported(padded, saliency, mask, partners)
            cells = F.interpolate(mask[:, None], size=padded.shape[2:], mode="nearest")[..., :height, :width]
            mixed = torch.lerp(other, own, F.pad(cells, margin).to(images.dtype))[..., :height, :width]
            # empty_like keeps the memory format.
            x = torch.empty_like(images).copy_(mixed)
        return x, self.soft_labels(labels, cells.mean((1, 2, 3)), partners)

    def saliency(self, images: Tensor, labels: Tensor) -> Tensor:
        """(B, H, W): root mean square over channels of the cross-entropy's gradient with respect to the image."""
        modes = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        try:
            with torch.enable_grad():
                probed = images.detach().requires_grad_()
                loss = cross_entropy(self.model(probed), one_hot(labels, self.num_classes)).sum()
                (gradient,) = torch.autograd.grad(loss, probed)
        finally:
            for module, training in modes:
                module.training = training
        return gradient.float().square().mean(1).sqrt()

    def cut(self, images: Tensor, saliency: Tensor, partners: Tensor, lam: Tensor, grid: int) -> Tensor:
        """(B, grid, grid) masks of the own images, for ratios (B,) and sizes that `grid` divides."""
        own_cost, partner_cost, vertical, horizontal = self._costs(images, saliency, partners, grid)
        level = 1 - torch.arange(self.n_labels, device=images.device) / (self.n_labels - 1)
        unary = level * own_cost[..., None] + (1 - level) * partner_cost[..., None]
        unary = unary + (self.eta / grid**2) * self._prior(lam)[:, None, None]
        labels = SOLVERS[self.solver](unary, vertical, horizontal)
        return level[labels]

    def _prior(self, lam: Tensor) -> Tensor:
        """(B, n_labels): -log of the binomial probabilities of 0, 1, ... steps away from the own image."""
        trials = self.n_labels - 1
        terms = [math.comb(trials, k) * lam ** (trials - k) * (1 - lam) ** k for k in range(self.n_labels)]
        return -torch.log(torch.stack(terms, dim=1) + 1e-8).float()

    def _costs(self, images: Tensor, saliency: Tensor, partners: Tensor, grid: int) -> tuple[Tensor, ...]:
        """Cost per block of showing the own image and the partner, and weights of neighbouring blocks.

        The cost D[a][b] of the colours' jump, with image a before a border and image b behind it, is split into
        parts of either block and a part that counts where the two show different images.
        """
        share = _shares(saliency, grid)
        own_cost, partner_cost = share[partners], share.clone()
        cells = [max(1, side // grid // self.neigh_size) for side in images.shape[2:]]
        colours = F.adaptive_avg_pool2d(images.float(), [grid * count for count in cells])
        colours = colours * (0.25 / images.float().std())
        smooth = self.beta / (16 * grid)
        weights = []
        for axis, along in ((0, cells[0]), (1, cells[1])):
            own = colours.transpose(2, 3) if axis else colours
            across = cells[1 - axis]
            before, behind = own[:, :, along - 1 : -1 : along], own[:, :, along::along]
            jump = [
                [
                    smooth * self.gamma * _border(first[a], second[b], across).transpose(1, 1 + axis)
                    for b in (0, 1)
                ]
                for a in (0, 1)
                for first, second in [((before[partners], before), (behind[partners], behind))]
            ]
            for cost, image in ((partner_cost, 0), (own_cost, 1)):
                head = cost.narrow(1 + axis, 0, grid - 1)
                tail = cost.narrow(1 + axis, 1, grid - 1)
                head += (jump[image][0] + jump[image][1]) / 2
                tail += (jump[0][image] + jump[1][image]) / 2
            weights.append(smooth + (jump[1][0] + jump[0][1] - jump[0][0] - jump[1][1]) / 2)
        return own_cost, partner_cost, weights[0].clamp_min(0), weights[1].clamp_min(0)
