"""Classes of points against the truth: counts of every image, and what all images together come to.

For class c, an image counts the points of both, ``|t n p|``, of the truth, ``|t|``, and of the prediction, ``|p|``,
each with its weight: one, or the area that it stands for. Counts of images add up. The intersection over union of a
class is ``sum |t n p| / sum (|t| + |p| - |t n p|)`` over all images; the mean is over the classes but the background
(class 0) that are in the truth or the prediction at all: that of one confusion matrix of all points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isotypic.errors import RequestError

Floats = NDArray[np.float64]
Classes = NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class PointCounts:
    """What n images count, each ``[n, classes]``.

    Attributes:
        shared: points of the class in truth and prediction.
        true: points of the truth.
        found: points of the prediction.
    """

    shared: Floats
    true: Floats
    found: Floats

    @classmethod
    def of(cls, truth: Classes, found: Classes, classes: int, weights: Floats | None = None) -> PointCounts:
        """Count.

        Args:
            truth: ``[n, *points]``.
            found: the same of the prediction.
            classes: how many there are.
            weights: of a point, ``[*points]``; None for one each.

        Raises:
            RequestError: the shapes differ.
        """
        if truth.shape != found.shape:
            raise RequestError(f"expected predictions {list(truth.shape)} as the truth, received {list(found.shape)}")
        weight = np.ones(truth.shape[1:]) if weights is None else weights
        both = np.where(truth == found, truth.astype(np.int64), -1)
        return cls(*(_counts(each, classes, weight) for each in (both, truth, found)))

    @property
    def union(self) -> Floats:
        """Points of truth or prediction, ``[n, classes]``."""
        return self.true + self.found - self.shared

    @property
    def overlaps(self) -> Floats:
        """Points of both and of either, without the background, ``[n, classes - 1, 2]``."""
        return np.stack([self.shared, self.union], -1)[:, 1:]

    def iou(self) -> Floats:
        """Return the intersection over union of every class but the background, NaN of one that is nowhere."""
        shared, union = np.moveaxis(self.overlaps.sum(0), -1, 0)
        return np.divide(shared, union, out=np.full(len(union), np.nan), where=union > 0)

    def mean_iou(self) -> float:
        """Return the mean of these over the classes that there are; NaN where there is none."""
        found = self.iou()
        return float(found[~np.isnan(found)].mean()) if not np.isnan(found).all() else float("nan")

    def accuracy(self) -> float:
        """Return the share of points of the right class."""
        return float(self.shared.sum() / self.true.sum())

    @classmethod
    def joined(cls, parts: Sequence[PointCounts]) -> PointCounts:
        """Return the counts of several sets of images."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("shared", "true", "found")))


def _counts(classes_of: Classes, classes: int, weight: Floats) -> Floats:
    """Return the weight of every class of every image, ``[n, classes]``; -1 is no class."""
    images = len(classes_of)
    places = classes_of.reshape(images, -1).astype(np.int64) + 1 + (classes + 1) * np.arange(images)[:, None]
    weights = np.broadcast_to(weight.reshape(1, -1), places.shape)
    found = np.bincount(places.ravel(), weights.ravel(), minlength=images * (classes + 1)).astype(np.float64)
    return found.reshape(images, classes + 1)[:, 1:]
