"""Weights that say what they are: model.safetensors with, in its metadata, all that builds the network around them.

Nothing here imports torch before it reads or writes tensors.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixbench import __version__
from mixbench.config.identity import run_id
from mixbench.errors import ConfigError, DataError, MixbenchError
from mixbench.files import read_bounded
from mixbench.record import checksum
from mixbench.record.run import WEIGHTS, SavedRun
from mixbench.schema.specs import LAST, DataSpec
from mixbench.schema.train import Train

if TYPE_CHECKING:
    from torch import Tensor, nn

# The metadata have one entry, as safetensors writes several in an order that changes from process to process: two runs
# of the same weights would not have the same file.
ENTRY = "mixbench"


@dataclass(frozen=True)
class Description:
    """What builds a network, and what its inputs are.

    `model` holds the name in the registry of models and the knobs. `shape`, `kind`: of an input, as in the data set's
    specification. `stored`: the type of the inputs that it was trained on, uint8 or float32; `mean` and `std`: their
    normalisation, for each channel or column, where uint8 counts as [0, 1]. `precision`, `channels_last` and
    `eval_batch_size` are those of the run's config.
    """

    model: dict[str, Any]
    dataset: str
    shape: list[int]
    kind: str
    class_names: list[str]
    stored: str
    mean: list[float]
    std: list[float]
    precision: str
    channels_last: bool
    eval_batch_size: int
    run: str
    version: str = __version__


def described(config: Train, spec: DataSpec, stored: str, mean: list[float], std: list[float]) -> Description:
    """The description of the run of `config`, trained on the data set `spec`."""
    return Description(
        model=dataclasses.asdict(config.model),
        dataset=spec.name,
        shape=list(spec.shape),
        kind=spec.kind,
        class_names=[spec.class_name(label) for label in range(spec.num_classes)],
        stored=stored,
        mean=list(mean),
        std=list(std),
        precision=config.precision,
        channels_last=config.channels_last,
        eval_batch_size=config.eval_batch_size,
        run=run_id(config),
    )


def digest(model: nn.Module) -> str:
    """Sixteen hexadecimal digits of all weights and buffers, on the CPU as on a GPU."""
    found = hashlib.sha256()
    for tensor in model.state_dict().values():
        found.update(tensor.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def packed(model: nn.Module, description: Description) -> bytes:
    """The content of a weights file. The same weights and description give the same bytes."""
    import safetensors.torch

    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    text = json.dumps(dataclasses.asdict(description), sort_keys=True)
    return safetensors.torch.save(weights, metadata={ENTRY: text})


def initial(config: Train) -> bytes:
    """The file of the weights that a run begins with, for its network and its data as far as the file tells.

    Raises ConfigError where they do not fit, DataError where they are gone or damaged, MixbenchError where their run is
    not finished.
    """
    path = Path(str(config.init_from))
    content, about = opened(SavedRun(path.parent, path))
    spec = config.dataset.spec()
    theirs = about.model["name"], about.kind, len(about.class_names), about.shape[-1]
    ours = config.model.name, spec.kind, spec.num_classes, spec.shape[-1]
    last = LAST[spec.kind]
    for what, there, here in zip(("the network", "inputs", "classes", last), theirs, ours, strict=True):
        if there != here:
            raise ConfigError(f"init_from={path}: does not fit; {what}: {there} there, {here} in this run.")
    return content


def begin(model: nn.Module, config: Train) -> None:
    """Put the weights that the run begins with into its network. Raises as `initial` does."""
    content = initial(config)
    if hashlib.sha256(content).hexdigest() != config.init_content:
        raise DataError(f"{config.init_from}: was changed since the run was set up.")
    try:
        model.load_state_dict(tensors_in(content))
    except RuntimeError as error:
        raise ConfigError(f"init_from={config.init_from}: does not fit the network: {error}") from None


def opened(run: SavedRun) -> tuple[bytes, Description]:
    """The file of a run's weights, and what they are.

    Raises MixbenchError for a run that is not finished, DataError where the file is missing, damaged (not the one that
    the run was finished with), or does not say what it is and lies beside no config.yaml that does.
    """
    if run.state == "unreadable":
        raise DataError(run.error)
    if run.state not in ("finished", "missing"):
        raise MixbenchError(_unfinished(run))
    try:
        content = read_bounded(run.weights, checksum.MOST_BYTES)
    except OSError as error:
        kept = [rule for rule, name in WEIGHTS.items() if (run.directory / name).exists()]
        other = f"; kept were those of {', '.join(kept)}" if kept else ""
        measured = run.directory / "evaluations"
        other += f"; what was measured on them lies in {measured}" if any(measured.glob("*.json")) else ""
        raise DataError(f"{run.weights}: there are no weights ({error.strerror}){other}.") from None
    expected, found = run.summary.get("files", {}).get(run.weights.name), hashlib.sha256(content).hexdigest()
    if expected not in (None, found):
        raise DataError(f"{checksum.damage(run.weights, expected, found)}.")
    try:
        said = _description_in(content)
    except DataError as error:
        raise DataError(f"{run.weights} {error}.") from None
    if said is not None:
        return content, said
    if not (run.directory / "config.yaml").exists():
        raise DataError(
            f"{run.weights} does not say which network it belongs to: an earlier version of mixbench wrote it. It can"
            " be opened in the directory of its run, beside config.yaml."
        )
    base, version = run.config.dataset, str(run.environment.get("mixbench", "unknown"))
    said = described(run.config, base.spec(), "uint8", base.mean, base.std)
    return content, dataclasses.replace(said, version=version)


def _unfinished(run: SavedRun) -> str:
    told = f"{run.directory}: the run is {run.state}, after {run.epochs_done} of {run.values.get('epochs')} epochs"
    if run.state == "running":
        return f"{told}; its weights are there when it is finished."
    return (
        f"{told}; its last.pt is a checkpoint to go on from, and no result. This finishes it:\n"
        f"  mixbench retry --output-dir {run.directory}"
    )


def _description_in(content: bytes) -> Description | None:
    """What a weights file says of itself; None where an earlier version wrote it, which said nothing."""
    try:
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
        text = metadata.get(ENTRY)
        said = None if text is None else json.loads(text)
    except (ValueError, AttributeError, RecursionError):
        raise DataError("is no file of weights (safetensors), or damaged") from None
    try:
        return None if said is None else Description(**said)
    except TypeError:
        version = said.get("version") if isinstance(said, dict) else None
        raise DataError(
            f"was written by mixbench {version}, in a form that {__version__} cannot read"
        ) from None


def tensors_in(content: bytes) -> dict[str, Tensor]:
    """The tensors of a weights file, by their names in the network. Raises DataError where it is none."""
    import safetensors.torch
    from safetensors import SafetensorError

    try:
        return safetensors.torch.load(content)
    except SafetensorError as error:
        raise DataError(f"is no file of weights (safetensors), or damaged: {error}") from None
