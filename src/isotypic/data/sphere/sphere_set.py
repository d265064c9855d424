"""A labelled set of spherical images: what every spherical data set loads into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isotypic.data.sphere.fields import SphereFields
from isotypic.data.splits import Splits

BACKGROUND = "background"


@dataclass(frozen=True, eq=False)
class SphereSet:
    """Functions on the sphere with their labels and their split.

    Args:
        name: what the set is called in records and errors.
        fields: the functions, N of them.
        labels: ``[N]`` int64, an index into ``classes``, or 0 where images have no one class.
        classes: the names of the classes; those of points are the background and then these.
        splits: which functions are for training, validation and test; no source image is in two parts.
    """

    name: str
    fields: SphereFields
    labels: np.ndarray
    classes: tuple[str, ...]
    splits: Splits

    def __len__(self) -> int:
        return len(self.fields)

    @property
    def point_classes(self) -> tuple[str, ...]:
        """The names of the classes of points."""
        return (BACKGROUND, *self.classes)
