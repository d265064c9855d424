"""Image files decoded once into a memory-mapped array on disk, which later processes share.

The array is keyed by the folder, by the path, size and time of change of every file, and by the colour and
size asked for: a changed file makes a new array, and memory stays bounded however many images there are.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from isotypic.data.config import DataConfig
from isotypic.data.preparation import coloured, resized
from isotypic.data.readers import image
from isotypic.errors import RequestError
from isotypic.files import write_atomically

_FORMAT = "decoded images 1"
_BLOCK = 64


def decoded(folder: Path, files: Sequence[Path], config: DataConfig, cache: Path) -> np.ndarray:
    """Return the images of some files, in their order, as a read-only memory map.

    Args:
        folder: what the files are named relative to.
        files: one image file each, at least one.
        config: gives ``resize`` and ``colour``.
        cache: folder for the array; made where missing.

    Returns:
        ``[N, C, H, W]`` uint8, mapped from ``cache/images-<key>.npy``.

    Raises:
        RequestError: a file is missing, cannot be read or has another shape than the first; or the disk is
            too small.
    """
    path = cache / f"images-{_key(folder, files, config)}.npy"
    if not path.is_file():
        shape = (len(files), *_prepared(files[0], config).shape)
        _check_space(cache, shape)
        write_atomically(path, lambda beside: _fill(beside, shape, files, config))
    return np.load(path, mmap_mode="r")


def _key(folder: Path, files: Sequence[Path], config: DataConfig) -> str:
    digest = hashlib.sha256(f"{_FORMAT}\0{folder.resolve()}\0{config.size}\0{config.colour}\0".encode())
    for file in files:
        try:
            found = file.stat()
        except OSError as error:
            raise RequestError(f"{file}: no such image file ({error.strerror})") from error
        digest.update(f"{os.path.relpath(file, folder)}\0{found.st_size}\0{found.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:24]


def _check_space(cache: Path, shape: tuple[int, ...]) -> None:
    """Raise when the disk cannot hold the array: a full disk under a memory map kills the process."""
    cache.mkdir(parents=True, exist_ok=True)
    needed, free = int(np.prod(shape, dtype=np.int64)), shutil.disk_usage(cache).free
    if needed > free:
        raise RequestError(
            f"{cache}: the decoded images {list(shape)} need {needed / 1e9:.1f} GB, "
            f"{free / 1e9:.1f} GB are free; use --set data.resize=... or another cache folder"
        )


def _fill(path: Path, shape: tuple[int, ...], files: Sequence[Path], config: DataConfig) -> None:
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)

    def store(start: int) -> None:
        for index, file in enumerate(files[start : start + _BLOCK], start):
            pixels = _prepared(file, config)
            if pixels.shape != shape[1:]:
                raise _different(files[0], shape[1:], file, pixels.shape)
            array[index] = pixels

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        deque(threads.map(store, range(0, len(files), _BLOCK)), maxlen=0)
    array.flush()


def _prepared(file: Path, config: DataConfig) -> np.ndarray:
    return resized(coloured(image.read(file)[None], config.colour), config.size)[0]


def _different(one: Path, shape: tuple[int, ...], other: Path, received: tuple[int, ...]) -> RequestError:
    if shape[0] != received[0]:
        return RequestError(
            f"images of different channels: {one} has {shape[0]} and {other} has {received[0]}; "
            "use --set data.colour=grey or --set data.colour=rgb"
        )
    sizes = f"{one} is {shape[1]}x{shape[2]} and {other} is {received[1]}x{received[2]}"
    return RequestError(f"images of different sizes: {sizes}; use --set data.resize=...")
