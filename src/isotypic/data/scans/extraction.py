"""Patches cut out of scans once, into a memory-mapped array on disk that later processes share.

The array is keyed by the state of every scan that a patch is of, by the positions, and by the lattice and the window.
It is filled scan by scan, by one process at a time. While it is, two files lie in the cache: ``patches-<key>.part``,
the array, and ``patches-<key>.done``, a line for every scan of which all patches are on the disk, written after them.
So one that was interrupted goes on with the scans that have no line, and what was left half-written is written anew.
At the end the array becomes ``patches-<key>.npy``; the lines stay, as they say how many patches reach outside.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from isotypic.data.readers.scan import read_scan, scan_state
from isotypic.data.scans.geometry import Floats
from isotypic.data.scans.patches import Lattice, Patches
from isotypic.errors import RequestError

Progress = Callable[[int, int], object]
"""Told the scans done, and all scans."""

_FORMAT = "patches 1"
_ROWS = 256
"""Patches that are in memory at a time."""


@dataclass(frozen=True, eq=False)
class Extraction:
    """What is cut out of which scans.

    Args:
        files: the scans by their names; others than are asked for may be among them.
        scan: ``[N]`` str, the scan of each patch.
        position: ``[N, 3]``, its centre (x, y, z) in millimetres of the world.
        lattice: the points of a patch.
        window: the values (low, high) that become -1 and 1.
    """

    files: Mapping[str, Path]
    scan: NDArray[np.str_]
    position: Floats
    lattice: Lattice
    window: tuple[float, float]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array: ``[N, 1, z, y, x]``."""
        return (len(self.scan), 1, *self.lattice.size)

    @cached_property
    def rows(self) -> dict[str, NDArray[np.int64]]:
        """The patches of every scan that has any."""
        names, owner = np.unique(self.scan, return_inverse=True)
        order = np.argsort(owner, kind="stable")
        parts = np.split(order, np.cumsum(np.bincount(owner, minlength=len(names)))[:-1])
        return dict(zip(names.tolist(), parts, strict=True))

    @cached_property
    def key(self) -> str:
        """What changes when a scan, a position or a setting does."""
        settings = f"{_FORMAT}\0{self.lattice}\0{tuple(map(float, self.window))}\0{len(self.scan)}\0"
        digest = hashlib.sha256(settings.encode())
        for name, rows in self.rows.items():
            digest.update(f"{name}\0{scan_state(self.files[name])}\0".encode())
            digest.update(rows.tobytes() + self.position[rows].tobytes())
        return digest.hexdigest()[:24]


def extracted(what: Extraction, cache: Path, progress: Progress | None = None) -> tuple[np.ndarray, int]:
    """Return the patches, and how many of them reach outside their scan.

    Args:
        what: scans, centres and settings.
        cache: folder for the array; made where missing.
        progress: told how many scans are done, after each, and before the first where some were done earlier.

    Returns:
        ``[N, 1, z, y, x]`` float16, mapped from ``cache/patches-<key>.npy``, and the number.

    Raises:
        RequestError: a scan is missing or cannot be read, the disk is too small, or the cache cannot be written.
    """
    files = _Files.of(cache, what.key)
    found = _stored(files, what)
    if found is None:
        cache.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(files.lock):
                found = _stored(files, what) or _made(files, what, progress)
        except OSError as error:
            raise RequestError(f"{cache}: cannot be written ({error.strerror or error}); free some space") from error
    return found


@dataclass(frozen=True)
class _Files:
    """The array when it is whole, and until then; the lines; the lock of the process that writes."""

    whole: Path
    part: Path
    done: Path
    lock: Path

    @classmethod
    def of(cls, cache: Path, key: str) -> _Files:
        return cls(*(cache / f"patches-{key}.{suffix}" for suffix in ("npy", "part", "done", "lock")))


def _stored(files: _Files, what: Extraction) -> tuple[np.ndarray, int] | None:
    finished = _finished(files.done, what)
    if len(finished) < len(what.rows) or not files.whole.is_file():
        return None
    return np.load(files.whole, mmap_mode="r"), sum(finished.values())


def _made(files: _Files, what: Extraction, progress: Progress | None) -> tuple[np.ndarray, int]:
    finished = _finished(files.done, what) if files.part.is_file() else {}
    _check_space(files.whole.parent, what, finished)
    if finished:
        array = np.load(files.part, mmap_mode="r+")
    else:
        files.done.write_text("", encoding="utf-8")
        array = np.lib.format.open_memmap(files.part, "w+", np.float16, what.shape)
    _fill(array, files.done, what, finished, progress)
    os.replace(files.part, files.whole)
    return np.load(files.whole, mmap_mode="r"), sum(finished.values())


def _finished(done: Path, what: Extraction) -> dict[str, int]:
    """Return how many patches reach outside, of every scan whose patches are on the disk."""
    if not done.is_file():
        return {}
    lines = done.read_text(encoding="utf-8").split("\n")[:-1]  # a last line without its end was cut off
    pairs = [line.rpartition("\t")[::2] for line in lines]
    return {name: int(count) for name, count in pairs if count.isdigit()}


def _check_space(cache: Path, what: Extraction, finished: Mapping[str, int]) -> None:
    """Raise when the disk cannot hold the rest: a full disk under a memory map kills the process."""
    left = sum(len(rows) for name, rows in what.rows.items() if name not in finished)
    needed, free = 2 * left * math.prod(what.shape[1:]), shutil.disk_usage(cache).free
    if needed > free:
        raise RequestError(
            f"{cache}: {left} patches {list(what.shape[1:])} need {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; "
            "keep fewer candidates with --set data.negatives=... or use another cache folder"
        )


def _fill(array: np.memmap, done: Path, what: Extraction, finished: dict[str, int], progress: Progress | None) -> None:
    """Write the patches of all scans that are not finished, and how many of each reach outside."""
    say = progress or (lambda done, count: None)
    if finished:
        say(len(finished), len(what.rows))
    for name in [name for name in what.rows if name not in finished]:
        finished[name] = _cut(array, what, name)
        array.flush()
        with done.open("a", encoding="utf-8") as lines:
            lines.write(f"{name}\t{finished[name]}\n")
        say(len(finished), len(what.rows))


def _cut(array: np.memmap, what: Extraction, name: str) -> int:
    """Write the patches of a scan, and return how many reach outside it."""
    rows, scan = what.rows[name], read_scan(what.files[name])
    patches = Patches(scan, what.lattice, what.window)
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        array[some] = patches.at(what.position[some])
    return int(patches.outside(what.position[rows]).sum())
