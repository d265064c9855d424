"""Some images of a data set on a sheet: a row a class, or of labelled images a row a part; of candidates, patches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from skimage.segmentation import find_boundaries

from isotypic.cli.data_tables import MOST
from isotypic.data.config import CandidateDataConfig
from isotypic.data.image_set import PARTS, ImageSet
from isotypic.data.inspection.classified import part_of
from isotypic.data.labelled.images import LabelledImages
from isotypic.data.readers.scan import read_scan
from isotypic.data.scans.candidates import CLASSES
from isotypic.data.scans.listing import ScanListing
from isotypic.data.scans.patches import Lattice, Patches
from isotypic.data.splits import Splits
from isotypic.inference.writers.catalogue import saved
from isotypic.studies.systems.mosaic import LARGEST_TILE, Row, Tile, columns, in_bytes, room, write_mosaic
from isotypic.studies.systems.png import MARK, MUTED
from isotypic.studies.systems.sheet import Words

_FEW_SCANS = 4
_MARK = tuple(bytes.fromhex(MARK[1:]))


def draw(found: ImageSet, splits: Splits, path: Path) -> Path:
    """Draw of every class as many images as a row has room for, evenly spread over the set.

    Raises:
        RequestError: the file cannot be written.
    """
    parts, rows = part_of(splits), []
    for label, name in enumerate(found.classes[:MOST]):
        members = np.flatnonzero(found.labels == label)
        shown = _spread(members, columns(*found.shape[-2:]))
        tiles = tuple(Tile(found.picture(row), _words(found, parts, row)) for row in shown.tolist())
        rows.append(Row(name, f"{len(shown)} of {len(members):,} images", tiles))
    return saved(path, lambda beside: write_mosaic(rows, found.value_range, beside))


def draw_labelled(labelled: LabelledImages, splits: Splits, path: Path) -> Path:
    """Draw of every part the middle of some images, with the outlines of their labels.

    Raises:
        RequestError: the file cannot be written.
    """
    height, width = np.minimum(labelled.sizes.min(axis=0), LARGEST_TILE).tolist()
    rows = []
    for part in PARTS:
        members = getattr(splits, part)
        shown = _spread(members, columns(height, width))
        tiles = tuple(_outlined(labelled, row, (height, width)) for row in shown.tolist())
        rows.append(Row(part, f"{len(shown)} of {len(members):,} images", tiles))
    return saved(path, lambda beside: write_mosaic(rows, 255.0, beside))


def draw_candidates(listing: ScanListing, splits: Splits, config: CandidateDataConfig, path: Path) -> Path:
    """Draw the middle slices of some patches of either class, cut out of a few scans that have nodules.

    Raises:
        RequestError: a scan cannot be read, or the file cannot be written.
    """
    lattice = Lattice(config.size, config.spacing)
    few = _spread(np.unique(listing.subjects[listing.labels == 1]), _FEW_SCANS)
    near = np.isin(listing.subjects, few)
    each = [np.flatnonzero(near & (listing.labels == label)) for label in (1, 0)]
    shown = [_spread(members, columns(*config.size[1:])) for members in each]
    slices = _middle_slices(listing, np.concatenate(shown), lattice, config.window)
    parts, rows = part_of(splits), []
    for label, members in zip((1, 0), shown, strict=True):
        tiles = tuple(
            Tile(slices[row], _by_end(str(parts[row]), str(listing.candidates.scan[row]), size=config.size[1:]))
            for row in members.tolist()
        )
        note = f"{len(members)} of {int((listing.labels == label).sum()):,} candidates, from {len(few)} scans"
        rows.append(Row(CLASSES[label], note, tiles))
    return saved(path, lambda beside: write_mosaic(rows, 1.0, beside))


def _middle_slices(
    listing: ScanListing, rows: np.ndarray, lattice: Lattice, window: tuple[float, float]
) -> dict[int, np.ndarray]:
    """Return the middle slice ``[1, y, x]`` of the patch of some candidates; each scan is read once."""
    found: dict[int, np.ndarray] = {}
    for scan in np.unique(listing.subjects[rows]).tolist():
        mine = rows[listing.subjects[rows] == scan]
        patches = Patches(read_scan(listing.files[listing.scans[scan]]), lattice, window)
        middle = patches.at(listing.candidates.position[mine])[:, :, lattice.size[0] // 2]
        found |= dict(zip(mine.tolist(), middle.astype(np.float32), strict=True))
    return found


def _spread(members: np.ndarray, most: int) -> np.ndarray:
    places = np.linspace(0, len(members) - 1, min(most, len(members))).round().astype(np.int64)
    return members[np.unique(places)]


def _words(found: ImageSet, parts: np.ndarray, row: int) -> tuple[Words, ...]:
    said = [str(parts[row])] + ([] if found.subjects is None else [str(found.subjects[row])])
    return _by_end(*said, size=found.shape[-2:])


def _by_end(*said: str, size: Sequence[int]) -> tuple[Words, ...]:
    return tuple(_ending(text, size) for text in said)


def _ending(text: str, size: Sequence[int]) -> Words:
    """Return the end of a name, by which names differ, so that it has room below an image."""
    most = room(*size)
    return Words(text if len(text) <= most else f"…{text[len(text) - most + 1 :]}", MUTED)


def _outlined(labelled: LabelledImages, row: int, size: tuple[int, int]) -> Tile:
    """Return the middle of an image in colours, with the inner borders of what is labelled."""
    labels = labelled.labels[row]
    top, left = ((whole - part) // 2 for whole, part in zip(labels.shape, size, strict=True))
    window = np.s_[top : top + size[0], left : left + size[1]]
    pixels = in_bytes(labelled.images[row][(slice(None), *window)], labelled.value_range)
    pixels[find_boundaries(labels[window], mode="inner")] = _MARK
    return Tile(np.moveaxis(pixels, -1, 0), _said(labelled, row, size))


def _said(labelled: LabelledImages, row: int, size: tuple[int, int]) -> tuple[Words, ...]:
    said = [str(labelled.origins.names[row])]
    if labelled.classes is None:
        said.append(f"{int(labelled.labels[row].max(initial=0))} objects")
    return _by_end(*said, size=size)
