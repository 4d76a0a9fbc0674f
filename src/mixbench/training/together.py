"""Many perceptrons trained at once on the same rows: what the loop of each would do alone, with the weights of all in
one tensor for each layer.

A network of some ten thousand weights is trained in steps that a processor spends on starting operations. Together,
an operation is one for all of them: batches and draws are those of the loops, and the numbers are theirs to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from mixbench.augment.mixup import Mixup
from mixbench.augment.none import NoMix
from mixbench.data.order import derived_seed, epoch_order
from mixbench.engine.loop import Loop
from mixbench.losses import one_hot
from mixbench.optim.build import eager
from mixbench.regularize.mixupe import MixupE
from mixbench.regularize.none import NoRegularizer
from mixbench.seams import Augment, Examples

TOGETHER = 15  # networks of one stack; 5 to 45 take the same time, fewer take less memory


def train_together(loops: Sequence[Loop]) -> list[tuple[float, float]]:
    """Train the networks of new loops to the end; validation and test accuracy of each, in per cent.

    The loops are on the CPU and differ in augment (none, mixup) and regularizer (none, mixupe of the paper's variant)
    alone; all have model=mlp, opt=adam and loss=cross_entropy. Their own models are left as they are. Raises ValueError
    for others.
    """
    _check(loops)
    first = loops[0]
    stacks = [_Stack(loops, members) for members in _alike(loops)]
    mixes = {_mix(loop.augment): loop.augment for loop in loops}
    for epoch in range(first.epochs):
        order = epoch_order(len(first.train), first.batch_size, first.seed, epoch, drop_last=first.drop_last)
        for step, fed in enumerate(first.train.feed(order)):
            images, labels = first.train.batch(fed, None)
            seed = derived_seed("augment", first.seed, epoch, step)
            mixed = {
                key: mix(images, labels, generator=torch.Generator().manual_seed(seed))
                for key, mix in mixes.items()
            }
            rate = first.learning_rate(epoch + step / first.steps)
            for stack in stacks:
                stack.step(mixed, images, labels, rate)
    found = dict[int, tuple[float, float]]()
    assert first.validation is not None
    for stack in stacks:
        accuracies = (stack.accuracies(part) for part in (first.validation, first.test))
        found |= dict(zip(stack.members, zip(*accuracies, strict=True), strict=True))
    return [found[i] for i in range(len(loops))]


class _Stack:
    """The weights of some of the loops' networks, which have the same kind of objective, and Adam's memory of them."""

    def __init__(self, loops: Sequence[Loop], members: Sequence[int]) -> None:
        self.members = members
        chosen = [loops[i] for i in members]
        self.layers = [
            _layer([_linears(loop.model)[i] for loop in chosen])
            for i in range(len(_linears(chosen[0].model)))
        ]
        self.mixes = [_mix(loop.augment) for loop in chosen]
        objectives = [loop.objective for loop in chosen]
        self.extra = all(isinstance(objective, MixupE) for objective in objectives)
        if self.extra:
            weights = [o.eta * o.mean_weight for o in objectives if isinstance(o, MixupE)]
            self.weights = torch.tensor(weights)[:, None]
        group = chosen[0].rule.base.param_groups[0]
        options = {key: group[key] for key in ("lr", "betas", "eps", "weight_decay", "fused")}
        parameters = [nn.Parameter(tensor) for layer in self.layers for tensor in layer]
        self.layers = [(parameters[2 * i], parameters[2 * i + 1]) for i in range(len(self.layers))]
        self.adam = eager(torch.optim.Adam, parameters, **options)

    def outputs(self, x: Tensor) -> Tensor:
        """Logits (M, B, K) of inputs (M, B, D), or of (B, D), which all are given."""
        for i, (weight, bias) in enumerate(self.layers):
            given = x if x.dim() == 3 else x.expand(len(weight), *x.shape)
            x = torch.baddbmm(bias, given, weight)
            x = x.relu_() if i + 1 < len(self.layers) else x
        return x

    def step(
        self, mixed: dict[tuple, tuple[Tensor, Tensor]], images: Tensor, labels: Tensor, rate: float
    ) -> None:
        """An update of each with the mean loss of its own mixed batch, plain or as in `MixupE`."""
        x, y = (torch.stack(parts) for parts in zip(*(mixed[key] for key in self.mixes), strict=True))
        if self.extra:  # in one forward, which is the same without BatchNorm and cheaper
            own = images.expand(len(x), *images.shape)
            logits, clean = self.outputs(torch.cat([x, own], 1)).split(len(images), 1)
        else:
            logits = self.outputs(x)
        losses = -(y * logits.log_softmax(2)).sum(2)
        if self.extra:
            error = one_hot(labels, y.shape[2]) - clean.softmax(2)
            total = losses + self.weights * (error * clean).sum(2).abs()
            plain, whole = (each.detach().mean(1, keepdim=True).abs() for each in (losses, total))
            losses = total * torch.where(whole > 0, plain / whole, 1.0)
        self.adam.zero_grad()
        losses.mean(1).sum().backward()
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.adam.step()

    @torch.no_grad()
    def accuracies(self, examples: Examples) -> list[float]:
        """The share of the examples that each gets right, in per cent."""
        right = torch.zeros(len(self.members), dtype=torch.int64)
        for x, labels in examples.eval_batches(1000):
            right += (self.outputs(x).argmax(2) == labels).sum(1)
        return (100 * right.double() / len(examples)).tolist()


def _linears(model: nn.Module) -> list[nn.Linear]:
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


def _layer(linears: Sequence[nn.Linear]) -> tuple[Tensor, Tensor]:
    """Weights (M, in, out) and biases (M, 1, out)."""
    weight = torch.stack([linear.weight.detach().t() for linear in linears])
    return weight, torch.stack([linear.bias.detach()[None] for linear in linears])


def _mix(augment: Augment) -> tuple:
    """What tells two augmentations apart."""
    return (type(augment), *sorted(vars(augment).items()))


def _alike(loops: Sequence[Loop]) -> Iterator[list[int]]:
    """The positions of the loops with each kind of objective."""
    for kind in (NoRegularizer, MixupE):
        members = [i for i, loop in enumerate(loops) if type(loop.objective) is kind]
        for start in range(0, len(members), TOGETHER):
            yield members[start : start + TOGETHER]


def _check(loops: Sequence[Loop]) -> None:
    for loop in loops:
        objective = loop.objective
        ours = type(objective) is NoRegularizer or (
            isinstance(objective, MixupE)
            and (objective.variant, objective.samples, objective.detach, objective.rescale)
            == ("paper", "original", False, True)
        )
        layers = {type(m) for m in loop.model.modules() if not list(m.children())}
        fits = {
            "augment": type(loop.augment) in (NoMix, Mixup),
            "regularizer": ours,
            "model": layers <= {nn.Linear, nn.ReLU},
            "opt": type(loop.rule.base) is torch.optim.Adam and len(loop.rule.tensors()) == 0,
            "seed": (loop.seed, loop.epochs, loop.batch_size)
            == (loops[0].seed, loops[0].epochs, loops[0].batch_size),
            "ema, accumulate": loop.average is None and loop.accumulate == 1,
        }
        unfit = [name for name, fit in fits.items() if not fit]
        if unfit:
            raise ValueError(f"cannot be trained together with others: {', '.join(unfit)}")
