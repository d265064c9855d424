"""The DenseNet of Veeling et al. for PatchCamelyon: dense blocks and transitions in turn, plain or equivariant.

A dense block puts the fields of every layer (batch norm, ReLU, 3 x 3 convolution) beside those that it got; a
transition (batch norm, ReLU, 1 x 1 convolution, mean over 2 x 2) halves the sides. With five blocks of one layer an
image of 96 pixels a side becomes 48, 24, 12, 6, 3. The paper gives 119 thousand weights for its p4m network, and no
widths: with as many fields at the start as each layer adds, all matched by parameters, that is 23 channels in the plain
network and 8 fields under p4m.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from isotypic.configuration import Config
from isotypic.groups.catalogue import resolve
from isotypic.groups.finite import FiniteGroup
from isotypic.nn.dropout import GroupDropout
from isotypic.nn.matching import Match, matched_fields
from isotypic.nn.norm import GroupBatchNorm
from isotypic.nn.plane import GroupConv2d
from isotypic.nn.pooling import InvariantHead, ParityAvgPool


class DenseNetConfig(Config):
    """The ``model`` section of a recipe for :class:`DenseNet`."""

    family: Literal["densenet"] = "densenet"
    group: str = Field("trivial", description="symmetry group of the plane: trivial, p4, p4m, C2, D2, Cs")
    match: Match = Field(Match.PARAMETERS, description="what a group network shares with the plain one")
    first: int = Field(23, ge=1, description="channels of the plain network's first convolution")
    growth: int = Field(23, ge=1, description="channels that a layer of the plain network adds")
    blocks: list[int] = Field([1, 1, 1, 1, 1], min_length=1, description="layers of every dense block")
    compression: float = Field(1.0, gt=0, le=1, description="share of the fields that a transition keeps")
    dropout: float = Field(0.0, ge=0, lt=1, description="probability to drop a field that a layer adds")
    pool: Literal["max", "mean"] = Field("mean", description="pooling over the group before the last layer")


class DenseNet(nn.Module):
    """A classifier ``[B, in_channels, y, x] -> [B, classes]`` that a group does not change.

    Attributes:
        group: the symmetry group; the logits are invariant under it, exactly, on every size that the transitions leave
            something of.

    Args:
        config: widths, group and matching.
        in_channels: channels of the image.
        classes: how many logits.

    Source:
        B. S. Veeling, J. Linmans, J. Winkens, T. Cohen, M. Welling, Rotation Equivariant CNNs for Digital Pathology,
        MICCAI 2018, arXiv 1806.03962; G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger, Densely Connected
        Convolutional Networks, CVPR 2017.
    """

    def __init__(self, config: DenseNetConfig, in_channels: int, classes: int) -> None:
        super().__init__()
        self.group = resolve(config.group, 2)
        fields, growth = (matched_fields(c, self.group, config.match) for c in (config.first, config.growth))
        self.lift = GroupConv2d(in_channels, fields, 3, self.group, lift=True, padding=1, bias=False)
        blocks: list[nn.Module] = []
        for count in config.blocks:
            for _ in range(count):
                blocks.append(_Layer(fields, growth, self.group, config.dropout))
                fields += growth
            kept = max(1, round(fields * config.compression))
            blocks.append(nn.Sequential(*_normed(fields, kept, 1, self.group), ParityAvgPool(2)))
            fields = kept
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.Sequential(GroupBatchNorm(fields, self.group), nn.ReLU(inplace=True))
        self.head = InvariantHead(fields, classes, self.group, config.pool)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits ``[B, classes]``."""
        return self.head(self.norm(self.blocks(self.lift(image))))


class _Layer(nn.Module):
    """Put new fields behind those that come in."""

    def __init__(self, fields: int, growth: int, group: FiniteGroup, dropout: float) -> None:
        super().__init__()
        drop = [GroupDropout(growth, group, dropout)] if dropout else []
        self.add = nn.Sequential(*_normed(fields, growth, 3, group), *drop)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.add(x)], 1)


def _normed(fields: int, width: int, taps: int, group: FiniteGroup) -> list[nn.Module]:
    conv = GroupConv2d(fields, width, taps, group, padding=taps // 2, bias=False)
    return [GroupBatchNorm(fields, group), nn.ReLU(inplace=True), conv]
