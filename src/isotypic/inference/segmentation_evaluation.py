"""Scoring a segmenter on a test set, upright and under every element of a group of the pixel grid.

An image is moved by an element, segmented, and what was found is moved back: then it is compared with the truth, and
pixel by pixel with what was found upright. Every image is segmented once an element, and what was found in it is gone
when the next one comes; what is to be kept of it, ``watch`` keeps.

An image has a score, its figure of merit. The scores of the metrics are pooled: over the images as they are, over the
images under every element, and of both over the images of every kind.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from isotypic.errors import RequestError
from isotypic.groups.finite import FiniteGroup
from isotypic.inference.grouping.pixels import boundary_probability, group_pixels
from isotypic.metrics.boundary import BoundaryMetric, BoundaryScores
from isotypic.metrics.instances import InstanceMetric, InstanceScores, hits_of, mean_dice
from isotypic.metrics.overlap import Labels, overlaps
from isotypic.metrics.partition import differing_pixels, move_array
from isotypic.models.heads import HeadChoice
from isotypic.tasks.recipe import Merit
from isotypic.tasks.segmentation.grouping import GroupingConfig

Output = NDArray[np.floating]
PooledScores = InstanceScores | BoundaryScores
"""Of boundary heads those of the boundary's probability, of all others those of the instances."""

ALL = ""
"""Stands for all kinds of images."""


class Sample(NamedTuple):
    """A test image: its name, its pixels ``[C, y, x]``, its labels ``[y, x]`` and its kind."""

    name: str
    pixels: NDArray[np.generic]
    labels: Labels
    kind: str = ALL


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
class SegmentedImage:
    """What a segmenter did with one test image under every element of a group.

    Attributes:
        sample: the image and the truth.
        found: ``[|G|]``, what was found in the moved image, moved back; element 0 is upright.
        scores: ``[|G|]``, the figure of merit.
        differing: ``[|G|]``, pixels that differ from the upright segmentation, whatever the instances are called.
        seconds: from the upright image to what was found in it.
    """

    sample: Sample
    found: tuple[Found, ...]
    scores: NDArray[np.float64]
    differing: NDArray[np.int64]
    seconds: float


@dataclass(frozen=True)
class SegmentationEvaluation:
    """What a segmenter did with a test set of n images.

    Attributes:
        group: the elements that moved the images; element 0 leaves them as they are.
        names: of the images.
        scores: ``[|G|, n]``, the figure of merit, 0 to 1.
        differing: ``[|G|, n]``, pixels that differ from the upright segmentation, whatever the instances are called.
        pixels: ``[n]``, pixels of the images.
        seconds: ``[n]``, from the upright image to what was found in it.
        upright: the scores pooled over the upright images of every kind, and of :data:`ALL`.
        moved: the same over the images under every element, the identity included.
    """

    group: FiniteGroup
    names: tuple[str, ...]
    scores: NDArray[np.float64]
    differing: NDArray[np.int64]
    pixels: NDArray[np.int64]
    seconds: NDArray[np.float64]
    upright: dict[str, PooledScores]
    moved: dict[str, PooledScores]

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
    watch: Callable[[SegmentedImage], object] | None = None,
) -> SegmentationEvaluation:
    """Segment every image under every element of a group, and compare with the truth and with the upright image.

    Args:
        outputs: from an image ``[C, y, x]`` to the channels of the heads ``[K, y, x]``.
        samples: the test images.
        group: a group of the pixel grid.
        heads: what the channels are.
        grouping: how they become labels.
        merit: the figure of merit.
        watch: called with every image as soon as it is segmented.

    Raises:
        RequestError: there is no image.
    """

    def find(image: NDArray[np.generic]) -> Found:
        output = outputs(image)
        boundary = boundary_probability(output) if heads is HeadChoice.BOUNDARY else None
        return Found(group_pixels(output, heads, grouping), boundary)

    upright, moved, rows = _Pool(heads), _Pool(heads), []
    for sample in samples:
        image = _segmented(find, sample, group, MERITS[merit])
        upright.update(sample, image.found[:1])
        moved.update(sample, image.found)
        if watch is not None:
            watch(image)
        rows.append((sample.name, image.scores, image.differing, sample.labels.size, image.seconds))
    if not rows:
        raise RequestError("expected at least one image to evaluate, received none")
    names, scores, differing, pixels, seconds = zip(*rows, strict=True)
    return SegmentationEvaluation(
        group,
        names,
        np.stack(scores, 1),
        np.stack(differing, 1),
        np.array(pixels),
        np.array(seconds),
        upright.compute(),
        moved.compute(),
    )


def _segmented(
    find: Callable[[NDArray[np.generic]], Found],
    sample: Sample,
    group: FiniteGroup,
    merit: Callable[[Labels, Found], float],
) -> SegmentedImage:
    start = time.perf_counter()
    upright = find(np.ascontiguousarray(sample.pixels))
    seconds = time.perf_counter() - start
    moved = [find(move_array(sample.pixels, g, group)) for g in range(1, group.order)]
    found = upright, *(each.moved(int(group.inverse[g]), group) for g, each in enumerate(moved, 1))
    scores = np.array([merit(sample.labels, each) for each in found])
    differing = np.array([differing_pixels(upright.labels, each.labels) for each in found])
    return SegmentedImage(sample, found, scores, differing, seconds)


class _Pool:
    """Metrics of all images and of those of every kind."""

    def __init__(self, heads: HeadChoice) -> None:
        boundary = heads is HeadChoice.BOUNDARY
        self._metrics: dict[str, Metric] = defaultdict(BoundaryMetric if boundary else InstanceMetric)
        self._compared = _probabilities if boundary else _instances

    def update(self, sample: Sample, found: Iterable[Found]) -> None:
        """Add what was found in an image, once or more than once."""
        for each in found:
            compared = self._compared(sample.labels, each)
            for kind in {ALL, sample.kind}:
                self._metrics[kind].update(*compared)

    def compute(self) -> dict[str, Any]:
        """Return the scores of every kind."""
        return {kind: metric.compute() for kind, metric in self._metrics.items()}


def _instances(truth: Labels, found: Found) -> tuple[Labels, Labels]:
    return truth, found.labels


def _probabilities(truth: Labels, found: Found) -> tuple[Tensor, Tensor]:
    """Return the probability of the boundary and where it is; without a probability, the decision."""
    probability = found.labels if found.boundary is None else found.boundary
    return torch.from_numpy(np.asarray(probability, dtype=np.float64)), torch.from_numpy(truth > 0)


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
    metric.update(*_probabilities(truth, found))
    return float(metric.compute().auc)


MERITS: dict[Merit, Callable[[Labels, Found], float]] = {
    Merit.DICE: _dice,
    Merit.GREEDY_DICE: _greedy_dice,
    Merit.AP50: _average_precision,
    Merit.AUC: _area_under_curve,
}
"""The figures of merit of one image."""
