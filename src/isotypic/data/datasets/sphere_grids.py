"""Spherical images of one's own: equirectangular pictures in a folder, or a file of grids.

* a folder of images with a folder a class, or a CSV, as of :mod:`isotypic.data.datasets.folder`;
* a folder with ``images/NAME.png`` and ``classes/NAME.png``, whose grey levels are the classes of the points;
* an ``.npz`` or NetCDF file as of :mod:`isotypic.data.readers.latlon`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from isotypic.data.config import DataConfig, SphereDataConfig
from isotypic.data.datasets import folder
from isotypic.data.decoded import decoded
from isotypic.data.readers import image, latlon
from isotypic.data.sphere.latlon import LatLonFields, LatLonGrid
from isotypic.data.sphere.sphere_set import SphereSet
from isotypic.data.splits import split, split_kinds
from isotypic.errors import RequestError
from isotypic.files import file_state

IMAGES, CLASSES = "images", "classes"

_OF_DIGITS = ("digits", "canvas", "threshold", "canvas_seed")


def load_folder(config: SphereDataConfig, cache: Path) -> SphereSet:
    """Return the equirectangular images of a folder.

    Args:
        config: ``path`` is the folder; ``resize`` the rows that images are brought to, their classes by the nearest.
        cache: where decoded images are kept.

    Raises:
        RequestError: no such folder, images that are not twice as wide as high, a setting that is for digits alone, or
            what the folder refuses.
    """
    root = _path(config)
    _refuse_unread(config, _OF_DIGITS)
    size = None if config.resize is None else (config.resize, 2 * config.resize)
    if (root / CLASSES).is_dir():
        return _pairs(root, size, config, cache)
    source = folder.load(DataConfig(dataset="folder", path=root, resize=size), cache)
    grid = LatLonGrid.equirectangular(source.name, *source.shape[1:])
    fields = LatLonFields(grid, source.images, None, str(getattr(source.images, "filename", "")))
    return SphereSet(source.name, fields, source.labels, source.classes, split(source, config))


def load_file(config: SphereDataConfig, cache: Path) -> SphereSet:
    """Return the functions of a file of grids.

    Args:
        config: ``path`` is the file.
        cache: not needed here.

    Raises:
        RequestError: what the file lacks, or a setting that is not for files of grids.
    """
    path = _path(config)
    _refuse_unread(config, (*_OF_DIGITS, "resize"))
    found = latlon.read(path)
    count = len(found.values)
    labels = _classes(str(path), found.labels)
    whole = labels.shape == (count,)
    points = None if whole else labels.reshape(-1, *labels.shape[-2:])
    kinds = labels.astype(np.int64) if whole else np.zeros(count, np.int64)
    names = _names(int(labels.max(initial=0)), first=0 if whole else 1)
    fields = LatLonFields(found.grid, found.values, points, file_state(path))
    return SphereSet(path.stem, fields, kinds, names, split_kinds(path.stem, kinds, config))


def _pairs(root: Path, size: tuple[int, int] | None, config: SphereDataConfig, cache: Path) -> SphereSet:
    files = image.list_images(root / IMAGES)
    masks = {path.stem: path for path in image.list_images(root / CLASSES)}
    missing = [path.stem for path in files if path.stem not in masks]
    if not files or missing:
        lacking = f"no image with the classes of {missing[0]}" if missing else f"no image in {IMAGES}"
        raise RequestError(f"{root}: expected {IMAGES}/NAME.png with {CLASSES}/NAME.png, received {lacking}")
    values = decoded(root, files, DataConfig(dataset="folder", path=root, resize=size), cache)
    beside = [masks[path.stem] for path in files]
    points = decoded(root, beside, DataConfig(dataset="folder", path=root, colour="grey"), cache)
    grid = LatLonGrid.equirectangular(root.name, *values.shape[2:])
    state = "\n".join(str(getattr(each, "filename", "")) for each in (values, points))
    fields = LatLonFields(grid, values, _nearest(_classes(root.name, points[:, 0]), size), state)
    kinds = np.zeros(len(files), np.int64)
    names = _names(int(points.max(initial=0)), first=1)
    return SphereSet(root.name, fields, kinds, names, split_kinds(root.name, kinds, config))


def _nearest(points: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """Return the classes ``[N, *size]`` of the pixels that the centres of larger or smaller ones lie in."""
    if size is None:
        return points
    rows, columns = ((np.arange(new) + 0.5) * old // new for new, old in zip(size, points.shape[1:], strict=True))
    return points[:, rows.astype(np.int64)[:, None], columns.astype(np.int64)]


def _classes(name: str, points: np.ndarray) -> np.ndarray:
    """Return classes as bytes; NetCDF may have made floats of them."""
    numbers = points.dtype.kind in "iuf" and bool(((points >= 0) & (points <= 254) & (points % 1 == 0)).all())
    if not numbers or points.ndim == 0:
        raise RequestError(
            f"{name}: expected labels that are whole numbers from 0 to 254, of points 0 for the background"
        )
    return points.astype(np.uint8, copy=False)


def _names(last: int, first: int) -> tuple[str, ...]:
    return tuple(str(number) for number in range(first, last + 1))


def _refuse_unread(config: SphereDataConfig, names: tuple[str, ...]) -> None:
    """Raise RequestError for a setting that would change nothing."""
    for name in names:
        value = getattr(config, name)
        if value != SphereDataConfig.model_fields[name].default:
            raise RequestError(
                f"the data set {config.dataset!r} does not read data.{name}, received {value}: leave it out"
            )


def _path(config: SphereDataConfig) -> Path:
    if config.path is None:
        raise RequestError(f"the data set {config.dataset!r} needs a path: give --data PATH")
    if not config.path.exists():
        raise RequestError(f"{config.path}: no such file or folder; give --data PATH with one that exists")
    return config.path
