"""The pixels of an image sorted by a key of few values, in bounded memory: a counting sort over strips of the image.

Strips are read twice: once to count how often each key occurs, once to put every pixel in its place. Beside one strip
that takes the result alone, 4 bytes a pixel, and the order does not depend on how the image is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Indices: TypeAlias = NDArray[np.signedinteger]
Strips: TypeAlias = Callable[[], Iterator[tuple[Indices, Indices]]]


@dataclass(frozen=True, eq=False)
class Buckets:
    """Pixels by key, in the order of the strips within one key.

    Attributes:
        starts: ``[keys + 1]``, where the pixels of each key begin.
        pixels: ``[n]``, flat indices into the image.
    """

    starts: NDArray[np.int64]
    pixels: Indices

    def between(self, first: int, last: int) -> Indices:
        """Return the pixels of the keys ``first .. last``, without a copy."""
        return self.pixels[self.starts[first] : self.starts[last + 1]]


def bucketed(strips: Strips, keys: int, image_size: int) -> Buckets:
    """Sort pixels by key.

    Args:
        strips: gives, every time it is called, the same pixels with their keys ``0 .. keys-1``, a strip at a time.
        keys: how many there are.
        image_size: pixels of the image; above 2^31 a flat index takes 8 bytes.

    >>> bucketed(lambda: iter([(np.array([0, 1, 2]), np.array([1, 0, 1]))]), 2, 3).pixels.tolist()
    [1, 0, 2]
    """
    counts = np.zeros(keys, dtype=np.int64)
    for _, key in strips():
        counts += np.bincount(key, minlength=keys)
    starts = np.append(0, counts.cumsum())
    result = np.empty(starts[-1], dtype=index_type(image_size))
    free = starts[:-1].copy()
    for pixels, key in strips():
        order = key.argsort(kind="stable")
        result[_places(key[order], free)] = pixels[order]
    return Buckets(starts, result)


def index_type(image_size: int) -> type[np.signedinteger]:
    """Return the smallest of int32 and int64 that counts the pixels of an image."""
    return np.int32 if image_size < 2**31 else np.int64


def _places(key: Indices, free: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where pixels with ascending keys go, and move the first free place of every key past them."""
    firsts = np.flatnonzero(np.diff(key, prepend=-1))
    lengths = np.diff(firsts, append=len(key))
    places = np.repeat(free[key[firsts]] - firsts, lengths) + np.arange(len(key))
    free[key[firsts]] += lengths
    return places
