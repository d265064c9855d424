"""Scoring networks on spherical images, as they are and each turned by a random rotation of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from isotypic.data.normalisation import Normalisation
from isotypic.data.sphere.points import areas, turned_back
from isotypic.metrics.classification import ClassificationScores, classification_scores, disagreements
from isotypic.metrics.points import PointCounts
from isotypic.ops.layout import channels_last
from isotypic.tasks.sphere.session import EVALUATED, SphereMaterial

UPRIGHT_AND_TURNED = ("as they are", "turned at random")
"""What is tested, in words: the first leaves the images as they are."""

Heard = Callable[[float], object]


@dataclass(frozen=True)
class SphereClassified:
    """What a classifier did with a test set.

    Attributes:
        labels: ``[n]``.
        probabilities: ``[2, n, classes]``, of the images as they are and turned.
    """

    labels: Tensor
    probabilities: Tensor

    @property
    def right(self) -> NDArray[np.float64]:
        """One where the class is right, else zero, ``[2, n]``."""
        return (self.probabilities.argmax(2) == self.labels).double().numpy()

    @property
    def scores(self) -> list[ClassificationScores]:
        """Scores of either set."""
        return [classification_scores(each, self.labels) for each in self.probabilities]

    @property
    def changed(self) -> int:
        """Images whose class changes when they are turned."""
        return disagreements(self.probabilities.argmax(2))


@dataclass(frozen=True)
class Segmented:
    """What a network found at the points of a test set, as it is and turned.

    Attributes:
        counts: of the points of the grid, each once, of either set.
        by_area: the same, each point with the area that it stands for.
        changed: one minus the intersection over union, by area and of all classes pooled, of what is found in the
            images as they are and in the turned ones, turned back.
        resampled: the same of the truth, which is what turning back costs at the borders.
    """

    counts: tuple[PointCounts, PointCounts]
    by_area: tuple[PointCounts, PointCounts]
    changed: float
    resampled: float

    @property
    def overlaps(self) -> NDArray[np.float64]:
        """Part and whole of every class but the background, by area, ``[2, n, classes - 1, 2]``."""
        return np.stack([counts.overlaps for counts in self.by_area])


def classify_turned(
    model: nn.Module, material: SphereMaterial, rows: np.ndarray, normalisation: Normalisation
) -> SphereClassified:
    """Classify some images as they are and turned; the network stays where it is."""
    sets = [material.pictures(rows, turned=turned) for turned in (False, True)]
    found = [torch.cat(list(_outputs(model, pixels, normalisation))).softmax(1) for pixels in sets]
    return SphereClassified(torch.from_numpy(material.images.labels[rows]), torch.stack(found))


def segment_turned(
    model: nn.Module,
    material: SphereMaterial,
    rows: np.ndarray,
    normalisation: Normalisation,
    heard: Heard | None = None,
) -> Segmented:
    """Tell the class of every point of some images as they are and turned; the network stays where it is.

    Args:
        model: maps images to logits of every point.
        material: the images.
        rows: which of them.
        normalisation: what they go through first.
        heard: told the fraction that is done.
    """
    sets = [material.points(rows, turned=turned) for turned in (False, True)]
    turned = material.samples(rows, turned=True)
    classes = len(material.images.point_classes)
    blocks = []
    for start in range(0, len(rows), EVALUATED):
        places = np.arange(start, min(start + EVALUATED, len(rows)))
        truth = [np.asarray(each.classes[places]) for each in sets]
        found = [found_classes(model, np.asarray(each.images[places]), normalisation) for each in sets]
        blocks.append(_compared(truth, found, turned.rotations(places), classes))
        if heard is not None:
            heard((places[-1] + 1) / len(rows))
    upright, moved, *by_area, changed, resampled = map(PointCounts.joined, zip(*blocks, strict=True))
    return Segmented((upright, moved), (by_area[0], by_area[1]), _changed(changed), _changed(resampled))


def _compared(
    truth: list[np.ndarray], found: list[np.ndarray], rotations: Rotation, classes: int
) -> tuple[PointCounts, ...]:
    """Return the counts of a block: as it is and turned, both by area, and what turning changes in found and truth."""
    weights = areas(truth[0].shape[-1] // 2)
    pairs = list(zip(truth, found, strict=True))
    plain = [PointCounts.of(*pair, classes) for pair in pairs]
    changes = [(each[0], turned_back(each[1], rotations)) for each in (found, truth)]
    return (*plain, *(PointCounts.of(*pair, classes, weights) for pair in [*pairs, *changes]))


def found_classes(model: nn.Module, images: np.ndarray, normalisation: Normalisation) -> NDArray[np.int64]:
    """Return the class of every point ``[n, 2 b, 2 b]`` of images ``[n, C, 2 b, 2 b]`` as they are stored."""
    return torch.cat([logits.argmax(1) for logits in _outputs(model, images, normalisation)]).numpy()


def _outputs(model: nn.Module, images: np.ndarray, normalisation: Normalisation) -> Iterator[Tensor]:
    model.eval()
    weight = next(model.parameters())
    for start in range(0, len(images), EVALUATED):
        stored: Any = np.array(images[start : start + EVALUATED])
        batch = torch.from_numpy(stored).to(weight.device, weight.dtype)
        with torch.inference_mode():
            yield model(channels_last(normalisation.apply(batch))).cpu()


def _changed(counts: PointCounts) -> float:
    shared, either = counts.overlaps.sum((0, 1))
    return float(1 - shared / either) if either else 0.0
