"""UCluster: attention among neighbouring particles, in the plane of the detector and then among what was learned.

=========================  ==========  =====================================================
layer                      parameters  what it takes
=========================  ==========  =====================================================
attention 8 -> 16                 390  features, neighbours in (d_eta, d_phi)
rows 24 -> 64                   1,728  the same beside the features
rows 64 -> 128                  8,576
attention 128 -> 128           33,798  neighbours among these
rows 136 -> 256                35,584  the same beside the features
rows 256 -> 256                66,304
rows 848 -> 3                   2,553  64, 128, 256, 256 and both maxima, 16 and 128
head 3 -> 256 -> 128 -> 20     37,268  the mean over the particles
centroids                           9
=========================  ==========  =====================================================

Source:
    V. Mikuni, F. Canelli, Unsupervised clustering for collider physics, Phys. Rev. D 103 (2021), arXiv 2010.07106.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from isotypic.models.clouds import CloudConfig, CloudNetwork
from isotypic.nn.points.attention import GAPBlock
from isotypic.nn.points.layers import RowLayer, glorot
from isotypic.ops.clouds import Clouds
from isotypic.ops.neighbours import nearest

PLANE = slice(0, 2)
"""The features d_eta and d_phi."""


class UClusterConfig(CloudConfig):
    """The ``model`` section of the family ``ucluster``."""

    family: Literal["ucluster"] = Field("ucluster", description="ucluster")
    neighbours: int = Field(10, ge=1, le=64, description="of a particle, itself included")


class UCluster(CloudNetwork):
    """Jets ``[B, P, F]`` with a mask to points ``[B, latent]`` and logits ``[B, classes]``.

    No order of the particles and no amount of padding changes anything (with ``pooling: places`` padding does).

    Args:
        config: sizes, norm, pooling.
        in_channels: features of a particle; the first two are its place in the plane, the third orders particles.
        classes: how many logits.

    >>> sum(p.numel() for p in UCluster(UClusterConfig()).parameters())
    186210
    """

    def __init__(self, config: UClusterConfig, in_channels: int = 8, classes: int = 20) -> None:
        super().__init__(config, classes)
        self.neighbours, norm = config.neighbours, config.norm
        self.near = GAPBlock(in_channels, 16, norm=norm)
        self.first = RowLayer((16, in_channels), 64, norm=norm)
        self.second = RowLayer(64, 128, norm=norm)
        self.alike = GAPBlock(128, 128, norm=norm)
        self.third = RowLayer((128, in_channels), 256, norm=norm)
        self.fourth = RowLayer(256, 256, norm=norm)
        self.squeeze = RowLayer((64, 128, 256, 256, 16, 128), config.latent, norm=norm)
        glorot(self)

    def points(self, x: Tensor, clouds: Clouds) -> Tensor:
        """Return the point of every particle."""
        near, nearest_edges = self.near(x, nearest(x[:, PLANE], clouds.limits, self.neighbours))
        first = self.first(near, x)
        second = self.second(first)
        alike, alike_edges = self.alike(second, nearest(second, clouds.limits, self.neighbours))
        third = self.third(alike, x)
        fourth = self.fourth(third)
        return self.squeeze(first, second, third, fourth, nearest_edges, alike_edges)
