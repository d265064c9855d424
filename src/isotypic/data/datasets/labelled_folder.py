"""A user's images with label images, in a folder or a zip archive.

Layouts, told apart in this order:

1. ``images/<name>.png`` with ``labels/<name>.tif`` (or ``masks/``), equal up to the suffix; images in folders below
   ``images`` belong to the source that the first folder names, and a split keeps a source together;
2. ``<split>/images`` with ``<split>/labels``, where the splits are named train, val, valid, validation or test;
3. ``<name>.png`` beside ``<name>_labels.png`` (or ``_label``, ``_masks``, ``_mask``).

A label image has one number an object, 0 for the background. Where no label image of the set has a second object they
are masks, and a mask of several pieces is refused; where one has, an object may be in pieces.

Images are read as they are for segmentation, with all their channels and at their own depth. Those of 8 bits are kept
as they are. If one has more, all are float32 in shares of full white, which is that of their type where images are
normalised by the set, and that of each image (:class:`~isotypic.data.normalisation.Percentiles`) where by the image;
then a hot pixel may lie beyond 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from isotypic.data.channels import converted
from isotypic.data.config import SegmentationDataConfig
from isotypic.data.datasets.folder import PARTS
from isotypic.data.labelled.decoded_pairs import Pair, decoded_pairs
from isotypic.data.labelled.images import LabelledImages, Origins
from isotypic.data.labelled.ragged import Ragged
from isotypic.data.normalisation import Normalisation, Normaliser, Percentiles
from isotypic.data.readers import label, micrograph
from isotypic.data.readers.pixels import Pixels
from isotypic.data.readers.tree import Tree, open_tree
from isotypic.errors import RequestError

_FOLDERS = ("labels", "masks")
_SUFFIXES = ("_labels", "_label", "_masks", "_mask")
_CHANNELS = MappingProxyType({"keep": None, "grey": 1, "rgb": 3})
_UNITS: Mapping[str, Normaliser] = MappingProxyType({"set": Normalisation((0.0,), (1.0,), 1.0), "image": Percentiles()})
"""What knows the full white of an image, by how the set is normalised."""


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
        config: ``path`` is the folder or the zip archive; also ``colour`` and ``normalise``.
        cache: where the decoded images are kept.

    Raises:
        RequestError: no path, no such layout, an image without labels or labels without an image, a file that
            cannot be read, values with no full white, labels of another size than their image, or masks.
    """
    if config.path is None:
        raise RequestError("the data set 'labelled_folder' needs a path: give --data PATH")
    tree = open_tree(config.path)
    listed = sources(tree)
    origin = ("labelled folder 2", tree.fingerprint(), config.colour, config.normalise)
    found = decoded_pairs(listed, lambda source: _decoded(tree, source, config), origin, cache)
    _refuse_masks(tree, listed, found.labels)
    return LabelledImages(
        config.path.resolve().stem,
        found.images,
        found.labels,
        Origins(found.names, subjects=_column(listed, "subject"), split=_column(listed, "part")),
        pixel_size=config.pixel_sides,
    )


def recognises(names: Sequence[str]) -> bool:
    """Return whether some file names pair images with labels in one of the layouts."""
    folders = {parent for name in names for parent in _parents(name)}
    roots = [folder.removesuffix("images") for folder in folders if _is(folder, "images")]
    stems = {
        Path(name).with_suffix("").as_posix() for name in names if Path(name).suffix.lower() in micrograph.SUFFIXES
    }
    return any(f"{root}{name}" in folders for root in roots for name in _FOLDERS) or any(
        f"{stem}{suffix}" in stems for stem in stems for suffix in _SUFFIXES
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
    images, labels = (tree.stems(name, micrograph.SUFFIXES) for name in (f"{prefix}images", folder))
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
    stems = tree.stems("", micrograph.SUFFIXES)
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


def _decoded(tree: Tree, source: Source, config: SegmentationDataConfig) -> Pair:
    opened = micrograph.decode(tree.where(source.image), tree.read(source.image))
    labels = label.decode(tree.where(source.labels), tree.read(source.labels))
    pixels = converted(opened.pixels, opened.axes, _CHANNELS[config.colour])
    if pixels is None:
        raise RequestError(
            f"{tree.where(source.image)}: expected a grey or RGB image to make it {config.colour}, received "
            f"{opened.pixels.shape[0]} channels; use --set data.colour=keep"
        )
    try:
        return Pair(source.name, _kept(pixels, _UNITS[config.normalise]), labels)
    except RequestError as error:
        raise RequestError(f"{tree.where(source.image)}: {error}") from error


def _kept(pixels: Pixels, unit: Normaliser) -> np.ndarray:
    """Return an image as a set keeps it: of 8 bits, or in shares of full white."""
    image = pixels[:, :, :]
    if image.dtype == np.uint8:
        return image
    if image.dtype == np.bool_:
        return image * np.uint8(255)
    return np.divide(image, unit.for_image(image).scale, dtype=np.float64).astype(np.float32)


def _refuse_masks(tree: Tree, listed: Sequence[Source], labels: Ragged) -> None:
    """Raise when one label image of a set falls into pieces, and none has a second object."""
    if all(image.max() <= 1 for image in labels):
        for source, image in zip(listed, labels, strict=True):
            label.refuse_pieces(tree.where(source.labels), image > 0)


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
