"""Stages of group convolution, batch norm and ReLU, halved in between: the classifier of the digit studies.

With the trivial group it is the ordinary CNN, from the same code.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from isotypic.configuration import Config
from isotypic.errors import RequestError
from isotypic.groups.catalogue import resolve
from isotypic.nn.dropout import GroupDropout
from isotypic.nn.matching import Match, matched_fields
from isotypic.nn.norm import GroupBatchNorm
from isotypic.nn.plane import GroupConv2d
from isotypic.nn.pooling import InvariantHead, ParityMaxPool

Probability = Annotated[float, Field(ge=0, lt=1)]


class ConvNetConfig(Config):
    """The ``model`` section of a recipe for :class:`ConvNet`."""

    family: Literal["convnet"] = "convnet"
    group: str = Field("trivial", description="symmetry group of the plane: trivial, p4, p4m, C2, D2, Cs")
    match: Match = Field(Match.PARAMETERS, description="what a group network shares with the plain one")
    stages: list[list[int]] = Field([[16], [32, 32]], description="channels of the plain network, stage by stage")
    kernel_size: int = Field(3, ge=1, description="taps along each axis; odd")
    dropout: Probability | list[Probability] = Field(
        0.0, description="probability to drop a field after a stage, of every stage or stage by stage"
    )
    hidden: list[int] = Field([], description="features of linear layers before the last")
    hidden_dropout: float = Field(0.0, ge=0, lt=1, description="probability to drop a feature of these")
    pool: Literal["max", "mean"] = Field("max", description="pooling over the group before the last layer")


class ConvNet(nn.Module):
    """A classifier ``[B, in_channels, y, x] -> [B, classes]`` that a group does not change.

    Attributes:
        group: the symmetry group; the logits are invariant under it, exactly, on every image size.

    Args:
        config: widths, group and matching.
        in_channels: channels of the image.
        classes: how many logits.
    """

    def __init__(self, config: ConvNetConfig, in_channels: int, classes: int) -> None:
        super().__init__()
        self.group = resolve(config.group, 2)
        fields = [[matched_fields(width, self.group, config.match) for width in stage] for stage in config.stages]
        drops = _stage_by_stage(config.dropout, len(fields))
        before = in_channels
        blocks: list[nn.Module] = []
        for number, stage in enumerate(fields):
            if number:
                blocks.append(ParityMaxPool(2))
            for width in stage:
                blocks += self._block(before, width, config.kernel_size, lift=not blocks)
                before = width
            if drops[number]:
                blocks.append(GroupDropout(before, self.group, drops[number]))
        self.features = nn.Sequential(*blocks)
        self.head = InvariantHead(
            before, classes, self.group, config.pool, hidden=config.hidden, dropout=config.hidden_dropout
        )

    def _block(self, before: int, width: int, kernel: int, lift: bool) -> list[nn.Module]:
        conv = GroupConv2d(before, width, kernel, self.group, lift=lift, padding=kernel // 2, bias=False)
        return [conv, GroupBatchNorm(width, self.group), nn.ReLU(inplace=True)]

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits ``[B, classes]``."""
        return self.head(self.features(image))


def _stage_by_stage(dropout: float | list[float], stages: int) -> list[float]:
    if not isinstance(dropout, list):
        return [dropout] * stages
    if len(dropout) != stages:
        raise RequestError(f"expected model.dropout of every stage ({stages}), received {len(dropout)}")
    return dropout
