"""What the channels of a dense network's output mean: named heads, scalar or vector, one behind the other.

A dense network maps ``[B, C, y, x]`` to ``[B, sum of the heads' channels, y, x]`` at the size of the image. The group
moves the pixels of every head; it leaves the channels of a scalar head alone and rotates those of a vector head,
``(g v)(p) = rho(g) v(g^-1 p)`` with the group's own matrices in the order ``(y, x)``.

==========  ========  ======  ================================================================
name        channels  kind    meaning
==========  ========  ======  ================================================================
semantic    2         scalar  logits of background and foreground
embedding   16        scalar  a point that pixels of one instance share
offset      2         vector  from the pixel to the centre of its instance, in pixels, (y, x)
bandwidth   1         scalar  natural logarithm of the instance's bandwidth in pixels
seed        1         scalar  logit of how near the pixel points to its centre
boundary    2         scalar  logits of inside and boundary
==========  ========  ======  ================================================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from torch import Tensor, nn

from isotypic.errors import RequestError
from isotypic.groups.fields import FieldType, regular_fields
from isotypic.groups.finite import FiniteGroup
from isotypic.groups.representations import Representation, direct_sum, trivial, vector
from isotypic.nn.by_axes import DIRECT
from isotypic.nn.pooling import GroupPool
from isotypic.nn.steerable import SteerableConv2d

_IMAGE = ("an image [B, C, y, x]", "pixels")

_FIRST_BANDWIDTH = 16.0
"""Pixels; wide beside a cell, so that at first every pixel of an instance feels its centre."""


class HeadKind(str, Enum):
    """How the group moves the channels of a head."""

    SCALAR = "scalar"
    """Not at all."""

    VECTOR = "vector"
    """Pairs of channels by the group's own 2 x 2 matrices."""


@dataclass(frozen=True)
class Head:
    """One named part of a dense network's output.

    Attributes:
        name: what it is asked for by.
        channels: how many; even for vectors.
        kind: how the group moves them.
        start: what a scalar head says, on average, before training.

    Raises:
        RequestError: no channel, or an odd number of channels for vectors.
    """

    name: str
    channels: int
    kind: HeadKind = HeadKind.SCALAR
    start: float = 0.0

    def __post_init__(self) -> None:
        size = 2 if self.kind is HeadKind.VECTOR else 1
        if self.channels < 1 or self.channels % size:
            wanted = "an even number of channels" if size == 2 else "at least one channel"
            raise RequestError(
                f"expected {wanted} for the {self.kind.value} head {self.name!r}, received {self.channels}"
            )


class DenseNetwork(nn.Module):
    """A network ``[B, C, y, x] -> [B, sum of the heads' channels, y, x]``, of the image's size.

    Attributes:
        heads: what the output's channels are, for :func:`split_heads`.
        stride: distance, in pixels, of two samples of the coarsest stage.
    """

    heads: tuple[Head, ...]
    stride: int

    def refuse_small(self, image: Tensor) -> None:
        """Raise for an image, or a volume, with a side shorter than the stride."""
        if min(image.shape[2:], default=0) < self.stride:
            what, samples = ("a volume [B, C, z, y, x]", "voxels") if image.dim() == 5 else _IMAGE
            raise RequestError(
                f"expected {what} of at least {self.stride} {samples} a side for this network, received "
                f"{list(image.shape)}: pad it, or take fewer stages"
            )


class HeadChoice(str, Enum):
    """The heads of a recipe's dense network."""

    EMBEDDING = "embedding"
    OFFSET = "offset"
    BOUNDARY = "boundary"


def embedding_heads(dimension: int = 16) -> tuple[Head, ...]:
    """Return the heads of the discriminative loss: semantic logits and an embedding of so many channels."""
    return Head("semantic", 2), Head("embedding", dimension)


def offset_heads() -> tuple[Head, ...]:
    """Return the heads of the seed loss: offset, bandwidth and seed; the seed map is the foreground as well."""
    bandwidth = Head("bandwidth", 1, start=math.log(_FIRST_BANDWIDTH))
    return Head("offset", 2, HeadKind.VECTOR), bandwidth, Head("seed", 1)


def boundary_heads() -> tuple[Head, ...]:
    """Return the head of membranes: logits of inside and boundary."""
    return (Head("boundary", 2),)


def split_heads(output: Tensor, heads: Sequence[Head]) -> dict[str, Tensor]:
    """Return the channels of every head by its name.

    Args:
        output: ``[B, sum of the heads' channels, *space]``.
        heads: in the order of the channels.

    Raises:
        RequestError: another number of channels.

    >>> import torch
    >>> {name: tuple(part.shape) for name, part in split_heads(torch.zeros(1, 18, 5, 7), embedding_heads()).items()}
    {'semantic': (1, 2, 5, 7), 'embedding': (1, 16, 5, 7)}
    """
    sizes = [head.channels for head in heads]
    if output.dim() < 2 or output.shape[1] != sum(sizes):
        wanted = " + ".join(f"{head.channels} {head.name}" for head in heads)
        raise RequestError(f"expected [B, {sum(sizes)}, y, x] ({wanted}), received {list(output.shape)}")
    return dict(zip((head.name for head in heads), output.split(sizes, 1), strict=True))


def output_representation(heads: Sequence[Head], group: FiniteGroup) -> Representation:
    """Return how a group of the plane moves all channels of the heads, one behind the other.

    >>> from isotypic.groups import named
    >>> output_representation(offset_heads(), named("p4")).dimension
    4
    """
    parts = {HeadKind.SCALAR: trivial(group), HeadKind.VECTOR: vector(group)}
    fields = [(parts[head.kind], head.channels // parts[head.kind].dimension) for head in heads]
    return direct_sum(*(part for part, count in fields for _ in range(count)))


def head_layers(head: Head, fields: int, width: int, group: FiniteGroup, reduce: str = "max") -> nn.Sequential:
    """Return the layers from regular fields to a head: 1x1, ReLU, then what its kind asks for.

    A scalar head pools over the group and mixes the pooled fields by a 1x1 convolution. A vector head is the 1x1
    intertwiner ``v(p) = sum_n sum_g rho(g) w_n f[n, g](p)`` with learned ``w_n`` in R^2, of which there is no other. In
    space there are scalar heads alone.

    Args:
        head: what to put out.
        fields: regular fields of the input.
        width: regular fields in between.
        group: a group of the pixel or of the voxel grid.
        reduce: how a scalar head pools over the group, ``"max"`` or ``"mean"``.

    Raises:
        RequestError: a vector head under a group of space.
    """
    conv = DIRECT[group.dim](fields, width, 1, group)
    return nn.Sequential(conv, nn.ReLU(inplace=True), *_LAST[head.kind](head, width, group, reduce))


def _scalar_layers(head: Head, width: int, group: FiniteGroup, reduce: str) -> tuple[nn.Module, ...]:
    mix = (nn.Conv2d if group.dim == 2 else nn.Conv3d)(width, head.channels, 1)
    nn.init.kaiming_normal_(mix.weight, nonlinearity="linear")
    mix.get_parameter("bias").data.fill_(head.start)
    return GroupPool(width, group, reduce), mix


def _vector_layers(head: Head, width: int, group: FiniteGroup, reduce: str) -> tuple[nn.Module, ...]:
    if group.dim != 2:
        raise RequestError(f"expected scalar heads for a network of volumes, received the vector head {head.name!r}")
    return (SteerableConv2d(regular_fields(group, width), FieldType(vector(group), head.channels // 2), 1),)


_LAST = {HeadKind.SCALAR: _scalar_layers, HeadKind.VECTOR: _vector_layers}
