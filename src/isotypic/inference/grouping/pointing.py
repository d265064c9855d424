"""Where the foreground pixels of an image point to, and which of them point near a given place.

A pixel at ``x`` with offset ``o`` points to ``e = x + o``. The plane is cut into square cells; the foreground pixels
are sorted by the cell of ``e``, so those that point into a disc are found in the cells it touches, whatever the length
of their offsets. Cells beyond the border of the image belong to those along it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isotypic.errors import RequestError
from isotypic.inference.grouping.buckets import Indices, bucketed
from isotypic.tasks.segmentation.seed_loss import LARGEST_LOG

Floats = NDArray[np.float64]

_CELL = 16
"""Pixels; a disc of a cell's radius touches up to nine, each a contiguous run of a row of cells."""

_MARGIN = 1e-5
"""A probability equal to the threshold up to rounding is background, in every direction of the image."""

CLAIM = 2 * np.log(2)
"""``|e - C|^2 / sigma^2`` where phi is one half."""


class Proposal(NamedTuple):
    """The centre ``C = (y, x)`` and the bandwidth sigma of an object, in pixels."""

    y: float
    x: float
    sigma: float


@dataclass(frozen=True, eq=False)
class Maps:
    """What a network says of an image.

    Args:
        seed: ``[y, x]``, probabilities.
        offset: ``[2, y, x]``, (y, x) in pixels.
        bandwidth: ``[y, x]``, natural logarithm of pixels.
        threshold: foreground is above this probability.
        rows: how many rows of the image are read at a time.

    Raises:
        RequestError: the sizes do not fit.
    """

    seed: NDArray[np.floating]
    offset: NDArray[np.floating]
    bandwidth: NDArray[np.floating]
    threshold: float
    rows: int

    def __post_init__(self) -> None:
        shape = self.seed.shape
        if len(shape) != 2 or self.offset.shape != (2, *shape) or self.bandwidth.shape != shape:
            raise RequestError(
                "expected a seed map [y, x], offsets [2, y, x] and bandwidths [y, x], received "
                f"{list(shape)}, {list(self.offset.shape)} and {list(self.bandwidth.shape)}"
            )
        if self.rows < 1:
            raise RequestError(f"expected at least one row at a time, received {self.rows}")

    def strips(self) -> Iterator[tuple[Indices, NDArray[np.floating]]]:
        """Yield the foreground pixels of every strip as flat indices, and their probabilities."""
        height, width = self.seed.shape
        for first in range(0, height, self.rows):
            seed = self.seed[first : first + self.rows].ravel()
            # Written so that NaN fails.
            if not (seed.min(initial=0) >= 0 and seed.max(initial=0) <= 1):
                raise RequestError(
                    f"expected a seed map of probabilities, received {seed.min()} to {seed.max()} in rows {first} to "
                    f"{min(first + self.rows, height) - 1}; apply sigmoid to logits first"
                )
            pixels = np.flatnonzero(seed > self.threshold + _MARGIN)
            yield pixels + first * width, seed[pixels]

    def seeds(self, pixels: Indices) -> Floats:
        """Return the probabilities of some pixels, ``[n]``."""
        return self.seed[self._places(pixels)].astype(np.float64)

    def offsets(self, pixels: Indices) -> Floats:
        """Return the offsets of some pixels, ``[2, n]``."""
        y, x = self._places(pixels)
        return np.stack([self.offset[0, y, x], self.offset[1, y, x]]).astype(np.float64)

    def points(self, pixels: Indices) -> Floats:
        """Return where some pixels point to, ``[2, n]``; in float64, which has fractions of a pixel in any image."""
        return self.offsets(pixels) + self._places(pixels)

    def logs(self, pixels: Indices) -> Floats:
        """Return the logarithms of the bandwidths of some pixels, ``[n]``."""
        return self.bandwidth[self._places(pixels)].astype(np.float64)

    def mean(self, pixels: Indices) -> Proposal:
        """Return the mean of where some pixels point to, with the bandwidth of their mean logarithm."""
        y, x = self.points(pixels).mean(1).tolist()
        log = np.clip(self.logs(pixels).mean(), -LARGEST_LOG, LARGEST_LOG)
        return Proposal(y, x, float(np.exp(log)))

    def claims(self, pixels: Indices, y: float | Floats, x: float | Floats, sigma: float | Floats) -> Floats:
        """Return ``|e - C|^2 / sigma^2`` of some pixels, for one object or for one each."""
        down, right = self.points(pixels)
        return ((down - y) ** 2 + (right - x) ** 2) / sigma**2

    def _places(self, pixels: Indices) -> tuple[Indices, Indices]:
        return np.divmod(pixels, self.seed.shape[1])


class Pointing:
    """The foreground of an image, sorted by where it points to.

    Args:
        maps: of the image; they may lie on disk.

    Raises:
        RequestError: a seed that is no probability, or an offset or bandwidth of the foreground that is not finite.
    """

    def __init__(self, maps: Maps) -> None:
        self.maps = maps
        self._grid = tuple(max(1, -(-size // _CELL)) for size in maps.seed.shape)
        self._cells = bucketed(self._strips, self._grid[0] * self._grid[1], maps.seed.size)

    def members(self, proposal: Proposal) -> tuple[Indices, Floats]:
        """Return the foreground pixels with phi above one half, and their claims."""
        pixels = self._near(*proposal)
        claims = self.maps.claims(pixels, *proposal)
        inside = claims < CLAIM
        return pixels[inside], claims[inside]

    def _near(self, y: float, x: float, sigma: float) -> Indices:
        """Return the pixels that point into the cells that a disc touches."""
        radius = sigma * CLAIM**0.5
        corners = np.array([[y - radius, y + radius], [x - radius, x + radius]])
        (top, bottom), (left, right) = self._cells_of(corners).tolist()
        columns = self._grid[1]
        runs = [self._cells.between(row * columns + left, row * columns + right) for row in range(top, bottom + 1)]
        return np.concatenate(runs)

    def _cells_of(self, points: Floats) -> Indices:
        """Return row and column of the cell of every point, ``[2, n]``."""
        last = np.array(self._grid)[:, None] - 1
        return np.clip(np.floor(points / _CELL), 0, last).astype(np.int64)

    def _strips(self) -> Iterator[tuple[Indices, Indices]]:
        for pixels, _ in self.maps.strips():
            points = self.maps.points(pixels)
            if not (np.isfinite(points).all() and np.isfinite(self.maps.logs(pixels)).all()):
                raise RequestError("expected finite offsets and bandwidths of the foreground, received NaN or infinity")
            row, column = self._cells_of(points)
            yield pixels, row * self._grid[1] + column
