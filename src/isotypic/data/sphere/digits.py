"""Digits, or what else has classes, on the sphere: one on a canvas, or four, which the projection puts there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from isotypic.data.sphere.fields import SphereFields
from isotypic.data.sphere.projection import nearest, project
from isotypic.errors import RequestError
from isotypic.groups.finite import Floats, Indices


@dataclass(frozen=True)
class Layout:
    """How images are put on canvases.

    Attributes:
        count: images a canvas, 1 or 4: cells of one size, and an image at a random place of its cell.
        side: of the canvas in pixels.
        threshold: a point with a grey level above it is of its image's class, others are background.
        seed: of the places and of what stands together.
    """

    count: int
    side: int
    threshold: float
    seed: int

    @property
    def cells(self) -> int:
        """Cells along a side."""
        return {1: 1, 4: 2}[self.count]


class ProjectedDigits(SphereFields):
    """Canvases of grey images, projected; canvas i holds image i, and others of its part of the split beside it.

    Args:
        images: ``[N, side, side]`` uint8.
        labels: their classes ``[N]``, which become ``label + 1`` on the sphere.
        layout: how they are put on canvases.
        parts: ``[N]``, the part of the split that each is in; what stands on one canvas is of one part.

    Raises:
        RequestError: the images are larger than the cells.
    """

    channels, dtype = 1, np.dtype(np.uint8)

    def __init__(self, images: NDArray[np.uint8], labels: Indices, layout: Layout, parts: np.ndarray) -> None:
        self._room = layout.side // layout.cells - images.shape[-1]
        if images.shape[-1] != images.shape[-2] or self._room < 0:
            least = layout.cells * max(images.shape[1:])
            raise RequestError(
                f"expected square images, {layout.count} of which have room on {layout.side} pixels a side, received "
                f"{images.shape[-2]} x {images.shape[-1]}: set data.canvas to at least {least}, or data.resize"
            )
        self._images, self._labels, self._layout = images, labels, layout
        generator = np.random.default_rng(layout.seed)
        self._members = _together(parts, layout.count, generator)
        self._offsets = generator.integers(0, self._room + 1, (len(images), layout.count, 2))

    @cached_property
    def state(self) -> str:
        """What changes when an image or the layout does."""
        pixels = sha256(self._images.tobytes() + self._labels.tobytes() + self._members.tobytes()).hexdigest()
        return f"projected digits 1 {self._layout} {pixels}"

    def __len__(self) -> int:
        return len(self._images)

    def values(self, rows: Indices, points: Floats) -> Floats:
        """Return grey levels ``[n, 1, points]``."""
        return project(self.canvases(rows)[0], points)[:, None]

    def classes(self, rows: Indices, points: Floats) -> NDArray[np.uint8]:
        """Return ``label + 1`` of the image at bright points, else 0."""
        pixels, owners = self.canvases(rows)
        bright = project(pixels, points) > self._layout.threshold
        return np.where(bright, nearest(owners, points), 0).astype(np.uint8)

    def canvases(self, rows: Indices) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return grey levels and ``label + 1`` of the image that a pixel is of, both ``[n, side, side]``."""
        layout, side = self._layout, self._images.shape[-1]
        pixels = np.zeros((len(rows), layout.side, layout.side), np.uint8)
        owners = np.zeros_like(pixels)
        step = layout.side // layout.cells
        for place, row in enumerate(rows):
            for cell, (member, offset) in enumerate(zip(self._members[row], self._offsets[row], strict=True)):
                top, left = np.array(divmod(cell, layout.cells)) * step + offset
                window = (place, slice(top, top + side), slice(left, left + side))
                pixels[window], owners[window] = self._images[member], self._labels[member] + 1
        return pixels, owners


def _together(parts: np.ndarray, count: int, generator: np.random.Generator) -> Indices:
    """Return the images of every canvas ``[N, count]``: its own, and others of its part, in random cells."""
    members = np.empty((len(parts), count), np.int64)
    for part in np.unique(parts):
        rows = np.flatnonzero(parts == part)
        members[rows] = generator.choice(rows, (len(rows), count))
        members[rows, generator.integers(0, count, len(rows))] = rows
    return members
