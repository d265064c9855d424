"""The figures of a segmentation study, each under one name: the measure that decides, and what stands beside it.

The measure is a number an image, so that images can be paired and resampled; its figure is the mean over the images.
What stands beside it is the field's: true positives, false positives and false negatives of all images together
(``TP / (TP + FP + FN)``, PQ, AJI), all pixels of all images ranked together (AUC), but Dice the mean over the images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from isotypic.inference.segmentation_evaluation import ALL, PooledScores, SegmentationEvaluation
from isotypic.metrics.boundary import BoundaryScores
from isotypic.metrics.instances import InstanceScores
from isotypic.models.heads import HeadChoice
from isotypic.studies.records import Measure, Roc, Scores
from isotypic.studies.systems.roc import resampled
from isotypic.tasks.recipe import Merit, SegmentationRecipe

MEASURES = {
    Merit.DICE: Measure(name="Dice", better="has a higher Dice coefficient", prediction="segmentation"),
    Merit.GREEDY_DICE: Measure(name="Dice", better="has a higher Dice coefficient", prediction="segmentation"),
    Merit.AP50: Measure(name="AP at IoU .5", better="has a higher average precision", prediction="segmentation"),
    Merit.AUC: Measure(name="AUC", better="has a larger area under the ROC curve", prediction="segmentation"),
}
POOLED_AP = "pooled AP at IoU .5"
POOLED_MEAN_AP = "pooled mean AP at IoU .5:.9"
PANOPTIC_QUALITY = "PQ"
AGGREGATED_JACCARD = "AJI"
HUNGARIAN_DICE = "Hungarian Dice"
POOLED_AUC = "pooled AUC"
PIXEL_ACCURACY = "pixel accuracy"

DIFFERING = "pixels that change when moved"
CHANGED = "test images that change when moved"
FOUND = "instances found an image"
TRUE = "true instances an image"
SECONDS = "prediction seconds an image"

_OF_INSTANCES: dict[str, Callable[[InstanceScores], Tensor]] = {
    POOLED_AP: lambda scores: scores.ap[0],
    POOLED_MEAN_AP: lambda scores: scores.ap.mean(),
    PANOPTIC_QUALITY: lambda scores: scores.pq,
    AGGREGATED_JACCARD: lambda scores: scores.aji,
    HUNGARIAN_DICE: lambda scores: scores.dice,
}
_OF_BOUNDARIES: dict[str, Callable[[BoundaryScores], Tensor]] = {
    POOLED_AUC: lambda scores: scores.auc,
    PIXEL_ACCURACY: lambda scores: scores.accuracy,
}
_FIGURES: dict[HeadChoice, Mapping[str, Callable[[Any], Tensor]]] = {
    HeadChoice.EMBEDDING: _OF_INSTANCES,
    HeadChoice.OFFSET: _OF_INSTANCES,
    HeadChoice.BOUNDARY: _OF_BOUNDARIES,
}
"""Of every choice of heads; the first figure is given for every kind of image as well."""

_THE_SAME = {Merit.DICE: HUNGARIAN_DICE}
"""What the measure of a merit says already."""


class _Figure(NamedTuple):
    kind: str
    of: Callable[[Any], Tensor]


def names_beside(heads: HeadChoice, merit: Merit, kinds: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the figures beside the measure.

    >>> names_beside(HeadChoice.BOUNDARY, Merit.AUC, ["stained"])
    ('pooled AUC', 'pixel accuracy', 'pooled AUC, stained')
    """
    return tuple(_figures(heads, merit, kinds))


def figures_beside(heads: HeadChoice, merit: Merit, pooled: Mapping[str, PooledScores]) -> dict[str, float | None]:
    """Return the figures beside the measure on a test set; None where one is not defined.

    Args:
        heads: of the network.
        merit: that decides.
        pooled: the scores of all images, and of every kind where there are kinds.
    """
    kinds = sorted(pooled.keys() - {ALL})
    found = {name: float(of(pooled[kind])) for name, (kind, of) in _figures(heads, merit, kinds).items()}
    return {name: value if math.isfinite(value) else None for name, value in found.items()}


def upright_scores(recipe: SegmentationRecipe, on_test: SegmentationEvaluation) -> Scores:
    """Return the measure of the upright images and the figures beside it."""
    return _scores(recipe, on_test.scores[0], on_test.upright)


def moved_scores(recipe: SegmentationRecipe, on_test: SegmentationEvaluation) -> Scores:
    """Return the measure of the images under every element and the figures beside it."""
    return _scores(recipe, on_test.scores, on_test.moved)


def _scores(recipe: SegmentationRecipe, scores: NDArray[np.float64], pooled: Mapping[str, PooledScores]) -> Scores:
    beside = figures_beside(recipe.model.heads, recipe.merit, pooled)
    return Scores(figures={MEASURES[recipe.merit].name: float(scores.mean()), **beside})


def run_figures(on_test: SegmentationEvaluation) -> dict[str, float]:
    """Return what is measured of a run besides: of any scale."""
    upright = on_test.upright[ALL]
    counts = {}
    if isinstance(upright, InstanceScores):
        images = int(upright.images)
        counts = {FOUND: int(upright.found) / images, TRUE: int(upright.true) / images}
    return {DIFFERING: on_test.differing_fraction, **counts, SECONDS: float(np.median(on_test.seconds))}


def roc_curve(scores: PooledScores) -> Roc | None:
    """Return the ROC curve of all pixels; None for instances."""
    if not isinstance(scores, BoundaryScores):
        return None
    return resampled(scores.false_positive_rate, scores.true_positive_rate)


def _figures(heads: HeadChoice, merit: Merit, kinds: Iterable[str]) -> dict[str, _Figure]:
    figures = _FIGURES[heads]
    first = next(iter(figures))
    whole = {name: _Figure(ALL, of) for name, of in figures.items() if name != _THE_SAME.get(merit)}
    return whole | {f"{first}, {kind}": _Figure(kind, figures[first]) for kind in kinds}
