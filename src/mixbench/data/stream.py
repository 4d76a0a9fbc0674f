"""Image sets that do not fit on the device: read for every batch, ahead of the training, by processes of their own."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

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
from mixbench.machine.readers import begin_reader, starting_readers
from mixbench.seams import Fed

# Readers begin in milliseconds as copies of this process; on a Mac, where libraries of the system do not bear that, in
# seconds.
START = "fork" if sys.platform == "linux" else "spawn"
CHUNK = 1 << 22  # bytes that a reader hands over at once, where it is free to choose


class StreamedImages(Pixels):
    """Images and labels as normalised batches, read when they are needed (see `Pixels`): bit for bit those of ImageSet.

    `images` (N, H, W, C), uint8 or float32, may be an array or pictures on the disk, which as many processes as
    `readers` says decode ahead; with 0, and for an array, this process does it. `labels` int64 (N,).

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
        self.labels = torch.tensor(labels, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def feed(self, order: Sequence[Tensor], first: int = 0) -> Iterator[Fed]:
        """Raw images (B, H, W, C) and labels int64 (B,) of each batch from number `first` on, on the CPU.

        Raises DataError naming a picture that cannot be read.
        """
        pin = self.device.type == "cuda"
        batches = order[first:]
        ahead = read_ahead(self.images, [batch.numpy() for batch in batches], self.readers, pin)
        for batch, images in zip(batches, ahead, strict=True):
            labels = self.labels[batch]
            yield images, labels.pin_memory() if pin else labels

    def batch(self, fed: Fed, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) in `dtype` and labels int64 (B,) of the examples `fed`.

        The generator lives on the set's device. Without one nothing is drawn.
        """
        images, labels = (t.to(self.device, non_blocking=True) for t in fed)
        if generator is None:
            return self._normalise(images), labels
        padded = F.pad(images, (0, 0, *[self.crop_padding] * 4))
        indices = torch.arange(len(images), device=self.device)
        return self._augmented(padded, indices, generator), labels

    def eval_batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The whole set in order, not augmented: images (B, C, H, W), labels (B,); the last B may be smaller."""
        parts: list[Tensor] = []
        pieces = consecutive(len(self), self.images.shape, batch_size)
        for piece, images in zip(
            pieces, read_ahead(self.images, pieces, self.readers, self.device.type == "cuda"), strict=True
        ):
            parts.append(images.to(self.device, non_blocking=True))
            end = int(piece[-1]) + 1
            if end % batch_size and end < len(self):
                continue
            whole, parts = torch.cat(parts), []
            yield self._normalise(whole), self.labels[end - len(whole) : end].to(self.device)

    def mean_input(self) -> Tensor:
        """(C, H, W) float32: the mean of all images, normalised, without augmentation."""
        return self._mean(total(self.images), len(self))


def consecutive(n: int, shape: Sequence[int], batch_size: int | None = None) -> list[NDArray[np.int64]]:
    """0..n-1 in pieces of about CHUNK bytes of images uint8 (N, *shape[1:]), none of them in two batches."""
    size = max(1, CHUNK // math.prod(shape[1:]))
    batches = [np.arange(start, min(n, start + (batch_size or n))) for start in range(0, n, batch_size or n)]
    return [batch[start : start + size] for batch in batches for start in range(0, len(batch), size)]


def read_ahead(
    images: NDArray | Pictures, batches: Sequence[NDArray[np.int64]], readers: int, pin: bool = False
) -> Iterator[Tensor]:
    """`images[batch]` for each of the batches, in their order, as tensors; `pin`: in memory that a GPU copies from.

    Raises DataError naming a picture that cannot be read.
    """
    loader = DataLoader(
        _Images(images),
        batch_sampler=batches,  # type: ignore[arg-type]  # lists of indices are meant, an array does
        collate_fn=_as_it_is,
        num_workers=readers,
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

    def __getitems__(self, indices: NDArray[np.int64]) -> Tensor | str:
        try:
            return torch.from_numpy(self.images[indices])
        except DataError as error:
            return str(error)


def _as_it_is(read: Any) -> Any:
    return read
