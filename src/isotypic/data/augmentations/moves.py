"""Random moves of a training batch: every image or volume, and its label image, moved by its own draw.

The quarter turns and flips are exact: they permute pixels. On a rectangle or a box only the elements that keep
its shape are drawn. The draws come from torch's global generator on the CPU, so they are the same on every
device. A module in eval mode changes nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache

import torch
from kornia.geometry.transform import rotate
from torch import nn

from isotypic.errors import RequestError
from isotypic.groups.catalogue import named
from isotypic.groups.finite import FiniteGroup
from isotypic.ops.action import act, swaps_axes


class RandomMove(nn.Module, ABC):
    """What draws a move for every image of a batch, and moves images and label images by the same draws.

    Args:
        axes: of space: 2 of images, 3 of volumes.
    """

    def __init__(self, axes: int = 2) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the moved images.

        Args:
            images: ``[B, C, *space]`` float.

        Raises:
            RequestError: the shape is another.
        """
        check_batch(images, self.axes)
        return self.move(images, self.draw(images)) if self.training else images

    @abstractmethod
    def draw(self, images: torch.Tensor) -> torch.Tensor:
        """Return one draw for each image, ``[B, ...]`` on the CPU."""

    @abstractmethod
    def move(self, images: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """Return images ``[B, C, H, W]``, each moved by what was drawn for it."""

    def move_labels(self, labels: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """Return label images ``[B, H, W]``, each moved by what was drawn for it."""
        return self.move(labels[:, None], drawn)[:, 0]


class RandomElement(RandomMove):
    """Move every image of a batch by a uniformly random element of a group.

    Args:
        group: the name of a group of the grid: in the plane p4 (quarter turns), pmm (flips), p4m (both).
        axes: of space.
    """

    def __init__(self, group: str, axes: int = 2) -> None:
        super().__init__(axes)
        self.group = named(group, axes)

    def draw(self, images: torch.Tensor) -> torch.Tensor:
        """Return one random element for each image, ``[B]`` int64 on the CPU."""
        elements = torch.tensor(_keeping(self.group, tuple(images.shape[2:])))
        return elements[torch.randint(len(elements), (len(images),))]

    def move(self, images: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """Return images ``[B, C, *space]``, each moved by the element drawn for it."""
        moved = torch.empty_like(images)
        for element in drawn.unique().tolist():
            rows = (drawn == element).nonzero().flatten().to(images.device)
            moved[rows] = act(images[rows], element, self.group)
        return moved


class RandomMirrors(RandomMove):
    """Mirror every image left to right, top to bottom and, in space, front to back, each with a probability.

    Args:
        probability: of each, on its own; one half is every element of the flips alike.
        axes: of space.
    """

    def __init__(self, probability: float, axes: int = 2) -> None:
        super().__init__(axes)
        self.probability = probability

    def draw(self, images: torch.Tensor) -> torch.Tensor:
        """Return along which axes each image is mirrored, the last axis first, ``[B, axes]`` on the CPU."""
        return torch.rand(len(images), self.axes) < self.probability

    def move(self, images: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """Return images ``[B, C, *space]``, each mirrored as it was drawn."""
        for number, mirrored in enumerate(drawn.to(images.device).unbind(1), 1):
            of_each = mirrored.reshape(-1, *(1,) * (images.ndim - 1))
            images = torch.where(of_each, images.flip(-number), images)
        return images


class RandomAngle(RandomMove):
    """Rotate every image by its own uniformly random angle: bilinear, zero outside, no reflection.

    It is approximate: interpolation smooths. Zero is the mean of images that are
    normalised over their set, and the middle of the range of those that are normalised each by itself.
    """

    def draw(self, images: torch.Tensor) -> torch.Tensor:
        """Return one random angle in degrees for each image, ``[B]`` on the CPU."""
        return torch.rand(len(images)) * 360

    def move(self, images: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """Return images ``[B, C, H, W]``, each rotated by its angle."""
        return self._turned(images, drawn, "bilinear")

    def move_labels(self, labels: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """Return label images ``[B, H, W]``, each rotated by its angle: the nearest label, background outside."""
        numbers = labels[:, None].float()  # exact below 2^24, and labels have no gaps
        return self._turned(numbers, drawn, "nearest")[:, 0].to(labels.dtype)

    @staticmethod
    def _turned(images: torch.Tensor, drawn: torch.Tensor, mode: str) -> torch.Tensor:
        with as_they_are(images):
            return rotate(images, drawn.to(images), mode=mode, padding_mode="zeros", align_corners=True)


def as_they_are(images: torch.Tensor) -> torch.autocast:
    """Return a context without mixed precision: 8 bits of a coordinate are pixels, and of a level visible steps."""
    return torch.autocast(images.device.type, enabled=False)


def check_batch(images: torch.Tensor, axes: int = 2) -> None:
    """Raise RequestError unless this is a batch of images ``[B, C, H, W]``, or of volumes ``[B, C, D, H, W]``."""
    if images.ndim != axes + 2:
        wanted = "volumes [B, C, D, H, W]" if axes == 3 else "images [B, C, H, W]"
        raise RequestError(f"expected a batch of {wanted}, received {list(images.shape)}")


@lru_cache
def _keeping(group: FiniteGroup, sizes: tuple[int, ...]) -> list[int]:
    """Return the elements of a group that keep the shape of a grid of some sizes."""
    return [g for g in range(group.order) if not swaps_axes(group, g, sizes)]
