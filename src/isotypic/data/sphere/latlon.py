"""Functions on the sphere that are given on a grid of latitudes and longitudes, poles included or not.

Between the points of a grid a function is bilinear in latitude and longitude, and goes on from the last longitude to
the first. At a pole all longitudes are one point: it has the mean of the row that lies there, or else that of the
nearest row. Colatitude is beta, eastern longitude alpha.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isotypic.data.image_set import ImageArray
from isotypic.data.sphere.fields import SphereFields
from isotypic.errors import RequestError
from isotypic.groups.finite import Floats, Indices

_NEAR = 1e-6
"""Degrees."""

_REACH = 1.01
"""Of a step between latitudes: so far from a pole the last one may lie."""


@dataclass(frozen=True, eq=False)
class LatLonGrid:
    """Latitudes and longitudes that go around the whole sphere.

    Args:
        name: what has them, for errors.
        latitudes: in degrees, ascending or descending; steps may differ, as those of a Gaussian grid do.
        longitudes: in degrees, ascending in equal steps around the circle; 360 degrees after the first there may stand
            the first again.

    Raises:
        RequestError: they are not in order, or do not reach around the sphere.
    """

    name: str
    latitudes: Floats
    longitudes: Floats

    @classmethod
    def of(cls, name: str, latitudes: ArrayLike, longitudes: ArrayLike) -> LatLonGrid:
        """Return the grid of some latitudes and longitudes in degrees."""
        return cls(name, np.asarray(latitudes, np.float64), np.asarray(longitudes, np.float64))

    @classmethod
    def equirectangular(cls, name: str, height: int, width: int) -> LatLonGrid:
        """Return the grid of an equirectangular image: rows from north to south, each the middle of its belt.

        Raises:
            RequestError: an image that is not twice as wide as high.
        """
        if width != 2 * height:
            raise RequestError(
                f"{name}: expected equirectangular images twice as wide as high, received {height} x {width} (y, x); "
                "one of another shape does not cover the sphere"
            )
        steps = 180 / height
        return cls.of(name, 90 - steps * (np.arange(height) + 0.5), steps * (np.arange(width) + 0.5))

    def __post_init__(self) -> None:
        latitudes, longitudes = self.latitudes, self.longitudes
        if latitudes.ndim != 1 or longitudes.ndim != 1 or min(len(latitudes), len(longitudes)) < 2:
            raise RequestError(
                f"{self.name}: expected latitudes and longitudes in a row each, at least two, received "
                f"{list(latitudes.shape)} and {list(longitudes.shape)}"
            )
        steps = np.diff(latitudes)
        if not (np.abs(latitudes) <= 90 + _NEAR).all() or not ((steps > 0).all() or (steps < 0).all()):
            raise RequestError(
                f"{self.name}: expected latitudes in order from -90 to 90 degrees, received {_ends(latitudes)}"
            )
        farthest = _REACH * np.abs(steps).max()
        if 90 - latitudes.max() > farthest or latitudes.min() + 90 > farthest:
            raise RequestError(
                f"{self.name}: expected latitudes from pole to pole, received {_ends(latitudes)}: a part of the sphere "
                "cannot be turned"
            )
        around = np.diff(longitudes)
        if not np.allclose(around, around[0], atol=1e-3 * abs(around[0])) or not self._closes(around[0]):
            raise RequestError(
                f"{self.name}: expected longitudes in equal steps around the whole circle, received "
                f"{_ends(longitudes)} in {len(longitudes)} steps"
            )

    def _closes(self, step: float) -> bool:
        span = step * self.columns
        return step > 0 and bool(np.isclose(span, 360, atol=0.5 * step))

    @property
    def columns(self) -> int:
        """Different longitudes: without one that is the first again."""
        return len(self.longitudes) - int(abs(self.longitudes[-1] - self.longitudes[0] - 360) < _NEAR)

    @property
    def shape(self) -> tuple[int, int]:
        """Latitudes and longitudes as they are given."""
        return len(self.latitudes), len(self.longitudes)

    @property
    def state(self) -> str:
        """What changes when the grid does."""
        return sha256(self.latitudes.tobytes() + self.longitudes.tobytes()).hexdigest()

    def places(self, points: Floats) -> tuple[Floats, Floats]:
        """Return where points ``[..., 3]`` lie, in rows from the northernmost and in columns.

        Row -1 is the north pole and row ``len(latitudes)`` the south pole, where the grid has no rows of theirs.
        """
        down = self._from_north()
        known = np.concatenate([[0.0], np.clip(down, _NEAR, 180 - _NEAR), [180.0]])
        beta = np.rad2deg(np.arccos(np.clip(points[..., 2], -1, 1)))
        alpha = np.rad2deg(np.arctan2(points[..., 1], points[..., 0]))
        row = np.interp(beta, known, np.arange(-1, len(known) - 1))
        return row, (alpha - self.longitudes[0]) * self.columns / 360 % self.columns

    def ordered(self, rows: np.ndarray) -> np.ndarray:
        """Return values ``[..., latitudes, longitudes]`` from north to south, every longitude once."""
        northward = self.latitudes[0] < self.latitudes[-1]
        return (rows[..., ::-1, :] if northward else rows)[..., : self.columns]

    @property
    def poles(self) -> tuple[int, ...]:
        """Rows from the northernmost that are a pole: 0, -1, both or none."""
        down = self._from_north()
        return tuple(end for end, angle in ((0, 0.0), (-1, 180.0)) if abs(down[end] - angle) < _NEAR)

    def _from_north(self) -> Floats:
        """Return the colatitudes in degrees, ascending."""
        return np.sort(np.clip(90 - self.latitudes, 0, 180))


class LatLonFields(SphereFields):
    """Functions that are given on a grid.

    Args:
        grid: of all of them.
        values: ``[N, C, latitudes, longitudes]``; uint8 in 0..255 or floats.
        points: their classes ``[N, latitudes, longitudes]``, 0 for the background; None where there are none.
        state: what changes when the values do.

    Raises:
        RequestError: arrays of another shape than the grid's.
    """

    def __init__(self, grid: LatLonGrid, values: ImageArray, points: np.ndarray | None, state: str) -> None:
        wrong = tuple(values.shape[2:]) != grid.shape or (
            points is not None and points.shape != (len(values), *grid.shape)
        )
        if wrong:
            received = [list(values.shape), *([] if points is None else [list(points.shape)])]
            raise RequestError(
                f"{grid.name}: expected values [N, C, {grid.shape[0]}, {grid.shape[1]}] (latitude, longitude) and "
                f"classes without C, received {' and '.join(map(str, received))}"
            )
        self.grid, self._values, self._points, self._state = grid, values, points, state
        self.channels = values.shape[1]
        self.dtype = np.dtype(np.uint8 if values.dtype == np.uint8 else np.float32)

    @property
    def state(self) -> str:
        """What changes when a function does."""
        return f"latitudes and longitudes 1 {self.grid.state} {self._state}"

    def __len__(self) -> int:
        return len(self._values)

    def values(self, rows: Indices, points: Floats) -> Floats:
        """Return the values ``[n, channels, points]``.

        Raises:
            RequestError: one is not finite.
        """
        known = self.grid.ordered(np.array(self._values[rows], dtype=np.float64))
        self._refuse_infinite(known, rows)
        for end in self.grid.poles:
            known[..., end, :] = known[..., end, :].mean(-1, keepdims=True)
        filled = _around(_with_poles(known))
        row, column = self.grid.places(points)
        above, left = np.floor(row).astype(np.int64), np.floor(column).astype(np.int64)
        above = np.clip(above, -1, known.shape[2] - 1)
        down, across = (row - above)[:, None], (column - left)[:, None]
        image, line, left = np.arange(len(rows))[:, None], above + 1, left % self.grid.columns
        corner = [filled[image, :, line + i, left + j] for i in (0, 1) for j in (0, 1)]
        a, b, c, d = (np.moveaxis(each, -1, 1) for each in corner)
        return (a * (1 - across) + b * across) * (1 - down) + (c * (1 - across) + d * across) * down

    def classes(self, rows: Indices, points: Floats) -> NDArray[np.uint8]:
        """Return the class of the nearest point of the grid.

        Raises:
            RequestError: the functions have no classes.
        """
        if self._points is None:
            raise RequestError(
                f"{self.grid.name}: expected the class of every point, received images alone; give labels like them"
            )
        known = self.grid.ordered(np.asarray(self._points[rows]))
        row, column = self.grid.places(points)
        line = np.clip(np.rint(row), 0, known.shape[1] - 1).astype(np.int64)
        return known[np.arange(len(rows))[:, None], line, np.rint(column).astype(np.int64) % self.grid.columns]

    def _refuse_infinite(self, known: Floats, rows: Indices) -> None:
        wrong = ~np.isfinite(known).reshape(len(known), -1).all(1)
        if wrong.any():
            raise RequestError(
                f"{self.grid.name}: expected finite values, received NaN or infinity in image {rows[wrong][0]}: fill "
                "what is missing, or leave it out"
            )


def _with_poles(values: Floats) -> Floats:
    """Add a row at each pole: the mean of the next one."""
    ends = [np.broadcast_to(values[..., [i], :].mean(-1, keepdims=True), values[..., [i], :].shape) for i in (0, -1)]
    return np.concatenate([ends[0], values, ends[1]], -2)


def _around(values: Floats) -> Floats:
    return np.concatenate([values, values[..., :1]], -1)


def _ends(degrees: Floats) -> str:
    return f"{degrees[0]:g} to {degrees[-1]:g}"
