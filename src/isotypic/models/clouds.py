"""What every network of jets is: a cloud of particles becomes a point of a small space, and that the logits of classes.

The point is what is clustered; the classes (of mass, say) are the pretext by which the space is learned.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from itertools import pairwise
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from isotypic.configuration import Config
from isotypic.nn.points.layers import RowLayer
from isotypic.ops.clouds import Clouds

LEADING = 2
"""The feature that puts particles in order: log pT."""

HEAD = (256, 128)


class Pooling(str, Enum):
    """What counts as a particle where particles are summed up."""

    PARTICLES = "particles"
    """Particles."""

    PLACES = "places"
    """Padding as well, as in the original: a particle of zeros without neighbours, in the mean and in the norms."""


class Output(str, Enum):
    """What has classes."""

    JET = "jet"
    """The cloud."""

    PARTICLE = "particle"
    """Every particle of it, as in the search for anomalies: a particle has the class of the jet that it is in."""


class CloudConfig(Config):
    """What is said of every network of jets."""

    latent: int = Field(3, ge=1, le=64, description="dimensions of the space that is clustered")
    clusters: int = Field(3, ge=2, le=64, description="clusters, each with a centroid that is learned")
    norm: bool = Field(True, description="batch norms, over particles that there are")
    pooling: Pooling = Field(
        Pooling.PARTICLES, description="the mean is over particles, or over all places of the padded jet, as originally"
    )
    output: Output = Field(Output.JET, description="what is classified: the jet, or each of its particles")


class Embedded(NamedTuple):
    """What a network says of a batch of B jets.

    Attributes:
        latent: ``[B, latent]``, the points that are clustered.
        logits: ``[B, classes]``; of particles ``[B, P, classes]``, zero where there is none.
    """

    latent: Tensor
    logits: Tensor


class CloudNetwork(nn.Module, ABC):
    """A network of clouds of particles: a subclass says how a particle becomes a point.

    Args:
        config: sizes, norm, pooling.
        classes: how many logits.

    Attributes:
        centroids: ``[clusters, latent]``, trained with the rest; the network itself does not use them.
    """

    def __init__(self, config: CloudConfig, classes: int) -> None:
        super().__init__()
        self.config = config
        sizes = (config.latent * (2 if config.output is Output.PARTICLE else 1), *HEAD)
        layers = [RowLayer(*pair, norm=config.norm) for pair in pairwise(sizes)]
        self.head = nn.Sequential(*layers, nn.Linear(HEAD[-1], classes))
        self.centroids = nn.Parameter(torch.zeros(config.clusters, config.latent))

    @abstractmethod
    def points(self, x: Tensor, clouds: Clouds) -> Tensor:
        """Return the point of every particle, ``[M, latent]``, of which the mean is that of the cloud.

        Args:
            x: the features of the particles, ``[M, F]``.
            clouds: which belong together.
        """

    def forward(self, features: Tensor, mask: Tensor) -> Embedded:
        """Return point and logits of every jet.

        Args:
            features: ``[B, P, F]``.
            mask: ``[B, P]`` bool, True for a particle.

        Raises:
            RequestError: other shapes.
        """
        clouds = Clouds.of(features, mask, leading=LEADING, padded=self.config.pooling is Pooling.PLACES)
        points = self.points(clouds.rows(features), clouds)
        latent = clouds.mean(points)
        if self.config.output is Output.JET:
            return Embedded(latent, self.head(latent))
        logits = self.head(torch.cat([points, latent[clouds.cloud]], 1))
        spread = logits.new_zeros(mask.numel(), logits.shape[1]).index_copy(0, clouds.places, logits)
        return Embedded(latent, spread.view(*mask.shape, -1) * mask[..., None])
