"""All-CNN-C, the large one of the PatchCamelyon report: 2 x 2 convolutions and no pools, plain or equivariant.

Five stages of three 2 x 2 convolutions, the third of each with stride 2, then the mean over space and two layers of one
tap. At the report's 96 pixels one sample is left, so the mean may as well come after these two, as it prints them: an
image of 96 pixels a side becomes 95, 94, 47 | 46, 45, 22 | 21, 20, 10 | 9, 8, 4 | 3, 2, 1. A stride of 2 fits even
sizes alone, so as printed the network is exact only for sides that are 30 modulo 32; here an odd size is reached by the
parity rule (the kernel widened to 3 taps), which keeps the sizes and is exact on all of them.

The report could not train its group network: it took as many fields as the plain one has channels, kept the group axis
up to a linear layer of 454 million weights and put a softmax before the cross-entropy. Here fields are matched, by
default to the same total channels; the group is pooled before the last two layers; and logits stay logits.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from isotypic.configuration import Config
from isotypic.errors import RequestError
from isotypic.groups.catalogue import resolve
from isotypic.models.size import refuse_smaller
from isotypic.nn.dropout import GroupDropout
from isotypic.nn.matching import Match, matched_fields
from isotypic.nn.norm import GroupBatchNorm
from isotypic.nn.plane import GroupConv2d
from isotypic.nn.pooling import InvariantHead

_SLOPE = 0.01


class AllConvConfig(Config):
    """The ``model`` section of a recipe for :class:`AllConv`."""

    family: Literal["allconv"] = "allconv"
    group: str = Field("trivial", description="symmetry group of the plane: trivial, p4, p4m, C2, D2, Cs")
    match: Match = Field(Match.CHANNELS, description="what a group network shares with the plain one")
    stages: list[int] = Field(
        [320, 640, 960, 1280, 1600], min_length=1, description="channels of the plain network's stages"
    )
    convolutions: int = Field(3, ge=1, description="convolutions a stage, the last with stride 2")
    hidden: int = Field(1920, ge=1, description="features of the one layer of one tap before the last")
    width: float = Field(1.0, gt=0, description="factor on all channels, for small budgets")
    norm: Literal["none", "batch"] = Field("none", description="behind every 2 x 2 convolution; none, as printed")
    dropout: list[float] = Field(
        [0.1, 0.2, 0.3, 0.4, 0.5], description="probability to drop a field behind every stage, stage by stage"
    )
    pool: Literal["max", "mean"] = Field("max", description="pooling over the group before the last two layers")


class AllConv(nn.Module):
    """A classifier ``[B, in_channels, y, x] -> [B, classes]`` that a group does not change.

    Attributes:
        group: the symmetry group; the logits are invariant under it, exactly, on every size from :attr:`least` up.
        least: the shortest side of an image, 94 pixels for five stages.

    Args:
        config: widths, group and matching.
        in_channels: channels of the image.
        classes: how many logits.

    Source:
        J. T. Springenberg, A. Dosovitskiy, T. Brox, M. Riedmiller, Striving for Simplicity: The All Convolutional Net,
        ICLR 2015 workshop, arXiv 1412.6806.
    """

    def __init__(self, config: AllConvConfig, in_channels: int, classes: int) -> None:
        super().__init__()
        self.group = resolve(config.group, 2)
        self.least = _least(len(config.stages), config.convolutions)
        if len(config.dropout) not in (0, len(config.stages)):
            raise RequestError(
                f"expected model.dropout with one probability a stage ({len(config.stages)}) or none, received "
                f"{len(config.dropout)}"
            )
        before = in_channels
        layers: list[nn.Module] = []
        for number, channels in enumerate(config.stages):
            fields = matched_fields(round(channels * config.width), self.group, config.match)
            for place in range(config.convolutions):
                stride = 2 if place == config.convolutions - 1 else 1
                layers += self._convolution(before, fields, stride, config.norm, lift=not layers)
                before = fields
            layers += [GroupDropout(fields, self.group, p) for p in config.dropout[number : number + 1]]
        self.features = nn.Sequential(*layers)
        hidden = [max(1, round(config.hidden * config.width))]
        self.head = InvariantHead(before, classes, self.group, config.pool, hidden=hidden)

    def _convolution(self, before: int, fields: int, stride: int, norm: str, *, lift: bool) -> list[nn.Module]:
        bias = norm == "none"
        conv = GroupConv2d(before, fields, 2, self.group, lift=lift, stride=stride, bias=bias)
        return [conv, *([] if bias else [GroupBatchNorm(fields, self.group)]), nn.LeakyReLU(_SLOPE, inplace=True)]

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits ``[B, classes]``.

        Raises:
            RequestError: an image with a side shorter than :attr:`least`.
        """
        refuse_smaller(image, self.least, "allconv")
        return self.head(self.features(image))


def _least(stages: int, convolutions: int) -> int:
    """Return the side of which one sample is left."""
    side = 1
    for _ in range(stages):
        side = 2 * side + convolutions - 1
    return side
