"""PatchCamelyon: 327,680 patches of lymph node sections, of 96 pixels a side, in HDF5 files that stay on disk.

A folder with ``camelyonpatch_level_2_split_{train,valid,test}_{x,y}.h5``, packed as ``.gz`` or not, uint8:
``x [N, 96, 96, 3]``, and ``y [N, 1, 1, 1]``, 1 where the centre of a patch (32 x 32 pixels) has tumour. Beside them the
files ``..._meta.csv`` may lie, whose ``wsi`` is the slide that a patch is of: no slide may be in two parts, and their
``center_tumor_patch`` must be what ``y`` says. The published checksums of the validation and the test files are
swapped, so files are told by their content: where there is no table, by the training part being the largest.

Source: B. S. Veeling, J. Linmans, J. Winkens, T. Cohen, M. Welling, Rotation Equivariant CNNs for Digital Pathology,
MICCAI 2018, https://github.com/basveeling/pcam; from Camelyon16 (B. Ehteshami Bejnordi et al., JAMA 2017), CC0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from isotypic.data.config import DataConfig
from isotypic.data.image_set import ImageSet
from isotypic.data.lazy import Joined, Prepared
from isotypic.data.readers.gzip import unpacked
from isotypic.data.readers.hdf5 import Hdf5Images, opened
from isotypic.errors import RequestError

CLASSES = ("normal", "tumor")
_PARTS = {"train": "train", "valid": "validation", "test": "test"}
_FILE = "camelyonpatch_level_2_split_{}_{}.h5"
_TABLE = "camelyonpatch_level_2_split_{}_meta.csv"
_NAMES = re.compile(r"camelyonpatch_level_2_split_(train|valid|test)_[xy]\.h5(\.gz)?")


@dataclass(frozen=True, eq=False)
class _Part:
    """One part of the split: its images, its labels, and its table where there is one."""

    name: str
    images: Hdf5Images
    labels: np.ndarray
    table: pd.DataFrame | None


def recognises(names: Iterable[str]) -> bool:
    """Return whether one of some file names is of this set."""
    return any(_NAMES.fullmatch(name) for name in names)


def load(config: DataConfig, cache: Path) -> ImageSet:
    """Return the images ``[N, C, H, W]`` of all three parts with their split; they stay on disk.

    Args:
        config: ``path`` is the folder.
        cache: where packed files are unpacked.

    Raises:
        RequestError: no path, a file is missing, damaged or of another layout, images and labels disagree, a label is
            neither 0 nor 1, two parts are swapped, or a slide is in two of them.
    """
    if config.path is None:
        raise RequestError("the data set 'pcam' needs a path to the folder with its HDF5 files: give --data PATH")
    parts = [_part(config.path, name, cache) for name in _PARTS]
    _refuse_swapped(config.path, parts)
    images = Joined([part.images for part in parts])
    return ImageSet(
        name="pcam",
        images=Prepared(images, config),
        labels=np.concatenate([part.labels for part in parts]),
        classes=CLASSES,
        subjects=_slides(parts),
        split=np.repeat(list(_PARTS.values()), [len(part.labels) for part in parts]),
    )


def _part(folder: Path, name: str, cache: Path) -> _Part:
    images = Hdf5Images(unpacked(_found(folder, name, "x"), cache), "x")
    labels = _labels(unpacked(_found(folder, name, "y"), cache))
    if len(labels) != len(images):
        raise RequestError(f"{images.path}: {len(images)} images, and {len(labels)} labels in the file of y beside it")
    table = folder / _TABLE.format(name)
    return _Part(name, images, labels, _table(table, len(labels)) if table.is_file() else None)


def _found(folder: Path, part: str, key: str) -> Path:
    plain = folder / _FILE.format(part, key)
    for path in (plain, plain.with_name(f"{plain.name}.gz")):
        if path.is_file():
            return path
    raise RequestError(f"{folder}: no {plain.name}, packed as .gz or not; PatchCamelyon has x and y of three parts")


def _labels(path: Path) -> np.ndarray:
    with opened(path) as file:
        found = file.get("y")
        if getattr(found, "ndim", 0) not in (1, 4) or found.shape[1:] not in ((1, 1, 1), ()):
            has = "none" if found is None else list(getattr(found, "shape", []))
            raise RequestError(f"{path}: expected y [N, 1, 1, 1], received {has}")
        labels = np.asarray(found[:]).reshape(-1)
    strange = labels[~np.isin(labels, (0, 1))]
    if len(strange):
        raise RequestError(f"{path}: expected labels 0 and 1, received {strange[0]}")
    return labels.astype(np.int64)


def _table(path: Path, count: int) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise RequestError(f"{path}: cannot be read as a table ({error})") from error
    missing = {"center_tumor_patch", "wsi"} - set(table.columns)
    if missing:
        raise RequestError(f"{path}: expected a column {sorted(missing)[0]}, found {', '.join(table.columns)}")
    if len(table) != count:
        raise RequestError(f"{path}: {len(table)} rows for {count} images")
    return table


def _tumour(table: pd.DataFrame) -> np.ndarray:
    return table["center_tumor_patch"].str.lower().isin(["true", "1"]).to_numpy().astype(np.int64)


def _refuse_swapped(folder: Path, parts: list[_Part]) -> None:
    for part in parts:
        if part.table is None or np.array_equal(_tumour(part.table), part.labels):
            continue
        fitting = [p.name for p in parts if p.table is not None and np.array_equal(_tumour(p.table), part.labels)]
        hint = f"they are those of {fitting[0]}: the files are swapped" if fitting else "is it of other files?"
        raise RequestError(f"{folder}: the labels of {part.name} are not what its table says; {hint}")
    train, *others = parts
    largest = max(others, key=lambda part: len(part.labels))
    if len(largest.labels) > len(train.labels):
        raise RequestError(
            f"{folder}: expected the training part to be the largest, received {len(train.labels)} images, and "
            f"{len(largest.labels)} in {largest.name}: are the files swapped?"
        )


def _slides(parts: list[_Part]) -> np.ndarray | None:
    """Return the slide of every image, if all parts have a table."""
    tables = [part.table for part in parts if part.table is not None]
    return np.concatenate([table["wsi"].to_numpy(dtype=str) for table in tables]) if len(tables) == len(parts) else None
