"""Equivariant layers: ordinary modules on plain tensors, channels field-major."""

from isotypic.nn.affine import FieldParameter, FieldPReLU
from isotypic.nn.antialias import BlurPool
from isotypic.nn.dropout import GroupDropout
from isotypic.nn.fieldwise import InvariantPool, Restrict, SteerableBatchNorm
from isotypic.nn.layer import EquivariantLayer
from isotypic.nn.linear import GroupLinear
from isotypic.nn.maxout import FlipMaxConv2d, RotateMaxConv2d
from isotypic.nn.nonlinearity import GatedNonlinearity, NormNonlinearity, PointwiseNonlinearity
from isotypic.nn.norm import GroupBatchNorm, GroupGroupNorm, GroupInstanceNorm, GroupLayerNorm
from isotypic.nn.plane import GroupConv2d, GroupConvTranspose2d
from isotypic.nn.points.attention import GAPBlock
from isotypic.nn.pooling import GroupPool, InvariantHead, ParityAvgPool, ParityMaxPool, ParityUpsample
from isotypic.nn.rectangle import GroupRectangleConv2d
from isotypic.nn.sphere.layers import S2Conv, SO3Conv, SO3Integrate, SO3ToS2
from isotypic.nn.sphere.norm import SphericalBatchNorm
from isotypic.nn.sphere.transform import RotationTransform, SphericalTransform
from isotypic.nn.steerable import SteerableConv2d, SteerableConvTranspose2d
from isotypic.nn.volume import GroupConv3d, GroupConvTranspose3d

__all__ = [
    "BlurPool",
    "EquivariantLayer",
    "FieldPReLU",
    "FieldParameter",
    "FlipMaxConv2d",
    "GAPBlock",
    "GatedNonlinearity",
    "GroupBatchNorm",
    "GroupConv2d",
    "GroupConv3d",
    "GroupConvTranspose2d",
    "GroupConvTranspose3d",
    "GroupDropout",
    "GroupGroupNorm",
    "GroupInstanceNorm",
    "GroupLayerNorm",
    "GroupLinear",
    "GroupPool",
    "GroupRectangleConv2d",
    "InvariantHead",
    "InvariantPool",
    "NormNonlinearity",
    "ParityAvgPool",
    "ParityMaxPool",
    "ParityUpsample",
    "PointwiseNonlinearity",
    "Restrict",
    "RotateMaxConv2d",
    "RotationTransform",
    "S2Conv",
    "SO3Conv",
    "SO3Integrate",
    "SO3ToS2",
    "SphericalBatchNorm",
    "SphericalTransform",
    "SteerableBatchNorm",
    "SteerableConv2d",
    "SteerableConvTranspose2d",
]
