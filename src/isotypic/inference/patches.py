"""The patches of a slide: a grid that keeps its symmetries, and their pixels, read row by row.

Along an axis of n pixels patches of t pixels begin at a set of origins that is invariant under ``o -> n - t - o``,
which is what a reflection does to a patch's origin; it depends on n alone, so exchanging the axes exchanges the grid.
The patches of a turned slide are then the turned patches. Origins from 0 in equal steps would not do.

A map of m samples along the axis takes the mean of the patches that lie above a sample's centre, edges included:
sample j lies in the patch at o where ``2 m o <= (2 j + 1) n <= 2 m (o + t)``, in integers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from isotypic.data.readers.pixels import Pixels
from isotypic.errors import RequestError
from isotypic.inference.tiling import symmetric_gaps, symmetric_steps

PER_PATCH = 4
"""Samples of a map along the side of a patch, at least."""

_LEAST = 1024
"""Samples of a map along the longer side of a slide, where it has as many pixels."""


@dataclass(frozen=True)
class AxisPatches:
    """The patches along one axis.

    Attributes:
        size: pixels n of the axis.
        side: pixels t of a patch.
        origins: first pixels of the patches, rising.
    """

    size: int
    side: int
    origins: tuple[int, ...]

    @classmethod
    def along(cls, size: int, side: int, step: int) -> AxisPatches:
        """Return the fewest patches that begin at most ``step`` pixels apart and cover an axis.

        >>> AxisPatches.along(40, 16, 16).origins
        (0, 12, 24)
        """
        span = size - side
        return cls(size, side, tuple(symmetric_steps(span, symmetric_gaps(span, step))))

    def cover(self, samples: int) -> csr_array:
        """Return ``[samples, patches]``: one where the centre of a sample of a map lies in a patch, else zero."""
        centres = (2 * np.arange(samples) + 1)[:, None] * self.size
        first = 2 * samples * np.array(self.origins)
        return csr_array((first <= centres) & (centres <= first + 2 * samples * self.side), dtype=np.float64)


@dataclass(frozen=True)
class PatchGrid:
    """The patches of a slide at one resolution.

    Attributes:
        rows: patches along y.
        columns: patches along x.
    """

    rows: AxisPatches
    columns: AxisPatches

    @classmethod
    def over(cls, size: tuple[int, int], side: tuple[int, int], overlap: float = 0.0) -> PatchGrid:
        """Return the patches of a slide.

        Args:
            size: of the slide (y, x).
            side: of a patch (y, x).
            overlap: least share of a patch's side that neighbours have in common, from 0 to below 1.

        Raises:
            RequestError: the overlap is out of range, or the slide smaller than a patch.
        """
        if not 0 <= overlap < 1:
            raise RequestError(f"expected an overlap from 0 to below 1, received {overlap:g}")
        if any(all_ < one for all_, one in zip(size, side, strict=True)):
            raise RequestError(
                f"expected a slide of at least {side[0]} x {side[1]} pixels, the network's input, received "
                f"{size[0]} x {size[1]} at this resolution; ask for fewer microns per pixel"
            )
        steps = [max(math.floor(t * (1 - overlap)), 1) for t in side]
        return cls(*(AxisPatches.along(n, t, step) for n, t, step in zip(size, side, steps, strict=True)))

    @property
    def shape(self) -> tuple[int, int]:
        """Patches along y and x."""
        return len(self.rows.origins), len(self.columns.origins)

    @property
    def size(self) -> tuple[int, int]:
        """Of the slide (y, x)."""
        return self.rows.size, self.columns.size

    @cached_property
    def map_size(self) -> tuple[int, int]:
        """Samples (y, x) of a map of the slide."""
        finest = max(self.size)
        share = max(PER_PATCH / min(self.rows.side, self.columns.side), min(1.0, _LEAST / finest))
        height, width = (min(math.ceil(n * share), n) for n in self.size)
        return height, width

    def covered(self, samples: np.ndarray) -> np.ndarray:
        """Return the share ``[rows, columns]`` of every patch in which a map ``[y, x]`` of 0 and 1 has 1."""
        rows, columns = self._cover
        inside = rows.T @ (columns.T @ samples.astype(np.float64).T).T
        return inside / np.outer(rows.sum(0), columns.sum(0))

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Return the map ``[y, x]`` of the mean of the patches above every sample.

        Args:
            values: of the patches ``[rows, columns]``; NaN is left out, and is the mean of nothing.
        """
        known = np.isfinite(values)
        total, count = (self._spread(each) for each in (np.where(known, values, 0.0), known.astype(np.float64)))
        return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)

    def _spread(self, values: np.ndarray) -> np.ndarray:
        rows, columns = self._cover
        return rows @ (columns @ values.T).T

    @cached_property
    def _cover(self) -> tuple[csr_array, csr_array]:
        height, width = self.map_size
        return self.rows.cover(height), self.columns.cover(width)


@dataclass(frozen=True)
class Batch:
    """Some patches of one size.

    Attributes:
        places: row and column of each in the grid, ``[n, 2]``.
        pixels: ``[n, C, y, x]``.
    """

    places: np.ndarray
    pixels: np.ndarray


def batches(slide: Pixels, grid: PatchGrid, wanted: np.ndarray, size: int) -> Iterator[Batch]:
    """Yield the patches that are wanted, row by row, in batches; no more of the slide than one is in memory.

    Args:
        slide: ``[C, y, x]`` at the resolution of the grid.
        grid: the patches.
        wanted: which of them, ``[rows, columns]`` of bool.
        size: patches a batch; the last one may have fewer.
    """
    places, pixels = [], []
    for place, patch in _patches(slide, grid, wanted, size):
        places.append(place)
        pixels.append(patch)
        if len(places) == size:
            yield Batch(np.array(places), np.stack(pixels))
            places, pixels = [], []
    if places:
        yield Batch(np.array(places), np.stack(pixels))


def _patches(
    slide: Pixels, grid: PatchGrid, wanted: np.ndarray, most: int
) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
    """Yield place and pixels of the patches; neighbours in a row, at most so many, are read at once."""
    rows, columns = grid.rows, grid.columns
    for i in np.flatnonzero(wanted.any(1)):
        top = rows.origins[i]
        for run in _runs(np.flatnonzero(wanted[i]), most):
            left, right = columns.origins[run[0]], columns.origins[run[-1]] + columns.side
            strip = slide[:, top : top + rows.side, left:right]
            for j in run:
                start = columns.origins[j] - left
                yield (int(i), int(j)), strip[:, :, start : start + columns.side]


def _runs(places: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """Yield rising numbers in pieces without gaps, of at most so many."""
    for piece in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1):
        yield from np.split(piece, range(most, len(piece), most))
