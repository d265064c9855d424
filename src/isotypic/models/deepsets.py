"""Deep sets: a network of every particle by itself, the mean, and a network of that; the baseline without neighbours.

Source:
    M. Zaheer et al., Deep Sets, NeurIPS 2017, arXiv 1703.06114; on jets: P. Komiske, E. Metodiev, J. Thaler, Energy
    Flow Networks, JHEP 2019, arXiv 1810.05165.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from isotypic.models.clouds import CloudConfig, CloudNetwork
from isotypic.nn.points.layers import RowLayer, glorot
from isotypic.ops.clouds import Clouds


class DeepSetsConfig(CloudConfig):
    """The ``model`` section of the family ``deepsets``."""

    family: Literal["deepsets"] = Field("deepsets", description="deepsets")
    widths: tuple[int, ...] = Field((64, 128, 256, 256), min_length=1, description="of the network of a particle")


class DeepSets(CloudNetwork):
    """Jets ``[B, P, F]`` with a mask to points ``[B, latent]`` and logits ``[B, classes]``, particle by particle.

    Args:
        config: sizes, norm, pooling.
        in_channels: features of a particle.
        classes: how many logits.
    """

    def __init__(self, config: DeepSetsConfig, in_channels: int = 8, classes: int = 20) -> None:
        super().__init__(config, classes)
        widths = (in_channels, *config.widths, config.latent)
        pairs = pairwise(widths)
        self.particle = nn.Sequential(*(RowLayer(*pair, norm=config.norm) for pair in pairs))
        glorot(self)

    def points(self, x: Tensor, clouds: Clouds) -> Tensor:
        """Return the point of every particle."""
        return self.particle(x)
