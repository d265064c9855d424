"""Images that are not in memory: several arrays as one, prepared when read, and the last blocks of rows kept.

A lazy array has the shape, the dtype and the rows of a NumPy array ``[N, C, *space]``; a row is read when it is asked
for. Reading one row costs nearly as much as reading its neighbours with it, so rows are fetched in blocks, and a
sampler that mixes a few blocks at a time (:class:`isotypic.data.loading.BatchSampler`) finds them here.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from isotypic.data.config import DataConfig
from isotypic.data.image_set import ImageArray
from isotypic.data.normalisation import Normalisation
from isotypic.data.preparation import prepare
from isotypic.errors import RequestError
from isotypic.files import write_text

BLOCK, MIXED = 64, 32
"""Rows that are read at once, and blocks that a sampler mixes."""


class LazyArray(ImageArray, Protocol):
    """Images that are read when they are asked for."""

    @property
    def state(self) -> str:
        """What changes when the images do."""


class Joined:
    """Several arrays of images of one size, one behind the other.

    Args:
        parts: the arrays.

    Raises:
        RequestError: they are of different sizes.
    """

    def __init__(self, parts: Sequence[LazyArray]) -> None:
        sizes = {(tuple(part.shape[1:]), part.dtype.name) for part in parts}
        if len(sizes) != 1:
            raise RequestError(f"expected parts of one size and type, received {sorted(sizes)}")
        self.parts = list(parts)
        self.starts = np.cumsum([0, *map(len, parts)])
        self.shape, self.dtype, self.ndim = (int(self.starts[-1]), *parts[0].shape[1:]), parts[0].dtype, parts[0].ndim

    @property
    def state(self) -> str:
        """What changes when the images of a part do."""
        return "\n".join(part.state for part in self.parts)

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

    def __init__(self, images: LazyArray, config: DataConfig) -> None:
        self.images, self.config = images, config
        first = prepare(images[:1], config)
        self.shape, self.dtype, self.ndim = (len(images), *first.shape[1:]), first.dtype, 4

    @property
    def state(self) -> str:
        """What changes when the images or their preparation do."""
        return f"{self.config.colour} {self.config.size}\n{self.images.state}"

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        one = np.ndim(np.arange(len(self))[rows]) == 0
        return prepare(self.images[[rows] if one else rows], self.config)[0 if one else ()]


def fitted(images: ImageArray, rows: np.ndarray, cache: Path | None) -> Normalisation:
    """Return the normalisation that is fitted to some images; that of lazy ones is kept in the cache.

    Args:
        images: of all parts.
        rows: the training images.
        cache: a folder, or None.

    Raises:
        RequestError: there are no images, or a value is not finite.
    """
    state = getattr(images, "state", None)
    if state is None or cache is None:
        return Normalisation.of(images, rows)
    digest = sha256(state.encode() + np.sort(rows).astype(np.int64).tobytes()).hexdigest()[:24]
    kept = cache / f"normalisation-{digest}.json"
    if kept.exists():
        return Normalisation.from_dict(json.loads(kept.read_text(encoding="utf-8")))
    found = Normalisation.of(images, rows)
    write_text(kept, json.dumps(found.to_dict()))
    return found


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
        """Return the images ``[n, C, *space]`` at some positions."""
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
