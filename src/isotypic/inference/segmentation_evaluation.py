"""Scoring a segmenter on a test set, upright and under every element of a group of the pixel grid.

An image is moved by an element, segmented, and what was found is moved back: then it is compared with the truth, and
pixel by pixel with what was found upright.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from isotypic.groups.finite import FiniteGroup
from isotypic.inference.grouping import boundary_probability, group_pixels
from isotypic.metrics.boundary import BoundaryMetric
from isotypic.metrics.instances import hits_of, mean_dice
from isotypic.metrics.overlap import Labels, overlaps
from isotypic.metrics.partition import differing_pixels, move_array
from isotypic.models.heads import HeadChoice
from isotypic.tasks.grouping import GroupingConfig
from isotypic.tasks.recipe import Merit

Output = NDArray[np.floating]
Sample = tuple[str, NDArray[np.generic], Labels]
"""A test image: its name, its pixels ``[C, y, x]`` and its labels ``[y, x]``."""


@dataclass(frozen=True)
class Found:
    """What was found in an image.

    Attributes:
        labels: ``[y, x]``.
        boundary: probability of the boundary ``[y, x]``; None for instances.
    """

    labels: Labels
    boundary: Output | None = None

    def moved(self, element: int, group: FiniteGroup) -> Found:
        """Return it moved by an element of a group."""
        boundary = None if self.boundary is None else move_array(self.boundary, element, group)
        return Found(move_array(self.labels, element, group), boundary)


@dataclass(frozen=True)
class SegmentationEvaluation:
    """What a segmenter did with a test set of n images.

    Attributes:
        group: the elements that moved the images; element 0 leaves them as they are.
        names: of the images.
        scores: ``[|G|, n]``, the figure of merit, 0 to 1.
        differing: ``[|G|, n]``, pixels that differ from the upright segmentation, whatever the instances are called.
        pixels: ``[n]``, pixels of the images.
        instances: ``[n]``, instances found upright.
    """

    group: FiniteGroup
    names: tuple[str, ...]
    scores: NDArray[np.float64]
    differing: NDArray[np.int64]
    pixels: NDArray[np.int64]
    instances: NDArray[np.int64]

    @property
    def elements(self) -> tuple[str, ...]:
        """The elements in words."""
        return tuple(self.group.describe(g) for g in range(self.group.order))

    @property
    def changed(self) -> int:
        """How many images have a pixel that differs under some element."""
        return int((self.differing > 0).any(0).sum())

    @property
    def differing_fraction(self) -> float:
        """The mean fraction of pixels that differ, over the images and the elements that move them."""
        return float((self.differing[1:] / self.pixels).mean()) if len(self.differing) > 1 else 0.0


def evaluate_segmentation(
    outputs: Callable[[NDArray[np.generic]], Output],
    samples: Iterable[Sample],
    group: FiniteGroup,
    *,
    heads: HeadChoice,
    grouping: GroupingConfig,
    merit: Merit,
) -> SegmentationEvaluation:
    """Segment every image under every element of a group, and compare with the truth and with the upright image.

    Args:
        outputs: from an image ``[C, y, x]`` to the channels of the heads ``[K, y, x]``.
        samples: the test images.
        group: a group of the pixel grid.
        heads: what the channels are.
        grouping: how they become labels.
        merit: the figure of merit.
    """

    def find(image: NDArray[np.generic]) -> Found:
        output = outputs(image)
        boundary = boundary_probability(output) if heads is HeadChoice.BOUNDARY else None
        return Found(group_pixels(output, heads, grouping), boundary)

    rows = [_evaluate_image(find, sample, group, MERITS[merit]) for sample in samples]
    names, scores, differing, pixels, instances = zip(*rows, strict=True)
    stacked = np.stack(scores, 1), np.stack(differing, 1)
    return SegmentationEvaluation(group, names, *stacked, np.array(pixels), np.array(instances))


def _evaluate_image(
    find: Callable[[NDArray[np.generic]], Found],
    sample: Sample,
    group: FiniteGroup,
    merit: Callable[[Labels, Found], float],
) -> tuple[str, NDArray[np.float64], NDArray[np.int64], int, int]:
    name, image, truth = sample
    moved = [find(move_array(image, g, group)) for g in range(group.order)]
    back = [found.moved(int(group.inverse[g]), group) for g, found in enumerate(moved)]
    scores = np.array([merit(truth, found) for found in back])
    differing = np.array([differing_pixels(back[0].labels, found.labels) for found in back])
    return name, scores, differing, truth.size, len(np.unique(back[0].labels[back[0].labels > 0]))


def _dice(truth: Labels, found: Found) -> float:
    table = overlaps(truth, found.labels)
    return mean_dice(table, table.best_matching(table.dice))


def _greedy_dice(truth: Labels, found: Found) -> float:
    table = overlaps(truth, found.labels)
    return mean_dice(table, table.greedy_matching())


def _average_precision(truth: Labels, found: Found) -> float:
    """Return TP / (TP + FP + FN) at an intersection over union of one half; 1 where nothing was to be found or was."""
    table = overlaps(truth, found.labels)
    hits, total = int(hits_of(table)[0]), len(table.true_sizes) + len(table.predicted_sizes)
    return hits / (total - hits) if total else 1.0


def _area_under_curve(truth: Labels, found: Found) -> float:
    metric = BoundaryMetric()
    probability = found.labels if found.boundary is None else found.boundary
    metric.update(torch.from_numpy(np.asarray(probability, dtype=np.float64)), torch.from_numpy(truth > 0))
    return float(metric.compute().auc)


MERITS: dict[Merit, Callable[[Labels, Found], float]] = {
    Merit.DICE: _dice,
    Merit.GREEDY_DICE: _greedy_dice,
    Merit.AP50: _average_precision,
    Merit.AUC: _area_under_curve,
}
"""The figures of merit of one image."""
