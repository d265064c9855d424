"""A stack of sections with two-valued masks of one class (membranes, say), in a folder or a zip archive.

Either two folders with images of equal names, ``raw/07.tif`` and ``membranes/07.png``, or two TIFF files of
several pages, ``raw.tif`` and ``membranes.tif``; both may lie below another folder. Which names is the request's
``stack.images`` and ``stack.labels``. A mask has at most two values, and the larger one marks the class.

Neighbouring sections are nearly the same, so the split is by depth: the last sections are the test part, those
before them the validation part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isotypic.data.config import SegmentationDataConfig
from isotypic.data.labelled.decoded_pairs import Pair, decoded_pairs
from isotypic.data.labelled.images import LabelledImages, Origins
from isotypic.data.preparation import coloured
from isotypic.data.readers import image
from isotypic.data.readers.tree import Tree, open_tree
from isotypic.data.splits import by_depth
from isotypic.errors import RequestError

PixelsOf = Callable[[str, int | None], np.ndarray]
"""Gives the pixels of a file by its name, and of its page where it has several."""

_TIFF = frozenset({".tif", ".tiff"})


class Section(NamedTuple):
    """The files of one section, and its page where they have several."""

    name: str
    image: str
    mask: str
    page: int | None = None


def load(config: SegmentationDataConfig, cache: Path) -> LabelledImages:
    """Return the sections with the classes ``background`` and the name of the masks.

    Args:
        config: ``path`` is the folder or the zip archive; also ``stack``, ``colour`` and the fractions.
        cache: where the sections are kept.

    Raises:
        RequestError: no path, no such layout, a section without its mask or with one of another size, a mask of
            more than two values, a file that cannot be read, or fewer than three sections.
    """
    if config.path is None:
        raise RequestError("the data set 'stack' needs a path to its folder or zip archive: give --data PATH")
    tree, stack = open_tree(config.path), config.stack
    pixels = reading(tree)
    found = decoded_pairs(
        sections(tree, stack.images, stack.labels),
        lambda section: _decoded(tree, section, pixels, config),
        ("stack", tree.fingerprint(), stack.model_dump_json(), config.colour),
        cache,
    )
    return LabelledImages(
        config.path.stem,
        found.images,
        found.labels,
        Origins(found.names, split=by_depth(str(config.path), len(found.names), config)),
        classes=("background", stack.labels),
        pixel_size=config.pixel_sides,
    )


def reading(tree: Tree) -> PixelsOf:
    """Return what reads a file, or a page of one, as it is stored: ``[C, y, x]``.

    Raises:
        RequestError: when it is called, the file cannot be read.
    """
    pages = lru_cache(maxsize=2)(lambda name: image.pages_of(tree.where(name), tree.read(name)))

    def pixels(name: str, page: int | None) -> np.ndarray:
        return image.pixels_of(tree.where(name), BytesIO(tree.read(name))) if page is None else pages(name)[page][None]

    return pixels


def recognises(names: Sequence[str], images: str = "raw", labels: str = "membranes") -> bool:
    """Return whether some file names hold both parts of a stack, as folders or as TIFF files."""
    below = {part for name in names for part in name.split("/")[:-1]} | {Path(name).stem for name in names}
    return {images, labels} <= below


def sections(tree: Tree, images: str, labels: str) -> list[Section]:
    """Return the sections below a folder or in an archive, in the order of their names or pages.

    Raises:
        RequestError: a part is missing, or a section has no mask.
    """
    parts = [_part(tree, name) for name in (images, labels)]
    if all(isinstance(part, str) for part in parts):
        return _pages(tree, str(parts[0]), str(parts[1]))
    if any(isinstance(part, str) for part in parts):
        raise RequestError(f"{tree.path}: {images} and {labels} must both be folders or both TIFF files")
    files, masks = (part for part in parts if isinstance(part, dict))
    lonely = sorted(set(files) ^ set(masks))
    if lonely:
        there, missing = (images, labels) if lonely[0] in files else (labels, images)
        raise RequestError(f"{tree.path}: {lonely[0]!r} is in {there} and not in {missing} ({len(lonely)} such)")
    return [Section(name, files[name], masks[name]) for name in sorted(files)]


def _part(tree: Tree, wanted: str) -> dict[str, str] | str:
    """Return the files of a folder by their names, or the TIFF file of that name."""
    folders = {name.rsplit("/", 1)[0] for name in tree.names if "/" in name}
    for folder in sorted(folders):
        if folder.rsplit("/", 1)[-1] == wanted:
            return tree.stems(folder, image.SUFFIXES)
    for name in tree.names:
        if Path(name).stem == wanted and Path(name).suffix.lower() in _TIFF:
            return name
    raise RequestError(
        f"{tree.path}: no folder {wanted} and no file {wanted}.tif; "
        "name the two parts with data.stack.images and data.stack.labels"
    )


def _pages(tree: Tree, images: str, masks: str) -> list[Section]:
    counts = [image.page_count(tree.where(name), tree.read(name)) for name in (images, masks)]
    if counts[0] != counts[1]:
        raise RequestError(f"{tree.where(images)} has {counts[0]} pages and {tree.where(masks)} has {counts[1]}")
    return [Section(f"{Path(images).stem}-{page:04}", images, masks, page) for page in range(counts[0])]


def _decoded(tree: Tree, section: Section, pixels: PixelsOf, config: SegmentationDataConfig) -> Pair:
    raw = image.to_uint8(tree.where(section.image), pixels(section.image, section.page))
    mask = pixels(section.mask, section.page)
    labels = _classes(tree.where(section.mask), mask, config.stack.invert)
    return Pair(section.name, coloured(raw[None], config.colour)[0], labels)


def _classes(name: str, mask: np.ndarray, invert: bool) -> np.ndarray:
    values = np.unique(mask)
    if len(mask) != 1 or len(values) > 2:
        raise RequestError(
            f"{name}: expected a mask of one channel and at most two values, received {len(mask)} channels and "
            f"{len(values)} values; numbered objects belong to the data set labelled_folder"
        )
    return ((mask[0] > 0) != invert).astype(np.int32)
