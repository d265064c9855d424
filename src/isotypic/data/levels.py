"""The levels of an image that may be larger than memory, read a strip of rows at a time.

The level of rank r is the r-th smallest value. It is found exactly, digit by digit: values are mapped to unsigned
integers of the same order, and those that begin with the digits found so far are counted by their next 16 bits. That
takes one pass over the image for types of up to 16 bits, and for 32 or 64 bits two or four a level, the first of
which the levels share; and 65,536 counters. Counting knows no order, so the result is the same to the bit however the
pixels are arranged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from isotypic.data.readers.pixels import Pixels, windows
from isotypic.errors import RequestError

STRIP_VALUES = 1 << 22
"""Values that are read at a time; at least 256 rows of a column."""

_DIGIT = 16
_WHITE = {"bool": 1.0, "uint8": 255.0, "uint16": 65535.0}

Counts = Callable[[int, int], NDArray[np.int64]]


def white(dtype: np.dtype) -> float:
    """Return the value of full white of a type: its largest for up to 16 bits without sign, 1 for floats.

    Raises:
        RequestError: a type whose range says nothing about white.

    >>> white(np.dtype(np.uint16)), white(np.dtype(np.float64))
    (65535.0, 1.0)
    """
    if dtype.kind != "f" and dtype.name not in _WHITE:
        raise RequestError(f"expected values of 8 or 16 bits without sign or floats, received {dtype}")
    return _WHITE.get(dtype.name, 1.0)


def levels(image: Pixels, percentages: Sequence[float]) -> list[float]:
    """Return the least levels that shares of at least so many percent of the values do not exceed.

    Args:
        image: ``[C, y, x]`` of booleans, integers or floats, all channels together.
        percentages: 0 to 100.

    Raises:
        RequestError: the image has no values, they are no real numbers, or one is not finite.

    >>> levels(np.array([[[7, 1, 5, 3]]], np.uint16), [0, 50, 51, 100])
    [1.0, 3.0, 5.0, 7.0]
    """
    count = math.prod(image.shape)
    if not count or image.dtype.kind not in "buif":
        raise RequestError(f"expected an image of real numbers, received {list(image.shape)} of {image.dtype}")
    counts = cache(partial(_counts, image))
    ranks = [max(math.ceil(count * percentage / 100), 1) for percentage in percentages]
    return [_level(counts, rank, image.dtype) for rank in ranks]


def finite_strips(image: Pixels) -> Iterator[np.ndarray]:
    """Yield an image in strips of rows, ``[C, y, x]``, those of a very wide one in several pieces.

    Raises:
        RequestError: a value is not finite.
    """
    for rows, columns in windows(image.shape, STRIP_VALUES):
        strip = image[:, rows, columns]
        if not np.isfinite(strip).all():
            raise RequestError(f"expected finite values, received NaN or infinity in the rows from {rows.start}")
        yield strip


def _level(counts: Counts, rank: int, dtype: np.dtype) -> float:
    """Return the value of a rank from 1; ``counts`` has the values by their next digit, after some bits."""
    bits = 8 * dtype.itemsize
    found, known = 0, 0
    while known < bits:
        below = counts(found, known).cumsum()
        digit = int(np.searchsorted(below, rank))
        rank -= int(below[digit - 1]) if digit else 0
        step = min(_DIGIT, bits)
        found, known = (found << step) + digit, known + step
    return _value(found, dtype)


def _counts(image: Pixels, found: int, known: int) -> NDArray[np.int64]:
    """Return how many values begin with the ``known`` bits ``found``, by the digit that follows."""
    bits = 8 * image.dtype.itemsize
    step = min(_DIGIT, bits)
    total = np.zeros(1 << step, np.int64)
    for strip in finite_strips(image):
        keys = _keys(strip)
        if known:
            keys = keys[keys >> (bits - known) == found]
        digits = keys >> (bits - known - step) & ((1 << step) - 1)
        total += np.bincount(digits.astype(np.int64), minlength=len(total))
    return total


def _keys(values: np.ndarray) -> np.ndarray:
    """Return unsigned integers of the size and the order of the values, ``[n]``.

    Floats of either sign are ordered by their bits once all bits of negative ones and the sign of others are flipped.
    """
    flat = np.ascontiguousarray(values).reshape(-1)
    keys = flat.view(f"u{flat.itemsize}")
    sign = keys.dtype.type(1 << (8 * flat.itemsize - 1))
    if flat.dtype.kind == "f":
        return np.where(keys & sign, ~keys, keys | sign)
    return keys ^ sign if flat.dtype.kind == "i" else keys


def _value(key: int, dtype: np.dtype) -> float:
    """Return the value of a key."""
    sign = 1 << (8 * dtype.itemsize - 1)
    if dtype.kind == "f":
        key = key ^ sign if key & sign else key ^ (2 * sign - 1)
    elif dtype.kind == "i":
        key ^= sign
    return float(np.array([key], f"u{dtype.itemsize}").view(dtype)[0])
