from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mixbench.config import library
from mixbench.config.compose import compose
from mixbench.errors import ConfigError
from mixbench.training.build import build_loop, load_splits
from mixbench.training.unrecorded import epochs

ROWS = ["dataset=iris", "model=mlp", "model.width=32", "batch_size=40", "drop_last=false", "epochs=15"]


def trained(tmp_path: Path, *changes: str) -> float:
    *_, (_, row) = epochs(compose([*ROWS, f"data_dir={tmp_path}", *changes]))
    return row["train_acc_clean"]


@pytest.mark.parametrize("opt", library.files("opt"))
def test_every_optimizer_learns_rows(tmp_path: Path, opt: str) -> None:
    """Fisher's irises are told apart by any of them: 67 % would be one of the two alike, 33 % is chance."""
    rate = 0.01 if opt.startswith("adam") else 0.05
    radius = ["opt.rho=0.05"] if opt in ("bgmix", "dgmix") else []  # theirs is ten times as large
    assert (
        trained(tmp_path, f"opt={opt}", "augment=mixup", "augment.alpha=0.2", f"opt.lr={rate}", *radius) > 80
    )


@pytest.mark.parametrize(
    "method",
    [
        ["augment=manifold_mixup"],
        ["augment=mixup", "augment.per_sample=true"],
        *(
            ["augment=mixup", "regularizer=mixupe", f"regularizer.variant={v}"]
            for v in ("paper", "exact", "official")
        ),
    ],
)
def test_every_method_for_rows_learns_them(tmp_path: Path, method: list[str]) -> None:
    """As above."""
    assert trained(tmp_path, "opt=adam", "opt.lr=0.01", *method) > 80


def test_manifold_mixup_mixes_the_hidden_layers_of_rows(tmp_path: Path) -> None:
    """The output of the last stage is the blend of those of the unmixed batch, where that stage is drawn."""
    config = compose([*ROWS, f"data_dir={tmp_path}", "augment=manifold_mixup", "opt=adam"])
    device = torch.device("cpu")
    loop = build_loop(config, device, load_splits(config, device))
    images, labels = loop.train.batch(next(iter(loop.train.feed([torch.arange(20)]))), None)
    for seed in range(20):
        x, _ = loop.augment(images, labels, generator=torch.Generator().manual_seed(seed))
        if loop.augment._stage == 2:  # type: ignore[attr-defined]
            break
    weight, partners = loop.augment._weight.float(), loop.augment._partners  # type: ignore[attr-defined]
    mixed = loop.model(x)
    hidden = loop.model[1](loop.model[0](images))  # type: ignore[index]
    expected = loop.model[2](weight * hidden + (1 - weight) * hidden[partners])  # type: ignore[index]
    assert torch.allclose(mixed, expected, atol=1e-5)


MASKS = set(library.files("augment")) - {"none", "mixup", "manifold_mixup"}


@pytest.mark.parametrize("augment", sorted(MASKS))
def test_masks_refuse_rows_and_say_what_does_not(augment: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose([*ROWS, f"augment={augment}"])
    assert f"augment={augment}: takes inputs of kind image; those of iris are of kind row." in str(
        error.value
    )
    assert "Allowed: manifold_mixup, mixup, none." in str(error.value)


def test_networks_refuse_the_other_kind() -> None:
    with pytest.raises(ConfigError, match=r"model=small_cnn: takes inputs of kind image.*Allowed: mlp\."):
        compose(["dataset=iris"])
    with pytest.raises(ConfigError, match=r"model=mlp: takes inputs of kind row.*Allowed: .*mobilenet"):
        compose(["model=mlp"])


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        (["model=wrn16_4"], "wrn16_4"),
        (["model=wrn28_10", "model.depth=16", "model.width=4"], "wrn16_4"),
        (["model=wrn16_4", "model.depth=22"], "wrn"),
        (["model=small_cnn", "model.stem_stride=2"], "small_cnn"),
    ],
)
def test_a_message_names_the_option_that_was_given(changes: list[str], name: str) -> None:
    """By hand; where no option has these values it is the family."""
    with pytest.raises(ConfigError, match=rf"^model={name}: takes inputs"):
        compose(["dataset=iris", *changes])
