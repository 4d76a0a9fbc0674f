"""The processes that train one run together, a rank for each device, and all that they exchange.

Gradients are averaged by an explicit all-reduce between the backward passes and the update, which is the arithmetic of
DistributedDataParallel. That class itself does not fit: its hooks expect one backward pass for each forward through
its wrapper, where the two-pass rules run two of both, DG-Mix two backward passes of one forward, and some need their
own hooks on the model.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from mixbench.errors import ConfigError, MixbenchError
from mixbench.machine.signals import Interrupted

ANSWER_SECONDS = 5.0  # after a failed exchange, for the others to say that they are alive
MEETING_POLL = 0.05  # seconds between rank 0's looks at who has come
NCCL_SECONDS = 60.0  # that NCCL waits longer than gloo: its time-out aborts the process without a word

T = TypeVar("T")


class RankLost(MixbenchError):
    """Another rank died, hangs or failed."""


class Ranks:
    """One process alone: every exchange leaves things as they are. `SeveralRanks` is the other case."""

    rank = 0
    size = 1
    first = True  # False where torchrun has restarted the ranks

    def use(self, device: torch.device) -> None:
        """Make exchanges of tensors on `device` possible. All ranks call it at the same point, as everything below."""

    def parts(self, *batches: Tensor) -> tuple[Tensor, ...]:
        """This rank's rows of tensors (B, ...) of the global batch, (B / size, ...); the same tensor gives the same."""
        return batches

    def share(self, items: Iterable[T]) -> Iterable[T]:
        """Every size-th item, from number `rank` on: disjoint over the ranks, and together all of them."""
        return items

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one dtype by their means over the ranks."""

    def add(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over the ranks."""

    def gather(self, rows: Tensor) -> Tensor:
        """The rows (B / size, ...) of all ranks, (B, ...): `parts` undone."""
        return rows

    def spread(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one dtype by rank 0's."""

    def told(self, content: Any) -> Any:
        """The `content` of rank 0, made of plain containers and tensors; that of the others is not looked at."""
        return content

    def agreed(self, *numbers: int) -> list[int]:
        """The largest value on any rank of each number. Never waits for a GPU."""
        return list(numbers)

    def check_same(self, what: str, value: str) -> None:
        """Raise ConfigError on a rank whose `value` is not that of rank 0."""


ALONE = Ranks()


class SeveralRanks(Ranks):
    """This process among `size` > 1, as torchrun's environment describes it; `joined` makes one.

    A rank that does not answer within `timeout` seconds ends the exchange on the others with RankLost.
    """

    def __init__(self, identity: str, timeout: float) -> None:
        self.timeout = timedelta(seconds=timeout)
        store, self.rank, self.size = next(rendezvous("env://", timeout=self.timeout))
        store.set_timeout(self.timeout)
        meeting = _meeting(dist.PrefixStore("mixbench", store), self.rank, self.size, timeout)
        self.first = meeting == 1
        self.store = dist.PrefixStore(f"mixbench {meeting}", store)
        self.store.set(f"who/{self.rank}", f"process {os.getpid()} on {socket.gethostname()}")
        self.check_same("the config", identity)
        dist.init_process_group(
            "gloo", store=self.store, rank=self.rank, world_size=self.size, timeout=self.timeout
        )
        self.groups: dict[str, Any] = {"cpu": dist.group.WORLD}

    def use(self, device: torch.device) -> None:
        if device.type == "cuda":
            waits = self.timeout + timedelta(seconds=NCCL_SECONDS)
            self.groups["cuda"] = dist.new_group(backend="nccl", timeout=waits)

    def parts(self, *batches: Tensor) -> tuple[Tensor, ...]:
        rows = len(batches[0]) // self.size
        found = {id(batch): batch[self.rank * rows : (self.rank + 1) * rows] for batch in batches}
        return tuple(found[id(batch)] for batch in batches)

    def share(self, items: Iterable[T]) -> Iterable[T]:
        return itertools.islice(items, self.rank, None, self.size)

    def average(self, tensors: Sequence[Tensor]) -> None:
        def mean(flat: Tensor) -> None:
            self.add(flat)
            flat /= self.size

        _at_once(tensors, mean)

    def add(self, tensor: Tensor) -> None:
        with self._watched():
            dist.all_reduce(tensor, group=self.groups[tensor.device.type])

    def gather(self, rows: Tensor) -> Tensor:
        whole = rows.new_zeros(self.size * len(rows), *rows.shape[1:])
        self.parts(whole)[0].copy_(rows)
        self.add(whole)
        return whole

    def spread(self, tensors: Sequence[Tensor]) -> None:
        _at_once(tensors, self._broadcast)

    def told(self, content: Any) -> Any:
        buffer = io.BytesIO()
        torch.save(content, buffer)
        length = torch.tensor(len(buffer.getbuffer()))
        self._broadcast(length)
        data = torch.frombuffer(buffer.getbuffer(), dtype=torch.uint8).clone().resize_(int(length))
        self._broadcast(data)
        return torch.load(io.BytesIO(data.numpy().tobytes()), weights_only=True)

    def agreed(self, *numbers: int) -> list[int]:
        largest = torch.tensor(numbers)
        with self._watched():
            dist.all_reduce(largest, dist.ReduceOp.MAX)
        return largest.tolist()

    def check_same(self, what: str, value: str) -> None:
        with self._watched():
            if self.rank == 0:
                self.store.set(what, value)
            first = self.store.get(what).decode()
        if first != value:
            raise ConfigError(f"{what} of rank {self.rank} ({value}) is not that of rank 0 ({first}).")

    def await_first(self) -> None:
        """Return once rank 0 has closed the run's record: torchrun ends all ranks as soon as one has left."""
        with contextlib.suppress(RuntimeError):  # it died, or the store with it
            self.store.wait(["closed"], self.timeout)

    def leave(self, error: BaseException | None) -> None:
        """Tell the others that this rank ends, with `error` or well."""
        with contextlib.suppress(RuntimeError):  # the store may have died
            if not isinstance(error, RankLost):  # which is another's fault
                self.store.set(f"alive/{self.rank}", "" if error is None else _words(error))
            if self.rank == 0:
                self.store.set("closed", "")
        with contextlib.suppress(RuntimeError):
            if not (error is None or isinstance(error, (Interrupted, SystemExit))):
                for group in self.groups.values():
                    group.abort()  # what is under way waits for a rank that may never come, and the end for that
            dist.destroy_process_group()

    def _broadcast(self, tensor: Tensor) -> None:
        with self._watched():
            dist.broadcast(tensor, 0, group=self.groups[tensor.device.type])

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise RankLost(self._roll_call(str(error).splitlines()[0])) from None

    def _roll_call(self, failure: str) -> str:
        """Whom to blame for the `failure` of an exchange: those who do not say within seconds that they are alive."""
        until = time.monotonic() + ANSWER_SECONDS
        blamed = []
        with contextlib.suppress(RuntimeError):
            self.store.set(f"alive/{self.rank}", "")
        for rank in set(range(self.size)) - {self.rank}:
            try:
                left = max(0.01, until - time.monotonic())
                self.store.wait([f"alive/{rank}"], timedelta(seconds=left))
                reason = self.store.get(f"alive/{rank}").decode()
            except RuntimeError:
                reason = "it died or hangs, or the network does"
            if reason:
                blamed.append(f"rank {rank} of {self.size} ({self._who(rank)}): {reason}")
        lines = blamed or [f"all {self.size} ranks live, but an exchange between them failed: {failure}"]
        return "\n".join([*lines, "The same command goes on from the last checkpoint."])

    def _who(self, rank: int) -> str:
        try:
            return self.store.get(f"who/{rank}").decode()
        except RuntimeError:
            return "unknown"


def _meeting(store: dist.Store, rank: int, size: int, timeout: float) -> int:
    """The number of this meeting of the ranks, from 1 on, the same on all of them.

    torchrun keeps one store over its restarts, in which the words of ranks that are gone are still found: gloo would
    connect to their addresses. So each rank calls with a word never used before, and rank 0 answers all calls, the old
    ones too, until everyone has heard. torchrun's own count of restarts differs between machines.
    """
    if rank > 0:
        word = secrets.token_hex(8)
        store.set(f"call {rank}", word)
        number = int(store.get(f"answer {word}"))
        store.add(f"heard {number}", 1)
        return number
    number = store.add("meetings", 1)
    until = time.monotonic() + timeout
    while (heard := store.add(f"heard {number}", 0)) < size - 1:
        if time.monotonic() > until:
            raise RuntimeError(f"{heard + 1} of {size} came")
        for other in range(1, size):
            if store.check([f"call {other}"]):
                store.set(f"answer {store.get(f'call {other}').decode()}", str(number))
        time.sleep(MEETING_POLL)
    return number


def _words(error: BaseException) -> str:
    return str(error) if isinstance(error, MixbenchError) else f"{type(error).__name__}: {error}"


@torch.no_grad()
def _at_once(tensors: Sequence[Tensor], exchange: Callable[[Tensor], None]) -> None:
    """One exchange for all of `tensors`, laid out one after another, instead of one for each."""
    if not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    exchange(flat)
    pieces = flat.split([tensor.numel() for tensor in tensors])
    torch._foreach_copy_(list(tensors), [p.view(t.shape) for p, t in zip(pieces, tensors, strict=True)])


@contextlib.contextmanager
def joined(identity: str, timeout: float) -> Iterator[SeveralRanks]:
    """Meet the other ranks of the run `identity`, and part from them at the end of the block.

    Raises ConfigError where another rank trains another run, RankLost where one does not come in `timeout` seconds.
    """
    try:
        ranks = SeveralRanks(identity, timeout)
    except RuntimeError as error:
        raise RankLost(f"the ranks did not meet in {timeout:g} s: {str(error).splitlines()[0]}") from None
    try:
        yield ranks
    except BaseException as error:
        ranks.leave(error)
        raise
    ranks.leave(None)
