"""The model families by name: a new architecture is a module beside this one and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from torch import nn

from isotypic.configuration import Config
from isotypic.models import hourglass, s2cnn
from isotypic.models.allconv import AllConv, AllConvConfig
from isotypic.models.boundary import BoundaryConfig, boundary_network
from isotypic.models.clouds import CloudNetwork
from isotypic.models.convnet import ConvNet, ConvNetConfig
from isotypic.models.deepsets import DeepSets, DeepSetsConfig
from isotypic.models.densenet import DenseNet, DenseNetConfig
from isotypic.models.foreign import ForeignConfig, foreign, pretrained
from isotypic.models.heads import DenseNetwork
from isotypic.models.hourglass import HourglassClassifierConfig, HourglassConfig
from isotypic.models.s2cnn import S2CNNClassifierConfig, S2CNNConfig
from isotypic.models.s2cnn_start import level
from isotypic.models.ucluster import UCluster, UClusterConfig
from isotypic.models.unet import UNet, UNetConfig
from isotypic.models.vgg import Vgg16, VggConfig
from isotypic.models.voxelnet import VoxelNetConfig, voxel_network

ModelConfig = ConvNetConfig | VggConfig | AllConvConfig | DenseNetConfig | ForeignConfig | VoxelNetConfig
"""The ``model`` section of a recipe for classification; a union over the families, told apart by ``family``."""

VolumeModelConfig = VoxelNetConfig | ForeignConfig
"""The same where only networks of volumes serve."""

DenseModelConfig = UNetConfig | BoundaryConfig
"""The ``model`` section of a recipe for segmentation, likewise."""

CloudModelConfig = UClusterConfig | DeepSetsConfig
"""The ``model`` section of a recipe for jets, likewise."""

SphereModelConfig = S2CNNClassifierConfig | HourglassClassifierConfig
"""The ``model`` section of a recipe for the classification of spherical images."""

PointModelConfig = S2CNNConfig | HourglassConfig
"""The same for the classification of their points."""

_CLASSIFIERS: Mapping[type[Config], Callable[[Any, int, int], nn.Module]] = MappingProxyType(
    {
        ConvNetConfig: ConvNet,
        VggConfig: Vgg16,
        AllConvConfig: AllConv,
        DenseNetConfig: DenseNet,
        ForeignConfig: foreign,
        VoxelNetConfig: voxel_network,
        S2CNNClassifierConfig: s2cnn.classifying,
        HourglassClassifierConfig: hourglass.classifying,
    }
)
_DENSE: Mapping[type[Config], Callable[[Any, int], DenseNetwork]] = MappingProxyType(
    {UNetConfig: UNet, BoundaryConfig: boundary_network}
)
_CLOUDS: Mapping[type[Config], Callable[[Any, int, int], CloudNetwork]] = MappingProxyType(
    {UClusterConfig: UCluster, DeepSetsConfig: DeepSets}
)

_OF_POINTS: Mapping[type[Config], Callable[[Any, int, int], nn.Module]] = MappingProxyType(
    {S2CNNConfig: s2cnn.segmenting, HourglassConfig: hourglass.segmenting}
)


def axes_of(config: ModelConfig | DenseModelConfig) -> int:
    """Return the axes of space of what a network takes: 2 of images, 3 of volumes."""
    if isinstance(config, ForeignConfig):
        return config.axes
    return 3 if isinstance(config, VoxelNetConfig) else 2


def build(config: ModelConfig | SphereModelConfig, in_channels: int, classes: int) -> nn.Module:
    """Make a freshly initialised classifier.

    Args:
        config: family, group and widths.
        in_channels: channels of the image.
        classes: how many logits.
    """
    return _CLASSIFIERS[type(config)](config, in_channels, classes)


def begin(config: ModelConfig | SphereModelConfig, in_channels: int, classes: int) -> nn.Module:
    """Make a classifier as its training begins: with the weights of its file, if it names one, or as :func:`build`.

    A spherical one is scaled as its configuration says.
    """
    if isinstance(config, ForeignConfig):
        return pretrained(config, in_channels, classes)
    return _levelled(config, build(config, in_channels, classes))


def build_dense(config: DenseModelConfig, in_channels: int) -> DenseNetwork:
    """Make a freshly initialised dense network.

    Args:
        config: family, group, widths and heads.
        in_channels: channels of the image.
    """
    return _DENSE[type(config)](config, in_channels)


def build_cloud(config: CloudModelConfig, features: int, classes: int) -> CloudNetwork:
    """Make a freshly initialised network of jets.

    Args:
        config: family, sizes and pooling.
        features: of a particle.
        classes: how many logits.
    """
    return _CLOUDS[type(config)](config, features, classes)


def build_of_points(config: PointModelConfig, in_channels: int, classes: int) -> nn.Module:
    """Make a freshly initialised network ``[B, in_channels, beta, alpha] -> [B, classes, beta, alpha]``.

    Args:
        config: family and widths.
        in_channels: channels of the image.
        classes: logits a point.
    """
    return _OF_POINTS[type(config)](config, in_channels, classes)


def begin_of_points(config: PointModelConfig, in_channels: int, classes: int) -> nn.Module:
    """Make a network of :func:`build_of_points` as its training begins."""
    return _levelled(config, build_of_points(config, in_channels, classes))


def _levelled(config: ModelConfig | SphereModelConfig | PointModelConfig, network: nn.Module) -> nn.Module:
    if isinstance(network, s2cnn.S2CNN | s2cnn.S2CNNClassifier) and getattr(config, "start", "") == "level":
        level(network)
    return network
