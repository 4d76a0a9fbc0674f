"""A training step recorded as a CUDA graph, so that the host hands over one or two things instead of a thousand.

With 128 CIFAR images a GPU computes a WRN-16-4's step faster than Python can launch its kernels one by one.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from mixbench.seams import Fed

log = logging.getLogger("mixbench")

Drawn = tuple[Tensor, ...]

WARM_UP = 3  # steps run plainly before: they make momentum buffers and let cuDNN choose its kernels
# Before torch 2.14 a graph has to be told of generators besides the default one; from then on it finds them, and warns.
REGISTERED = tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 14)
# Of the length of an update. Kernels that add in another order make some thousandths; a random number or a learning
# rate that was recorded instead of read makes about 1.
TOLERANCE = 0.1


class StepGraph:
    """Runs training steps on a CUDA device: plainly at first, then as replays of graphs.

    A step has three parts. `draw(fed)` gives the batch of what the examples are fed; `choose(drawn)` is what the host
    decides of the step; `update(drawn, number, choice)` does it, where `number`, int64 (), is its place in the epoch,
    and gives the loss (). The first and the last are recorded, the last one for each choice. They read nothing else
    that changes from step to step but the optimizer's `lr` and random numbers of `generator` and of torch's default
    one, and never wait for the device. `state()` lists the tensors that a step changes. A batch of another size than
    the first one, such as an epoch's last, is run plainly.

    The first replay of each choice is checked against the same step run plainly; a step that moves no weight, at rate 0
    or skipped by a scaler, cannot show whether it is right, and the next one is taken. Where recording fails, or the
    check does, a warning says so and all steps are run plainly. They are as well as long as `paused` is set.
    """

    def __init__(
        self,
        draw: Callable[[Fed], Drawn],
        choose: Callable[[Drawn], Hashable],
        update: Callable[[Drawn, Tensor, Hashable], Tensor],
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        state: Callable[[], Sequence[Tensor]],
    ) -> None:
        device = generator.device
        self.draw, self.choose, self.update = draw, choose, update
        self.optimizer, self.generator, self.state = optimizer, generator, state
        self.fed: Fed = ()  # what is recorded reads these tensors; made for the first batch
        self.number = torch.zeros((), dtype=torch.int64, device=device)
        self.rate = torch.zeros((), device=device)
        self.stream = torch.cuda.Stream(device)  # one for plain and recorded steps: autograd remembers it
        self.drawing: tuple[torch.cuda.CUDAGraph, Drawn] | None = None
        self.updates: dict[Hashable, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self.steps_run = 0  # plainly, of the usual size
        self.replays = 0  # steps since the last one that was not a replay
        self.usable = True
        self.paused = False
        self._restore: Callable[[], None] | None = None

    def run(self, fed: Fed, number: int, rate: float, reseed: Callable[[], None]) -> Tensor:
        """One step with learning rate `rate`, after `reseed()`. The loss () is overwritten by the next step."""
        if not self.fed:
            self.fed = tuple(torch.empty_like(t, device=self.generator.device) for t in fed)
        usual = not self.paused and all(t.shape == own.shape for t, own in zip(fed, self.fed, strict=True))
        if usual:
            for own, t in zip(self.fed, fed, strict=True):
                own.copy_(t, non_blocking=True)
        self.number.fill_(number)
        self.rate.fill_(rate)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate
        reseed()
        if not usual:
            drawn = self._plainly(self.draw, fed)
            return self._plainly(self.update, drawn, self.number, self.choose(drawn))
        if self.drawing is None:
            drawn = self._plainly(self.draw, self.fed)
        else:
            graph, drawn = self.drawing
            graph.replay()
        choice = self.choose(drawn)
        if choice in self.updates:
            graph, loss = self.updates[choice]
            graph.replay()
            self.replays += 1
            return loss
        self.steps_run += 1
        self.replays = 0
        if not self.usable or self.steps_run <= WARM_UP:
            return self._plainly(self.update, drawn, self.number, choice)
        return self._first_recorded(drawn, choice, reseed)

    def _plainly(self, part: Callable[..., Any], *arguments: Any) -> Any:
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            result = part(*arguments)
        torch.cuda.current_stream().wait_stream(self.stream)
        return result

    def _first_recorded(self, drawn: Drawn, choice: Hashable, reseed: Callable[[], None]) -> Tensor:
        """Run a step plainly, record it, replay it from the same start, and go on from the plain result."""
        chosen, before = self.generator.get_state(), _copies(self.state())
        try:
            loss = self._plainly(self.update, drawn, self.number, choice).clone()
        except torch.OutOfMemoryError:
            if self._restore is None:
                raise
            # The graphs so far keep the memory of a step, and this is a second one beside them.
            self._restore()
            self._give_up("no memory is left to record another kind of step")
            torch.cuda.empty_cache()
            _set(self.state(), before)
            reseed()
            self.generator.set_state(chosen)
            return self._plainly(self.update, drawn, self.number, choice)
        after = _copies(self.state())
        if not distance(before, after, self._learned()):
            return loss
        # Once: all graphs are to find the random numbers of a step in one place.
        self._restore = self._restore or _captured_apart(self.generator)
        try:
            if self.drawing is None:
                self.drawing = self._captured(None, self.draw, self.fed)
            drawing, own = self.drawing
            graph, recorded = self._captured(drawing.pool(), self.update, own, self.number, choice)
            _set(self.state(), before)
            reseed()
            drawing.replay()
            self.generator.set_state(chosen)
            graph.replay()
            difference = relative_difference(before, after, self.state(), self._learned())
        except RuntimeError as error:
            self._restore()
            self._give_up(f"a step cannot be recorded ({str(error).splitlines()[0]})")
        else:
            if not difference <= TOLERANCE:
                self._give_up(f"a recorded step differs from a plain one by {difference:.3g} of its length")
            else:
                self.updates[choice] = graph, recorded
        _set(self.state(), after)
        return loss

    def _captured(
        self, pool: Any, part: Callable[..., Any], *arguments: Any
    ) -> tuple[torch.cuda.CUDAGraph, Any]:
        """A graph of this part of a step, and what it gives, which each replay overwrites.

        Graphs of one `pool` share their memory, but for what is held: the batch, and each one's loss.
        """
        graph = torch.cuda.CUDAGraph()
        if REGISTERED:
            graph.register_generator_state(self.generator)
        with torch.cuda.graph(graph, pool=pool, stream=self.stream, capture_error_mode="thread_local"):
            given = part(*arguments)
        return graph, given

    def _learned(self) -> list[bool]:
        return [isinstance(tensor, torch.nn.Parameter) for tensor in self.state()]

    def _give_up(self, reason: str) -> None:
        self.usable, self.drawing = False, None
        self.updates.clear()
        log.warning(f"graph    {reason}; steps are run one by one. cuda_graph=false avoids the attempt")


def _captured_apart(generator: torch.Generator) -> Callable[[], None]:
    """Let a recording work on copies of the states of this generator and its device's default one.

    The function that this gives is for a recording that failed: it puts back the states, which know of no recording (a
    copy would go on to say that one is under way, and refuse a seed), and the stream.
    """
    stream = torch.cuda.current_stream()
    index = torch.cuda.current_device() if generator.device.index is None else generator.device.index
    generators = [generator, torch.cuda.default_generators[index]]
    states = [each.graphsafe_get_state() for each in generators]
    for each in generators:
        each.graphsafe_set_state(each.clone_state())

    def restore() -> None:
        torch.cuda.set_stream(stream)
        for each, state in zip(generators, states, strict=True):
            each.graphsafe_set_state(state)

    return restore


def relative_difference(
    before: Sequence[Tensor], one: Sequence[Tensor], other: Sequence[Tensor], counts: Sequence[bool]
) -> float:
    """||other - one|| / ||one - before||, over all tensors that count together, in float64; NaN where one is."""
    moved, apart = distance(one, before, counts), distance(other, one, counts)
    return apart / moved if moved else apart


def distance(one: Sequence[Tensor], other: Sequence[Tensor], counts: Sequence[bool]) -> float:
    """||other - one|| over all tensors that count together, in float64; NaN where one is."""
    chosen = itertools.compress(zip(one, other, strict=True), counts)
    return sum((x.double() - y.double()).square().sum().item() for x, y in chosen) ** 0.5


def _copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [t.detach().clone() for t in tensors]


@torch.no_grad()
def _set(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)
