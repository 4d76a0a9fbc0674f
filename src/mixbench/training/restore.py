"""From the record of a run back to its network and its data: what can be done with a run that is finished."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mixbench import data
from mixbench.config import plugins
from mixbench.config.options import schemas
from mixbench.data import Split, Splits
from mixbench.data.kinds import kind
from mixbench.engine.evaluators import predicted
from mixbench.errors import ConfigError, DataError
from mixbench.files import expanded
from mixbench.machine.devices import autocast, memory_errors_in_words, resolve_device
from mixbench.machine.output import printable
from mixbench.record.data import difference
from mixbench.record.read import directories
from mixbench.record.run import SavedRun
from mixbench.seams import Examples
from mixbench.training.build import build_network, knobs, load_splits
from mixbench.training.other_code import changed
from mixbench.training.weights import Description, opened, tensors_in


def load_run(path: str | os.PathLike[str]) -> LoadedRun:
    """The run in the directory `path`, or the weights in the file `path`, a run's model.safetensors or a copy of it.

    Raises DataError where there is neither. What is wrong with them shows when they are used.
    """
    place = expanded(path)
    if place.is_file():
        own = place.name == "model.safetensors" and (place.parent / "summary.json").exists()
        return LoadedRun(place.parent) if own else LoadedRun(place.parent, place)
    if not place.is_dir():
        raise DataError(f"{place}: there is no such file or folder.")
    run = LoadedRun(place)
    if run.state == "missing" and not run.weights.exists():
        below = list(directories(place))
        found = f"; {len(below)} lie below it, such as {below[0]}" if below else ""
        raise DataError(f"{place}: is no run{found}.")
    return run


class RestoredNetwork:
    """A network with its final weights on a device, as evaluators take it (`seams.Network`)."""

    def __init__(
        self, model: nn.Module, device: torch.device, about: Description, precision: str | None = None
    ) -> None:
        self.model, self.device = model, device
        self.precision = precision or about.precision
        self.autocast = autocast(device, self.precision)
        self.class_names: Sequence[str] = about.class_names
        self.batch_size = about.eval_batch_size
        self.stored = about.stored
        self.mean: Sequence[float] = about.mean
        self.std: Sequence[float] = about.std
        self._logits: dict[Examples, Sequence[tuple[Tensor, Tensor]]] = {}

    def logits(self, examples: Examples) -> Sequence[tuple[Tensor, Tensor]]:
        """Logits (B, K) float32 and labels int64 (B,) of each batch of a set, on the device; kept once computed."""
        if examples not in self._logits:
            batches = examples.eval_batches(self.batch_size)
            self._logits[examples] = list(predicted(self.model, batches, self.autocast))
        return self._logits[examples]


class LoadedRun(SavedRun):
    """A saved run, and its network. Weights that were copied without their run have a network, but nothing else."""

    def __init__(self, directory: Path, weights: Path | None = None) -> None:
        super().__init__(directory, weights)
        self._networks: dict[torch.device, RestoredNetwork] = {}

    def __repr__(self) -> str:
        return f"<run {self._weights or self.directory}: {self.state}>"

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, in the order of the network's outputs. Raises as `model` does."""
        return self.description.class_names

    @cached_property
    def description(self) -> Description:
        """What builds the network, and what its inputs are. Raises as `model` does."""
        return opened(self)[1]

    def model(self, device: str | torch.device = "cpu") -> nn.Module:
        """The network with its final weights, float32, in evaluation mode: normalised images (B, C, H, W) to logits
        (B, K). A new one at every call.

        Raises MixbenchError for a run that is not finished, DataError for weights that are missing, damaged or another
        network's, or where a plugin's network has other code than in training, and ConfigError for a device or a
        network that is not there.
        """
        content, about = opened(self)
        name = about.model["name"]
        own = plugins.options("model").get(name)
        for words in changed([own.plugin], self.environment.get("plugins", {})) if own else ():
            raise DataError(
                f"{self.directory}: {words}. Its network may compute something else with these weights; load the code"
                " that it was trained with. A copy of the weights outside the run's folder is taken with any code."
            )
        try:
            values = knobs(self._schema(name)(**about.model))
            with torch.random.fork_rng(devices=[]):  # the initial weights are of no interest
                model = build_network(name, about.shape, len(about.class_names), **values)
            model.load_state_dict(tensors_in(content))
        except (RuntimeError, TypeError, DataError) as error:
            raise DataError(
                f"{self.weights} does not fit the network that it names ({error}): mixbench {about.version} wrote it."
            ) from None
        model = model.to(_device(device))
        return (model.to(memory_format=torch.channels_last) if about.channels_last else model).eval()

    def _schema(self, name: str) -> type:
        """The knobs of a network. Raises ConfigError where there is none of this name."""
        known = schemas("model")
        if name not in known:
            trained = ", ".join(printable(plugin) for plugin in self.environment.get("plugins", {}))
            raise ConfigError(
                f"model.name={name}: no network of mixbench; one that comes from a plugin needs it loaded (--plugin, or"
                " import it). "
                + (f"The run was trained with {trained}." if trained else f"Known: {', '.join(known)}.")
            )
        return known[name]

    def network(self, device: str | torch.device = "cpu", precision: str | None = None) -> RestoredNetwork:
        """The model, and what it takes to measure it as training did, or in another precision. Raises as `model`."""
        return RestoredNetwork(self.model(device), _device(device), self.description, precision)

    @memory_errors_in_words()
    def predict(self, inputs: Any, device: str | torch.device = "cpu") -> Tensor:
        """Probabilities (N, K) float32, on the CPU, in the arithmetic that the run was trained in.

        `inputs`: images as the data set stores them, an array or tensor (N, H, W, C), or one image (H, W, C); C may be
        left out where it is 1. They are uint8 or floats in [0, 1]; for a run that was trained on float images, floats
        in their units. Rows of a table are numbers (N, D), or one (D,), as `splits` has them. The run's own
        normalisation is done here. Raises DataError for inputs of another shape or type, and as `model` does.
        """
        where = _device(device)
        if where not in self._networks:
            self._networks[where] = self.network(where)
        net = self._networks[where]
        given = self.fitting(inputs.detach().cpu() if isinstance(inputs, Tensor) else inputs)
        split = Split(given, np.zeros(len(given), np.int64))
        batches = self.examples(split, where).eval_batches(net.batch_size)
        found = [logits.softmax(1).cpu() for logits, _ in predicted(net.model, batches, net.autocast)]
        return torch.cat([torch.zeros(0, len(net.class_names)), *found])

    def splits(self, data_dir: str | None = None, device: str | torch.device = "cpu") -> Splits:
        """The data that the run was trained and tested on, from the folder `data_dir` if it is given, for a device.

        Raises ConfigError for a config that cannot be read, DataError for data that are missing, damaged, or others.
        """
        own = dataclasses.replace(self.config, data_dir=data_dir or self.config.data_dir)
        splits = load_splits(own, _device(device))
        if words := difference(self.directory, own.dataset.label(), self.data, splits.sha256):
            raise DataError(words)
        return splits

    def examples(self, split: Split, device: str | torch.device = "cpu", **how: Any) -> Examples:
        """Inputs and labels (N,) as batches for the network: on its device, normalised, not augmented.

        `how` are further arguments of the kind's own `examples`.
        """
        about = self.description
        return data.examples(
            split,
            about.kind,
            **how,
            mean=about.mean,
            std=about.std,
            device=_device(device),
            channels_last=about.channels_last,
        )

    def fitting(self, inputs: Any) -> Any:
        """Inputs as the network takes them (images: uint8 or float32 (N, H, W, C)), a single one as a batch of one.

        Raises DataError where they have another shape, type or range.
        """
        about = self.description
        return kind(about.kind).fitting(inputs, tuple(about.shape), about.stored, f"run {about.run} takes")


def _device(device: str | torch.device) -> torch.device:
    """The device of this name. Raises ConfigError where there is none."""
    return resolve_device(device)[0] if isinstance(device, str) else device
