"""One of two processes that train together: `python rank_checks.py OUT`, in the environment that torchrun sets.

Computes what tests/machine/test_ranks.py compares, and rank 0 writes it to the file OUT as JSON.
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from own_data import folder
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mixbench import data
from mixbench.augment import Mixup
from mixbench.config.compose import compose
from mixbench.data.order import epoch_order
from mixbench.data.own import load_folder
from mixbench.data.pictures import Pictures
from mixbench.data.stream import StreamedImages
from mixbench.engine.evaluators import evaluate
from mixbench.engine.loop import Loop
from mixbench.engine.position import Position
from mixbench.engine.progress import Progress
from mixbench.errors import ConfigError
from mixbench.machine.ranks import ALONE, Ranks, SeveralRanks, joined
from mixbench.models import MODELS
from mixbench.optim import RULES
from mixbench.schema.own import Folder
from mixbench.training import build

CPU = torch.device("cpu")
OFF = torch.autocast("cpu", enabled=False)
EPOCH = [
    "devices=2",
    "epochs=1",
    "dataset.train_size=640",
    "dataset.val_size=101",
    "train_mixed_every=1",
    "eval_batch_size=77",
]
METHODS = {
    "ERM": [],
    "Adam": ["opt=adam"],
    "Mixup": ["augment=mixup"],
    "CutMix": ["augment=cutmix", "augment.per_sample=true"],
    "GMix": ["augment=gmix"],
    "MixupE": ["augment=mixup", "regularizer=mixupe", "regularizer.rescale=false"],
    "SAM": ["opt=sam"],
    "ASAM": ["opt=asam"],
    "GSAM": ["opt=gsam"],
    "LookSAM": ["opt=looksam"],
    "G-Mix": ["augment=mixup", "opt=sam", "opt.rho=0.5"],
    "BG-Mix": ["augment=mixup", "opt=bgmix"],
    "DG-Mix": ["augment=mixup", "opt=dgmix"],
    "DG-Mix, logit": ["augment=mixup", "opt=dgmix", "opt.decompose=logit"],
}


def plain_net(in_channels: int, num_classes: int, stem_stride: int = 1) -> nn.Sequential:
    """A network without BatchNorm, whose statistics would be those of each part of a batch."""
    convolutions = [nn.Conv2d(in_channels, 12, 3), nn.ReLU(), nn.Conv2d(12, 16, 3, stride=2), nn.ReLU()]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(64, num_classes))


def loop_of(overrides: list[str], ranks: Ranks) -> Loop:
    config = compose([*EPOCH, *overrides])
    sizes = {"val_size": config.dataset.val_size}
    return build.build_loop(config, CPU, data.load(config.dataset.name, **sizes), ranks)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([w.detach().flatten() for w in model.parameters()])


def epoch(overrides: list[str], ranks: Ranks) -> tuple[torch.Tensor, dict[str, Any]]:
    """Weights and row after one epoch."""
    loop, position = loop_of(overrides, ranks), Position()
    with Progress(1, 0, loop.steps, loop.batch_size, shown=False) as progress:
        for _ in loop.run_epoch(position, progress):
            pass
    row = loop.close_epoch(position)
    return weights(loop.model), {k: v for k, v in row.items() if not k.endswith("_seconds")}


def epochs(ranks: SeveralRanks) -> dict[str, Any]:
    """Of every method: how far two ranks end from one process, relative to the way that it went; and both rows."""
    MODELS["small_cnn"] = plain_net
    start = weights(build.build_model(compose(EPOCH), CPU, data.load("digits")))
    found = {}
    for name, overrides in METHODS.items():
        two_pass = any(o.startswith("opt=") and o != "opt=adam" for o in overrides)
        for ascent in ["synchronised", "per_device"] if two_pass else [""]:
            chosen = [*overrides, f"opt.ascent={ascent}"] if ascent else overrides
            (together, row), (alone, single) = epoch(chosen, ranks), epoch(chosen, ALONE)
            apart = (together - alone).norm() / (alone - start).norm()
            found[f"{name} {ascent}".strip()] = {"apart": float(apart), "rows": [row, single]}
    return found


def per_device(ranks: SeveralRanks) -> dict[str, float]:
    """One step of each rule on two ranks, against the mean of where a process alone goes from either part."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(24, 1, 8, 8, generator=generator)
    x, y = Mixup(10)(images, torch.arange(24) % 10, generator=generator)
    net = plain_net(1, 10)
    ranks.spread(list(net.state_dict().values()))

    def stepped(rule: str, knobs: dict[str, Any], part: slice, ranks: Ranks) -> torch.Tensor:
        model = copy.deepcopy(net)
        base = torch.optim.SGD(model.parameters(), lr=0.3)
        RULES[rule](model, base, ranks=ranks, **knobs).step(
            lambda: F.cross_entropy(model(x[part]), y[part], reduction="none")
        )
        return weights(model)

    rules: dict[str, tuple[str, dict[str, Any]]] = {
        "sam": ("sam", {"rho": 0.5}),
        "gsam": ("gsam", {"rho": 0.5}),
        "looksam": ("looksam", {"rho": 0.5}),
        "bgmix": ("bgmix", {}),
        "bgmix subset": ("bgmix", {"compute": "subset"}),
        "dgmix": ("dgmix", {}),
        "dgmix logit": ("dgmix", {"decompose": "logit"}),
    }
    halves = [slice(0, 12), slice(12, 24)]
    found = {}
    for name, (rule, knobs) in rules.items():
        mean = sum(stepped(rule, knobs, half, ALONE) for half in halves) / 2
        together = stepped(rule, knobs, halves[ranks.rank], ranks)
        found[name] = float((together - mean).norm() / (mean - weights(net)).norm())
    return found


def distributed_data_parallel(ranks: SeveralRanks) -> list[dict[str, float]]:
    """Steps of SGD without and with clipping, against torch's DistributedDataParallel."""
    return [_beside_torch(ranks, clip_norm) for clip_norm in (None, 0.3)]


def _beside_torch(ranks: SeveralRanks, clip_norm: float | None) -> dict[str, float]:
    """Five steps on small_cnn, with BatchNorm."""
    torch.manual_seed(0)
    ours = MODELS["small_cnn"](1, 10)
    theirs = DistributedDataParallel(copy.deepcopy(ours))
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
    rule = RULES["sgd"](ours, torch.optim.SGD(ours.parameters(), **options), clip_norm=clip_norm, ranks=ranks)
    optimizer = torch.optim.SGD(theirs.parameters(), **options)
    buffers = [b for b in ours.buffers() if b.is_floating_point()]
    for step in range(5):
        images = torch.randn(32, 1, 8, 8, generator=torch.Generator().manual_seed(step))
        x, labels = ranks.parts(images, torch.arange(32) * 7 % 10)
        rule.step(lambda x=x, labels=labels: F.cross_entropy(ours(x), labels, reduction="none"))
        ranks.spread(buffers)
        optimizer.zero_grad()
        F.cross_entropy(theirs(x), labels).backward()
        if clip_norm is not None:
            assert nn.utils.clip_grad_norm_(theirs.parameters(), clip_norm) > clip_norm
        optimizer.step()
    pairs = zip(ours.state_dict().values(), theirs.module.state_dict().values(), strict=True)
    apart = max(float((a - b).abs().max()) for a, b in pairs)
    return {"apart": apart, "moved": float((weights(ours) - weights(MODELS["small_cnn"](1, 10))).norm())}


def evaluations(ranks: SeveralRanks) -> list[list[dict[str, float]]]:
    """On two ranks and alone, in batches that two does not divide, that leave rank 1 none, and that are ragged."""
    torch.manual_seed(0)
    images, labels = torch.randn(359, 1, 8, 8), torch.randint(10, (359,))
    model = plain_net(1, 10)
    ranks.spread(list(model.state_dict().values()))
    ranks.spread([images])
    labels = ranks.told(labels)
    found = []
    for size in (359, 120, 7, 1):
        batches = list(zip(images.split(size), labels.split(size), strict=True))
        found.append([evaluate(model, batches, OFF, r) for r in (ranks, ALONE)])
    return found


def streamed(ranks: SeveralRanks) -> dict[str, Any]:
    """Batches and evaluation batches of pictures of which each rank decodes its part, against one process."""
    with tempfile.TemporaryDirectory() as place:
        root = folder(Path(place) / "set", shape=(20, 14, 3))
        how = {"base_augment": True, "crop_padding": 0, "flip": True, "size": 8, "crop_area": [0.3, 0.9]}
        train = load_folder(Folder(path=str(root), **how), Path(place) / "data").train
        read = list[int]()
        decoded = Pictures._decoded

        def counted(self: Pictures, i: int, *cut: Any) -> Any:
            read.append(i)
            return decoded(self, i, *cut)

        Pictures._decoded = counted  # type: ignore[method-assign]
        order = epoch_order(len(train.labels), 6, 0, 0)
        found = list[list[torch.Tensor]]()
        for r in (ranks, ALONE):
            images = StreamedImages(
                train.inputs, train.labels, mean=[0.5] * 3, std=[0.2] * 3, flip=True, ranks=r
            )
            fed = [images.batch(one, torch.Generator().manual_seed(0)) for one in images.feed(order, 1, 7)]
            shown = [*images.eval_batches(9), *images.eval_batches(1)]
            found.append([tensor for pair in (*fed, *shown) for tensor in pair])
            read.append(-1)
        Pictures._decoded = decoded  # type: ignore[method-assign]
    alone = [*map(torch.equal, *found)]
    mine, whole = read.index(-1), len(read) - read.index(-1) - 2
    return {"equal": all(alone) and len(found[0]) == len(found[1]), "read": [mine, whole]}


def exchanges(ranks: SeveralRanks) -> dict[str, Any]:
    """Every exchange, with numbers that tell the ranks apart."""
    rank = ranks.rank
    batch = torch.arange(12.0).view(6, 2)
    (mine, again) = ranks.parts(batch, batch)
    means = [torch.full((2, 3), float(rank)), torch.tensor(10.0 * rank)]
    ranks.average(means)
    total = torch.tensor([1.0, float(rank)])
    ranks.add(total)
    spread = [torch.full((2,), float(rank)), torch.tensor(5.0 + rank)]
    ranks.spread(spread)
    ranks.spread([])
    try:
        ranks.check_same("a thing", f"of rank {rank}")
        refused = ""
    except ConfigError as error:
        refused = str(error)
    return {
        "same part": mine is again,
        "gathered": torch.equal(ranks.gather(mine), batch),
        "share": list(ranks.share(range(5))),
        "means": [t.tolist() for t in means],
        "total": total.tolist(),
        "spread": [t.tolist() for t in spread],
        "told": ranks.told({"from": rank, "nothing": None, "tensor": torch.ones(3)})["from"],
        "agreed": ranks.agreed(rank, 5 - rank, 0),
        "refused": refused,
    }


def main(out: str) -> None:
    checks: list[Callable[[SeveralRanks], Any]] = [
        exchanges,
        streamed,
        evaluations,
        per_device,
        distributed_data_parallel,
        epochs,
    ]
    with joined("the same", timeout=60) as ranks:
        found = {check.__name__: check(ranks) for check in checks}
        Path(f"{out}.{ranks.rank}").write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
