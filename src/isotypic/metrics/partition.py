"""How many pixels two segmentations of one image disagree on, and whether turning the image makes a difference.

The numbers of instances mean nothing, so two label images are compared as partitions: instances are matched one to one
so that as many pixels as possible agree, background with background, and the other pixels are counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from isotypic.errors import RequestError
from isotypic.groups.finite import FiniteGroup
from isotypic.metrics.overlap import Indices, Labels, overlaps
from isotypic.ops.action import move_space

_Scalar = TypeVar("_Scalar", bound=np.generic)


def differing_pixels(first: Labels, second: Labels) -> int:
    """Return in how many pixels two label images differ as partitions, whatever their instances are called.

    It is the number of pixels minus the largest number that agree under any one-to-one matching of the instances
    (Hungarian); the background is matched with the background.

    Args:
        first: ``[y, x]``, integers, 0 for background.
        second: the same.

    Raises:
        RequestError: not two label images of one size.

    >>> differing_pixels(np.array([[0, 1, 1, 2]]), np.array([[0, 5, 5, 3]]))
    0
    >>> differing_pixels(np.array([[0, 1, 1, 2]]), np.array([[0, 1, 2, 2]]))
    1
    """
    table = overlaps(first, second)
    return table.pixels - table.background - int(table.shared[table.best_matching(table.shared)].sum())


def differing_when_moved(
    segment: Callable[[NDArray[_Scalar]], Labels], image: NDArray[_Scalar], group: FiniteGroup
) -> Indices:
    """Segment an image under every element of a group, turn the labels back, and count differing pixels, ``[|G|]``.

    Entry 0, the identity, compares two runs on the same image: anything but 0 there is a segmentation that does not
    repeat itself. Pixels are permuted, never interpolated; an element that swaps the axes gives a rectangle of n x m
    pixels to ``segment`` as m x n.

    Args:
        segment: from ``[C, y, x]`` to labels ``[y, x]``.
        image: ``[C, y, x]``.
        group: a group of the pixel grid.

    Raises:
        RequestError: the group does not map the grid to itself, or the labels are not of the image's size.
    """
    upright = _segmented(segment, image)
    moved = [_segmented(segment, move_array(image, g, group)) for g in range(group.order)]
    back = [move_array(labels, int(group.inverse[g]), group) for g, labels in enumerate(moved)]
    return np.array([differing_pixels(upright, labels) for labels in back])


def move_array(array: NDArray[_Scalar], element: int, group: FiniteGroup) -> NDArray[_Scalar]:
    """Move the last axes of an array by an element of a group of the grid; the result is contiguous."""
    return np.ascontiguousarray(move_space(torch.from_numpy(np.array(array)), element, group).numpy())


def _segmented(segment: Callable[[NDArray[_Scalar]], Labels], image: NDArray[_Scalar]) -> Labels:
    labels = segment(image)
    if labels.shape != image.shape[1:]:
        raise RequestError(
            f"expected labels [y, x] of the image's size {image.shape[1:]}, received shape {labels.shape}"
        )
    return labels
