"""Training metrics of an epoch: running sums that stay on the device and are read once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mixbench.machine.ranks import ALONE, Ranks


def accumulator_dtype(device: torch.device) -> torch.dtype:
    """float64 where the device has it: sums over millions of images then keep every digit that is shown."""
    return torch.float32 if device.type == "mps" else torch.float64


class TrainMetrics:
    """Loss and accuracies on the batches that the model is trained on.

    `train_acc_weighted` is the soft target's weight on the predicted class (for Mixup:
    lam*[p=y_a] + (1-lam)*[p=y_b]); `train_acc_first` compares the prediction with the first image's label. Both
    come from the model's first, un-perturbed forward of each step. All are of the whole batch: the `ranks` add up
    theirs at every step, and all hold the same numbers. `batch_sizes`: of the steps of an epoch, over all ranks.
    """

    def __init__(self, batch_sizes: Sequence[int], device: torch.device, ranks: Ranks = ALONE) -> None:
        self.ranks = ranks
        self.batch_sizes = batch_sizes
        self.step_losses = torch.zeros(len(batch_sizes), device=device)
        self.sums = torch.zeros(3, dtype=accumulator_dtype(device), device=device)
        # What a batch gives each sum, example by example: written anew in every step, but for the ones that count.
        self._hits = torch.ones(3, max(batch_sizes, default=0), device=device)

    def reset(self) -> None:
        """Start a new epoch."""
        self.step_losses.zero_()
        self.sums.zero_()

    @torch.no_grad()
    def update(self, step: Tensor, loss: Tensor, logits: Tensor, targets: Tensor, labels: Tensor) -> None:
        """Add this rank's part of a batch: its place in the epoch, int64 () on the device, mean loss (), logits (B,K),
        soft targets (B,K), labels (B,) of the un-mixed images.
        """
        predicted, hits = logits.argmax(1), self._hits[:, : len(labels)]
        torch.gather(targets.to(hits.dtype), 1, predicted[:, None], out=hits[0, :, None])
        torch.eq(predicted, labels, out=hits[1])
        batch = hits.sum(1)
        if self.ranks.size > 1:
            batch = torch.cat([batch.to(self.sums.dtype), loss[None] / self.ranks.size])
            self.ranks.add(batch)
            loss = batch[3]
        self.sums += batch[:3]
        self.step_losses.index_copy_(0, step[None], loss[None].to(self.step_losses.dtype))

    def first_bad_step(self, steps_done: int) -> int | None:
        """The first of the epoch's first `steps_done` steps whose loss is not finite. Reads the device."""
        bad = (~torch.isfinite(self.step_losses[:steps_done])).nonzero()
        return int(bad[0]) if len(bad) else None

    def read(self) -> dict[str, float]:
        """The epoch's row entries: mean loss, accuracies in percent. Reads the device."""
        weighted, first, count = self.sums.tolist()
        if count == 0:
            return {"train_loss": math.nan, "train_acc_weighted": math.nan, "train_acc_first": math.nan}
        return {
            "train_loss": self._mean_loss().item(),
            "train_acc_weighted": 100 * weighted / count,
            "train_acc_first": 100 * first / count,
        }

    def _mean_loss(self) -> Tensor:
        """Over examples: the batches count by their sizes."""
        losses = self.step_losses.to(self.sums.dtype)
        if len(set(self.batch_sizes)) == 1:
            return losses.mean()
        sizes = torch.tensor(self.batch_sizes, dtype=losses.dtype, device=losses.device)
        return losses @ sizes / sizes.sum()

    def state_dict(self) -> dict[str, Tensor]:
        """What a resume in the middle of an epoch needs."""
        return {"step_losses": self.step_losses.cpu(), "sums": self.sums.cpu()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from a saved state."""
        self.step_losses.copy_(state["step_losses"])
        self.sums.copy_(state["sums"])
