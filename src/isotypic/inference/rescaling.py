"""Bringing an image to the pixel size of the training images, and its labels back, without breaking a symmetry.

The image is resampled (:mod:`isotypic.data.readers.resampling`) to m samples an axis of n pixels. Pixel j takes the
label of the sample that its centre lies in, ``floor((j + 1/2) m/n)``. A centre between two samples would have to choose
a side. With m odd there is none: ``(2j + 1) m / 2n`` is no integer. So m is the odd number nearest to the size wanted.
"""

from __future__ import annotations

import math

import numpy as np

from isotypic.data.readers.micrograph import PixelSize
from isotypic.errors import RequestError

SAME = 1.05
"""Pixel sizes that differ by no more than this factor are one: cells differ more."""

MOST = 16.0
"""A factor beyond it is a wrong pixel size, not another microscope."""


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
    factor = size.micrometres / trained
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


def labels_at(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return label numbers ``[y, x]`` of a resampled image at the size that it had, without gaps."""
    rows, columns = ((2 * np.arange(old) + 1) * new // (2 * old) for old, new in zip(size, labels.shape, strict=True))
    found = labels[rows[:, None], columns]
    kept = np.zeros(labels.max(initial=0) + 1, labels.dtype)
    for row in found:  # row by row: a list of all numbers would take more memory than the image
        kept[row] = 1
    kept[0] = 0
    return (kept * kept.cumsum(dtype=labels.dtype))[found]
