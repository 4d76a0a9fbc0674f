"""Image sets that do not fit on the device: read for every batch, ahead of the training, by processes of their own."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mixbench.data.images import Pixels
from mixbench.data.pictures import Pictures
from mixbench.data.statistics import total
from mixbench.errors import DataError
from mixbench.machine.ranks import ALONE, Ranks
from mixbench.machine.readers import begin_reader, starting_readers
from mixbench.seams import Fed

# Readers begin in milliseconds as copies of this process; on a Mac, where libraries of the system do not bear that, in
# seconds.
START = "fork" if sys.platform == "linux" else "spawn"
CHUNK = 1 << 22  # bytes that a reader hands over at once, where it is free to choose


class StreamedImages(Pixels):
    """Images and labels as normalised batches, read when they are needed (see `Pixels`): bit for bit those of ImageSet.

    `images` (N, H, W, C), uint8 or float32, may be an array or pictures on the disk, which as many processes as
    `readers` says decode ahead; with 0, and for an array, this process does it. `labels` int64 (N,). Of several `ranks`
    each decodes its part of a batch of pictures, and they exchange the pixels on the device.

    Readers start with an epoch and end with it. That takes a fraction of a second, and an epoch of what does not fit
    minutes.
    """

    def __init__(
        self,
        images: NDArray | Pictures,
        labels: NDArray[np.int64],
        *,
        mean: Sequence[float],
        std: Sequence[float],
        crop_padding: int = 0,
        flip: bool = False,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        channels_last: bool = True,
        readers: int = 0,
        ranks: Ranks | None = None,
    ) -> None:
        super().__init__(
            images.shape[1:],
            torch.uint8 if images.dtype == np.uint8 else torch.float32,
            mean=mean,
            std=std,
            crop_padding=crop_padding,
            flip=flip,
            device=device,
            dtype=dtype,
            channels_last=channels_last,
        )
        self.images = images
        self.readers = readers if isinstance(images, Pictures) else 0
        # An array is at hand for all of them.
        self.ranks = ranks if ranks is not None and isinstance(images, Pictures) else ALONE
        self.labels = torch.tensor(labels, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def feed(self, order: Sequence[Tensor], first: int = 0, seed: int | None = None) -> Iterator[Fed]:
        """Raw images and labels int64 (B,) of each batch from number `first` on, on the CPU.

        The images are this rank's part of the batch, (B / ranks, H, W, C). Those with a `crop_area` are cropped at
        random, from `seed`, the number of the batch and their row in it; seed None: they are not.
        Raises DataError naming a picture that cannot be read.
        """
        pin = self.device.type == "cuda"
        cropped = getattr(self.images, "crop_area", None) is not None
        batches = [(number, order[number].numpy()) for number in range(first, len(order))]
        pieces = [
            [
                Piece(
                    batch[row : row + size], Draw(seed, number, row) if seed is not None and cropped else None
                )
                for row, size in self._own_rows(len(batch))
            ]
            for number, batch in batches
        ]
        most = max(map(len, pieces), default=1)
        parts = read_ahead(
            self.images, [*chain.from_iterable(pieces)], self.readers, pin and most == 1, ahead=most
        )
        for (_, batch), piece in zip(batches, pieces, strict=True):
            labels = self.labels[batch]
            images = _together([next(parts) for _ in piece], pin)
            yield images, labels.pin_memory() if pin else labels

    def _own_rows(self, n: int) -> list[tuple[int, int]]:
        """Row and length of the pieces of this rank's part of n rows; the parts are of one length, but for the last."""
        length = -(-n // self.ranks.size)
        start = self.ranks.rank * length
        return pieces_of(start, min(n, start + length), self.images.shape)

    def batch(self, fed: Fed, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) in `dtype` and labels int64 (B,) of the examples `fed`.

        The generator lives on the set's device. Without one nothing is drawn.
        """
        images, labels = (t.to(self.device, non_blocking=True) for t in fed)
        images = self.ranks.gather(images)
        if generator is None:
            return self._normalise(images), labels
        padded = F.pad(images, (0, 0, *[self.crop_padding] * 4))
        indices = torch.arange(len(images), device=self.device)
        return self._augmented(padded, indices, generator), labels

    def eval_batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The whole set in order, not augmented: images (B, C, H, W), labels (B,); the last B may be smaller.

        All ranks go through all batches together.
        """
        pin = self.device.type == "cuda"
        starts = range(0, len(self), batch_size)
        pieces = [
            [
                Piece(np.arange(start + row, start + row + n))
                for row, n in self._own_rows(min(batch_size, len(self) - start))
            ]
            for start in starts
        ]
        parts = read_ahead(self.images, [*chain.from_iterable(pieces)], self.readers, pin)
        for start, piece in zip(starts, pieces, strict=True):
            labels = self.labels[start : start + batch_size].to(self.device)
            read = [next(parts).to(self.device, non_blocking=True) for _ in piece]
            yield self._normalise(self._gathered(read, len(labels))), labels

    def _gathered(self, own: list[Tensor], n: int) -> Tensor:
        """The n images of which this rank has read its part, in pieces."""
        if self.ranks.size == 1:
            return torch.cat(own)
        length = -(-n // self.ranks.size)
        raw = torch.zeros(length, *self.images.shape[1:], dtype=torch.uint8, device=self.device)
        if own:
            read = torch.cat(own)
            raw[: len(read)] = read
        return self.ranks.gather(raw)[:n]

    def mean_input(self) -> Tensor:
        """(C, H, W) float32: the mean of all images, normalised, without augmentation."""
        return self._mean(total(self.images), len(self))


class Draw(NamedTuple):
    """What the crops of a piece are drawn from, see `Pictures.cropped`."""

    seed: int
    step: int
    first: int


class Piece(NamedTuple):
    """What a reader hands over at once: the images at `indices`, whole or cropped."""

    indices: NDArray[np.int64]
    draw: Draw | None = None


def pieces_of(start: int, end: int, shape: Sequence[int]) -> list[tuple[int, int]]:
    """First row and length of the rows from start to end in pieces of about CHUNK bytes of uint8 (N, H, W, C)."""
    size = max(1, CHUNK // math.prod(shape[1:]))
    return [(row, min(size, end - row)) for row in range(start, end, size)]


def _together(parts: list[Tensor], pin: bool) -> Tensor:
    """One batch of its pieces, in memory that a GPU copies from for `pin`."""
    if len(parts) == 1:
        return parts[0]
    n = sum(map(len, parts))
    whole = torch.empty(n, *parts[0].shape[1:], dtype=parts[0].dtype, pin_memory=pin)
    return torch.cat(parts, out=whole)


def consecutive(n: int, shape: Sequence[int]) -> list[Piece]:
    """0..n-1 in pieces as in `pieces_of`."""
    return [Piece(np.arange(start, start + size)) for start, size in pieces_of(0, n, shape)]


def read_ahead(
    images: NDArray | Pictures, pieces: Sequence[Piece], readers: int, pin: bool = False, ahead: int = 0
) -> Iterator[Tensor]:
    """The images of each piece, in their order, as tensors; `pin`: in memory that a GPU copies from.

    With `readers` at least `ahead` pieces are read before they are asked for. Raises DataError naming a picture that
    cannot be read.
    """
    loader = DataLoader(
        _Images(images),
        batch_sampler=pieces,  # type: ignore[arg-type]  # lists of indices are meant, a piece does
        collate_fn=_as_it_is,
        num_workers=readers,
        prefetch_factor=max(2, -(-ahead // readers)) if readers else None,
        multiprocessing_context=START if readers else None,
        worker_init_fn=partial(begin_reader, os.getpid()),
        pin_memory=pin,
        generator=torch.Generator(),  # else every pass would draw from torch's own
    )
    with starting_readers():
        reading = iter(loader)
    for read in reading:
        if isinstance(read, str):
            raise DataError(read)
        yield read


class _Images(Dataset):
    """What readers are handed. An error comes back as a text: torch would put a traceback into it."""

    def __init__(self, images: NDArray | Pictures) -> None:
        self.images = images

    def __getitems__(self, piece: Piece) -> Tensor | str:
        try:
            if piece.draw is None:
                return torch.from_numpy(self.images[piece.indices])
            assert isinstance(self.images, Pictures)
            return torch.from_numpy(self.images.cropped(piece.indices, *piece.draw))
        except DataError as error:
            return str(error)


def _as_it_is(read: Any) -> Any:
    return read
