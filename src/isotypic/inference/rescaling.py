"""Bringing an image to the pixel size of the training images, and its labels back, without breaking a symmetry.

An axis of n pixels becomes one of m samples, sample i centred at ``c_i = (i + 1/2) n/m - 1/2``, by the weights
``max(0, 1 - |j - c_i| / max(1, n/m))`` over the pixels j, divided by their sum: linear interpolation, and where the
image shrinks a mean over what a sample covers. They commute with reflections, since ``c_(m-1-i) = n - 1 - c_i``.

Pixel j takes the label of the sample that its centre lies in, ``floor((j + 1/2) m/n)``. A centre between two samples
would have to choose a side. With m odd there is none: ``(2j + 1) m / 2n`` is no integer. So m is the odd number nearest
to the size wanted.
"""

from __future__ import annotations

import math

import numpy as np

from isotypic.data.readers.micrograph import PixelSize
from isotypic.data.readers.pixels import Pixels, Window
from isotypic.errors import RequestError

SAME = 1.05
"""Pixel sizes that differ by no more than this factor are one: cells differ more."""

MOST = 16.0
"""A factor beyond it is a wrong pixel size, not another microscope."""

_MICROMETRES = {"nm": 1e-3, "µm": 1.0, "mm": 1e3}


def micrometres(size: PixelSize) -> float:
    """Return a pixel size in micrometres.

    >>> micrometres(PixelSize(250.0, "nm"))
    0.25
    """
    return size.value * _MICROMETRES[size.unit]


def factor_between(source: str, size: PixelSize | None, trained: float | None) -> float:
    """Return by which factor an image is to be enlarged; 1 where it need not be, or a pixel size is not known.

    Args:
        source: the image, for errors.
        size: of a pixel of the image.
        trained: side of a pixel of the training images, in micrometres.

    Raises:
        RequestError: the pixel sizes are too far apart to be right.
    """
    if size is None or trained is None:
        return 1.0
    factor = micrometres(size) / trained
    if not 1 / MOST <= factor <= MOST:
        raise RequestError(
            f"{source}: expected pixels within a factor of {MOST:g} of the training images' {trained:g} µm, received "
            f"{size.value:g} {size.unit}; give the right one by --pixel-size (pixel_size=), or --no-rescale"
        )
    return 1.0 if 1 / SAME <= factor <= SAME else factor


def rescaled_size(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """Return the size (y, x) of a resampled image: odd numbers nearest to ``factor`` times the size.

    >>> rescaled_size((100, 64), 0.5)
    (51, 33)
    """
    height, width = (2 * math.floor(side * factor / 2) + 1 for side in size)
    return height, width


class Resampled:
    """An image of another size, computed window by window.

    Args:
        pixels: the image ``[C, y, x]``.
        size: the new (y, x).
    """

    def __init__(self, pixels: Pixels, size: tuple[int, int]) -> None:
        self.pixels = pixels
        self.shape, self.dtype = (pixels.shape[0], *size), np.dtype(np.float64)

    def __getitem__(self, window: Window) -> np.ndarray:
        """Return a window ``[C, y, x]`` of float64, in the units of the image."""
        channels, *places = window
        (rows, down), (columns, across) = (
            _weights(old, new, range(new)[place])
            for old, new, place in zip(self.pixels.shape[1:], self.shape[1:], places, strict=True)
        )
        return down @ self.pixels[channels, rows, columns].astype(np.float64) @ across.T


def labels_at(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return label numbers ``[y, x]`` of a resampled image at the size that it had, without gaps."""
    rows, columns = ((2 * np.arange(old) + 1) * new // (2 * old) for old, new in zip(size, labels.shape, strict=True))
    found = labels[rows[:, None], columns]
    kept = np.zeros(labels.max(initial=0) + 1, labels.dtype)
    for row in found:  # row by row: a list of all numbers would take more memory than the image
        kept[row] = 1
    kept[0] = 0
    return (kept * kept.cumsum(dtype=labels.dtype))[found]


def _weights(old: int, new: int, samples: range) -> tuple[slice, np.ndarray]:
    """Return the pixels that some samples need, and the weight of each, ``[samples, pixels]``."""
    ratio = old / new
    reach = max(1.0, ratio)
    centres = (np.arange(samples.start, samples.stop) + 0.5) * ratio - 0.5
    first, last = max(math.floor(centres[0] - reach), 0), min(math.ceil(centres[-1] + reach), old - 1)
    pixels = np.arange(first, last + 1)
    weights = np.maximum(0, 1 - abs(pixels - centres[:, None]) / reach)
    return slice(first, last + 1), weights / weights.sum(1, keepdims=True)
