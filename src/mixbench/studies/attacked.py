"""Zhang et al., Figure 1 (a): accuracy under one step of the fast gradient sign method, of ERM and of Mixup."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from mixbench.schema.knob import knob
from mixbench.studies.judging import paired, sided
from mixbench.studies.study import CORRECTED, UNDECIDED, Judgement, Study

if TYPE_CHECKING:
    import pandas as pd

    from mixbench.summarize.plots import Plot

METHODS = {
    "ERM": ("augment=none",),
    "Mixup, Beta(5, 0.5)": ("augment=mixup", "augment.alpha=5", "augment.beta=0.5"),
}


@dataclass
class Parameters:
    """small_cnn on few small images of CIFAR-10, without crop and flip; the paper's is WRN-16-8 on SVHN."""

    sizes: list[float] = knob("sizes of an attack, in 1/255", default=[0.0, 1.0, 2.0, 4.0, 8.0], at_least=0)
    seeds: int = knob("networks of each method", default=6, at_least=2)
    images: int = knob("images that are trained on", default=1000, at_least=100)
    test_images: int = knob("images that are attacked", default=1000, at_least=10)
    side: int = knob("pixels of a side", default=16, choices=[16, 32])
    epochs: int = knob("epochs", default=30, at_least=2)
    batch_size: int = knob("images of a step", default=64, at_least=2)


def compute(parameters: Parameters, part: str) -> pd.DataFrame:
    """Of one seed, each method and size: accuracy in percent and loss, on images without and with the attack."""
    import pandas as pd
    import torch

    from mixbench.analysis import small
    from mixbench.analysis.attacks import Linf, gradient, losses, one_step
    from mixbench.config.compose import compose
    from mixbench.training.unrecorded import epochs

    p, rows = parameters, []
    with TemporaryDirectory() as folder:
        path = small.saved(Path(folder), "cifar10", p.side, p.images, p.test_images)
        for method, chosen in METHODS.items():
            config = compose(
                [
                    *("dataset=arrays", f"dataset.path={path}", "dataset.base_augment=false"),
                    *("dataset.mean=[0,0,0]", "dataset.std=[1,1,1]"),  # so that inputs are pixels in [0, 1]
                    *("model=small_cnn", "model.stem_stride=2", f"batch_size={p.batch_size}"),
                    *(
                        f"epochs={p.epochs}",
                        "opt=sgd",
                        "opt.lr=0.1",
                        "opt.momentum=0.9",
                        "opt.nesterov=false",
                    ),
                    *("opt.weight_decay=1e-4", "schedule=step", "schedule.milestones=[0.5,0.75]"),
                    *("schedule.factor=0.1", "precision=float32", f"train_clean_every={p.epochs}"),
                    *("train_mixed_every=0", f"seed={part}", *chosen),
                ]
            )
            *_, (loop, row) = epochs(config)
            network = loop.model.eval()
            ((pixels, labels),) = loop.test.eval_batches(p.test_images)

            def forward(change: torch.Tensor, network=network, pixels=pixels) -> torch.Tensor:  # type: ignore[no-untyped-def]
                return network(pixels + change)

            slope, *_ = gradient(forward, torch.zeros_like(pixels), labels)
            for size in p.sizes:
                with torch.no_grad():
                    change = one_step(slope, Linf, size / 255, -pixels, 1 - pixels)
                    loss, fooled = losses(forward, change, labels)
                found = {"accuracy": 100 * (1 - fooled.double().mean().item()), "loss": loss.mean().item()}
                rows.append(
                    {"method": method, "size": size} | found | {"train_accuracy": row["train_acc_clean"]}
                )
    return pd.DataFrame(rows)


def draw(numbers: pd.DataFrame, parameters: Parameters) -> list[Plot]:
    """Accuracy and loss against the size of the attack: means and deviations over seeds."""
    from mixbench.summarize.plots import Line, Panel

    plots: list[Plot] = []
    for column, label in (("accuracy", "accuracy (%)"), ("loss", "loss (nats)")):
        lines = []
        for style, method in enumerate(METHODS):
            of = numbers[numbers["method"] == method].groupby("size")[column]
            lines.append(Line(method, style, list(of.mean().index), list(of.mean()), list(of.std())))
        plots.append(
            Panel(f"{label.partition(' (')[0]} under FGSM", "size of the attack (1/255)", label, lines)
        )
    return plots


def attacked(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """With Mixup the accuracy under FGSM is higher: at each size above 0 the interval of the difference, paired by
    seed. All must be higher to confirm, all lower to refute; some higher and all others lower is a correction.
    """
    erm, mixup = METHODS
    words, ends = [], []
    for size in parameters.sizes:
        of = numbers[numbers["size"] == size].pivot_table(index="part", columns="method", values="accuracy")
        low, high = paired(of[mixup], of[erm])
        if size > 0:
            ends.append((low, high))
        words.append(
            f"size {size:g}/255: {of[erm].mean():.1f} % and {of[mixup].mean():.1f} %,"
            f" {(of[mixup] - of[erm]).mean():+.1f} points ({low:+.1f} to {high:+.1f})"
        )
    worst = numbers[numbers["size"] == max(parameters.sizes)].groupby("method")["loss"].mean()
    verdict = sided(ends)
    remark = {
        CORRECTED: "At some sizes alone. ",
        UNDECIDED: f"Higher at {sum(low > 0 for low, _ in ends)} of {len(ends)} sizes, lower at"
        f" {sum(high < 0 for _, high in ends)}; more seeds, or the paper's networks, would tell. ",
    }.get(verdict, "")
    return Judgement(
        verdict,
        f"ERM and Mixup, means over seeds: {'; '.join(words)}. The loss at the largest size is {worst[erm]:.1f} and"
        f" {worst[mixup]:.1f} nats",
        f"{remark}Tried with {parameters.seeds} small networks of each method on {parameters.images:,} CIFAR-10 images"
        f" of {parameters.side}x{parameters.side} pixels; the paper's is one WRN-16-8 of each on SVHN.",
    )


STUDY = Study(
    about="Accuracy under the fast gradient sign method, of networks trained with and without Mixup",
    parameters=Parameters,
    parts=lambda parameters: [str(seed) for seed in range(parameters.seeds)],
    compute=compute,
    draw=draw,
    judges={"attacked": attacked},
)
