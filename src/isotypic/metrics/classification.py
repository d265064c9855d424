"""Figures of merit of a classifier, from the probabilities of a whole test set; torchmetrics where it has them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_recall,
    binary_roc,
    binary_specificity,
    multiclass_auroc,
    multiclass_confusion_matrix,
    multiclass_recall,
    multiclass_specificity,
)


@dataclass(frozen=True)
class ClassificationScores:
    """Scores of one test set; with two classes, class 1 is the positive one.

    Attributes:
        accuracy: fraction of images whose most probable class is the true one, 0 to 1.
        auc: area under the ROC curve; for more than two classes the mean over classes of one against the rest.
            None where a class has no image.
        sensitivity: TP / (TP + FN); for more than two classes the mean over classes.
        specificity: TN / (TN + FP); for more than two classes the mean over classes.
        confusion: ``[classes][classes]``, true class by predicted class.
    """

    accuracy: float
    auc: float | None
    sensitivity: float
    specificity: float
    confusion: list[list[int]]


def classification_scores(probabilities: Tensor, labels: Tensor) -> ClassificationScores:
    """Score a test set.

    Args:
        probabilities: ``[n, classes]``.
        labels: ``[n]``, integers.
    """
    classes = probabilities.shape[1]
    confusion = multiclass_confusion_matrix(probabilities, labels, num_classes=classes)
    complete = bool((confusion.sum(1) > 0).all())
    if classes == 2:
        positive = probabilities[:, 1]
        predicted = probabilities.argmax(1)
        auc = binary_auroc(positive, labels) if complete else None
        sensitivity, specificity = binary_recall(predicted, labels), binary_specificity(predicted, labels)
    else:
        auc = multiclass_auroc(probabilities, labels, num_classes=classes) if complete else None
        sensitivity = multiclass_recall(probabilities, labels, num_classes=classes, average="macro")
        specificity = multiclass_specificity(probabilities, labels, num_classes=classes, average="macro")
    return ClassificationScores(
        accuracy=float(confusion.trace() / confusion.sum()),
        auc=None if auc is None else float(auc),
        sensitivity=float(sensitivity),
        specificity=float(specificity),
        confusion=confusion.tolist(),
    )


def roc_curve(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return false and true positive rates as the threshold on the probability of class 1 falls.

    Args:
        probabilities: ``[n, classes]``.
        labels: ``[n]``, integers.

    Returns:
        Both ``[thresholds]``, from 0 to 1; None where there are not two classes, or one of them has no image.
    """
    if probabilities.shape[1] != 2 or len(labels.unique()) < 2:
        return None
    false, true, _ = binary_roc(probabilities[:, 1].double(), labels)
    return false, true


def overfitting_ratio(train_accuracy: float, test_accuracy: float) -> float:
    """Return train accuracy / test accuracy: 1 for a classifier that does not overfit, larger for one that does.

    Source:
        The measure of the oral cytology study (spec/pathology.md, Paper I).
    """
    return train_accuracy / test_accuracy if test_accuracy else float("inf")


def disagreements(predicted: Tensor) -> int:
    """Return how many images get different classes under the elements of a group.

    Args:
        predicted: ``[elements, n]``, the predicted class of image n moved by each element.

    >>> import torch
    >>> disagreements(torch.tensor([[1, 2, 3], [1, 2, 0]]))
    1
    """
    return int((predicted != predicted[:1]).any(0).sum())
