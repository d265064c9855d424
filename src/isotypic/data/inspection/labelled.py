"""What is in a set of images with label images, found in one pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any

import numpy as np

from isotypic.data.image_set import PARTS
from isotypic.data.inspection.classified import Progress, part_of
from isotypic.data.inspection.copies import Copies, find_copies, pixel_hash
from isotypic.data.labelled.images import LabelledImages
from isotypic.data.normalisation import Normalisation
from isotypic.data.splits import Splits


@dataclass(frozen=True)
class LabelledPart:
    """One part of the split.

    Attributes:
        images: how many.
        objects: how many, or None where labels are classes.
        sources: how many photographs, patients or stacks the images are of, or None where that is not known.
        kinds: how many images of every kind; empty where there are none.
        given: whether the set came with it; otherwise it is made from the fractions and the seed of the request.
    """

    images: int
    objects: int | None
    sources: int | None
    kinds: dict[str, int]
    given: bool


@dataclass(frozen=True)
class LabelledInspection:
    """What is in a set.

    Attributes:
        name: of the set.
        images: how many.
        sizes: the smallest and the largest (y, x), by their number of pixels.
        channels: of every image.
        dtype: of their values.
        classes: those that labels are, or None where they number objects.
        labelled: the share of all pixels that is no background.
        objects: the least, the median and the largest number of objects an image, or None where labels are classes.
        parts: of the split, by name.
        normalisation: of the training part.
        copies: images of the same pixels.
    """

    name: str
    images: int
    sizes: tuple[tuple[int, int], tuple[int, int]]
    channels: int
    dtype: str
    classes: tuple[str, ...] | None
    labelled: float
    objects: tuple[int, float, int] | None
    parts: dict[str, LabelledPart]
    normalisation: Normalisation
    copies: Copies

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers for a JSON record."""
        return {**asdict(self), "normalisation": self.normalisation.to_dict(), "warnings": self.warnings}

    @property
    def warnings(self) -> list[str]:
        """What should be looked at before anything is trained, a sentence each."""
        empty = [f"the {name} part has no objects" for name, part in self.parts.items() if part.objects == 0]
        return [*empty, *self.copies.warnings]


def inspect_labelled(labelled: LabelledImages, splits: Splits, progress: Progress | None = None) -> LabelledInspection:
    """Read every image and its labels once, and return what is in the set.

    Args:
        labelled: the images.
        splits: their parts.
        progress: told how far it has come.
    """
    hashes, most, done = [b""] * len(labelled), np.zeros(len(labelled), np.int64), count(1)

    def read(rows: np.ndarray) -> Iterator[np.ndarray]:
        for row in rows.tolist():
            hashes[row], most[row] = pixel_hash(labelled.images[row]), labelled.labels[row].max(initial=0)
            if progress is not None:
                progress(next(done), len(labelled))
            yield labelled.images[row]

    normalisation = Normalisation.of_each(read(splits.train), labelled.value_range)
    for _ in read(np.concatenate([splits.validation, splits.test])):
        pass
    order = labelled.sizes.prod(axis=1).argsort(kind="stable")
    names = [str(name) for name in labelled.origins.names]
    return LabelledInspection(
        name=labelled.name,
        images=len(labelled),
        sizes=(_size(labelled, order[0]), _size(labelled, order[-1])),
        channels=labelled.channels,
        dtype=labelled.images.dtype.name,
        classes=labelled.classes,
        labelled=float(np.count_nonzero(labelled.labels.values) / labelled.labels.values.size),
        objects=None if labelled.classes else (int(most.min()), float(np.median(most)), int(most.max())),
        parts={part: _part(labelled, getattr(splits, part), part, most) for part in PARTS},
        normalisation=normalisation,
        copies=find_copies(hashes, part_of(splits), np.zeros(len(labelled)), names),
    )


def _size(labelled: LabelledImages, row: int) -> tuple[int, int]:
    height, width = labelled.sizes[row].tolist()
    return height, width


def _part(labelled: LabelledImages, rows: np.ndarray, name: str, most: np.ndarray) -> LabelledPart:
    origins = labelled.origins
    kinds = Counter() if origins.kinds is None else Counter(map(str, origins.kinds[rows]))
    return LabelledPart(
        images=len(rows),
        objects=None if labelled.classes else int(most[rows].sum()),
        sources=None if origins.subjects is None else len(np.unique(origins.subjects[rows])),
        kinds=dict(sorted(kinds.items())),
        given=origins.split is not None and name in origins.split,
    )
