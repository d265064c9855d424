"""Files of functions on a grid of latitudes and longitudes: NumPy archives, and NetCDF by xarray.

A file holds ``images [N, C, latitude, longitude]``, or without C, or a single one without both; ``latitude`` and
``longitude`` in degrees; and ``labels``: a class each, ``[N]``, or a class a point, ``[N, latitude, longitude]``. The
names lat and lon serve as well.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from isotypic.data.sphere.latlon import LatLonGrid
from isotypic.errors import RequestError, unknown

ARCHIVES, NETCDF = (".npz",), (".nc", ".nc4", ".cdf")
_NAMES = {"latitude": ("latitude", "lat"), "longitude": ("longitude", "lon")}


@dataclass(frozen=True, eq=False)
class Grids:
    """What a file holds.

    Attributes:
        grid: latitudes and longitudes.
        values: ``[N, C, latitude, longitude]``, uint8 or float.
        labels: ``[N]`` or ``[N, latitude, longitude]``.
    """

    grid: LatLonGrid
    values: np.ndarray
    labels: np.ndarray


def read(path: Path) -> Grids:
    """Read a file.

    Args:
        path: ``.npz``, or NetCDF (``.nc``).

    Raises:
        RequestError: no such file, one that cannot be read, a missing array, a grid that does not cover the sphere, or
            xarray is not installed.
    """
    if not path.is_file():
        raise RequestError(f"{path}: no such file; give --data PATH with an .npz or a NetCDF file")
    arrays = _netcdf(path) if path.suffix.lower() in NETCDF else _archive(path)
    latitude, longitude = (_found(path, arrays, *_NAMES[name]) for name in _NAMES)
    values, labels = _found(path, arrays, "images"), _found(path, arrays, "labels")
    if values.dtype.kind not in "fiu":
        raise RequestError(f"{path}: expected images of numbers, received {values.dtype}")
    shaped = values.reshape(_with_channels(path, values.shape))
    return Grids(LatLonGrid.of(str(path), latitude, longitude), _stored(shaped), labels)


def _found(path: Path, arrays: Mapping[str, np.ndarray], *names: str) -> np.ndarray:
    for name in names:
        if name in arrays:
            return np.asarray(arrays[name])
    raise RequestError(f"{path}: {unknown('array', names[0], arrays)}")


def _with_channels(path: Path, shape: tuple[int, ...]) -> tuple[int, ...]:
    if not 2 <= len(shape) <= 4:
        raise RequestError(f"{path}: expected images [N, C, latitude, longitude], received {list(shape)}")
    return {2: (1, 1), 3: (shape[0], 1), 4: shape[:2]}[len(shape)] + shape[-2:]


def _stored(values: np.ndarray) -> np.ndarray:
    return values if values.dtype == np.uint8 else values.astype(np.float32)


def _archive(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise RequestError(f"{path}: cannot be read as a NumPy archive ({error}); fetch the file again") from error


def _netcdf(path: Path) -> dict[str, np.ndarray]:
    try:
        import xarray  # noqa: PLC0415
    except ImportError as missing:
        raise RequestError(
            f"{path}: NetCDF files are read by xarray, which is not installed: pip install 'isotypic[sphere]'"
        ) from missing
    try:
        with xarray.open_dataset(path) as opened:
            return {str(name): opened[name].to_numpy() for name in opened.variables}
    except (OSError, ValueError, KeyError) as error:
        raise RequestError(f"{path}: cannot be read as NetCDF ({str(error).splitlines()[0]})") from error
