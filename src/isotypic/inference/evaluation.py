"""Scoring a classifier on a test set, upright and under every element of a group."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isotypic.data.loading import Batch
from isotypic.groups.finite import FiniteGroup
from isotypic.metrics.classification import ClassificationScores, classification_scores, disagreements
from isotypic.tasks.classification import probabilities


@dataclass(frozen=True)
class Evaluation:
    """What a classifier did with a test set.

    Attributes:
        group: the elements that moved the images.
        labels: ``[n]``.
        probabilities: ``[|G|, n, classes]``; row 0 is upright.
    """

    group: FiniteGroup
    labels: Tensor
    probabilities: Tensor

    @property
    def predicted(self) -> Tensor:
        """The predicted classes ``[|G|, n]``."""
        return self.probabilities.argmax(2)

    @property
    def elements(self) -> tuple[str, ...]:
        """The elements in words."""
        return tuple(self.group.describe(g) for g in range(self.group.order))

    @property
    def upright(self) -> ClassificationScores:
        """Scores on the images as they are."""
        return classification_scores(self.probabilities[0], self.labels)

    @property
    def moved(self) -> ClassificationScores:
        """Scores on every image under every element."""
        return classification_scores(self.probabilities.flatten(0, 1), self.labels.repeat(self.group.order))

    @property
    def accuracy_by_element(self) -> dict[str, float]:
        """Accuracy on the images moved by each element."""
        right = (self.predicted == self.labels).double().mean(1)
        return dict(zip(self.elements, right.tolist(), strict=True))

    @property
    def disagreeing(self) -> int:
        """How many images change their class under some element."""
        return disagreements(self.predicted)


def evaluate(model: nn.Module, batches: Iterable[Batch], group: FiniteGroup) -> Evaluation:
    """Run a classifier on every normalised image under every element of a group of the pixel grid."""
    found, labels = probabilities(model, batches, group)
    return Evaluation(group, labels, torch.as_tensor(found))
