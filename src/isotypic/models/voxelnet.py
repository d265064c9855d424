"""The six layers of Winkels and Cohen for candidates of lung nodules: 3-D convolutions, plain or equivariant.

Convolutions of 3 x 3 x 3 taps with batch norm and ReLU; behind the first, the third and the fifth a maximum over
1 x 2 x 2, 2 x 2 x 2 and 2 x 2 x 2 voxels. A patch of 12 x 72 x 72 voxels becomes 12 x 36 x 36, 6 x 18 x 18 and
3 x 9 x 9. Windows of 1 x 2 x 2 commute with D4 and D4h, whose four-fold axis is z; O and Oh need cubes, ``pools`` of
2 x 2 x 2 alone, and patches of cubes where logits are to be the same; with other pools they are approximate, which is
said.

=========  ====================================================================================================
head       what follows the last convolution
=========  ====================================================================================================
mean       mean over space, pooling over the group, linear: invariant on every size
window     a group convolution over all that is left, then pooling over the group: invariant, sees where things
           are, and is made for one size
flatten    the paper's: all channels at all places, linear: not invariant, and made for one size
=========  ====================================================================================================
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator
from torch import Tensor, nn
from typing_extensions import Self

from isotypic.configuration import Config
from isotypic.errors import RequestError
from isotypic.groups.axes import MixedAxesWarning, groups_for, unlike_axes
from isotypic.groups.catalogue import resolve
from isotypic.groups.finite import FiniteGroup
from isotypic.models.averaging import Averaging
from isotypic.nn.matching import Match, matched_fields
from isotypic.nn.norm import GroupBatchNorm
from isotypic.nn.pooling import GroupPool, InvariantHead, ParityMaxPool
from isotypic.nn.volume import GroupConv3d

Window = tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]


class VoxelNetConfig(Config):
    """The ``model`` section of a recipe for :class:`VoxelNet`."""

    family: Literal["voxelnet"] = "voxelnet"
    group: str = Field("trivial", description="symmetry group of space: trivial (Z3), Cs, C4, D4, D4h, T, O, Oh")
    match: Match = Field(Match.PARAMETERS, description="what a group network shares with the plain one")
    channels: list[int] = Field(
        [16, 16, 32, 32, 64, 64], min_length=1, description="of the plain network's convolutions"
    )
    pools: list[Window] = Field(
        [(1, 2, 2), (2, 2, 2), (2, 2, 2)], description="voxels (z, y, x); one behind every second convolution"
    )
    head: Literal["mean", "window", "flatten"] = Field("mean", description="what follows the last convolution")
    size: Window = Field((12, 72, 72), description="voxels (z, y, x) of a patch, of the heads window and flatten")
    pool: Literal["max", "mean"] = Field("max", description="pooling over the group")
    average: str = Field("trivial", description="in evaluation probabilities are averaged over views under this group")

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        most = (len(self.channels) + 1) // 2
        if len(self.pools) > most:
            raise ValueError(
                f"expected at most {most} pools for {len(self.channels)} convolutions, received {len(self.pools)}"
            )
        return self


def voxel_network(config: VoxelNetConfig, in_channels: int, classes: int) -> nn.Module:
    """Make the network of a configuration, with test-time averaging where that is asked for."""
    network = VoxelNet(config, in_channels, classes)
    views = resolve(config.average, 3)
    return network if views.order == 1 else Averaging(network, views)


class VoxelNet(nn.Module):
    """A classifier ``[B, in_channels, z, y, x] -> [B, classes]``.

    Attributes:
        group: the symmetry group; the logits are invariant under it but for the head ``flatten``.
        left: voxels (z, y, x) behind the last convolution, of a patch of the configured size.

    Args:
        config: widths, group and head.
        in_channels: channels of the volume.
        classes: how many logits.

    Raises:
        RequestError: the pools leave nothing of the patch; the head ``window`` and a rest that the group turns into
            another shape.

    Warns:
        MixedAxesWarning: a pool differs on axes that the group mixes.

    Source:
        M. Winkels, T. Cohen, 3D G-CNNs for Pulmonary Nodule Detection, MIDL 2018, arXiv 1804.04656.
    """

    def __init__(self, config: VoxelNetConfig, in_channels: int, classes: int) -> None:
        super().__init__()
        self.group = resolve(config.group, 3)
        _warn_of_pools(self.group, config.pools)
        self.left = _left(config.size, config.pools)
        fields = [matched_fields(width, self.group, config.match) for width in config.channels]
        layers: list[nn.Module] = []
        for number, (before, width) in enumerate(pairwise([in_channels, *fields])):
            layers += _convolution(before, width, self.group, lift=not number)
            if number % 2 == 0 and number // 2 < len(config.pools):
                layers.append(ParityMaxPool(config.pools[number // 2]))
        self.features = nn.Sequential(*layers)
        self.head = self._head(config, fields[-1], classes)

    def _head(self, config: VoxelNetConfig, fields: int, classes: int) -> nn.Module:
        if config.head == "mean":
            return InvariantHead(fields, classes, self.group, config.pool, dim=3)
        if config.head == "window":
            whole = GroupConv3d(fields, classes, self.left, self.group)
            return nn.Sequential(whole, GroupPool(classes, self.group, config.pool, dim=3), nn.Flatten())
        count = fields * self.group.order * self.left[0] * self.left[1] * self.left[2]
        return nn.Sequential(nn.Flatten(), nn.Linear(count, classes))

    def forward(self, volume: Tensor) -> Tensor:
        """Return the logits ``[B, classes]``.

        Raises:
            RequestError: a head that is made for one size, and a volume of another.
        """
        found = self.features(volume)
        if not isinstance(self.head, InvariantHead) and tuple(found.shape[2:]) != self.left:
            raise RequestError(
                f"expected volumes of which {self.left} voxels are left for this head, received {list(volume.shape)} "
                f"with {tuple(found.shape[2:])}: set model.size, or model.head=mean"
            )
        return self.head(found)


def _convolution(before: int, width: int, group: FiniteGroup, *, lift: bool) -> list[nn.Module]:
    conv = GroupConv3d(before, width, 3, group, lift=lift, padding=1, bias=False)
    return [conv, GroupBatchNorm(width, group, dim=3), nn.ReLU(inplace=True)]


def _warn_of_pools(group: FiniteGroup, pools: Sequence[Window]) -> None:
    unlike = [pool for pool in pools if unlike_axes(group, pool)]
    if unlike:
        given, cube = ("x".join(map(str, window)) for window in (unlike[0], [max(unlike[0])] * 3))
        message = (
            f"{group.name} mixes axes along which the pool {given} differs: behind it the network is approximate; set "
            f"model.pools to cubes such as {cube}, or model.group to one that keeps these axes apart: "
            f"{', '.join(groups_for(unlike[0]))}"
        )
        warnings.warn(message, MixedAxesWarning, stacklevel=3)


def _left(size: Window, pools: Sequence[Window]) -> Window:
    """Return the voxels behind the last pool."""
    left = size
    for pool in pools:
        z, y, x = (n // k for n, k in zip(left, pool, strict=True))
        left = (z, y, x)
    if min(left) < 1:
        raise RequestError(f"expected a patch of which the pools leave something, received {size} with {list(pools)}")
    return left
