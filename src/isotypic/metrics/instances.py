"""Figures of merit of instance segmentations: matched Dice, average precision, panoptic quality, aggregated Jaccard.

Everything comes from one table of overlaps an image. Summed over images are whole numbers and per-image ratios, so a
result is the same however the images are spread over processes (ratios to rounding).

* **Dice**: the mean over the true instances of an image and its background of ``2 |t n p| / (|t| + |p|)`` with the
  matched prediction, 0 for an instance without one; then the mean over images. A superfluous prediction costs nothing
  here but what it takes from others and from the background. A background that neither image has is left out.
* **AP** at a threshold: ``TP / (TP + FP + FN)``, the measure of the Data Science Bowl 2018; a pair is a true positive
  if its intersection over union is larger than the threshold. From one half on it is then the only pair of either, so
  no matching is needed. StarDist's table pools TP, FP and FN over all images; EmbedSeg's takes the mean of the images'
  APs. Their programs also count pairs that meet the threshold exactly.
* **PQ**: the sum of the intersections over union above one half, over ``TP + FP/2 + FN/2``.
* **AJI**: every true instance with its best prediction by intersection over union, ``sum |t n p| / sum |t u p|``; an
  instance that meets none adds ``|t|`` below, and so does every prediction that was nobody's best.

An image in which there is nothing to find and nothing was found scores 1 in all of them.

Sources:
    Paper III of spec/segmentation.md (Dice). J. C. Caicedo et al., Nucleus segmentation across imaging experiments: the
    2018 Data Science Bowl, Nature Methods 16 (2019). U. Schmidt et al., Cell Detection with Star-Convex Polygons,
    MICCAI 2018, arXiv 1806.03535. M. Lalit et al., arXiv 2101.10033. A. Kirillov et al., Panoptic Segmentation, CVPR
    2019, arXiv 1801.00868. N. Kumar et al., A Dataset and a Technique for Generalized Nuclear Segmentation for
    Computational Pathology, IEEE TMI 36 (2017), doi 10.1109/TMI.2017.2677499.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from isotypic.metrics.overlap import Indices, Labels, Overlaps, overlaps

AP_PERCENT = tuple(range(50, 95, 5))
"""The thresholds of AP in percent; whole numbers, so that comparing with a quotient of whole numbers is exact."""


class InstanceScores(NamedTuple):
    """Scores of a set of images, float64 between 0 and 1 unless said otherwise.

    Attributes:
        dice: Hungarian matching.
        dice_greedy: the paper's matching.
        ap: ``[9]``, at :data:`AP_PERCENT`, TP, FP and FN pooled over images as in StarDist's table.
        ap_by_image: ``[9]``, mean of the images' APs, as in EmbedSeg's table.
        pq: pooled, as it is defined.
        pq_by_image: mean over images.
        aji: pooled.
        aji_by_image: mean over images.
        true: how many instances there are, int64.
        found: how many were predicted, int64.
        images: how many images, int64.
    """

    dice: Tensor
    dice_greedy: Tensor
    ap: Tensor
    ap_by_image: Tensor
    pq: Tensor
    pq_by_image: Tensor
    aji: Tensor
    aji_by_image: Tensor
    true: Tensor
    found: Tensor
    images: Tensor


class InstanceMetric(Metric):
    """All scores of instance segmentations: ``update`` an image at a time, ``compute`` gives :class:`InstanceScores`.

    Panoptic quality is not torchmetrics': that takes 4.2 s for 1000 x 1000 pixels and 500 instances, where the table
    that all scores share takes 0.03 s. The values are equal (tested).
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for name in ("images", "true", "found", "jaccard_shared", "jaccard_joined"):
            self._sum(name, torch.zeros((), dtype=torch.int64))
        for name in ("dice", "dice_greedy", "quality", "pq_ratios", "aji_ratios"):
            self._sum(name, torch.zeros((), dtype=torch.float64))
        self._sum("hits", torch.zeros(len(AP_PERCENT), dtype=torch.int64))
        self._sum("ap_ratios", torch.zeros(len(AP_PERCENT), dtype=torch.float64))

    def _sum(self, name: str, zero: Tensor) -> None:
        self.add_state(name, zero, dist_reduce_fx="sum")

    def update(self, truth: Labels | Tensor, prediction: Labels | Tensor) -> None:
        """Add one image.

        Args:
            truth: ``[y, x]``, integers, 0 for background.
            prediction: the same.

        Raises:
            RequestError: not two label images of one size.
        """
        table = overlaps(_array(truth), _array(prediction))
        true, found = len(table.true_sizes), len(table.predicted_sizes)
        hits, quality = torch.as_tensor(hits_of(table)), panoptic_sum(table)
        shared, joined = jaccard_sums(table)
        self.images += 1
        self.true += true
        self.found += found
        self.hits += hits.to(self.hits.device)
        self.quality += quality
        self.jaccard_shared += shared
        self.jaccard_joined += joined
        self.dice += mean_dice(table, table.best_matching(table.dice))
        self.dice_greedy += mean_dice(table, table.greedy_matching())
        self.ap_ratios += _ratio(hits, true + found - hits).to(self.ap_ratios.device)
        self.pq_ratios += _ratio(quality, (true + found) / 2)
        self.aji_ratios += _ratio(shared, joined)

    def compute(self) -> InstanceScores:
        """Return the scores of all images so far."""
        return InstanceScores(
            dice=self.dice / self.images,
            dice_greedy=self.dice_greedy / self.images,
            ap=_ratio(self.hits, self.true + self.found - self.hits),
            ap_by_image=self.ap_ratios / self.images,
            pq=_ratio(self.quality, (self.true + self.found) / 2),
            pq_by_image=self.pq_ratios / self.images,
            aji=_ratio(self.jaccard_shared, self.jaccard_joined),
            aji_by_image=self.aji_ratios / self.images,
            true=self.true,
            found=self.found,
            images=self.images,
        )


def mean_dice(table: Overlaps, matching: Indices) -> float:
    """Return the mean Dice coefficient of the true instances and the background under a matching, 1 without pixels.

    >>> half = overlaps(np.array([[0, 0, 1, 1]]), np.array([[0, 0, 0, 1]]))
    >>> round(mean_dice(half, half.greedy_matching()), 6) == round((2 / 3 + 4 / 5) / 2, 6)
    True
    """
    total, count = float(table.dice[matching].sum()), len(table.true_sizes)
    background = table.background_dice
    if background is not None:
        total, count = total + background, count + 1
    return total / count if count else 1.0


def hits_of(table: Overlaps) -> Indices:
    """Return the true positives at each of :data:`AP_PERCENT`, ``[9]``."""
    percent = np.array(AP_PERCENT)[:, None]
    return (100 * table.shared > percent * table.unions).sum(1)


def hit_pairs(table: Overlaps) -> Indices:
    """Return the pairs whose intersection over union is above one half, as indices into the pairs."""
    return np.flatnonzero(2 * table.shared > table.unions)


def agreeing_pairs(table: Overlaps) -> Indices:
    """Return the pairs of the one-to-one matching that shares most pixels, as indices into the pairs."""
    return table.best_matching(table.shared)


def renamed(reference: Labels, labels: Labels, pairs: Callable[[Overlaps], Indices]) -> Labels:
    """Return a label image in which every paired instance has its partner's label, and any other a new one.

    New labels are above all of the reference. Renamed by :func:`agreeing_pairs`, the pixels that differ from the
    reference are those that :func:`~isotypic.metrics.partition.differing_pixels` counts.

    Args:
        reference: ``[y, x]``, integers, 0 for background.
        labels: the same.
        pairs: which instances are one, no label twice.

    Raises:
        RequestError: not two label images of one size.

    >>> renamed(np.array([[0, 7, 7, 0]]), np.array([[1, 2, 2, 0]]), hit_pairs)
    array([[8, 7, 7, 0]])
    """
    table = overlaps(reference, labels)
    chosen = pairs(table)
    known, own = (np.unique(image[image > 0]).astype(np.int64) for image in (reference, labels))
    names = int(reference.max(initial=0)) + 1 + np.arange(len(own))
    names[table.predicted[chosen]] = known[table.true[chosen]]
    result = np.zeros(labels.shape, dtype=np.int64)
    result[labels > 0] = names[np.searchsorted(own, labels[labels > 0])]
    return result


def panoptic_sum(table: Overlaps) -> float:
    """Return the sum of the intersections over union of the pairs where it is above one half."""
    return float(table.iou[hit_pairs(table)].sum())


def jaccard_sums(table: Overlaps) -> tuple[int, int]:
    """Return the pixels above and below the line of the aggregated Jaccard index.

    A prediction may be the best of several true instances; of two that are equally good the one with the lower label
    is taken.
    """
    order = np.lexsort((table.predicted, -table.iou, table.true))
    met, first = np.unique(table.true[order], return_index=True)
    best = order[first]
    missed = table.true_sizes.sum() - table.true_sizes[met].sum()
    unused = table.predicted_sizes.sum() - table.predicted_sizes[np.unique(table.predicted[best])].sum()
    return int(table.shared[best].sum()), int(table.unions[best].sum() + missed + unused)


def _array(labels: Labels | Tensor) -> Labels:
    return labels.cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)


def _ratio(part: Tensor | float, whole: Tensor | float) -> Tensor:
    """Return ``part / whole`` in float64, and 1 where there is nothing: nothing was to be found, and nothing was."""
    part, whole = torch.as_tensor(part).double(), torch.as_tensor(whole).double()
    return torch.where(whole > 0, part / whole, torch.ones_like(whole))
