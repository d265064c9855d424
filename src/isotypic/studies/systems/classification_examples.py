"""What a classification cell shows: the test images that it is surest of, right and wrong, and least sure of.

How sure a network is of an upright image is the probability of the class that it gives; of images of one probability
the first in the test set comes first. With two classes there is a row of the surest for either true class, right and
wrong. With more, no class comes twice among the surest right ones before every class has come once, and so on; the
surest wrong ones are what they are. The least sure are those of the others. Nothing but the probabilities is kept of
all images; those that are shown are read when they are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isotypic.data.image_set import ImageSet
from isotypic.groups.finite import Indices
from isotypic.inference.writers.overlay import CLIPPED
from isotypic.studies.systems.mosaic import COLOURED, Row, Tile, columns, fitting, room, write_mosaic
from isotypic.studies.systems.png import INK, MARK, MUTED
from isotypic.studies.systems.sheet import Words

TWO = 2
"""Classes: one of them is the positive one."""

_CERTAIN = 0.9995


@dataclass(frozen=True)
class Kind:
    """The images of one row.

    Attributes:
        name: of what kind they are.
        shown: those that are shown, by their places in the test set.
        there: how many there are of the kind.
    """

    name: str
    shown: Indices
    there: int


class Examples:
    """The examples of one run.

    Args:
        images: all images with their labels; they may be lazy.
        rows: which of them are the test images.
        probabilities: of the upright test images, ``[n, classes]``.
    """

    def __init__(self, images: ImageSet, rows: Indices, probabilities: NDArray[np.floating]) -> None:
        self.images, self.rows, self.labels = images, rows, images.labels[rows]
        self.sure, self.predicted = probabilities.max(1), probabilities.argmax(1)
        self._size: tuple[int, int] = (images.shape[-2], images.shape[-1])
        self._most = columns(*self._size)

    @property
    def caption(self) -> str:
        """What the picture shows, without a full stop."""
        spread = "" if len(self.images.classes) == TWO else " (of different classes, as far as there are enough)"
        tones = (
            ""
            if self.images.shape[0] == COLOURED
            else f". In every image the darkest and the brightest {CLIPPED:.1%} of the pixels are black and white"
        )
        return (
            f"upright test images, those that it is surest of where it is right{spread} and where it is wrong, and of "
            "the others those that it is least sure of. Below an image: true class → predicted class, and p, the "
            f"probability that it gives the predicted class{tones}{self._cut}"
        )

    @property
    def _cut(self) -> str:
        return "" if self.images.axes == 2 else ". Of every volume the middle section is shown"

    def chosen(self) -> list[Kind]:
        """Return the rows."""
        surest = np.argsort(-self.sure, kind="stable")
        kinds = [self._kind(name, surest[mask[surest]], spread) for name, mask, spread in self._masks()]
        rest = np.argsort(self.sure, kind="stable")
        rest = rest[~np.isin(rest, np.concatenate([kind.shown for kind in kinds]))]
        return [*kinds, Kind("Least sure of the others", rest[: self._most], len(rest))]

    def write(self, path: Path) -> Path:
        """Draw the rows as PNG.

        Raises:
            ImportError: matplotlib is not installed.
            OSError: the file cannot be written.
        """
        rows = [Row(kind.name, _counted(kind), tuple(map(self._tile, kind.shown))) for kind in self.chosen()]
        return write_mosaic(rows, self.images.value_range, path)

    def _masks(self) -> Iterator[tuple[str, NDArray[np.bool_], bool]]:
        """Yield the kinds: the name, which test images are of it, and whether classes are to be mixed."""
        right = self.predicted == self.labels
        for verdict, mask in (("Right and surest", right), ("Wrong and surest", ~right)):
            if len(self.images.classes) == TWO:
                for label, name in enumerate(self.images.classes):
                    yield f"{verdict}, true class “{name}”", mask & (self.labels == label), False
            else:
                yield verdict, mask, mask is right

    def _kind(self, name: str, surest: Indices, mixed: bool) -> Kind:
        return Kind(name, (self._mixed(surest) if mixed else surest)[: self._most], len(surest))

    def _mixed(self, surest: Indices) -> Indices:
        """Return places so that the first of every true class come first, then the second, and so on."""
        labels = pd.Series(self.labels[surest])
        return surest[np.argsort(labels.groupby(labels).cumcount().to_numpy(), kind="stable")]

    def _tile(self, place: int) -> Tile:
        return Tile(self.images.picture(int(self.rows[place])), self._words(place))

    def _words(self, place: int) -> tuple[Words, ...]:
        """Return true class, predicted class and probability; the classes on one line if all have room on it."""
        size, classes = self._size, self.images.classes
        true, predicted = classes[self.labels[place]], classes[self.predicted[place]]
        colour = INK if true == predicted else MARK
        probability = Words(_said(float(self.sure[place])), MUTED)
        if 2 * max(map(len, classes)) + len(" → ") <= room(*size):
            return Words(f"{true} → {predicted}", colour), probability
        return Words(fitting(true, *size), colour), Words(fitting(f"→ {predicted}", *size), colour), probability


def _counted(kind: Kind) -> str:
    shown = len(kind.shown)
    return f"{shown} of {kind.there:,} such test images" if kind.there else "no such test image"


def _said(probability: float) -> str:
    return "p > 0.999" if probability >= _CERTAIN else f"p = {probability:.3f}"
