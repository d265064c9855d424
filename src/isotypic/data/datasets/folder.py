"""A folder of images, listed by a CSV file or by its own folders.

Layouts, told apart in this order:

1. a CSV file in the folder: ``file,label[,patient][,split]``, files relative to the folder;
2. ``root/<split>/<class>/*.png`` or ``root/<split>/<class>/<patient>/*.png``;
3. ``root/<class>/*.png`` or ``root/<class>/<patient>/*.png``.

A split folder is named train, val, valid, validation or test and holds folders only. A patient is one person
wherever the name occurs: the same name under two classes or in two parts is the same patient.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from isotypic.data.config import DataConfig
from isotypic.data.decoded import decoded
from isotypic.data.image_set import ImageSet, check_labels, refuse_leak
from isotypic.data.readers import table
from isotypic.data.readers.image import list_images
from isotypic.errors import RequestError, unknown

PARTS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


@dataclass(frozen=True)
class _Listing:
    """The images of a folder: file, class, patient or None, part or None."""

    files: list[Path]
    labels: list[str]
    subjects: list[str] | None
    split: list[str] | None


def load(config: DataConfig, cache: Path) -> ImageSet:
    """Return the images of a folder as a memory map in ``cache``; classes are as of :func:`in_order`.

    Args:
        config: ``path`` is the folder; also the names of the table and its columns, ``resize`` and
            ``colour``.
        cache: where the decoded images are kept.

    Raises:
        RequestError: no path, no such folder, no images, an unknown layout, an image that cannot be read,
            images of different sizes without ``resize``, one class only, or a patient in two parts of the
            split.
    """
    root = config.path
    if root is None:
        raise RequestError("the data set 'folder' needs a path: give --data PATH")
    if not root.is_dir():
        raise RequestError(f"{root}: no such folder; give --data PATH with a folder of images")
    listing = _listed(root, config)
    classes = in_order(listing.labels)
    number = {name: index for index, name in enumerate(classes)}
    labels = np.array([number[name] for name in listing.labels], dtype=np.int64)
    subjects = None if listing.subjects is None else np.array(listing.subjects)
    split = None if listing.split is None else np.array(listing.split)
    _check(str(root), labels, classes, subjects, split)
    if config.class_of_patient:
        _refuse_mixed_patients(str(root), listing)
    images = decoded(root, listing.files, config, cache)
    names = np.array([os.path.relpath(file, root) for file in listing.files])
    return ImageSet(root.resolve().name, images, labels, classes, subjects=subjects, split=split, names=names)


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the names of classes in alphabetical order; whole numbers in that of the numbers.

    >>> in_order(["b", "a", "10"]), in_order(["10", "9", "9"])
    (('10', 'a', 'b'), ('9', '10'))
    """
    names = sorted(set(labels))
    return tuple(sorted(names, key=int) if all(map(str.isdecimal, names)) else names)


def _check(
    name: str,
    labels: np.ndarray,
    classes: tuple[str, ...],
    subjects: np.ndarray | None,
    split: np.ndarray | None,
) -> None:
    """Refuse before the decoding, which may take minutes, what the image set would refuse after it."""
    check_labels(name, labels, classes)
    if subjects is not None and split is not None:
        refuse_leak(name, subjects, split)


def _refuse_mixed_patients(name: str, listing: _Listing) -> None:
    """Raise when images have no patient, or a patient has images of several classes."""
    if listing.subjects is None:
        raise RequestError(
            f"{name}: expected the patient of every image (a column, or a folder below the class), found none; or set "
            "data.class_of_patient=false"
        )
    first: dict[str, str] = {}
    for subject, label in zip(listing.subjects, listing.labels, strict=True):
        if first.setdefault(subject, label) != label:
            raise RequestError(
                f"{name}: patient {subject!r} has images of {first[subject]} and of {label}; expected the class of an "
                "image to be its patient's, or set data.class_of_patient=false"
            )


def _listed(root: Path, config: DataConfig) -> _Listing:
    path = _table_path(root, config.table)
    if path is not None:
        return _from_table(root, path, config)
    files = list_images(root)
    if not files:
        raise RequestError(f"{root}: no images in this folder; expected a CSV file or root/<class>/*.png")
    return _from_folders(root, files)


def _table_path(root: Path, name: str | None) -> Path | None:
    found = sorted(path.name for path in root.glob("*.csv") if not path.name.startswith("."))
    if name is not None:
        if not (root / name).is_file():
            raise RequestError(f"{root}: {unknown('table', name, found)}")
        return root / name
    if len(found) > 1:
        raise RequestError(f"{root}: several CSV files ({', '.join(found)}); name one with --set data.table=...")
    return root / found[0] if found else None


def _from_table(root: Path, path: Path, config: DataConfig) -> _Listing:
    rows = table.read(path, config)
    return _Listing(
        files=[root / file for file in rows.files],
        labels=rows.labels.tolist(),
        subjects=None if rows.subjects is None else rows.subjects.tolist(),
        split=None if rows.split is None else [_part(path, name) for name in rows.split.tolist()],
    )


def _part(path: Path, name: str) -> str:
    if name.lower() not in PARTS:
        raise RequestError(f"{path}: {unknown('split', name, PARTS)}")
    return PARTS[name.lower()]


def _from_folders(root: Path, files: list[Path]) -> _Listing:
    """Read part, class and patient from the folders between the root and each image."""
    folders = [file.relative_to(root).parts[:-1] for file in files]
    split = None
    if _has_split(root, folders):
        split = [PARTS[parts[0].lower()] for parts in folders]
        folders = [parts[1:] for parts in folders]
    elif {parts[0].lower() for parts in folders if parts} <= set(PARTS):
        raise RequestError(f"{root}: images without a class; expected root/<split>/<class>/*.png or a CSV file")
    if not all(folders):
        lost = files[[bool(parts) for parts in folders].index(False)]
        raise RequestError(f"{lost}: an image outside the class folders; expected root/<class>/*.png or a CSV file")
    return _Listing(files, [parts[0] for parts in folders], _patients(root, files, folders), split)


def _has_split(root: Path, folders: list[tuple[str, ...]]) -> bool:
    """Return whether the first folders are the parts of a split: named so, with folders only inside."""
    tops = {parts[0] for parts in folders if parts}
    flat = {parts[0] for parts in folders if len(parts) == 1}
    parts = {top for top in tops - flat if top.lower() in PARTS}
    if parts and parts != tops:
        raise RequestError(
            f"{root}: the folder {min(parts)!r} is a part of a split but {min(tops - parts)!r} is not; "
            f"expected only {', '.join(PARTS)}, or only classes"
        )
    return bool(parts)


def _patients(root: Path, files: list[Path], folders: list[tuple[str, ...]]) -> list[str] | None:
    """Return the folder below the class, or None when the images lie in the class itself."""
    deep = [len(parts) > 1 for parts in folders]
    if not any(deep):
        return None
    if not all(deep):
        raise RequestError(
            f"{root}: some images lie in patient folders ({files[deep.index(True)]}) and others do not "
            f"({files[deep.index(False)]}); give every image a patient folder or none"
        )
    return [parts[1] for parts in folders]
