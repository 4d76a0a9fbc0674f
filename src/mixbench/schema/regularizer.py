"""Knobs of the regularizer options: what is minimised besides the loss of the mixed batch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class NoRegularizer:
    """The loss of the mixed batch alone.

    Source: none.
    """

    name: str = "none"


OPTIONS: dict[str, type] = {"none": NoRegularizer}
