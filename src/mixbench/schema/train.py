"""Knobs of a whole run: what `conf/train.yaml` composes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mixbench.schema.knob import MISSING, knob

PRECISIONS = ("float32", "bf16", "fp16")
GROUPS = ("dataset", "model", "augment", "regularizer", "opt", "schedule", "tracker")


@dataclass
class Average:
    """An exponential moving average of weights and BatchNorm statistics, which is evaluated and kept."""

    decay: float = knob(
        "weight of the average so far, at every step; 0: no average", default=0.0, at_least=0, below=1
    )


@dataclass
class Train:
    """One training run. The groups hold an option each; the rest are knobs of the run itself."""

    dataset: Any = MISSING
    model: Any = MISSING
    augment: Any = MISSING
    regularizer: Any = MISSING
    opt: Any = MISSING
    schedule: Any = MISSING
    tracker: Any = knob("where else the rows of the run are shown", scientific=False)

    loss: str = knob("per-example loss against soft targets", choices=["cross_entropy", "bce_softmax"])
    label_smoothing: float = knob("weight of the uniform distribution in the targets", at_least=0, below=1)
    seed: int = knob("fixes initial weights, order, crops and every draw", at_least=0, repeats=True)
    epochs: int = knob("passes over the training set", at_least=1, at_most=1_000_000)
    batch_size: int = knob("examples per update", at_least=1, at_most=10_000_000)
    precision: str = knob(
        "arithmetic of forward and backward; weights stay float32. auto is bf16 where the device computes fast in it,"
        " else float32, and the run's identity holds which",
        choices=[*PRECISIONS, "auto"],
    )
    train_clean_every: int | str = knob(
        "epochs between measurements of train_acc_clean (always at the last); at_best: where test or validation"
        " accuracy is the highest so far; 0: never",
        at_least=0,
        choices=["at_best"],
    )
    train_mixed_every: int | str = knob(
        "epochs between measurements of train_acc_mixed (always at the last); at_best: where test or validation"
        " accuracy is the highest so far; 0: never",
        at_least=0,
        choices=["at_best"],
    )

    devices: int = knob(
        "ranks that train one run, each on its part of every batch; torchrun must start as many",
        default=1,
        at_least=1,
        at_most=100_000,
    )
    drop_last: bool = knob(
        "leave out an epoch's last partial batch; false: train on it, and on all in one batch where there are fewer"
        " examples than batch_size",
        default=True,
    )
    accumulate: int = knob(
        "parts of a batch that are computed one after another, their gradients added up; BatchNorm sees a part",
        default=1,
        at_least=1,
    )
    clip_norm: float | None = knob(
        "largest norm of the gradient that the optimizer is given, over all parameters; null: no limit",
        default=None,
        above=0,
    )
    early_stopping: int = knob(
        "stop when validation accuracy has not risen for this many epochs; 0: never", default=0, at_least=0
    )
    ema: Average = dataclasses.field(
        default_factory=Average, metadata={"doc": "a moving average of the weights, evaluated and kept"}
    )

    init_from: str | None = knob(
        "finished run, or file of weights, to begin with in place of random weights; null: random ones",
        default=None,
        scientific=False,
    )
    init_content: str | None = knob(
        "SHA-256 of these weights, filled in by mixbench; where it is given, it must be met", default=None
    )

    device: str = knob("auto, cpu, cuda, cuda:N or mps", scientific=False)
    runs_per_device: int | None = knob(
        "runs that share a GPU under any launcher; null: as many as are started, spread evenly",
        default=None,
        at_least=1,
        at_most=1000,
        scientific=False,
    )
    channels_last: bool = knob("memory format of images and convolutions", scientific=False)
    compile: bool = knob("compile the model with torch.compile", scientific=False)
    cuda_graph: bool = knob(
        "replay whole steps as a CUDA graph, where a GPU and the method allow", scientific=False
    )
    deterministic: bool = knob("ask torch for deterministic kernels", scientific=False)
    eval_batch_size: int = knob(
        "images per evaluation batch", at_least=1, at_most=10_000_000, scientific=False
    )
    keep: str = knob(
        "weights that are kept: of the last epoch, of the first with the highest validation accuracy, or both",
        default="last",
        choices=["last", "best_val", "both"],
        scientific=False,
    )
    checkpoint_seconds: float = knob(
        "least time between checkpoints, in seconds; 0: after every epoch", at_least=0, scientific=False
    )
    rank_timeout: float = knob(
        "with several devices: seconds without an answer after which a rank counts as lost",
        above=0,
        at_most=10_000_000,
        scientific=False,
    )
    progress: bool = knob("progress bars (only ever on a terminal)", scientific=False)
    force: bool = knob(
        "start over, once for this launch; the run's old directory is moved aside", scientific=False
    )
    output_dir: str = knob("folder of the run directories", scientific=False)
    data_dir: str | None = knob(
        "folder of the prepared data sets; null: $MIXBENCH_DATA, else ~/.cache/mixbench", scientific=False
    )


def own_knobs() -> Iterator[tuple[str, dataclasses.Field]]:
    """The knobs of the run itself, by the key that sets them: all but those of the groups."""
    for field in dataclasses.fields(Train):
        if field.name == "ema":
            yield from ((f"ema.{part.name}", part) for part in dataclasses.fields(Average))
        elif field.name not in GROUPS:
            yield field.name, field


OPTIONS: dict[str, type] = {"train": Train}
