"""Pixels that are read by windows, so that an image need not fit into memory, and what a file says about them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from isotypic.errors import RequestError

Window = tuple[slice, slice, slice]

_LEAST_ROWS = 256
"""Rows that are read at a time: where fewer are, the chunks of a stored image are decoded again and again."""


class Pixels(Protocol):
    """An image ``[C, y, x]`` of which a window is read by ``pixels[:, top:bottom, left:right]``; arrays are pixels."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, height and width."""

    @property
    def dtype(self) -> np.dtype:
        """Type of the values, in the byte order of the machine."""

    def __getitem__(self, window: Window, /) -> np.ndarray:
        """Return a window ``[C, y, x]``."""


@dataclass(frozen=True)
class Opened:
    """What a reader of one file format finds.

    Attributes:
        pixels: the image.
        axes: the axes as they are stored, a letter each (``TCZYX``; S are the samples of a colour).
        spacing: height and width of a pixel and their unit as the file writes it, or None.
        channels: names of the channels; empty where the file has none.
    """

    pixels: Pixels
    axes: str
    spacing: tuple[float, float, str] | None = None
    channels: tuple[str, ...] = ()


class StoredPixels:
    """One plane of an array of any axes, as ``[C, y, x]``.

    Args:
        array: what slices read: an array, a memory map, a zarr array.
        axes: its axes, a letter each; Y and X, with C and S for channels; others are of one sample.
        at: the sample to take along every other axis.
        samples: how many of the samples S are colours; the others, alpha, are left out.
    """

    def __init__(self, array: Any, axes: str, at: dict[str, int], samples: int | None = None) -> None:
        self.array, self.axes, self.at = array, axes, at
        self.samples = slice(samples)
        sizes = dict(zip(axes, array.shape, strict=True))
        colours = len(range(sizes.get("S", 1))[self.samples])
        self.shape = (sizes.get("C", 1) * colours, sizes["Y"], sizes["X"])
        self.dtype = np.dtype(array.dtype).newbyteorder("=")

    def __getitem__(self, window: Window) -> np.ndarray:
        """Return a window ``[C, y, x]``, in memory of its own."""
        channels, rows, columns = window
        parts = {"C": slice(None), "S": self.samples, "Y": rows, "X": columns}
        found = np.asarray(self.array[tuple(parts[a] if a in parts else self.at[a] for a in self.axes)])
        left = [a for a in self.axes if a in parts]
        ordered = found.transpose([left.index(a) for a in "CSYX" if a in left])
        return np.array(ordered.reshape(-1, *ordered.shape[-2:])[channels], dtype=self.dtype, order="C")


def windows(shape: Sequence[int], values: int, step: int = 1) -> Iterator[tuple[slice, slice]]:
    """Yield the rows and columns of windows that cover an image, each pixel once.

    A window is as wide as the image unless 256 such rows are too many values; then it is narrower, not lower.

    Args:
        shape: channels, height and width.
        values: most of a window, of all channels; exceeded where 256 rows of ``step`` columns have more.
        step: windows begin at its multiples.

    >>> [(rows.stop, columns.stop) for rows, columns in windows((1, 300, 9), values=2048)]
    [(256, 8), (256, 9), (300, 8), (300, 9)]
    """
    channels, height, width = shape
    least = -(-_LEAST_ROWS // step) * step
    rows = max(values // max(channels * width, 1) // least, 1) * least
    columns = max(values // max(channels * rows, 1) // step, 1) * step
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield slice(top, min(top + rows, height)), slice(left, min(left + columns, width))


def plane_of(name: Path | str, axes: str, shape: tuple[int, ...], plane: int | None) -> dict[str, int]:
    """Return where a plane lies along the axes that are neither channels nor space.

    Args:
        name: the file, for errors.
        axes: a letter an axis.
        shape: samples along each.
        plane: number of the plane, the last axis fastest; None where there is only one.

    Raises:
        RequestError: there are several planes and none is chosen, or the one that is does not exist, or the axes lack
            Y or X.

    >>> plane_of("stack.tif", "TZCYX", (3, 5, 2, 64, 64), 7)
    {'T': 1, 'Z': 2}
    """
    if not {"Y", "X"} <= set(axes) or len(set(axes)) != len(axes):
        raise RequestError(f"{name}: expected an image with the axes Y and X, received {axes} {list(shape)}")
    sizes = {a: n for a, n in zip(axes, shape, strict=True) if a not in "CSYX"}
    planes = math.prod(sizes.values())
    if plane is None and planes != 1:
        raise RequestError(
            f"{name}: expected one image, received a stack of {planes} planes ({axes} {list(shape)}); choose one of "
            f"the planes 0 to {planes - 1}, save a projection, or name the axes in the file if they are channels (CYX)"
        )
    if plane is not None and not 0 <= plane < planes:
        raise RequestError(f"{name}: expected a plane from 0 to {planes - 1}, received {plane}")
    places = np.unravel_index(plane or 0, tuple(sizes.values()))
    return dict(zip(sizes, map(int, places), strict=True))


def unreadable(name: Path | str, error: Exception) -> RequestError:
    """Return the error for a file that a decoder refuses, in one line."""
    reason = " ".join(str(error).split()) or type(error).__name__
    repair = ": pip install imagecodecs" if "imagecodecs" in reason else ""
    return RequestError(f"{name}: cannot be read as an image ({reason}{repair})")
