"""One architecture family a module; the trivial group gives the baseline."""

from isotypic.models.boundary import BoundaryConfig, BoundaryNet
from isotypic.models.convnet import ConvNet, ConvNetConfig
from isotypic.models.heads import Head, split_heads
from isotypic.models.unet import UNet, UNetConfig
from isotypic.nn.matching import Match, matched_fields

__all__ = [
    "BoundaryConfig",
    "BoundaryNet",
    "ConvNet",
    "ConvNetConfig",
    "Head",
    "Match",
    "UNet",
    "UNetConfig",
    "matched_fields",
    "split_heads",
]
