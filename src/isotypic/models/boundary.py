"""The network of Gao & Ji for the boundaries of cells in electron micrographs, in all its arms.

Stem, Inception A, Reduction A, Inception B, Reduction B, Inception C; what Stem, A, B and C put out is upsampled to the
size of the image and joined for the prediction. The published arm replaces the two last 3 x 3 convolutions of the stem
by maxout over rotations and flips, which makes the network equivariant to nothing: the layers around them are ordinary
ones. Two arms are exactly equivariant on every size: the same network with group convolutions (``group``), and the
one whose every spatial convolution is a maximum over the eight symmetries of the square (``dihedral_max``).

The text of the paper names the six modules and gives no channels. Those of the stem are of its Figure 5; the rest is
open, and chosen here as follows:

* the channels of the other modules are those of Inception-v4, where the names and the stem's two branches come from;
* batch norm behind every convolution, as there (``norm``); padding that keeps the size, and halves it at a stride;
* of the stem's last two convolutions the one in the short branch has the rotations, the other the flips;
* upsampling is a 1 x 1 convolution to ``decoded`` channels and one transposed convolution, of 2 s - 1 taps for a
  stride of s: it reaches every size that s divides to the same;
* Inception C is joined as well, where the text has Stem, A and B: without it the last two modules would do nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from isotypic.configuration import Config
from isotypic.groups.catalogue import named, resolve
from isotypic.groups.fields import scalar_fields
from isotypic.groups.finite import FiniteGroup
from isotypic.models.heads import DenseNetwork, HeadChoice, boundary_heads
from isotypic.models.voting import Ballot, Voting
from isotypic.nn.copies import Flips, Turns
from isotypic.nn.layer import EquivariantLayer
from isotypic.nn.matching import Match, matched_fields
from isotypic.nn.maxout import Combine, FlipMaxConv2d, RotateMaxConv2d
from isotypic.nn.norm import GroupBatchNorm
from isotypic.nn.plane import GroupConv2d, GroupConvTranspose2d
from isotypic.nn.pooling import GroupPool, ParityAvgPool, ParityMaxPool
from isotypic.nn.rectangle import GroupRectangleConv2d
from isotypic.nn.steerable import SteerableConvTranspose2d
from isotypic.ops.action import swaps_axes


class Layers(str, Enum):
    """Which convolutions are maxout over the copies of their kernels."""

    PLAIN = "plain"
    """None: the baseline, or the group network."""

    ROTATE_FLIP_MAX = "rotate_flip_max"
    """Of the stem's last two, the first over rotations and the second over flips: the published arm."""

    ROTATE_MAX = "rotate_max"
    """The stem's last two, over rotations."""

    FLIP_MAX = "flip_max"
    """The stem's last two, over flips."""

    DIHEDRAL_MAX = "dihedral_max"
    """Every one of more than one tap, over all eight symmetries of the square: exact for p4m."""


_LAST_TWO = {
    Layers.ROTATE_FLIP_MAX: (RotateMaxConv2d, FlipMaxConv2d),
    Layers.ROTATE_MAX: (RotateMaxConv2d, RotateMaxConv2d),
    Layers.FLIP_MAX: (FlipMaxConv2d, FlipMaxConv2d),
}
"""Which layer each of the stem's last two becomes."""


class Fuse(str, Enum):
    """How the upsampled outputs are joined."""

    CONCAT = "concat"
    SUM = "sum"


class BoundaryConfig(Config):
    """The ``model`` section of a recipe for :class:`BoundaryNet`."""

    family: Literal["boundary"] = "boundary"
    group: str = Field("trivial", description="symmetry group of the plane: trivial, p4, p4m, C2, D2, Cs")
    match: Match = Field(Match.PARAMETERS, description="what a group network shares with the plain one")
    layers: Layers = Field(Layers.PLAIN, description="which convolutions are maxout over copies of their kernels")
    angles: Turns = Field(Turns.QUARTERS, description="rotations of a kernel: 2, 4 or 8")
    flips: Flips = Field(Flips.PAPER, description="flips of a kernel: paper (no group), klein or dihedral")
    combine: Combine = Field(
        Combine.MAX, description="of the stem's last two: max, or concat, which keeps the responses to all copies"
    )
    width: float = Field(1.0, gt=0, description="factor on all channels, for small budgets")
    decoded: int = Field(16, ge=1, description="channels of an upsampled output, before the factor")
    fuse: Fuse = Field(Fuse.CONCAT, description="how the upsampled outputs are joined: concat or sum")
    norm: Literal["none", "batch"] = Field("batch", description="behind every convolution")
    pool: Literal["max", "mean"] = Field("max", description="pooling over the group before the prediction")
    vote: str = Field("trivial", description="a prediction is that of the views under this group together")
    ballot: Ballot = Field(Ballot.MAJORITY, description="how they vote: majority, or mean of their probabilities")
    heads: Literal[HeadChoice.BOUNDARY] = Field(HeadChoice.BOUNDARY, description="what the network says of every pixel")

    @property
    def own_symmetry(self) -> str:
        """The group that the network commutes with by itself."""
        return "p4m" if self.layers is Layers.DIHEDRAL_MAX else self.group

    @property
    def symmetry(self) -> str:
        """The group that its prediction commutes with."""
        return self.vote if resolve(self.vote, 2).order > 1 else self.own_symmetry

    @model_validator(mode="after")
    def _one_way(self) -> BoundaryConfig:
        if self.layers is not Layers.PLAIN and resolve(self.group, 2).order > 1:
            raise ValueError(
                f"expected layers 'plain' with group {self.group!r}: maxout over copies of a kernel serves the trivial "
                f"group, received {self.layers.value!r}"
            )
        if self.combine is Combine.CONCAT and self.layers not in _LAST_TWO:
            raise ValueError(
                f"expected layers {', '.join(layers.value for layers in _LAST_TWO)} with combine 'concat', "
                f"received {self.layers.value!r}"
            )
        return self


@dataclass(frozen=True)
class Conv:
    """A convolution of a module, with its ReLU.

    Attributes:
        channels: of the plain network.
        kernel: taps ``(y, x)``.
        stride: samples between outputs.
        last: which of the stem's last two it is, 0 or 1.
    """

    channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    last: int | None = None


class Pool(Enum):
    """A pool of a module, 3 x 3."""

    MEAN = "mean of the neighbours"
    HALF = "maximum, stride 2"


@dataclass(frozen=True)
class Fork:
    """Branches side by side, their channels behind each other."""

    branches: tuple[tuple[Conv | Pool | Fork, ...], ...]


Steps = tuple[Conv | Pool | Fork, ...]

_SQUARE, _COLUMN, _ROW = (3, 3), (7, 1), (1, 7)

STEM: Steps = (
    Conv(32, _SQUARE, stride=2),
    Conv(64, _SQUARE),
    Fork(
        (
            (Conv(64), Conv(96, _SQUARE, last=0)),
            (Conv(64), Conv(64, _COLUMN), Conv(64, _ROW), Conv(96, _SQUARE, last=1)),
        )
    ),
)
INCEPTION_A: Steps = (
    Fork(
        (
            (Pool.MEAN, Conv(96)),
            (Conv(96),),
            (Conv(64), Conv(96, _SQUARE)),
            (Conv(64), Conv(96, _SQUARE), Conv(96, _SQUARE)),
        )
    ),
)
REDUCTION_A: Steps = (
    Fork(
        (
            (Pool.HALF,),
            (Conv(384, _SQUARE, stride=2),),
            (Conv(192), Conv(224, _SQUARE), Conv(256, _SQUARE, stride=2)),
        )
    ),
)
INCEPTION_B: Steps = (
    Fork(
        (
            (Pool.MEAN, Conv(128)),
            (Conv(384),),
            (Conv(192), Conv(224, _ROW), Conv(256, _COLUMN)),
            (Conv(192), Conv(192, _ROW), Conv(224, _COLUMN), Conv(224, _ROW), Conv(256, _COLUMN)),
        )
    ),
)
REDUCTION_B: Steps = (
    Fork(
        (
            (Pool.HALF,),
            (Conv(192), Conv(192, _SQUARE, stride=2)),
            (Conv(256), Conv(256, _ROW), Conv(320, _COLUMN), Conv(320, _SQUARE, stride=2)),
        )
    ),
)
_CROSS = Fork(((Conv(256, (1, 3)),), (Conv(256, (3, 1)),)))
INCEPTION_C: Steps = (
    Fork(
        (
            (Pool.MEAN, Conv(256)),
            (Conv(256),),
            (Conv(384), _CROSS),
            (Conv(384), Conv(448, (1, 3)), Conv(512, (3, 1)), _CROSS),
        )
    ),
)


class BoundaryNet(DenseNetwork):
    """A dense network ``[B, in_channels, y, x] -> [B, 2, y, x]``: logits of inside and boundary.

    Attributes:
        group: the group for which it is exact, on every size from :attr:`stride` up: that of the configuration, D4
            for ``dihedral_max``, and the trivial one for the published layers.
        heads: what the output's channels are.
        stride: distance, in pixels, of two samples of the coarsest module; the least side of an image.

    Args:
        config: arm, group, widths.
        in_channels: channels of the image.

    Source:
        H. Gao, S. Ji, Efficient and Invariant Convolutional Neural Networks for Dense Prediction, ICDM 2017,
        arXiv 1711.09064; C. Szegedy et al., Inception-v4, Inception-ResNet and the Impact of Residual Connections on
        Learning, AAAI 2017, arXiv 1602.07261.

    >>> net = BoundaryNet(BoundaryConfig(group="p4", width=0.05), in_channels=1)
    >>> net(torch.zeros(1, 1, 33, 40)).shape
    torch.Size([1, 2, 33, 40])
    """

    def __init__(self, config: BoundaryConfig, in_channels: int) -> None:
        super().__init__()
        blocks = _Blocks(config, resolve(config.group, 2))
        self.group = resolve(config.own_symmetry, 2)
        self.heads, self.stride, self.fuse = boundary_heads(), 8, config.fuse
        self.stem, stem = blocks.sequence(STEM, in_channels, lift=True)
        self.inception_a, a = blocks.sequence(INCEPTION_A, stem)
        self.reduction_a, width = blocks.sequence(REDUCTION_A, a)
        self.inception_b, b = blocks.sequence(INCEPTION_B, width)
        self.reduction_b, width = blocks.sequence(REDUCTION_B, b)
        self.inception_c, c = blocks.sequence(INCEPTION_C, width)
        self.upsamplings = nn.ModuleList(
            _Upsampling(blocks, fields, stride) for fields, stride in ((stem, 2), (a, 2), (b, 4), (c, 8))
        )
        joined = blocks.fields(config.decoded) * (len(self.upsamplings) if config.fuse is Fuse.CONCAT else 1)
        self.pool = GroupPool(joined, blocks.group, config.pool)
        self.predict = nn.Conv2d(joined, sum(head.channels for head in self.heads), 1)
        nn.init.kaiming_normal_(self.predict.weight, nonlinearity="linear")
        nn.init.zeros_(self.predict.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits at the size of the image.

        Raises:
            RequestError: an image with a side shorter than :attr:`stride`, or of other channels.
        """
        self.refuse_small(image)
        stem = self.stem(image)
        a = self.inception_a(stem)
        b = self.inception_b(self.reduction_a(a))
        c = self.inception_c(self.reduction_b(b))
        size = tuple(image.shape[2:])
        maps = [up(x, size) for up, x in zip(self.upsamplings, (stem, a, b, c), strict=True)]
        joined = torch.cat(maps, 1) if self.fuse is Fuse.CONCAT else torch.stack(maps).sum(0)
        return self.predict(self.pool(joined.relu()))


def boundary_network(config: BoundaryConfig, in_channels: int) -> DenseNetwork:
    """Return the network of a configuration, alone or in the views that vote."""
    net, views = BoundaryNet(config, in_channels), resolve(config.vote, 2)
    return Voting(net, views, config.ballot) if views.order > 1 else net


class _Branches(nn.ModuleList):
    """Branches side by side: ``[B, N, y, x] -> [B, sum of their channels, ...]``."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self], 1)


class _Upsampling(nn.Module):
    """A module's output at the size of the image: 1 x 1 to few channels, then a transposed convolution."""

    def __init__(self, blocks: _Blocks, before: int, stride: int) -> None:
        super().__init__()
        width = blocks.fields(blocks.config.decoded)
        self.project, _ = blocks.convolution(Conv(blocks.config.decoded), before)
        self.spread = blocks.transposed(width, stride)

    def forward(self, x: Tensor, size: tuple[int, ...]) -> Tensor:
        return self.spread(self.project(x), output_size=size)


@dataclass(frozen=True)
class _Blocks:
    """Makes the layers of one configuration."""

    config: BoundaryConfig
    group: FiniteGroup

    def fields(self, channels: int) -> int:
        return matched_fields(max(1, round(channels * self.config.width)), self.group, self.config.match)

    def sequence(self, steps: Steps, before: int, *, lift: bool = False) -> tuple[nn.Sequential, int]:
        """Return the layers of some steps and the fields that they put out."""
        made: list[nn.Module] = []
        for step in steps:
            if isinstance(step, Pool):
                made.append(ParityAvgPool(3, 1, 1) if step is Pool.MEAN else ParityMaxPool(3, 2, 1))
            elif isinstance(step, Conv):
                layers, before = self.convolution(step, before, lift=lift and not made)
                made.append(layers)
            else:
                branches, widths = zip(*(self.sequence(branch, before) for branch in step.branches), strict=True)
                made.append(_Branches(branches))
                before = sum(widths)
        return nn.Sequential(*made), before

    def convolution(self, step: Conv, before: int, *, lift: bool = False) -> tuple[nn.Sequential, int]:
        """Return a convolution with its norm and ReLU, and the fields that it puts out."""
        bare = self._bare(step, before, lift)
        width = bare.out_type.channels // self.group.order
        norm = [GroupBatchNorm(width, self.group)] if self.config.norm == "batch" else []
        return nn.Sequential(bare, *norm, nn.ReLU(inplace=True)), width

    def _bare(self, step: Conv, before: int, lift: bool) -> EquivariantLayer:
        width = self.fields(step.channels)
        (y, x), layers = step.kernel, self.config.layers
        bias, padding = self.config.norm == "none", (y // 2, x // 2)
        if layers is Layers.DIHEDRAL_MAX and y * x > 1:
            turned = Flips.DIHEDRAL
            return FlipMaxConv2d(
                before, width, step.kernel, flips=turned, stride=step.stride, padding=padding, bias=bias
            )
        if step.last is not None and layers in _LAST_TWO:
            how: dict[str, Any] = {"padding": padding, "bias": bias, "combine": self.config.combine}
            if _LAST_TWO[layers][step.last] is RotateMaxConv2d:
                return RotateMaxConv2d(before, width, angles=self.config.angles, **how)
            return FlipMaxConv2d(before, width, step.kernel, flips=self.config.flips, **how)
        if any(swaps_axes(self.group, g, step.kernel) for g in range(self.group.order)):
            return GroupRectangleConv2d(before, width, step.kernel, self.group, bias=bias)
        return GroupConv2d(
            before, width, step.kernel, self.group, lift=lift, stride=step.stride, padding=padding, bias=bias
        )

    def transposed(self, fields: int, stride: int) -> nn.Module:
        """Return the layer that brings fields to a grid so many times finer, of any size."""
        taps, padding = 2 * stride - 1, stride - 1
        if self.config.layers is Layers.DIHEDRAL_MAX:
            kind = scalar_fields(named("D4"), fields)
            return SteerableConvTranspose2d(kind, kind, taps, stride=stride, padding=padding)
        return GroupConvTranspose2d(fields, fields, taps, self.group, stride=stride, padding=padding)
