"""A user's images with label images, in a folder or a zip archive.

Layouts, told apart in this order:

1. ``images/<name>.png`` with ``labels/<name>.tif`` (or ``masks/``), equal up to the suffix; images in folders below
   ``images`` belong to the source that the first folder names, and a split keeps a source together;
2. ``<split>/images`` with ``<split>/labels``, where the splits are named train, val, valid, validation or test;
3. ``<name>.png`` beside ``<name>_labels.png`` (or ``_label``, ``_masks``, ``_mask``).

A label image has one number an object, 0 for the background.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isotypic.data.config import SegmentationDataConfig
from isotypic.data.datasets.folder import PARTS
from isotypic.data.decoded_pairs import Pair, decoded_pairs
from isotypic.data.labelled_images import LabelledImages, Origins
from isotypic.data.preparation import Colour, coloured
from isotypic.data.readers import image, label
from isotypic.data.readers.tree import Tree, open_tree
from isotypic.errors import RequestError

_FOLDERS = ("labels", "masks")
_SUFFIXES = ("_labels", "_label", "_masks", "_mask")


class Source(NamedTuple):
    """The files of one image, the source that it shares with others, and its part of the split."""

    name: str
    image: str
    labels: str
    subject: str | None = None
    part: str | None = None


def load(config: SegmentationDataConfig, cache: Path) -> LabelledImages:
    """Return the images with their objects numbered from 1.

    Args:
        config: ``path`` is the folder or the zip archive; also ``colour``.
        cache: where the decoded images are kept.

    Raises:
        RequestError: no path, no such layout, an image without labels or labels without an image, a file that
            cannot be read, or labels of another size than their image.
    """
    if config.path is None:
        raise RequestError("the data set 'labelled_folder' needs a path: give --data PATH")
    tree = open_tree(config.path)
    listed = sources(tree)
    origin = ("labelled folder", tree.fingerprint(), config.colour)
    found = decoded_pairs(listed, lambda source: _decoded(tree, source, config.colour), origin, cache)
    return LabelledImages(
        config.path.resolve().stem,
        found.images,
        found.labels,
        Origins(found.names, subjects=_column(listed, "subject"), split=_column(listed, "part")),
        pixel_size=config.pixel_sides,
    )


def sources(tree: Tree) -> list[Source]:
    """Return the images with their labels, in the order of their names.

    Raises:
        RequestError: there are none, or an image or its labels are missing.
    """
    parents = {parent for name in tree.names for parent in _parents(name)}
    roots = sorted(folder.removesuffix("images") for folder in parents if _is(folder, "images"))
    if not roots:
        return _side_by_side(tree)
    found = [_in_root(tree, root.rstrip("/"), parents) for root in roots]
    parts = {PARTS.get(root.rstrip("/").rsplit("/", 1)[-1].lower()) for root in roots}
    if len(roots) > 1 and None in parts:
        raise RequestError(
            f"{tree.path}: several folders with images ({', '.join(f'{root}images' for root in roots)}); "
            f"expected one, or one for each of {', '.join(PARTS)}"
        )
    return [source for group in found for source in group]


def _in_root(tree: Tree, root: str, parents: set[str]) -> list[Source]:
    """Pair the files of ``root/images`` with those of ``root/labels`` or ``root/masks``."""
    prefix = f"{root}/" if root else ""
    folder = next((f"{prefix}{name}" for name in _FOLDERS if f"{prefix}{name}" in parents), None)
    if folder is None:
        raise RequestError(
            f"{tree.where(prefix)}: no labels: expected a folder {' or '.join(_FOLDERS)} beside images, "
            "with one label image of the same name for each image"
        )
    images, labels = (tree.stems(name, image.SUFFIXES) for name in (f"{prefix}images", folder))
    lonely = sorted(set(images) ^ set(labels))
    if lonely:
        there, missing = ("images", folder) if lonely[0] in images else (folder, "images")
        raise RequestError(f"{tree.path}: {lonely[0]!r} is in {there} and not in {missing} ({len(lonely)} such)")
    part = PARTS.get(root.rsplit("/", 1)[-1].lower())
    return [
        Source(f"{prefix}{name}", images[name], labels[name], name.split("/")[0] if "/" in name else None, part)
        for name in sorted(images)
    ]


def _side_by_side(tree: Tree) -> list[Source]:
    """Pair files whose names differ by the suffix of the labels alone."""
    stems = tree.stems("", image.SUFFIXES)
    found = [
        Source(name, file, stems[f"{name}{suffix}"])
        for name, file in sorted(stems.items())
        for suffix in _SUFFIXES
        if f"{name}{suffix}" in stems
    ]
    taken = {file for source in found for file in (source.image, source.labels)}
    lonely = sorted(set(stems.values()) - taken)
    if not found or lonely:
        missing = f"; {lonely[0]} has no partner ({len(lonely)} such)" if found else ""
        raise RequestError(
            f"{tree.path}: expected images/NAME.png with labels/NAME.png or masks/NAME.png, or NAME.png beside "
            f"NAME_labels.png or NAME_masks.png{missing}"
        )
    return found


def _decoded(tree: Tree, source: Source, colour: Colour) -> Pair:
    pixels = image.decode(tree.where(source.image), tree.read(source.image))
    labels = label.decode(tree.where(source.labels), tree.read(source.labels))
    return Pair(source.name, coloured(pixels[None], colour)[0], labels)


def _column(listed: Sequence[Source], field: str) -> np.ndarray | None:
    """Return a column of the listing; None where nothing is in it, the name where one image has nothing."""
    values = [getattr(source, field) for source in listed]
    if not any(values):
        return None
    return np.array([value or source.name for value, source in zip(values, listed, strict=True)])


def _parents(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[: depth + 1]) for depth in range(len(parts))]


def _is(folder: str, name: str) -> bool:
    return folder == name or folder.endswith(f"/{name}")
