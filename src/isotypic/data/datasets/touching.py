"""Touching nuclei: patches of BBBC038 around one nucleus each, of two classes: it touches another one, or it is alone.

A real task of two classes that needs shape: the means of the patches say nothing, for every part of the split has as
many of either class at every level.

1. Photographs in fluorescence, in grey, are split first, pieces of one larger photograph together.
2. A nucleus touches another if one lies within ``gap`` pixels of it, and is alone if none lies within ``apart``; what
   is between the two is left out, and so is a nucleus whose patch would leave the photograph, or would not show it with
   all that lies within ``apart``.
3. Patches of a part are put in order of their mean grey level and cut into ``levels`` equally large groups; of each
   group as many are drawn of the one class as of the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects

from isotypic.data.config import DataConfig, SegmentationDataConfig, TouchingConfig
from isotypic.data.datasets import bbbc038
from isotypic.data.image_set import PARTS, ImageSet
from isotypic.data.matching import of_equal_values
from isotypic.data.preparation import prepare
from isotypic.data.splits import split_labelled
from isotypic.errors import RequestError

CLASSES = ("alone", "touching")


class Patch(NamedTuple):
    """One patch: its photograph, its corner, its class and its mean grey level."""

    row: int
    top: int
    left: int
    label: int
    mean: float


def load(config: DataConfig, cache: Path) -> ImageSet:
    """Return the patches ``[N, 1, size, size]`` with their photographs as subjects and their own split.

    Args:
        config: ``path`` is the folder or the zip archive of BBBC038; also ``touching`` and the fractions.
        cache: where the decoded photographs are kept.

    Raises:
        RequestError: as of the data set bbbc038, or a part has no patches of both classes.
    """
    photographs = SegmentationDataConfig(
        dataset="bbbc038",
        path=config.path,
        colour="grey",
        test_fraction=config.test_fraction,
        validation_fraction=config.validation_fraction,
        split_seed=config.split_seed,
    )
    labelled, wanted = bbbc038.load(photographs, cache), config.touching
    splits, kinds = split_labelled(labelled, photographs), labelled.origins.kinds
    taken: list[Patch] = []
    parts: list[str] = []
    for number, part in enumerate(PARTS):
        rows = [int(row) for row in getattr(splits, part) if kinds is None or kinds[row] == "fluorescence"]
        found = [patch for row in rows for patch in patches(labelled.images[row][0], labelled.labels[row], row, wanted)]
        matched = of_equal_means(found, wanted.levels, np.random.default_rng([wanted.seed, number]))
        if not matched:
            raise RequestError(f"{config.path}: the {part} photographs have no patches of both classes at equal levels")
        taken += matched
        parts += [part] * len(matched)
    images = np.stack([_cut(labelled.images[patch.row], patch, wanted.size) for patch in taken])
    subjects = labelled.origins.names if labelled.origins.subjects is None else labelled.origins.subjects
    return ImageSet(
        name="touching nuclei",
        images=prepare(images, config),
        labels=np.array([patch.label for patch in taken], dtype=np.int64),
        classes=CLASSES,
        subjects=subjects[[patch.row for patch in taken]],
        split=np.array(parts),
    )


def patches(image: np.ndarray, labels: np.ndarray, row: int, config: TouchingConfig) -> Iterator[Patch]:
    """Yield the patches of one photograph.

    Args:
        image: ``[y, x]``.
        labels: ``[y, x]``, nuclei numbered 1 .. n.
        row: the number of the photograph.
        config: size and distances.
    """
    for label, place in enumerate(find_objects(labels), start=1):
        if place is None:  # a number without pixels
            continue
        if max(side.stop - side.start for side in place) + 2 * config.apart > config.size:
            continue
        top, left = ((side.start + side.stop - config.size) // 2 for side in place)
        patch = image[max(top, 0) : top + config.size, max(left, 0) : left + config.size]
        if min(top, left) < 0 or patch.shape != (config.size, config.size):
            continue
        nearest = distance_to_others(labels, label, place, config.apart)
        if not config.gap < nearest <= config.apart:
            yield Patch(row, top, left, int(nearest <= config.gap), float(patch.mean()))


def distance_to_others(labels: np.ndarray, label: int, place: tuple[slice, ...], reach: float) -> float:
    """Return how far the nearest other nucleus is, in pixels from centre to centre; infinity beyond ``reach``.

    >>> distance_to_others(np.array([[1, 1, 0, 2]]), 1, (slice(0, 1), slice(0, 2)), 5)
    2.0
    """
    border = int(np.ceil(reach))
    near = labels[tuple(slice(max(side.start - border, 0), side.stop + border) for side in place)]
    others = (near > 0) & (near != label)
    if not others.any():
        return np.inf
    nearest = float(distance_transform_edt(near != label)[others].min())
    return nearest if nearest <= reach else np.inf


def of_equal_means(found: list[Patch], levels: int, generator: np.random.Generator) -> list[Patch]:
    """Return as many patches of either class at every level of the mean, drawn at random, in their old order.

    Args:
        found: patches.
        levels: how many groups of equal size they are cut into, by their means.
        generator: draws.
    """
    labels, means = np.array([patch.label for patch in found]), np.array([patch.mean for patch in found])
    return [found[i] for i in of_equal_values(labels, means, levels, generator)]


def _cut(image: np.ndarray, patch: Patch, size: int) -> np.ndarray:
    return image[:, patch.top : patch.top + size, patch.left : patch.left + size]
