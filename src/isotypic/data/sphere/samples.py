"""Functions on the sphere read on the SOFT grid, as they are or turned, when they are asked for or once to disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from isotypic.data.sphere.fields import SphereFields
from isotypic.data.sphere.points import read_at
from isotypic.errors import RequestError
from isotypic.files import write_atomically
from isotypic.groups.finite import Indices
from isotypic.groups.so3.rotations import random_rotations

BLOCK = 32
"""Functions that are read at a time, which bounds the memory."""


@dataclass(frozen=True)
class Turns:
    """Rotations drawn from the Haar measure, one a function and copy; a copy does not depend on how many there are.

    Attributes:
        seed: of all of them, one number or several.
        copies: how often every function stands there, each time turned anew.
    """

    seed: tuple[int, ...]
    copies: int = 1

    def of(self, places: Indices, count: int) -> Rotation:
        """Return the rotations at some places of ``copies`` rows of ``count`` functions, one row behind the other."""
        copies, rows = np.divmod(places, count)
        found = np.empty((len(places), 4))
        for copy in np.unique(copies):
            found[copies == copy] = _drawn(self.seed, int(copy), count)[rows[copies == copy]]
        return Rotation.from_quat(found)


@lru_cache(maxsize=16)
def _drawn(seed: tuple[int, ...], copy: int, count: int) -> np.ndarray:
    state = int(np.random.SeedSequence([*seed, copy]).generate_state(1)[0])
    return random_rotations(count, state).as_quat()


class Samples:
    """Some functions on the SOFT grid of a bandwidth.

    Args:
        fields: the functions.
        rows: which of them.
        bandwidth: b, of the grid of ``2 b`` by ``2 b`` points.
        turns: how they are turned; None for not at all. With several copies all of ``rows`` come once, then all again.
    """

    def __init__(self, fields: SphereFields, rows: Indices, bandwidth: int, turns: Turns | None = None) -> None:
        self.fields, self.rows, self.bandwidth, self.turns = fields, np.asarray(rows), bandwidth, turns

    def __len__(self) -> int:
        return len(self.rows) * (self.turns.copies if self.turns else 1)

    @property
    def state(self) -> str:
        """What changes when a sample does."""
        rows = sha256(self.rows.astype(np.int64).tobytes()).hexdigest()
        return f"{self.bandwidth} {self.turns} {rows}\n{self.fields.state}"

    def rotations(self, places: Indices) -> Rotation:
        """Return by which rotations the functions at some places are turned."""
        return Rotation.identity(len(places)) if self.turns is None else self.turns.of(places, len(self.rows))

    def images(self, places: Indices) -> np.ndarray:
        """Return images ``[n, channels, 2 b, 2 b]`` in the type of the fields."""
        return self._read(places, self._images)

    def classes(self, places: Indices) -> NDArray[np.uint8]:
        """Return the class of every point, ``[n, 2 b, 2 b]``."""
        return self._read(places, self.fields.classes)

    def _images(self, rows: Indices, points: np.ndarray) -> np.ndarray:
        values = self.fields.values(rows, points)
        if self.fields.dtype == np.uint8:
            values = np.clip(np.rint(values), 0, 255)
        return values.astype(self.fields.dtype)

    def _read(self, places: Indices, read: Callable[[Indices, np.ndarray], np.ndarray]) -> np.ndarray:
        blocks = [places[start : start + BLOCK] for start in range(0, len(places), BLOCK)] or [places]
        whole = np.concatenate([read(self.rows[block % len(self.rows)], self._points(block)) for block in blocks])
        return whole.reshape(*whole.shape[:-1], 2 * self.bandwidth, 2 * self.bandwidth)

    def _points(self, places: Indices) -> np.ndarray:
        return read_at(self.bandwidth, self.rotations(places) if self.turns else None, len(places))


class Sampled:
    """Samples as an array whose rows are read when they are asked for: ``[N, channels, 2 b, 2 b]``.

    Args:
        samples: what is read.
        classes: the classes of the points, ``[N, 2 b, 2 b]`` uint8; otherwise the images.
    """

    def __init__(self, samples: Samples, *, classes: bool = False) -> None:
        self.samples, self.classes = samples, classes
        side = 2 * samples.bandwidth
        channels = () if classes else (samples.fields.channels,)
        self.shape = (len(samples), *channels, side, side)
        self.dtype = np.dtype(np.uint8) if classes else samples.fields.dtype
        self.ndim = len(self.shape)

    @property
    def state(self) -> str:
        """What changes when a sample does."""
        return f"{'classes' if self.classes else 'images'} {self.samples.state}"

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        wanted = np.arange(len(self))[rows]
        read = self.samples.classes if self.classes else self.samples.images
        return read(np.atleast_1d(wanted))[() if np.ndim(wanted) else 0]


def on_disk(array: Sampled, cache: Path) -> np.ndarray:
    """Return an array as a read-only memory map of a file in the cache, which is written block by block once.

    Raises:
        RequestError: the disk is too small.
    """
    path = cache / f"sphere-{sha256(array.state.encode()).hexdigest()[:24]}.npy"
    if not path.is_file():
        needed = int(np.prod(array.shape, dtype=np.int64)) * array.dtype.itemsize
        cache.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(cache).free
        if needed > free:
            raise RequestError(
                f"{cache}: {list(array.shape)} samples need {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; use a "
                "smaller --set data.bandwidth=... or another cache folder"
            )
        write_atomically(path, lambda beside: _fill(beside, array))
    return np.load(path, mmap_mode="r")


def _fill(path: Path, array: Sampled) -> None:
    stored = np.lib.format.open_memmap(path, mode="w+", dtype=array.dtype, shape=array.shape)
    for start in range(0, len(array), BLOCK):
        stored[start : start + BLOCK] = array[start : start + BLOCK]
    stored.flush()
