"""The instances of a batch of label images: which pixels each has, sums over them, and its centre.

A label image holds 0 for background and a number from 1 for every instance, in any order and with gaps. Instances are
numbered 0 .. K-1 over the whole batch, image behind image, so that a sum over the pixels of all instances of all images
is one call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from isotypic.errors import RequestError


class Centre(str, Enum):
    """What stands for the place of an instance."""

    CENTROID = "centroid"
    """The mean of its pixels, which may lie outside."""

    MEDOID = "medoid"
    """Its own pixel nearest to the mean: the one with the least mean squared distance to the others."""


@dataclass(frozen=True)
class Instances:
    """The instances of a batch of B label images.

    Attributes:
        shape: ``(B, y, x)``.
        pixel: ``[P]``, the foreground pixels among the ``B y x`` of the batch.
        member: ``[P]``, the instance of each.
        image: ``[K]``, the image of each instance, ascending.
        size: ``[K]``, how many pixels each instance has.
    """

    shape: tuple[int, int, int]
    pixel: Tensor
    member: Tensor
    image: Tensor
    size: Tensor

    @property
    def position(self) -> Tensor:
        """``(y, x)`` of every foreground pixel, ``[P, 2]``, integers."""
        _, rows, columns = self.shape
        within = self.pixel % (rows * columns)
        return torch.stack([within // columns, within % columns], 1)

    @property
    def owner(self) -> Tensor:
        """The instance of every pixel of the batch, -1 for background, ``[B y x]``."""
        batch, rows, columns = self.shape
        return self.member.new_full((batch * rows * columns,), -1).index_copy(0, self.pixel, self.member)

    @property
    def per_image(self) -> Tensor:
        """How many instances each image has, ``[B]``."""
        return torch.bincount(self.image, minlength=self.shape[0])

    def pixels(self, signal: Tensor) -> Tensor:
        """Return what ``[B, C, y, x]`` holds at the foreground pixels, ``[P, C]``."""
        return signal.movedim(1, -1).flatten(0, 2).index_select(0, self.pixel)

    def sums(self, values: Tensor) -> Tensor:
        """Return the sum over every instance's pixels, ``[P, ...] -> [K, ...]``."""
        return values.new_zeros(len(self.size), *values.shape[1:]).index_add(0, self.member, values)

    def means(self, values: Tensor) -> Tensor:
        """Return the mean over every instance's pixels, ``[P, ...] -> [K, ...]``."""
        return self.sums(values) / self.size.view(-1, *[1] * (values.dim() - 1))

    def mean_of_images(self, values: Tensor) -> Tensor:
        """Return the mean over images of the mean over their instances of ``[K]``; an image without any counts as 0."""
        summed = values.new_zeros(self.shape[0]).index_add(0, self.image, values)
        return (summed / self.per_image.clamp(min=1)).mean()

    def centres(self, centre: Centre) -> Tensor:
        """Return the centre of every instance in pixels, ``(y, x)``, ``[K, 2]``, float64.

        It moves with the instance under every symmetry of the grid: integers decide which pixels are nearest to the
        mean, and the medoid is the mean of all that are.
        """
        position = self.position
        if centre is Centre.CENTROID:
            return self.means(position.double())
        total = self.sums(position)
        apart = (self.size[self.member, None] * position - total[self.member]).square().sum(1)
        most = torch.iinfo(apart.dtype).max
        least = torch.full_like(self.size, most).scatter_reduce(0, self.member, apart, "amin")
        nearest = (apart == least[self.member]).double()[:, None]
        return self.sums(position * nearest) / self.sums(nearest)


def instances_of(labels: Tensor) -> Instances:
    """Return the instances of a batch of label images.

    Args:
        labels: integers ``[B, y, x]``; 0 is background.

    Raises:
        RequestError: not three axes of integers.

    >>> instances_of(torch.tensor([[[0, 7], [7, 2]], [[0, 0], [0, 2]]])).size
    tensor([1, 2, 1])
    """
    if labels.dim() != 3 or labels.is_floating_point() or labels.dtype == torch.bool:
        raise RequestError(
            f"expected labels [B, y, x] of integers, received {list(labels.shape)} of {str(labels.dtype)[6:]}"
        )
    flat = labels.long().flatten()
    pixel = (flat > 0).nonzero().squeeze(1)
    span = int(flat.max()) + 1 if len(flat) else 1
    keys = pixel // labels[0].numel() * span + flat[pixel]
    unique, member, size = keys.unique(return_inverse=True, return_counts=True)
    return Instances((labels.shape[0], labels.shape[1], labels.shape[2]), pixel, member, unique // span, size)


def heads_for(labels: Tensor, output: Mapping[str, Tensor], *names: str) -> list[Tensor]:
    """Return some heads of a network's output, in float32 at least, checked against the labels.

    Raises:
        RequestError: a head is missing, or is not of the labels' batch and size.
    """
    missing = [name for name in names if name not in output]
    if missing:
        raise RequestError(f"expected the heads {', '.join(names)}, received {', '.join(output)}")
    for name in names:
        shape = output[name].shape
        if len(shape) != 4 or (shape[0], *shape[2:]) != labels.shape:
            raise RequestError(
                f"expected the head {name!r} to be [B, C, y, x] for labels {list(labels.shape)}, received {list(shape)}"
            )
    return [output[name].to(torch.promote_types(output[name].dtype, torch.float32)) for name in names]
