"""mixbench: mixed-sample data augmentation and sharpness-aware training, from one config to a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixbench.training.restore import load_run

__all__ = ["load_run"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "load_run":  # which imports torch
        from mixbench.training.restore import load_run

        return load_run
    raise AttributeError(f"module 'mixbench' has no attribute '{name}'")
