"""Figures of merit of a map of pixel probabilities against a binary map: ROC curve, its area, accuracy.

All pixels of all images are ranked together. They do not fit in memory, so they are counted in equal intervals of the
logit ``log(p / (1 - p))`` of their probability from -32 to 32 (equal intervals of p would not tell the pixels of a
confident network apart, which crowd at 0 and 1), positive and negative pixels apart: the state is two rows of whole
numbers, the same in any order and over any number of processes. The curve is exact at the intervals' ends. Its area
takes the pixels of one interval for ties; with ``p_b`` positive and ``n_b`` negative pixels in interval b, of P and N
in all, the exact area lies within

    ``sum_b p_b n_b / (2 P N)``

of it, for the order within an interval can move each of its pairs by at most one half. That bound is returned.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from isotypic.errors import RequestError

_LARGEST_LOGIT = 32.0
"""Beyond what float32 tells from certainty on the side of 1 (16.6); ``exp(-32)`` is 1e-14."""


class BoundaryScores(NamedTuple):
    """Scores of a set of images, float64; NaN where there are no positive or no negative pixels to rank.

    Attributes:
        auc: area under the ROC curve.
        auc_error: how far it may be from the area without intervals, at most.
        accuracy: fraction of pixels on the right side of one half; one half itself counts as negative.
        threshold: ``[intervals + 1]``, probabilities, falling from 1 to 0: pixels above it are called positive, at the
            last one all pixels.
        false_positive_rate: ``[intervals + 1]``, at each threshold, rising from 0 to 1.
        true_positive_rate: ``[intervals + 1]``, the same.
    """

    auc: Tensor
    auc_error: Tensor
    accuracy: Tensor
    threshold: Tensor
    false_positive_rate: Tensor
    true_positive_rate: Tensor


class BoundaryMetric(Metric):
    """The ROC curve and accuracy of pixels: ``update`` some pixels at a time, ``compute`` gives a BoundaryScores.

    Args:
        intervals: how many; 65,536 take 1 MB.
        options: of torchmetrics.

    Raises:
        RequestError: fewer than two intervals.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    def __init__(self, intervals: int = 2**16, **options: Any) -> None:
        super().__init__(**options)
        if intervals < 2:
            raise RequestError(f"expected at least 2 intervals of the probability, received {intervals}")
        self.intervals = intervals
        self.add_state("right", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        for name in ("positive", "negative"):
            self.add_state(name, torch.zeros(intervals, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, probability: Tensor, truth: Tensor) -> None:
        """Add the pixels of one or more images.

        Args:
            probability: of the positive class, 0 to 1, any shape.
            truth: the same shape, bool or integers 0 and 1.

        Raises:
            RequestError: another shape, a probability outside 0 to 1 or NaN, or a truth other than 0 and 1.
        """
        _check(probability, truth)
        chosen = truth.flatten() == 1
        level = _levels(probability.flatten().double(), self.intervals)
        self.positive += torch.bincount(level[chosen], minlength=self.intervals)
        self.negative += torch.bincount(level[~chosen], minlength=self.intervals)
        self.right += ((probability.flatten() > 0.5) == chosen).sum()

    def compute(self) -> BoundaryScores:
        """Return the scores of all pixels so far."""
        positive, negative = self.positive.flip(0).double(), self.negative.flip(0).double()
        pairs = positive.sum() * negative.sum()
        above = positive.cumsum(0) - positive
        return BoundaryScores(
            auc=(negative * (above + positive / 2)).sum() / pairs,
            auc_error=(positive * negative).sum() / 2 / pairs,
            accuracy=self.right / (positive.sum() + negative.sum()),
            threshold=_thresholds(self.intervals).to(positive.device),
            false_positive_rate=_rates(negative),
            true_positive_rate=_rates(positive),
        )


def _levels(probability: Tensor, intervals: int) -> Tensor:
    """Return the interval of every probability, 0 for the lowest logits."""
    place = (probability.logit() / _LARGEST_LOGIT).clamp(-1, 1)
    return ((place + 1) / 2 * intervals).long().clamp(max=intervals - 1)


def _thresholds(intervals: int) -> Tensor:
    inner = torch.linspace(_LARGEST_LOGIT, -_LARGEST_LOGIT, intervals + 1, dtype=torch.float64)[1:-1].sigmoid()
    return torch.cat([inner.new_ones(1), inner, inner.new_zeros(1)])


def _rates(counts: Tensor) -> Tensor:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)]) / counts.sum()


def _check(probability: Tensor, truth: Tensor) -> None:
    if probability.shape != truth.shape:
        raise RequestError(
            f"expected probabilities and truth of one shape, received {list(probability.shape)} and {list(truth.shape)}"
        )
    # Written so that NaN fails.
    if not bool(((probability >= 0) & (probability <= 1)).all()):
        raise RequestError(
            f"expected probabilities from 0 to 1, received {float(probability.min())} to {float(probability.max())}; "
            "apply sigmoid or softmax to logits first"
        )
    if not bool(((truth == 0) | (truth == 1)).all()):
        raise RequestError(f"expected a truth of 0 and 1, received values up to {truth.max()}")
