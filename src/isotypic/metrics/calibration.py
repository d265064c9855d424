"""Probabilities that are right as often as they say, and the one from which on a case is called positive.

Both are fitted to validation images, never to test images.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn.functional import cross_entropy

from isotypic.configuration import Config

_HOTTEST = 10.0
"""Temperatures are looked for up to it and down to its inverse."""


class Calibration(Config):
    """How the logits z of a classifier become probabilities ``softmax(z / temperature)``, and these a class."""

    temperature: float = Field(1.0, gt=0, description="logits are divided by it")
    threshold: float = Field(0.5, ge=0, le=1, description="of two classes, the second from this probability on")

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return ``softmax(z / temperature)`` of logits ``[n, classes]``."""
        return (logits / self.temperature).softmax(1)


def calibrated(logits: Tensor, labels: Tensor) -> Calibration | None:
    """Return the calibration of a classifier of two classes; None where it has others, or an image of one class only.

    Args:
        logits: of the validation images, ``[n, classes]``.
        labels: their classes, ``[n]``.
    """
    if logits.shape[1] != 2 or len(labels.unique()) != 2:
        return None
    found = Calibration(temperature=fitted_temperature(logits, labels))
    scores = found.probabilities(logits.double())[:, 1]
    return Calibration(temperature=found.temperature, threshold=youden_threshold(scores, labels))


def fitted_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature T of least cross-entropy of ``softmax(z / T)``, from 0.1 to 10.

    Where no image is wrong there is none, the lower the better: images without errors do not tell how sure a network
    may be, and T is 1.

    Args:
        logits: ``[n, classes]``.
        labels: ``[n]``.

    Source:
        C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On Calibration of Modern Neural Networks", 2017,
        https://arxiv.org/abs/1706.04599.
    """
    exact, bound = logits.double(), math.log(_HOTTEST)
    if bool((exact.argmax(1) == labels).all()):
        return 1.0

    def loss(log_temperature: float) -> float:
        return float(cross_entropy(exact / math.exp(log_temperature), labels))

    return math.exp(minimize_scalar(loss, bounds=(-bound, bound), method="bounded", options={"xatol": 1e-6}).x)


def youden_threshold(scores: Tensor, labels: Tensor) -> float:
    """Return the threshold of largest ``J = sensitivity + specificity - 1``, where ``score >= threshold`` is positive.

    Between two neighbouring scores J is constant: the middle is taken, of the widest such interval of largest J.

    Args:
        scores: ``[n]``, from 0 to 1.
        labels: ``[n]``, 1 for positive, of both classes.

    Source:
        W. Youden, "Index for rating diagnostic tests", 1950.

    >>> youden_threshold(torch.tensor([0.0, 0.25, 0.75, 1.0]), torch.tensor([0, 0, 1, 1]))
    0.5
    """
    values, place = scores.double().unique(return_inverse=True)  # ascending
    positive, negative = (
        torch.zeros(len(values), dtype=torch.float64).index_add_(0, place, (labels == k).double()) for k in (1, 0)
    )
    # threshold number k lies above the k lowest values
    missed, spared = (torch.cat([each.new_zeros(1), each.cumsum(0)]) / each.sum() for each in (positive, negative))
    edges = torch.cat([values.new_zeros(1), values, values.new_ones(1)])
    widths = edges.diff()
    j = spared - missed
    best = int(torch.where(j >= j.max() - 1e-12, widths, -1.0).argmax())
    return float((edges[best] + edges[best + 1]) / 2)
