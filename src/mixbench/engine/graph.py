"""A training step recorded once as a CUDA graph, so that the host hands over one thing instead of a thousand.

With 128 CIFAR images a GPU computes a WRN-16-4's step faster than Python can launch its kernels one by one.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mixbench.seams import Fed

log = logging.getLogger("mixbench")

WARM_UP = 3  # steps run plainly before: they make momentum buffers and let cuDNN choose its kernels
# Before torch 2.14 a graph has to be told of generators besides the default one; from then on it finds them, and warns.
REGISTERED = tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 14)
# Of the length of an update. Kernels that add in another order make some thousandths; a random number or a learning
# rate that was recorded instead of read makes about 1.
TOLERANCE = 0.1


class StepGraph:
    """Runs training steps on a CUDA device: plainly at first, then as replays of a graph.

    `compute(fed, number)` is the whole step for what the examples are fed, with `number`, int64 (), its place in the
    epoch. It returns the loss () and reads nothing else that changes from step to step but the optimizer's `lr` and
    random numbers of `generator` and of torch's default one, and never waits for the device. `state()` lists the
    tensors that a step changes. A batch of another size than the first one, such as an epoch's last, is run plainly.

    The first replay is checked against the same step run plainly; a step that moves no weight, at rate 0 or skipped by
    a scaler, cannot show whether it is right, and the next one is taken. Where recording fails, or the check does, a
    warning says so and all steps are run plainly.
    """

    def __init__(
        self,
        compute: Callable[[Fed, Tensor], Tensor],
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        state: Callable[[], Sequence[Tensor]],
    ) -> None:
        device = generator.device
        self.compute, self.optimizer, self.generator, self.state = compute, optimizer, generator, state
        self.fed: Fed = ()  # what is recorded reads these tensors; made for the first batch
        self.number = torch.zeros((), dtype=torch.int64, device=device)
        self.rate = torch.zeros((), device=device)
        self.stream = torch.cuda.Stream(device)  # one for plain and recorded steps: autograd remembers it
        self.graph: torch.cuda.CUDAGraph | None = None
        self.loss: Tensor | None = None
        self.steps_run = 0
        self.usable = True

    def run(self, fed: Fed, number: int, rate: float, reseed: Callable[[], None]) -> Tensor:
        """One step with learning rate `rate`, after `reseed()`. The loss () is overwritten by the next step."""
        if not self.fed:
            self.fed = tuple(torch.empty_like(t, device=self.generator.device) for t in fed)
        usual = all(t.shape == own.shape for t, own in zip(fed, self.fed, strict=True))
        if usual:
            for own, t in zip(self.fed, fed, strict=True):
                own.copy_(t, non_blocking=True)
        self.number.fill_(number)
        self.rate.fill_(rate)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate
        reseed()
        if not usual:
            return self._plainly(fed)
        if self.graph is not None and self.loss is not None:
            self.graph.replay()
            return self.loss
        self.steps_run += 1
        if not self.usable or self.steps_run <= WARM_UP:
            return self._plainly(self.fed)
        return self._first_recorded(reseed)

    def _plainly(self, fed: Fed) -> Tensor:
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            loss = self.compute(fed, self.number)
        torch.cuda.current_stream().wait_stream(self.stream)
        return loss

    def _first_recorded(self, reseed: Callable[[], None]) -> Tensor:
        """Run a step plainly, record it, replay it from the same start, and go on from the plain result."""
        before = _copies(self.state())
        loss = self._plainly(self.fed).clone()
        after = _copies(self.state())
        if not distance(before, after, self._learned()):
            return loss
        restore = _captured_apart(self.generator)
        try:
            graph = torch.cuda.CUDAGraph()
            if REGISTERED:
                graph.register_generator_state(self.generator)
            with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                recorded = self.compute(self.fed, self.number)
            _set(self.state(), before)
            reseed()
            graph.replay()
            difference = relative_difference(before, after, self.state(), self._learned())
        except RuntimeError as error:
            restore()
            self._give_up(f"a step cannot be recorded ({str(error).splitlines()[0]})")
        else:
            if not difference <= TOLERANCE:
                self._give_up(f"a recorded step differs from a plain one by {difference:.3g} of its length")
            else:
                self.graph, self.loss = graph, recorded
        _set(self.state(), after)
        return loss

    def _learned(self) -> list[bool]:
        return [isinstance(tensor, torch.nn.Parameter) for tensor in self.state()]

    def _give_up(self, reason: str) -> None:
        self.usable = False
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
