"""Training without a record, step by step and epoch by epoch."""

from __future__ import annotations

import torch

from mixbench.config.compose import compose
from mixbench.training.unrecorded import epochs, first_epoch


def test_the_first_epoch_step_by_step_is_the_first_epoch() -> None:
    """Oracle: the weights after the first epoch in one go, whatever a reader of the steps does with the mode."""
    small = ["dataset=digits", "dataset.train_size=100", "model=small_cnn", "batch_size=25"]
    config = compose([*small, "epochs=2", "augment=mixup"])
    looks = []
    for loop in first_epoch(config):
        looks.append([weight.detach().clone() for weight in loop.model.parameters()])
        loop.model.eval()
    assert len(looks) == 5
    whole, _ = next(epochs(config))
    for step, expected in zip(looks[-1], whole.model.parameters(), strict=True):
        assert torch.equal(step, expected)
