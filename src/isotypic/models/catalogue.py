"""The model families by name: a new architecture is a module beside this one and a line here."""

from __future__ import annotations

from torch import nn

from isotypic.models.convnet import ConvNet, ConvNetConfig

ModelConfig = ConvNetConfig
"""The ``model`` section of a recipe; a union over the families, told apart by ``family``."""


def build(config: ModelConfig, in_channels: int, classes: int) -> nn.Module:
    """Make a freshly initialised classifier.

    Args:
        config: family, group and widths.
        in_channels: channels of the image.
        classes: how many logits.
    """
    return _FAMILIES[config.family](config, in_channels, classes)


_FAMILIES = {"convnet": ConvNet}
