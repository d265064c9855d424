"""The U-Net with named heads: the dense network of the segmentation studies, plain or equivariant by its group.

Each stage is two convolutions with ReLU; stages are halved in between on the way down and doubled on the way up, where
the fields of the same size are put beside the new ones. With the trivial group it is the ordinary U-Net, from the same
code; with ``dim=3`` it is that of volumes, with scalar heads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from isotypic.configuration import Config
from isotypic.groups.catalogue import resolve
from isotypic.groups.finite import FiniteGroup
from isotypic.models.heads import (
    DenseNetwork,
    Head,
    HeadChoice,
    HeadKind,
    boundary_heads,
    embedding_heads,
    head_layers,
    offset_heads,
)
from isotypic.nn.by_axes import DIRECT, TRANSPOSED
from isotypic.nn.matching import Match, matched_fields
from isotypic.nn.norm import GroupBatchNorm, GroupInstanceNorm
from isotypic.nn.pooling import ParityMaxPool, ParityUpsample

Width = Annotated[int, Field(ge=1)]


class UNetConfig(Config):
    """The ``model`` section of a recipe for :class:`UNet`; the defaults are Bernander's plain baseline."""

    family: Literal["unet"] = "unet"
    group: str = Field("trivial", description="symmetry group of the plane: trivial, p4, p4m, C2, D2, Cs")
    match: Match = Field(Match.PARAMETERS, description="what a group network shares with the plain one")
    stages: list[Width] = Field(
        [64, 128, 256, 512, 512], min_length=2, description="channels of the plain network on the way down"
    )
    kernel_size: int = Field(3, ge=1, description="taps along each axis; odd")
    norm: Literal["none", "batch", "instance"] = Field("none", description="behind every 3x3 convolution")
    upsampling: Literal["transposed", "linear"] = Field(
        "transposed", description="a learned transposed convolution k2 s2, or linear interpolation"
    )
    heads: HeadChoice = Field(HeadChoice.EMBEDDING, description="what the network says of every pixel")
    embedding_dimension: int = Field(16, ge=1, description="channels of the embedding")
    head_width: int = Field(
        32,
        ge=1,
        description="channels between the two 1x1 convolutions of a head; in a scalar head as many for every group, "
        "counted behind the pooling",
    )
    pool: Literal["max", "mean"] = Field("max", description="pooling over the group in a scalar head")

    @field_validator("kernel_size")
    @classmethod
    def _odd(cls, taps: int) -> int:
        if taps % 2 == 0:
            raise ValueError("expected an odd number of taps, which keeps the size")
        return taps

    @property
    def symmetry(self) -> str:
        """The group that the network commutes with."""
        return self.group

    @property
    def output_heads(self) -> tuple[Head, ...]:
        """The heads, in the order of the output's channels."""
        if self.heads is HeadChoice.EMBEDDING:
            return embedding_heads(self.embedding_dimension)
        return offset_heads() if self.heads is HeadChoice.OFFSET else boundary_heads()


class UNet(DenseNetwork):
    """A dense network ``[B, in_channels, *space] -> [B, sum of head channels, *space]`` that commutes with its group.

    Exactly, on every size from :attr:`stride` up, even, odd and rectangular: the pools follow the parity of each axis,
    and the upsampling is told the size to reach.

    Attributes:
        group: the symmetry group.
        heads: what the output's channels are, for :func:`~isotypic.models.heads.split_heads`.
        stride: distance, in pixels, of two samples of the coarsest stage; the least side of an image.

    Args:
        config: widths, group, matching, heads.
        in_channels: channels of the image.
        dim: 2 for images, 3 for volumes, whose groups are those of space.

    Raises:
        RequestError: an unknown group, or heads of vectors for volumes.

    Source:
        O. Ronneberger, P. Fischer, T. Brox, U-Net, MICCAI 2015, arXiv 1505.04597. Padded, with two heads: K. B.
        Bernander, J. Lindblad, R. Strand, I. Nyström, Rotation-Equivariant Semantic Instance Segmentation, 2021.

    >>> net = UNet(UNetConfig(group="p4", stages=[8, 16], head_width=8), in_channels=1)
    >>> net(torch.zeros(1, 1, 21, 32)).shape
    torch.Size([1, 18, 21, 32])
    """

    def __init__(self, config: UNetConfig, in_channels: int, *, dim: int = 2) -> None:
        super().__init__()
        self.group = resolve(config.group, dim)
        self.heads = config.output_heads
        self.stride = 2 ** (len(config.stages) - 1)
        blocks = _Blocks(config, self.group)
        widths = [blocks.fields(channels) for channels in config.stages]
        down = zip([in_channels, *widths[:-1]], widths, strict=True)
        self.encoder = nn.ModuleList(blocks.double(a, b, lift=not i) for i, (a, b) in enumerate(down))
        # A pool that interpolation follows rounds up: its samples are then every second one of those to be reached.
        self.pool = ParityMaxPool(2, round_up=config.upsampling == "linear")
        self.decoder = nn.ModuleList()
        coarse = widths[-1]
        for i in reversed(range(len(widths) - 1)):
            self.decoder.append(_Up(blocks, coarse, widths[i], widths[max(i - 1, 0)]))
            coarse = widths[max(i - 1, 0)]
        self.branches = nn.ModuleList(
            head_layers(h, coarse, blocks.hidden(h), self.group, config.pool) for h in self.heads
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return the channels of all heads at the size of the image or volume.

        Raises:
            RequestError: an image with a side shorter than :attr:`stride`, or of other channels.
        """
        self.refuse_small(image)
        x, levels = image, []
        for number, block in enumerate(self.encoder):
            x = block(self.pool(x) if number else x)
            levels.append(x)
        x = levels.pop()
        for up in self.decoder:
            x = up(x, levels.pop())
        return torch.cat([branch(x) for branch in self.branches], 1)


@dataclass(frozen=True)
class _Blocks:
    """Makes the blocks of one configuration."""

    config: UNetConfig
    group: FiniteGroup

    def fields(self, channels: int) -> int:
        return matched_fields(channels, self.group, self.config.match)

    def hidden(self, head: Head) -> int:
        """Return the fields within a head: a scalar head pools them, and matched ones would leave it less to say."""
        width = self.config.head_width
        return width if head.kind is HeadKind.SCALAR else self.fields(width)

    def double(self, before: int, width: int, *, lift: bool = False) -> nn.Sequential:
        return nn.Sequential(*self._single(before, width, lift), *self._single(width, width, False))

    def _single(self, before: int, width: int, lift: bool) -> list[nn.Module]:
        taps, norm = self.config.kernel_size, _NORMS.get(self.config.norm)
        conv = DIRECT[self.group.dim](before, width, taps, self.group, lift=lift, padding=taps // 2, bias=norm is None)
        return [conv, *([norm(width, self.group)] if norm else []), nn.ReLU(inplace=True)]

    def enlarge(self, fields: int) -> nn.Module:
        if self.config.upsampling == "linear":
            return ParityUpsample()
        layer = TRANSPOSED[self.group.dim](fields, fields, 2, self.group, stride=2)
        with torch.no_grad():
            layer.weight.mul_(0.5**0.5)  # He's factor of 2 makes up for a ReLU, and none follows
        return layer


class _Up(nn.Module):
    """Bring fields to the size of finer ones, put the two side by side and convolve."""

    def __init__(self, blocks: _Blocks, coarse: int, fine: int, width: int) -> None:
        super().__init__()
        self.enlarge = blocks.enlarge(coarse)
        self.convolve = blocks.double(coarse + fine, width)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        return self.convolve(torch.cat([fine, self.enlarge(coarse, tuple(fine.shape[2:]))], 1))


_NORMS: dict[str, Callable[..., nn.Module]] = {
    "batch": GroupBatchNorm,
    "instance": partial(GroupInstanceNorm, affine=True),
}
