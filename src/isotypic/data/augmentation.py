"""Random symmetries of a training batch: every image, and its label image, moved by its own element of the plane.

The quarter turns and flips are exact: they permute pixels. On a rectangle only the elements that keep its
shape are drawn. The draws come from torch's global generator on the CPU, so they are the same on every
device. A module in eval mode changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import torch
from kornia.geometry.transform import rotate
from torch import nn

from isotypic.errors import RequestError, unknown
from isotypic.groups.catalogue import named
from isotypic.ops.action import act, swaps_axes


class RandomElement(nn.Module):
    """Move every image of a batch by a uniformly random element of a group.

    Args:
        group: the name of a group of the pixel grid: p4 (quarter turns), pmm (flips), p4m (both).
    """

    def __init__(self, group: str) -> None:
        super().__init__()
        self.group = named(group)
        keeping = [g for g in range(self.group.order) if not swaps_axes(self.group, g, (1, 2))]
        self.keeping = torch.tensor(keeping)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the moved images.

        Args:
            images: ``[B, C, H, W]``.

        Raises:
            RequestError: the shape is another.
        """
        _check_batch(images)
        if not self.training:
            return images
        return self.move(images, self.draw(images))

    def draw(self, images: torch.Tensor) -> torch.Tensor:
        """Return one random element for each image, ``[B]`` int64 on the CPU."""
        square = images.shape[-2] == images.shape[-1]
        elements = torch.arange(self.group.order) if square else self.keeping
        return elements[torch.randint(len(elements), (len(images),))]

    def move(self, images: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """Return images ``[B, C, H, W]``, each moved by the element drawn for it."""
        moved = torch.empty_like(images)
        for element in drawn.unique().tolist():
            rows = (drawn == element).nonzero().flatten().to(images.device)
            moved[rows] = act(images[rows], element, self.group)
        return moved

    def move_labels(self, labels: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """Return label images ``[B, H, W]``, each moved by the element drawn for it."""
        return self.move(labels[:, None], drawn)[:, 0]


class RandomAngle(nn.Module):
    """Rotate every image by its own uniformly random angle: bilinear, zero outside, no reflection.

    It is approximate: interpolation smooths. Zero is the mean of images that are
    normalised over their set, and the middle of the range of those that are normalised each by itself.
    """

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the rotated images.

        Args:
            images: ``[B, C, H, W]`` float.

        Raises:
            RequestError: the shape is another.
        """
        _check_batch(images)
        if not self.training:
            return images
        return self.move(images, self.draw(images))

    def draw(self, images: torch.Tensor) -> torch.Tensor:
        """Return one random angle in degrees for each image, ``[B]`` on the CPU."""
        return torch.rand(len(images)) * 360

    def move(self, images: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """Return images ``[B, C, H, W]``, each rotated by its angle."""
        return rotate(images, drawn.to(images), mode="bilinear", padding_mode="zeros", align_corners=True)

    def move_labels(self, labels: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """Return label images ``[B, H, W]``, each rotated by its angle: the nearest label, background outside."""
        numbers = labels[:, None].float()  # exact below 2^24, and labels have no gaps
        turned = rotate(numbers, drawn.to(numbers), mode="nearest", padding_mode="zeros", align_corners=True)
        return turned[:, 0].to(labels.dtype)


class Pairwise(nn.Module):
    """Move the images and the label images of a batch by the same draws.

    Args:
        symmetry: what draws and moves; None changes nothing.
    """

    def __init__(self, symmetry: RandomElement | RandomAngle | None) -> None:
        super().__init__()
        self.symmetry = symmetry

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the moved images and labels.

        Args:
            images: ``[B, C, H, W]`` float.
            labels: ``[B, H, W]`` integer.

        Raises:
            RequestError: the shapes do not fit.
        """
        _check_batch(images)
        if labels.shape != (len(images), *images.shape[2:]):
            raise RequestError(
                f"expected labels {[len(images), *images.shape[2:]]} for these images, received {list(labels.shape)}"
            )
        if self.symmetry is None or not self.training:
            return images, labels
        drawn = self.symmetry.draw(images)
        return self.symmetry.move(images, drawn), self.symmetry.move_labels(labels, drawn)


_SYMMETRIES: Mapping[str, Callable[[], RandomElement | RandomAngle]] = MappingProxyType(
    {
        "rot90": partial(RandomElement, "p4"),
        "flips": partial(RandomElement, "pmm"),
        "d4": partial(RandomElement, "p4m"),
        "rotate": RandomAngle,
    }
)
AUGMENTATIONS: Mapping[str, Callable[[], nn.Module]] = MappingProxyType({"none": nn.Identity, **_SYMMETRIES})


def augmentation(name: str) -> nn.Module:
    """Return an augmentation by its name: none, rot90, flips, d4 or rotate.

    Raises:
        RequestError: there is no such augmentation.
    """
    if name not in AUGMENTATIONS:
        raise unknown("augmentation", name, AUGMENTATIONS)
    return AUGMENTATIONS[name]()


def pair_augmentation(name: str) -> Pairwise:
    """Return an augmentation of images with their label images: none, rot90, flips, d4 or rotate.

    Raises:
        RequestError: there is no such augmentation.
    """
    if name not in AUGMENTATIONS:
        raise unknown("augmentation", name, AUGMENTATIONS)
    return Pairwise(_SYMMETRIES[name]() if name in _SYMMETRIES else None)


def _check_batch(images: torch.Tensor) -> None:
    if images.ndim != 4:
        raise RequestError(f"expected a batch of images [B, C, H, W], received {list(images.shape)}")
