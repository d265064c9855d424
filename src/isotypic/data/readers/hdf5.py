"""HDF5: files opened with errors that name them, and images that stay on disk until they are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from isotypic.errors import RequestError
from isotypic.files import file_state

SUFFIXES = frozenset({".hdf", ".h5", ".hdf5"})


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading.

    Raises:
        RequestError: there is none, or what is there, or one of its parts, cannot be read as HDF5.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        raise _unreadable(path, error) from error


class Hdf5Images:
    """The images ``[N, C, H, W]`` of a dataset ``[N, H, W, C]``, read when they are asked for.

    A process opens the file once, when it first reads; so does every worker process, also a forked one, for a handle of
    HDF5 does not survive a fork.

    Args:
        path: the file.
        key: the dataset in it.

    Raises:
        RequestError: the file cannot be read, or has no such dataset of uint8.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key
        with opened(path) as file:
            found = file.get(key)
            if not isinstance(found, h5py.Dataset) or found.ndim != 4 or found.dtype != np.uint8:
                raise RequestError(
                    f"{path}: expected {key} [N, H, W, C] of uint8, received {_described(found, list(file))}"
                )
            count, height, width, channels = found.shape
        self.shape, self.dtype, self.ndim = (count, channels, height, width), np.dtype(np.uint8), 4
        self._open: tuple[int, h5py.File] | None = None

    @property
    def state(self) -> str:
        """What changes when the images do."""
        return f"{self.key} {file_state(self.path)}"

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Return images ``[n, C, H, W]``; one reading a run of neighbours.

        Raises:
            RequestError: what is there cannot be read.
        """
        wanted = np.arange(len(self))[rows]
        several = np.atleast_1d(wanted)
        order = np.argsort(several, kind="stable")
        found = np.empty((len(several), *self.shape[2:], self.shape[1]), np.uint8)
        try:
            data = self._file()[self.key]
            for places in np.split(order, np.flatnonzero(np.diff(several[order]) != 1) + 1):
                if len(places):
                    found[places] = data[several[places[0]] : several[places[-1]] + 1]
        except OSError as error:
            raise _unreadable(self.path, error) from error
        return np.ascontiguousarray(found.transpose(0, 3, 1, 2))[() if np.ndim(wanted) else 0]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}

    def _file(self) -> h5py.File:
        process = os.getpid()
        if self._open is None or self._open[0] != process:
            self._open = process, h5py.File(self.path, "r")
        return self._open[1]


def _described(found: Any, keys: list[str]) -> str:
    if isinstance(found, h5py.Dataset):
        return f"{list(found.shape)} of {found.dtype}"
    return f"none; it has {', '.join(sorted(keys)) or 'nothing'}"


def _unreadable(path: Path, error: OSError) -> RequestError:
    return RequestError(f"{path}: cannot be read as HDF5 ({' '.join(str(error).split())})")
