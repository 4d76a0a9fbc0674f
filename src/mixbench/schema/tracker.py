"""Knobs of the tracker options: where the rows of a run are shown besides its own record."""

from __future__ import annotations

from dataclasses import dataclass

from mixbench.schema.knob import knob


@dataclass
class NoTracker:
    """The run's own record alone.

    Source: mixbench.
    """

    name: str = "none"


@dataclass
class TensorBoard:
    """Event files in the run's directory, for `tensorboard --logdir outputs`.

    Source: torch.utils.tensorboard; pip install 'mixbench[tensorboard]'.
    """

    name: str = "tensorboard"


@dataclass
class WandB:
    """Weights & Biases; offline in the run's directory unless WANDB_MODE says otherwise.

    Source: wandb; pip install 'mixbench[wandb]'.
    """

    name: str = "wandb"
    project: str = knob("project that the run is filed under", scientific=False)


@dataclass
class MLflow:
    """MLflow; in the file mlflow.db of output_dir unless MLFLOW_TRACKING_URI names a server.

    Source: mlflow; pip install 'mixbench[mlflow]'.
    """

    name: str = "mlflow"
    experiment: str = knob("experiment that the run is filed under", scientific=False)


OPTIONS: dict[str, type] = {"none": NoTracker, "tensorboard": TensorBoard, "wandb": WandB, "mlflow": MLflow}
