"""Equivariant layers: ordinary modules on plain tensors, channels field-major."""

from isotypic.nn.dropout import GroupDropout
from isotypic.nn.layer import EquivariantLayer
from isotypic.nn.norm import GroupBatchNorm, GroupInstanceNorm, GroupLayerNorm
from isotypic.nn.plane import GroupConv2d, GroupConvTranspose2d
from isotypic.nn.pooling import GroupPool, InvariantHead, ParityAvgPool, ParityMaxPool, ParityUpsample

__all__ = [
    "EquivariantLayer",
    "GroupBatchNorm",
    "GroupConv2d",
    "GroupConvTranspose2d",
    "GroupDropout",
    "GroupInstanceNorm",
    "GroupLayerNorm",
    "GroupPool",
    "InvariantHead",
    "ParityAvgPool",
    "ParityMaxPool",
    "ParityUpsample",
]
