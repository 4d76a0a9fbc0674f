"""The training loop. It asks no method which one it is: three seams, one row per epoch.

All randomness of a step comes from (seed, epoch, step), so going on from a checkpoint after any step gives the
same bits as never having stopped, with no generator state saved.
"""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from mixbench.data.order import derived_seed, epoch_order, step_generator
from mixbench.engine.at_once import AtOnce
from mixbench.engine.average import MovingAverage
from mixbench.engine.evaluators import evaluate, mixed_accuracy
from mixbench.engine.graph import StepGraph
from mixbench.engine.metrics import TrainMetrics
from mixbench.engine.position import Position
from mixbench.engine.progress import Progress
from mixbench.errors import MixbenchError
from mixbench.machine.devices import seed_default, synchronize
from mixbench.machine.others import other_seconds
from mixbench.machine.ranks import Ranks
from mixbench.record.read import Row
from mixbench.record.select import with_gaps
from mixbench.seams import Augment, Choosing, Examples, Fed, Loss, Objective, Rule

ADVICE = (
    "Try a smaller opt.lr, a warm-up (schedule.warmup_epochs=5), a smaller opt.rho where there is one,"
    " or precision=float32 in place of fp16."
)
UNCHANGED = 30  # steps; of four equal choices one is then still to come in 2 of 10,000 runs


class Diverged(MixbenchError):
    """The loss, or a weight, is no longer a finite number."""


@dataclass
class Loop:
    """What a training loop works with. `augment`, `objective` and `rule` are the three seams."""

    model: nn.Module  # as called in training; may be compiled
    augment: Augment
    objective: Objective
    rule: Rule
    loss: Loss
    mixup: Augment  # Mixup(alpha=1) with a ratio for each example, for train_acc_mixed
    metrics: TrainMetrics
    train: Examples
    test: Examples
    validation: Examples | None
    average: MovingAverage | None  # what is evaluated and kept instead of the last weights
    learning_rate: Callable[[float], float]  # epochs done, fractional -> learning rate
    autocast: torch.autocast
    at_once: AtOnce | None  # None: layer by layer
    device: torch.device
    seed: int
    epochs: int
    early_stopping: int
    batch_size: int
    drop_last: bool
    accumulate: int
    eval_batch_size: int
    train_clean_every: int | str
    train_mixed_every: int | str
    cuda_graph: bool
    ranks: Ranks  # with several, this process computes its part of every batch
    others: float | None = field(default=None, init=False)  # machine.others at the start of the epoch

    @property
    def steps(self) -> int:
        """Updates per epoch."""
        return len(self.metrics.batch_sizes)

    @property
    def examples(self) -> int:
        """How many examples an epoch trains on."""
        return sum(self.metrics.batch_sizes)

    def run_epoch(self, position: Position, progress: Progress) -> Iterator[None]:
        """Train the rest of the epoch at `position`, yielding after every step.

        Raises Diverged, naming the step, once the epoch is done.
        """
        self.model.train()
        epoch, first = position.epoch, position.step
        self.others = other_seconds()
        started, before = time.perf_counter(), position.train_seconds
        drawn = derived_seed("feed", self.seed, epoch)
        for step, fed in enumerate(self.train.feed(self._order(epoch), first, drawn), start=first):
            rate = self.learning_rate(epoch + step / self.steps)
            loss = self._step(fed, epoch, step, rate)
            if self.average is not None:
                self.average.update()
            progress.step(loss, self.metrics.sums)
            position.step = step + 1
            if position.step == self.steps:
                synchronize(self.device)
            position.train_seconds = before + time.perf_counter() - started
            yield
        self.check_finite(position)

    def _order(self, epoch: int) -> tuple[Tensor, ...]:
        return epoch_order(len(self.train), self.batch_size, self.seed, epoch, drop_last=self.drop_last)

    def _step(self, fed: Fed, epoch: int, step: int, rate: float) -> Tensor:
        reseed = partial(self._reseed, epoch, step)
        if self.cuda_graph:
            return self._graph.run(fed, step, rate, reseed)
        for group in self.rule.base.param_groups:
            group["lr"] = rate
        reseed()
        # tensor() would wait for the device.
        return self._compute(fed, torch.full((), step, device=self.device))

    def _reseed(self, epoch: int, step: int) -> None:
        self._generator.manual_seed(derived_seed("augment", self.seed, epoch, step))
        # Dropout's masks: each rank has its own, rank 0 those of a process alone.
        seed_default(derived_seed("model", self.seed, epoch, step) ^ self.ranks.rank, self.device)

    @cached_property
    def _generator(self) -> torch.Generator:
        return torch.Generator(self.device)

    @cached_property
    def _graph(self) -> StepGraph:
        draw, choose, update = _weakly(self._draw), _weakly(self._choose), _weakly(self._update)
        return StepGraph(draw, choose, update, self.rule.base, self._generator, _weakly(self._changing))

    def steps_are_settled(self, period: int = 1) -> bool:
        """Whether a step runs as all later ones will: its CUDA graphs, if it shall have any, are there or given up.

        Which choices of the host are still to come is not known, so that UNCHANGED steps without a new one must do, and
        at least `period`.
        """
        if not self.cuda_graph or not self._graph.usable:
            return True
        chooses = any(isinstance(each, Choosing) for each in (self.augment, self.rule))
        return bool(self._graph.updates) and self._graph.replays >= (max(UNCHANGED, period) if chooses else 0)

    @contextmanager
    def one_by_one(self) -> Iterator[None]:
        """Steps inside the block are neither recorded nor replayed."""
        if not self.cuda_graph:
            yield
            return
        self._graph.paused = True
        try:
            yield
        finally:
            self._graph.paused = False

    def _changing(self) -> list[Tensor]:
        """All tensors that a step changes."""
        memory = [v for state in self.rule.base.state.values() for v in state.values() if torch.is_tensor(v)]
        scaler = self.rule.scaler
        if scaler is not None and scaler._scale is not None and scaler._growth_tracker is not None:
            memory += [scaler._scale, scaler._growth_tracker]  # made in the first step
        weights = [*self.model.parameters(), *self.model.buffers()]
        return [*weights, *memory, *self.rule.tensors(), self.metrics.sums, self.metrics.step_losses]

    def _compute(self, fed: Fed, number: Tensor) -> Tensor:
        """The step itself, in its three parts. None waits for the device, and a CUDA graph may record the first and the
        last.
        """
        drawn = self._draw(fed)
        return self._update(drawn, number, self._choose(drawn))

    def _draw(self, fed: Fed) -> tuple[Tensor, ...]:
        """The un-mixed batch: images, labels. Of this rank alone for augmentations that work inside the model: these
        mix its examples with each other, by the same draws on all ranks.
        """
        drawn = self.train.batch(fed, self._generator)
        return self.ranks.parts(*drawn) if self.augment.uses_model else drawn

    def _choose(self, drawn: tuple[Tensor, ...]) -> tuple[Hashable, ...]:
        """What the host decides of this step for the augmentation and for the rule; None where it decides nothing."""
        return tuple(
            each.choose(drawn[0], self._generator) if isinstance(each, Choosing) else None
            for each in (self.augment, self.rule)
        )

    def _update(self, drawn: tuple[Tensor, ...], number: Tensor, choices: tuple[Hashable, ...]) -> Tensor:
        """All that follows: mixing, passes, update, metrics."""
        for_augment, for_rule = ({} if choice is None else {"choice": choice} for choice in choices)
        x, y, images, labels = self._mixed(drawn, for_augment)
        first_logits: dict[int, Tensor] = {}  # of each part

        def losses(i: int, x: Tensor, y: Tensor, images: Tensor, labels: Tensor) -> Tensor:
            with self.autocast, self.at_once.passes() if self.at_once else nullcontext():
                each, logits = self.objective(self.model, x, y, images, labels, self.loss)
            first_logits.setdefault(i, logits.detach())
            return each

        parts = enumerate(_parts(self.accumulate, x, y, images, labels))
        loss = self.rule.step(*(partial(losses, i, *part) for i, part in parts), **for_rule)
        self.ranks.spread(self._statistics)
        logits = first_logits[0] if self.accumulate == 1 else torch.cat([*first_logits.values()])
        self.metrics.update(number, loss, logits, y, labels)
        return loss

    def _mixed(self, drawn: tuple[Tensor, ...], choice: dict[str, Any]) -> tuple[Tensor, ...]:
        """This rank's part of the mixed batch and of the un-mixed one: x, y, images, labels.

        Every rank draws and mixes the whole batch, so that the parts together are what one process would train on: for
        1024 images of 32x32 that costs a CPU core 12 ms, where WRN-16-4 computes for seconds. For augmentations that
        work inside the model, `drawn` is a part already.
        """
        images, labels = drawn
        with self.autocast:  # for those that ask the model; the others have nothing that it would round
            x, y = self.augment(images, labels, generator=self._generator, **choice)
        return (x, y, images, labels) if self.augment.uses_model else self.ranks.parts(x, y, images, labels)

    @cached_property
    def _statistics(self) -> list[Tensor]:
        """BatchNorm's running means and variances. As under DistributedDataParallel, rank 0's count."""
        return [buffer for buffer in self.model.buffers() if buffer.is_floating_point()]

    def check_finite(self, position: Position) -> None:
        """Raise Diverged when one of the epoch's losses so far, or a weight now, is not finite. Reads the device.

        The last update shows in no loss, but in the weights that it leaves.
        """
        where = f"epoch {position.epoch + 1}, step {{}} of {self.steps}.\n{ADVICE}"
        bad = self.metrics.first_bad_step(position.step)
        if bad is not None:
            value = self.metrics.step_losses[bad].item()
            raise Diverged(f"the training loss became {value} in {where.format(bad + 1)}")
        for name, weight in self.model.state_dict().items():
            if weight.is_floating_point() and not weight.isfinite().all():
                raise Diverged(f"{name} is not finite any more after {where.format(position.step)}")

    def close_epoch(self, position: Position) -> Row:
        """Evaluate, add the epoch's row to `position`, and move it to the start of the next epoch.

        Raises Diverged where the network that training ends with gives no finite loss: the last update was too large.
        """
        epoch = position.epoch
        row: Row = {"epoch": epoch + 1, "lr": self.learning_rate(epoch + (self.steps - 1) / self.steps)}
        row |= self.metrics.read()
        started = time.perf_counter()
        with self.evaluated():
            row |= self._measured(position)
        row = with_gaps(row)
        row["train_seconds"] = position.train_seconds
        row["eval_seconds"] = time.perf_counter() - started
        others = other_seconds()
        alone = self.ranks.size == 1  # ranks would count as others of each other
        if alone and others is not None and self.others is not None:
            row["other_cpu_seconds"] = max(0.0, others - self.others)
        position.add(row)
        self.metrics.reset()
        if self.finished(position) and not math.isfinite(row["test_loss"]):
            raise Diverged(f"the test loss is {row['test_loss']} at the end of training.\n{ADVICE}")
        return row

    def finished(self, position: Position) -> bool:
        """Whether all epochs are done, or validation accuracy has not risen for `early_stopping` of them."""
        return position.epoch >= self.epochs or self._exhausted(
            position.epoch, position.best["val_acc"].epoch
        )

    def _exhausted(self, epoch: int, best: int) -> bool:
        return bool(self.early_stopping) and epoch - best >= self.early_stopping

    def evaluated(self) -> AbstractContextManager[None]:
        """The weights that are evaluated and kept, in the model's place."""
        return nullcontext() if self.average is None else self.average.in_place()

    def _measured(self, position: Position) -> Row:
        """What evaluations give after the epoch at `position`."""
        epoch, row = position.epoch, dict[str, Any]()
        tested = {f"test_{key}": value for key, value in self._evaluate(self.test).items()}
        validated = {} if self.validation is None else self._evaluate(self.validation)
        validated = {f"val_{key}": value for key, value in validated.items()}
        best = {key for key, so_far in position.best.items() if so_far.beaten_by(tested | validated)}
        best_val = epoch + 1 if "val_acc" in best else position.best["val_acc"].epoch
        last = epoch + 1 == self.epochs or self._exhausted(epoch + 1, best_val)

        def due(every: int | str) -> bool:
            return last or (bool(best) if isinstance(every, str) else (epoch + 1) % every == 0)

        if self.train_clean_every:
            measured = due(self.train_clean_every)
            clean = self._evaluate(self.train) if measured else {"acc": math.nan, "loss": math.nan}
            row |= {"train_acc_clean": clean["acc"], "train_loss_clean": clean["loss"]}
        if self.train_mixed_every:
            row["train_acc_mixed"] = self._mixed_accuracy(epoch) if due(self.train_mixed_every) else math.nan
        return row | tested | validated

    def _evaluate(self, examples: Examples) -> dict[str, float]:
        return evaluate(self.model, examples.eval_batches(self.eval_batch_size), self.autocast, self.ranks)

    def _mixed_accuracy(self, epoch: int) -> float:
        generator = step_generator(self.device, self.seed, epoch, 0, "train_acc_mixed")
        batches = (
            self.mixup(*self.train.batch(fed, None), generator=generator)
            for fed in self.train.feed(self._order(epoch))
        )
        together = max(1, self.eval_batch_size // self.batch_size)
        return mixed_accuracy(self.model, batches, self.autocast, self.ranks, together)


def _weakly(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method of a living object, without holding it: in a circle with the loop, a graph's memory of the GPU would
    stay until Python next looks for circles, beyond the next run's start.
    """
    held = weakref.WeakMethod(method)

    def call(*arguments: Any) -> Any:
        found = held()
        assert found is not None
        return found(*arguments)

    return call


def _parts(n: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The tensors (B, ...) cut into n parts each; of one that comes twice, the parts come twice as well."""
    if n == 1:
        yield tensors
        return
    cut = {id(t): t.chunk(n) for t in tensors}
    yield from zip(*(cut[id(t)] for t in tensors), strict=True)
