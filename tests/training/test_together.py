from __future__ import annotations

import pytest
import torch

from mixbench.config.compose import compose
from mixbench.schema.train import Train
from mixbench.training.build import build_loop, load_splits
from mixbench.training.together import train_together
from mixbench.training.unrecorded import epochs

METHODS = {
    "ERM": [],
    "Mixup": ["augment=mixup", "augment.alpha=0.2"],
    "Mixup, alpha 5": ["augment=mixup", "augment.alpha=5"],
    "MixupE": [
        "augment=mixup",
        "augment.alpha=0.2",
        "regularizer=mixupe",
        "regularizer.alpha=0.2",
        "regularizer.eta=0.1",
    ],
    "MixupE, eta 1": ["augment=mixup", "regularizer=mixupe", "regularizer.eta=1"],
}


def configured(*changes: str) -> Train:
    common = [
        "dataset=iris",
        "model=mlp",
        "opt=adam",
        "batch_size=40",
        "drop_last=false",
        "schedule=constant",
    ]
    return compose([*common, "train_clean_every=0", *changes])


def test_networks_trained_together_are_those_trained_alone(tmp_path: object) -> None:
    """Against the ordinary loop, method by method: accuracies of 12 epochs, with a partial batch at the end of each."""
    configs = [
        configured("epochs=12", "seed=3", f"data_dir={tmp_path}", *method) for method in METHODS.values()
    ]
    device = torch.device("cpu")
    loops = [build_loop(config, device, load_splits(config, device)) for config in configs]
    found = train_together(loops)
    for config, (val, test) in zip(configs, found, strict=True):
        *_, (_, row) = epochs(config)
        assert (val, test) == pytest.approx((row["val_acc"], row["test_acc"]))
