"""Networks of timm for mixbench: `mixbench train --plugin examples/timm_model/timm_model.py model=timm`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from mixbench.errors import ConfigError
from mixbench.plugins import register
from mixbench.schema.knob import knob, nearest
from mixbench.schema.model import Model


@dataclass
class Timm(Model):
    """A network of timm by its name, with random initial weights.

    Source: Wightman, PyTorch Image Models, github.com/huggingface/pytorch-image-models.
    """

    short: ClassVar[str] = "timm_{0.network}"
    name: str = "timm"
    network: str = knob("name of the network, as timm.list_models() has it")


def build(in_channels: int, num_classes: int, network: str) -> Any:
    """The network for inputs (B, in_channels, H, W) and logits (B, num_classes). Raises ConfigError."""
    import timm

    if not timm.is_model(network):  # which leaves out names that would be looked up on a hub
        raise ConfigError(
            f"model.network={network}: timm has no such network.{nearest(network, timm.list_models())}"
        )
    return timm.create_model(network, pretrained=False, in_chans=in_channels, num_classes=num_classes)


YAML = """# A network of timm by its name, such as resnet10t or convnext_atto
defaults: [/schema/model/timm@_here_]
network: resnet10t
"""
register("model", "timm", build, Timm, YAML)
