"""The model families by name: a new architecture is a module beside this one and a line here."""

from __future__ import annotations

from torch import nn

from isotypic.groups.catalogue import resolve
from isotypic.models.boundary import BoundaryConfig, BoundaryNet
from isotypic.models.convnet import ConvNet, ConvNetConfig
from isotypic.models.heads import DenseNetwork
from isotypic.models.unet import UNet, UNetConfig
from isotypic.models.voting import Voting

ModelConfig = ConvNetConfig
"""The ``model`` section of a recipe for classification; a union over the families, told apart by ``family``."""

DenseModelConfig = UNetConfig | BoundaryConfig
"""The ``model`` section of a recipe for segmentation, likewise."""


def build(config: ModelConfig, in_channels: int, classes: int) -> nn.Module:
    """Make a freshly initialised classifier.

    Args:
        config: family, group and widths.
        in_channels: channels of the image.
        classes: how many logits.
    """
    return _FAMILIES[config.family](config, in_channels, classes)


def build_dense(config: DenseModelConfig, in_channels: int) -> DenseNetwork:
    """Make a freshly initialised dense network.

    Args:
        config: family, group, widths and heads.
        in_channels: channels of the image.
    """
    if isinstance(config, UNetConfig):
        return UNet(config, in_channels)
    net, views = BoundaryNet(config, in_channels), resolve(config.vote, 2)
    return Voting(net, views, config.ballot) if views.order > 1 else net


_FAMILIES = {"convnet": ConvNet}
