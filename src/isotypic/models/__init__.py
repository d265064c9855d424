"""One architecture family a module; the trivial group gives the baseline."""

from isotypic.models.boundary import BoundaryConfig, BoundaryNet
from isotypic.models.convnet import ConvNet, ConvNetConfig
from isotypic.models.deepsets import DeepSets, DeepSetsConfig
from isotypic.models.heads import Head, split_heads
from isotypic.models.s2cnn import S2CNN, S2CNNWidths
from isotypic.models.ucluster import UCluster, UClusterConfig
from isotypic.models.unet import UNet, UNetConfig
from isotypic.nn.matching import Match, matched_fields

__all__ = [
    "S2CNN",
    "BoundaryConfig",
    "BoundaryNet",
    "ConvNet",
    "ConvNetConfig",
    "DeepSets",
    "DeepSetsConfig",
    "Head",
    "Match",
    "S2CNNWidths",
    "UCluster",
    "UClusterConfig",
    "UNet",
    "UNetConfig",
    "matched_fields",
    "split_heads",
]
