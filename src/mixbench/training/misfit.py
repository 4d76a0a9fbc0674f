"""A network of a plugin that does not fit the data, in words instead of a traceback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from mixbench.config import plugins
from mixbench.engine.loop import Loop
from mixbench.errors import ConfigError, MixbenchError
from mixbench.schema.train import Train


@contextlib.contextmanager
def misfit_in_words(config: Train, loop: Loop, num_classes: int) -> Iterator[None]:
    """Turn an error in this block into a ConfigError where the run's network comes from a plugin and does not fit.

    It is asked only once something has failed, so that runs that go well cost what they did and draw what they did: of
    two test examples it must give logits (2, K).
    """
    try:
        yield
    except (MixbenchError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        # After an error of the device every further call on it fails, too.
        asked = config.model.name in plugins.options("model") and "CUDA error" not in str(error)
        if asked and (words := _misfit(loop, config.dataset.label(), num_classes)):
            raise ConfigError(f"model={config.model.name}: {words}") from None
        raise


@torch.no_grad()
def _misfit(loop: Loop, data: str, num_classes: int) -> str:
    """What is wrong with the network, or its outputs, on inputs of the set `data`; empty where nothing is."""
    inputs, _ = next(iter(loop.test.eval_batches(2)))
    taken = f"inputs {_of_a_batch(inputs)}"
    loop.model.eval()
    try:
        with loop.autocast:
            outputs = loop.model(inputs)
    except (RuntimeError, ValueError) as error:  # of torch, which says which shapes do not go together
        return f"does not take the {taken} of {data}: {type(error).__name__}: {str(error).strip()}"
    given = _of_a_batch(outputs, len(inputs)) if torch.is_tensor(outputs) else f"a {type(outputs).__name__}"
    needed = f"(B, {num_classes})"
    return (
        ""
        if given == needed
        else f"gives {given} for {taken}; {data} has {num_classes} classes: needs {needed}."
    )


def _of_a_batch(tensor: torch.Tensor, examples: int | None = None) -> str:
    """A shape in words, (B, 1, 8, 8), where the first axis counts the examples."""
    sizes = [str(size) for size in tensor.shape]
    if sizes and examples in (None, tensor.shape[0]):
        sizes[0] = "B"
    return f"({', '.join(sizes)})"
