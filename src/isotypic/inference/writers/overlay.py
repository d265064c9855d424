"""A picture of the regions' contours on the image, RGB PNG; large images are made smaller.

The side of the picture is at most :data:`SIDE` pixels: beyond, blocks of pixels are averaged, a strip at a time, and
the label in the middle of a block is taken. Intensities are stretched so that the darkest and brightest
:data:`CLIPPED` of the pixels are black and white, all colours alike; an image of neither one nor three channels is
shown by the mean of its stretched channels. The colour of a contour depends on the label alone.
"""

from __future__ import annotations

import math
from pathlib import Path

import imageio.v3
import numpy as np
from skimage.color import hsv2rgb
from skimage.segmentation import find_boundaries

from isotypic.data.levels import STRIP_VALUES
from isotypic.data.readers.pixels import Pixels, windows
from isotypic.errors import RequestError
from isotypic.inference.labels import Labels

SIDE = 4096
CLIPPED = 0.003
_GOLDEN = (math.sqrt(5) - 1) / 2


def write(labels: Labels, path: Path) -> None:
    """Write the picture.

    Raises:
        RequestError: the labels come without the image.
    """
    imageio.v3.imwrite(path, picture(labels), plugin="pillow", extension=".png")


def picture(labels: Labels) -> np.ndarray:
    """Return the picture ``[y, x, 3]`` of uint8."""
    if labels.pixels is None:
        raise RequestError(f"{labels.source}: expected labels with the image's pixels for an overlay, received none")
    block = math.ceil(max(labels.image.shape) / SIDE)
    shown = np.moveaxis(_coloured(_reduced(labels.pixels, block)), 0, -1)
    height, width = shown.shape[:2]
    # A block that the image's edge cuts short may have no middle: its last pixel stands for it.
    rows, columns = (
        np.minimum(np.arange(size) * block + block // 2, end - 1)
        for size, end in zip((height, width), labels.image.shape, strict=True)
    )
    small = labels.image[np.ix_(rows, columns)]
    contour = find_boundaries(small, mode="inner")
    shown[contour] = _colours(small[contour])
    return np.ascontiguousarray(shown)


def _reduced(pixels: Pixels, block: int) -> np.ndarray:
    """Return the means of blocks, ``[C, y / block, x / block]`` float32, rounded up."""
    channels, height, width = pixels.shape
    small = np.empty((channels, -(-height // block), -(-width // block)), np.float32)
    for rows, columns in windows(pixels.shape, STRIP_VALUES, block):
        across, along = (slice(part.start // block, -(-part.stop // block)) for part in (rows, columns))
        small[:, across, along] = _means(_means(pixels[:, rows, columns], block, 1), block, 2)
    return small


def _means(values: np.ndarray, block: int, axis: int) -> np.ndarray:
    """Return the means of blocks along an axis, the last block of what is left."""
    starts = np.arange(0, values.shape[axis], block)
    sizes = np.diff(starts, append=values.shape[axis])
    sums = np.add.reduceat(values, starts, axis, np.float64)
    return np.moveaxis(np.moveaxis(sums, axis, -1) / sizes, -1, axis)


def _coloured(image: np.ndarray) -> np.ndarray:
    """Return ``[C, y, x]`` as ``[3, y, x]`` of uint8, stretched."""
    groups = [image] if len(image) == 3 else list(image)
    stretched = [_stretched(group) for group in groups]
    shown = stretched[0] if len(image) == 3 else np.mean(stretched, 0)
    return np.rint(np.broadcast_to(shown, (3, *image.shape[1:])) * 255).astype(np.uint8)


def _stretched(values: np.ndarray) -> np.ndarray:
    """Return values in 0..1; what is not finite is 0, and so is a constant."""
    finite = values[np.isfinite(values)]
    low, high = np.quantile(finite, (CLIPPED, 1 - CLIPPED)) if finite.size else (0.0, 0.0)
    if high == low:
        low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    return np.nan_to_num((values - low) / ((high - low) or 1.0), posinf=1.0, neginf=0.0).clip(0, 1)


def _colours(labels: np.ndarray) -> np.ndarray:
    """Return a bright colour ``[n, 3]`` for every label; neighbours in number are far apart in hue."""
    hue = np.arange(labels.max(initial=0) + 1) * _GOLDEN % 1.0
    full = np.ones_like(hue)
    return np.rint(hsv2rgb(np.stack([hue, full, full], -1)) * 255).astype(np.uint8)[labels]
