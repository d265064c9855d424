"""An image at another size, computed window by window, without breaking a symmetry.

An axis of n pixels becomes one of m samples, sample i centred at ``c_i = (i + 1/2) n/m - 1/2``, by the weights
``max(0, 1 - |j - c_i| / max(1, n/m))`` over the pixels j, divided by their sum: linear interpolation, and where the
image shrinks a mean over what a sample covers. They commute with reflections, since ``c_(m-1-i) = n - 1 - c_i``.

Times ``2 max(m, n)`` the weights are the integers ``2 max(m, n) - |2 m j - (2 i + 1) n + m|``, all multiples of
``gcd(m, n)``, which is divided out. Sums of integer pixels are then exact as long as they stay below 2**53, whatever
their order, and are divided once: such an image turned and resampled is the resampled one turned, to the bit.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.sparse import csr_array

from isotypic.data.readers.pixels import Pixels, Window


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
        total = down.sum(1)[:, None] * across.sum(1)
        stored = self.pixels[channels, rows, columns]
        return np.stack([across @ (down @ channel.astype(np.float64)).T for channel in stored]).swapaxes(1, 2) / total


def _weights(old: int, new: int, samples: range) -> tuple[slice, csr_array]:
    """Return the pixels that some samples need, and the weight of each, ``[samples, pixels]`` of integers."""
    common = math.gcd(old, new)
    n, m = old // common, new // common
    reach = 2 * max(n, m)
    centres = (2 * np.arange(samples.start, samples.stop) + 1)[:, None] * n - m  # times 2 m, as all that follows
    nearest = (centres - reach) // (2 * m) + 1  # the first pixel of a sample that has a weight
    pixels = nearest + np.arange(-(-reach // m))
    weights = np.maximum(reach - abs(2 * m * pixels - centres), 0) * ((pixels >= 0) & (pixels < old))
    first, last = max(int(pixels[0, 0]), 0), min(int(pixels[-1, -1]), old - 1)
    places = (pixels - first).clip(0, last - first)
    starts = np.arange(len(weights) + 1) * weights.shape[1]
    shape = len(weights), last - first + 1
    table = csr_array((weights.ravel().astype(np.float64), places.ravel(), starts), shape=shape)
    return slice(first, last + 1), table
