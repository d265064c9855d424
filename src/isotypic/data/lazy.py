"""Images that are not in memory: several arrays as one, prepared when read, and the last blocks of rows kept.

A lazy array has the shape, the dtype and the rows of a NumPy array ``[N, C, H, W]``; a row is read when it is asked
for. Reading one row costs nearly as much as reading its neighbours with it, so rows are fetched in blocks, and a
sampler that mixes a few blocks at a time (:class:`isotypic.data.loading.BatchSampler`) finds them here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from isotypic.data.config import DataConfig
from isotypic.data.image_set import ImageArray
from isotypic.data.preparation import prepare
from isotypic.errors import RequestError

BLOCK, MIXED = 64, 32
"""Rows that are read at once, and blocks that a sampler mixes."""


class Joined:
    """Several arrays of images of one size, one behind the other.

    Args:
        parts: the arrays.

    Raises:
        RequestError: they are of different sizes.
    """

    def __init__(self, parts: Sequence[ImageArray]) -> None:
        sizes = {(tuple(part.shape[1:]), part.dtype.name) for part in parts}
        if len(sizes) != 1:
            raise RequestError(f"expected parts of one size and type, received {sorted(sizes)}")
        self.parts = list(parts)
        self.starts = np.cumsum([0, *map(len, parts)])
        self.shape, self.dtype, self.ndim = (int(self.starts[-1]), *parts[0].shape[1:]), parts[0].dtype, 4

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        wanted = np.arange(len(self))[rows]
        several = np.atleast_1d(wanted)
        owner = np.searchsorted(self.starts, several, side="right") - 1
        pieces = [(owner == number, part) for number, part in enumerate(self.parts)]
        read = [(mine, part[several[mine] - start]) for (mine, part), start in zip(pieces, self.starts, strict=False)]
        found = np.empty((len(several), *self.shape[1:]), self.dtype)
        for mine, images in read:
            found[mine] = images
        return found[() if np.ndim(wanted) else 0]


class Prepared:
    """Images in the colour and the size of a configuration, prepared when they are read.

    Args:
        images: as they are stored.
        config: gives ``colour`` and ``resize``.
    """

    def __init__(self, images: ImageArray, config: DataConfig) -> None:
        self.images, self.config = images, config
        first = prepare(images[:1], config)
        self.shape, self.dtype, self.ndim = (len(images), *first.shape[1:]), first.dtype, 4

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        one = np.ndim(np.arange(len(self))[rows]) == 0
        return prepare(self.images[[rows] if one else rows], self.config)[0 if one else ()]


class Blocks:
    """Some rows of a lazy array by their positions, fetched in blocks of neighbours; the last ones are kept.

    Args:
        images: the array.
        rows: which of it, ascending.
    """

    def __init__(self, images: ImageArray, rows: np.ndarray) -> None:
        self.images, self.rows = images, rows
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        """Return the images ``[n, C, H, W]`` at some positions."""
        numbers, places = np.divmod(positions, BLOCK)
        found = np.empty((len(positions), *self.images.shape[1:]), self.images.dtype)
        for number in np.unique(numbers):
            here = numbers == number
            found[here] = self._block(int(number))[places[here]]
        return found

    def _block(self, number: int) -> np.ndarray:
        if number not in self._kept:
            self._kept[number] = self.images[self.rows[number * BLOCK : (number + 1) * BLOCK]]
            if len(self._kept) > 2 * MIXED:
                self._kept.popitem(last=False)
        return self._kept[number]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": OrderedDict()}
