"""VGG16 as modified for oral cytology: thirteen convolutions and three linear layers, plain or equivariant.

Of an image of 80 pixels a side the signal is, stage by stage, 80, 40, 20, 10, 5 a side; the fifth pool has stride 1
(5 -> 4) and stands before the last convolution, which has 4 x 4 taps and sees all that is left (4 -> 1). The paper
gives the layers' sizes and not the place of that pool: in VGG's own order it would follow the last convolution. On
larger images the last signal is averaged over space. All windows are symmetric, so the network is exact as printed.

Channels are those of the plain network, and ``match`` says what a group network shares with it: with ``channels`` the
128 channels of the last stage are 32 fields under C4, each four channels; with ``fields`` they are 128 fields, 512
channels. The linear layers see one number a field.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from isotypic.configuration import Config
from isotypic.groups.catalogue import resolve
from isotypic.models.size import refuse_smaller
from isotypic.nn.matching import Match, matched_fields
from isotypic.nn.norm import GroupBatchNorm
from isotypic.nn.plane import GroupConv2d
from isotypic.nn.pooling import InvariantHead, ParityMaxPool

_TAPS, _LAST_TAPS = 3, 4


class VggConfig(Config):
    """The ``model`` section of a recipe for :class:`Vgg16`."""

    family: Literal["vgg16"] = "vgg16"
    group: str = Field("trivial", description="symmetry group of the plane: trivial, p4, p4m, C2, D2, Cs")
    match: Match = Field(Match.CHANNELS, description="what a group network shares with the plain one")
    stages: list[list[int]] = Field(
        [[16, 16], [32, 32], [64, 64, 64], [128, 128, 128], [128, 128, 128]],
        min_length=2,
        description="channels of the plain network, stage by stage",
    )
    hidden: list[int] = Field([4096, 4096], description="features of the linear layers before the last")
    dropout: float = Field(0.5, ge=0, lt=1, description="probability to drop a feature of a linear layer")
    pool: Literal["max", "mean"] = Field("max", description="pooling over the group before the linear layers")


class Vgg16(nn.Module):
    """A classifier ``[B, in_channels, y, x] -> [B, classes]`` that a group does not change.

    Attributes:
        group: the symmetry group; the logits are invariant under it, exactly, on every size from :attr:`least` up.
        least: the shortest side of an image, 80 pixels for five stages.

    Args:
        config: widths, group and matching.
        in_channels: channels of the image.
        classes: how many logits.

    Source:
        K. B. Bengtsson Bernander, Equivariant Neural Networks for Biomedical Image Analysis, Uppsala University,
        Paper I; K. Simonyan, A. Zisserman, Very Deep Convolutional Networks for Large-Scale Image
        Recognition, ICLR 2015.
    """

    def __init__(self, config: VggConfig, in_channels: int, classes: int) -> None:
        super().__init__()
        self.group = resolve(config.group, 2)
        self.least = (_LAST_TAPS + 1) * 2 ** (len(config.stages) - 1)
        fields = [[matched_fields(width, self.group, config.match) for width in stage] for stage in config.stages]
        before = in_channels
        stages: list[nn.Module] = []
        for number, stage in enumerate(fields):
            layers: list[nn.Module] = [ParityMaxPool(2)] if number else []
            for place, width in enumerate(stage):
                last = (number, place) == (len(fields) - 1, len(stage) - 1)
                layers += [ParityMaxPool(2, 1)] if last else []
                layers += self._convolution(before, width, _LAST_TAPS if last else _TAPS, lift=not stages and not place)
                before = width
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.head = InvariantHead(
            before, classes, self.group, config.pool, hidden=config.hidden, dropout=config.dropout
        )

    def _convolution(self, before: int, width: int, taps: int, *, lift: bool) -> list[nn.Module]:
        padding = taps // 2 if taps % 2 else 0
        conv = GroupConv2d(before, width, taps, self.group, lift=lift, padding=padding, bias=False)
        return [conv, GroupBatchNorm(width, self.group), nn.ReLU(inplace=True)]

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits ``[B, classes]``.

        Raises:
            RequestError: an image with a side shorter than :attr:`least`.
        """
        refuse_smaller(image, self.least, "vgg16")
        return self.head(self.stages(image))
