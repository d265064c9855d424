"""Where a slide has tissue: by colour, since glass has none.

The measure of a pixel is its saturation, ``(max - min) / max`` of its colours, or 0 where it is nearly black: a scanner
fills with black what it did not scan. Of a slide without colours, grey ones included, it is the distance from the
background: from white, or from black where more than half of the pixels are black, as in fluorescence.

Tissue is what lies above Otsu's level (N. Otsu, "A threshold selection method from gray-level histograms", 1979).
Otsu divides whatever it is given. So the level is held between two bounds: what is fainter than the lower is glass,
even on a slide without tissue, and what is stronger than the upper is tissue, even on a slide without glass. Pieces of
tissue that are small, and then small holes, are removed.

Every step commutes with the symmetries of the pixel grid to the bit: it looks at values, at their histogram, and at
connected pieces by their sizes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from skimage.filters import threshold_otsu
from skimage.measure import label

from isotypic.data.levels import white
from isotypic.data.readers.pixels import Pixels
from isotypic.data.readers.resampling import Resampled


class _Bounds(NamedTuple):
    """Between which a level may lie, 0 to 255."""

    least: int
    most: int


_SATURATION = _Bounds(13, 38)
"""Glass has a saturation below 5 %, under a yellow lamp below 15 %."""

_COLOURED = 1e-4
"""A slide of which fewer pixels are more saturated than glass has no colours."""

_DISTANCE = _Bounds(20, 64)
"""Glass and black are within 8 % of their mean, uneven light within 25 %."""

_BLACK = 26
"""A pixel darker than a tenth of white says nothing by its colour."""

_STRIP_VALUES = 1 << 24
"""Values of a slide that are read at a time to make it small, at least one row."""


def thumbnail(level: Pixels, size: tuple[int, int]) -> np.ndarray:
    """Return a level of a slide made small, ``[C, y, x]`` of uint8, white 255; read in strips as wide as it is.

    Args:
        level: the pixels ``[C, y, x]`` of 8 or 16 bits, or floats in 0..1.
        size: (y, x).

    Raises:
        RequestError: the values are of another type.
    """
    small = Resampled(level, size)
    unit = white(level.dtype) / 255
    found = np.empty(small.shape, np.uint8)
    channels, height, width = level.shape
    rows = max(_STRIP_VALUES * size[0] // (channels * width * height), 1)
    for top in range(0, size[0], rows):
        strip = small[:, top : top + rows, :]
        found[:, top : top + rows] = np.rint((strip / unit).clip(0, 255))
    return found


def tissue(image: np.ndarray, least: float) -> np.ndarray:
    """Return where an image has tissue, ``[y, x]`` of bool.

    Args:
        image: ``[C, y, x]`` of uint8; three channels are colours, of others the brightest counts.
        least: pieces of tissue and holes of fewer pixels are removed.
    """
    measure, bounds = _measure(image)
    level = int(np.clip(threshold_otsu(measure), *bounds)) if measure.min() < measure.max() else bounds.most
    found = _without_small(measure > level, least)
    return ~_without_small(~found, least)


def _measure(image: np.ndarray) -> tuple[np.ndarray, _Bounds]:
    """Return how unlike the background every pixel is, ``[y, x]`` of uint8, and between what a level may lie."""
    value = image.max(0)
    if len(image) == 3:
        saturation = _saturation(image, value)
        if (saturation > _SATURATION.least).mean() > _COLOURED:
            return saturation, _SATURATION
    dark = np.median(value) < _BLACK
    return (value if dark else 255 - value), _DISTANCE


def _saturation(image: np.ndarray, value: np.ndarray) -> np.ndarray:
    spread = (value - image.min(0)).astype(np.float64)
    return np.rint(255 * np.divide(spread, value, out=np.zeros_like(spread), where=value > _BLACK)).astype(np.uint8)


def _without_small(mask: np.ndarray, least: float) -> np.ndarray:
    """Return a mask without its pieces of fewer pixels."""
    pieces = label(mask, connectivity=1)
    kept = np.bincount(pieces.ravel()) >= least
    kept[0] = False
    return kept[pieces]
