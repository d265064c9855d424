"""What a network made of every test image: the measure of each, under every element of the group."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isotypic.errors import RequestError
from isotypic.files import write_atomically
from isotypic.studies.records import UPRIGHT

PREDICTIONS_FILE = "predictions.npz"


@dataclass(frozen=True)
class Predictions:
    """The measure of the test images under every element of the group.

    Args:
        images: what tells the images apart, [n]: their names, or their true classes. Cells with the same entries
            were tested on the same images and are paired.
        elements: the elements as they are shown ("0°", "90°", ...); the first is the identity.
        scores: the measure, [elements, n] in [0, 1]; row 0 is upright. For accuracy 1 where the class is right. Of a
            measure that all images make together, part and whole that each adds, [elements, n, classes, 2].
        drawn: whether the elements but the first were drawn from a group that is not finite. The mean over the group is
            that over the drawn ones then; otherwise it is that over all elements.

    Raises:
        RequestError: the shapes do not belong together, or a score lies outside [0, 1].
    """

    images: NDArray[Any]
    elements: tuple[str, ...]
    scores: NDArray[np.floating]
    drawn: bool = False

    def __post_init__(self) -> None:
        shape, whole = (len(self.elements), *self.images.shape), self.scores.shape
        if self.images.ndim != 1 or whole[:2] != shape or not (len(whole) == 2 or (len(whole) == 4 and whole[3] == 2)):
            shapes = f"images {self.images.shape}, scores {self.scores.shape} for {len(self.elements)} elements"
            raise RequestError(f"predictions need images [n] and scores [elements, n], got {shapes}")
        most = 1 if len(whole) == 2 else self.scores[..., 1:]
        outside = self.scores[~((self.scores >= 0) & (self.scores <= most))]
        if outside.size:
            raise RequestError(f"expected the measure of every image in [0, 1], received {outside[0]}")

    def of(self, test: str) -> NDArray[np.float64]:
        """Return the measure of each image on a test set, [n]: upright, or the mean over the group."""
        rows = self.scores[:1] if test == UPRIGHT else self.scores[int(self.drawn) :]
        return rows.mean(axis=0, dtype=np.float64)


def write_predictions(folder: Path, predictions: Predictions) -> Path:
    """Write a cell's ``predictions.npz`` atomically."""
    arrays = {key: np.asarray(value) for key, value in vars(predictions).items()}
    return write_atomically(
        folder / PREDICTIONS_FILE, lambda path: np.savez_compressed(path, allow_pickle=False, **arrays)
    )


def read_predictions(folder: Path) -> Predictions:
    """Read a cell's ``predictions.npz``; a :class:`RequestError` where it holds no predictions."""
    path = folder / PREDICTIONS_FILE
    try:
        with np.load(path, allow_pickle=False) as stored:
            elements = tuple(str(element) for element in stored["elements"])
            drawn = bool(stored["drawn"]) if "drawn" in stored else False
            return Predictions(stored["images"], elements, stored["scores"], drawn)
    except (OSError, KeyError, ValueError) as problem:
        raise RequestError(f"{path} cannot be read as predictions: {problem}") from problem
