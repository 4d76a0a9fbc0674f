"""Spectrograms of spoken words, computed once on the training device.

As in adiyoss/GCommandsPytorch, with which Zhang et al. (2018) and Zou et al. (2023) train: magnitudes of a short-time
Fourier transform with a Hamming window of 20 ms every 10 ms, log(1 + x), zeros after the end of a clip that is shorter
than a second, then mean 0 and deviation 1 over the whole of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixbench.data.speech import Clips
from mixbench.data.splits import Split, Splits
from mixbench.schema.speech import BINS, FRAMES, HOP, WINDOW

TOGETHER = 512  # clips of one length


def transformed(splits: Splits, device: torch.device) -> Splits:
    """The clips of all parts as spectrograms float32 (N, 161, 101, 1)."""

    def part(split: Split) -> Split:
        assert isinstance(split.inputs, Clips)
        return Split(spectrograms(split.inputs.waves, device), split.labels)

    assert splits.val is not None
    return dataclasses.replace(splits, train=part(splits.train), val=part(splits.val), test=part(splits.test))


def spectrograms(waves: Sequence[NDArray[np.int16]], device: torch.device | str) -> NDArray[np.float32]:
    """float32 (N, 161, 101, 1) of clips int16 (length,); those of one length go through the device together.

    A clip without any sound becomes zeros, where the original divides by zero.
    """
    found = np.empty((len(waves), BINS, FRAMES, 1), np.float32)
    lengths: dict[int, list[int]] = {}
    for i, clip in enumerate(waves):
        lengths.setdefault(len(clip), []).append(i)
    for same in lengths.values():
        for start in range(0, len(same), TOGETHER):
            chosen = same[start : start + TOGETHER]
            samples = torch.from_numpy(np.stack([waves[i] for i in chosen])).to(device)
            found[chosen, ..., 0] = _transformed(samples.float() / 32768).cpu().numpy()
    return found


def _transformed(samples: Tensor) -> Tensor:
    """(n, 161, 101) of samples (n, length) in [-1, 1)."""
    window = torch.hamming_window(WINDOW, device=samples.device)
    whole = torch.stft(
        samples, WINDOW, HOP, window=window, center=True, pad_mode="reflect", return_complex=True
    )
    heights = torch.nn.functional.pad(whole.abs().log1p(), (0, FRAMES - whole.shape[2]))
    deviation, mean = torch.std_mean(heights, dim=(1, 2), keepdim=True)
    return (heights - mean) / torch.where(deviation > 0, deviation, 1.0)
