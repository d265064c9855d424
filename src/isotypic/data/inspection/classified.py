"""What is in a set of images with classes, found in one pass.

The *grey-level AUC* of two classes is the area under the ROC curve of the mean of an image, or 1 minus it where the
first class is the brighter one: 0.5 says that brightness tells nothing, and 1 that it tells everything and shapes need
not be looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from isotypic.data.image_set import PARTS, ImageArray, ImageSet
from isotypic.data.inspection.copies import Copies, find_copies, pixel_hash
from isotypic.data.normalisation import Normalisation
from isotypic.data.splits import Splits

TELLING = 0.7
"""Above this grey-level AUC brightness is a warning."""

_BLOCK = 256

Progress = Callable[[int, int], object]
"""Called with the images that are read, and all of them."""


@dataclass(frozen=True)
class Part:
    """One part of the split.

    Attributes:
        images: how many.
        classes: how many of every class.
        patients: how many, or None where they are not known.
        given: whether the set came with it; otherwise it is made from the fractions and the seed of the request.
    """

    images: int
    classes: dict[str, int]
    patients: int | None
    given: bool


@dataclass(frozen=True)
class Inspection:
    """What is in a set.

    Attributes:
        name: of the set.
        images: how many.
        shape: (C, y, x) of each.
        dtype: of their values.
        classes: their names, in order.
        parts: of the split, by name.
        normalisation: of the training part.
        grey_auc: the grey-level AUC, or None where there are not two classes.
        copies: images of the same pixels.
    """

    name: str
    images: int
    shape: tuple[int, ...]
    dtype: str
    classes: tuple[str, ...]
    parts: dict[str, Part]
    normalisation: Normalisation
    grey_auc: float | None
    copies: Copies

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers for a JSON record."""
        return {**asdict(self), "normalisation": self.normalisation.to_dict(), "warnings": self.warnings}

    @property
    def warnings(self) -> list[str]:
        """What should be looked at before anything is trained, a sentence each."""
        lacking = [
            f"the {name} part has no image of class {label!r}"
            for name, part in self.parts.items()
            for label, count in part.classes.items()
            if not count
        ]
        return [*lacking, *self.copies.warnings, *self._of_levels()]

    def _of_levels(self) -> list[str]:
        if self.grey_auc is None or self.grey_auc <= TELLING:
            return []
        return [
            f"mean intensity alone tells the classes apart with an AUC of {self.grey_auc:.3f}: what a network finds "
            "may be staining or exposure, not shape"
        ]


def inspect(image_set: ImageSet, splits: Splits, progress: Progress | None = None) -> Inspection:
    """Read every image once, and return what is in the set.

    Args:
        image_set: the images; lazy ones are read block by block.
        splits: their parts.
        progress: told how far it has come.

    Raises:
        RequestError: an image cannot be read.
    """
    seen = _Seen(image_set.images, progress)
    normalisation = Normalisation.of(seen, splits.train)
    rest = np.sort(np.concatenate([splits.validation, splits.test]))
    for start in range(0, len(rest), _BLOCK):
        seen[rest[start : start + _BLOCK]]
    given = set() if image_set.split is None else set(image_set.split)
    return Inspection(
        name=image_set.name,
        images=len(image_set),
        shape=image_set.shape,
        dtype=image_set.images.dtype.name,
        classes=image_set.classes,
        parts={part: _part(image_set, getattr(splits, part), part in given) for part in PARTS},
        normalisation=normalisation,
        grey_auc=_grey_auc(image_set.labels, seen.means) if len(image_set.classes) == 2 else None,
        copies=find_copies(seen.hashes, part_of(splits), image_set.labels, _names(image_set)),
    )


def part_of(splits: Splits) -> np.ndarray:
    """Return the part ``[N]`` str of every image."""
    rows = [getattr(splits, part) for part in PARTS]
    parts = np.repeat(PARTS, list(map(len, rows)))
    return parts[np.argsort(np.concatenate(rows))]


class _Seen:
    """Images that note the mean and the hash of every row that is read.

    Args:
        images: any images.
        progress: told how many rows have been read.
    """

    def __init__(self, images: ImageArray, progress: Progress | None) -> None:
        self.images, self.progress = images, progress
        self.shape, self.dtype, self.ndim = images.shape, images.dtype, images.ndim
        self.means = np.zeros(len(images))
        self.hashes = [b""] * len(images)
        self._read = 0

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Any) -> np.ndarray:
        found = np.asarray(self.images[rows])
        self.means[rows] = found.mean((1, 2, 3), dtype=np.float64)
        for row, image in zip(rows, found, strict=True):
            self.hashes[row] = pixel_hash(image)
        self._read += len(found)
        if self.progress is not None:
            self.progress(self._read, len(self))
        return found


def _part(image_set: ImageSet, rows: np.ndarray, given: bool) -> Part:
    counts = np.bincount(image_set.labels[rows], minlength=len(image_set.classes)).tolist()
    patients = None if image_set.subjects is None else len(np.unique(image_set.subjects[rows]))
    return Part(len(rows), dict(zip(image_set.classes, counts, strict=True)), patients, given)


def _grey_auc(labels: np.ndarray, means: np.ndarray) -> float:
    auc = float(roc_auc_score(labels, means))
    return max(auc, 1 - auc)


def _names(image_set: ImageSet) -> list[str]:
    """Return what every image is called, with its class."""
    names = [f"image {row}" for row in range(len(image_set))] if image_set.names is None else image_set.names
    return [f"{name}, {image_set.classes[label]}" for name, label in zip(names, image_set.labels, strict=True)]
