"""Image classification: cross-entropy, learning curves, and the test under every element of a group."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from isotypic.data.loading import Batch
from isotypic.groups.finite import FiniteGroup
from isotypic.metrics.equivariance import equivariance_error
from isotypic.ops.action import act
from isotypic.tasks.curves import LearningCurves
from isotypic.tasks.training import MONITORED, TrainingConfig, configured


class _Tally:
    """Sums of loss and hits over the images of one interval."""

    def __init__(self) -> None:
        self.loss, self.hits, self.count = torch.zeros(()), torch.zeros(()), 0

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        self.loss = self.loss + loss.detach().cpu() * len(labels)
        self.hits = self.hits + (logits.argmax(1) == labels).sum().cpu()
        self.count += len(labels)

    def means(self) -> tuple[float, float]:
        """Return mean loss and accuracy; NaN where there was no image."""
        return float(self.loss / self.count), float(self.hits / self.count)


class Classification(LightningModule):
    """A classifier under training.

    Args:
        model: maps images ``[B, C, y, x]`` to logits ``[B, classes]``.
        augmentation: applied to training batches only.
        config: the budget.

    Attributes:
        curves: the learning curves so far; the score is accuracy.
    """

    def __init__(self, model: nn.Module, augmentation: nn.Module, config: TrainingConfig) -> None:
        super().__init__()
        self.model, self.augmentation, self.config = model, augmentation, config
        self.curves = LearningCurves()
        self._train, self._validation = _Tally(), _Tally()

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        return self.model(images)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the loss of one augmented batch."""
        images, labels = batch
        logits = self.model(self.augmentation(images))
        loss = functional.cross_entropy(logits, labels)
        self._train.add(loss, logits, labels)
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        """Add one batch to the validation tally."""
        images, labels = batch
        logits = self.model(images)
        self._validation.add(functional.cross_entropy(logits, labels), logits, labels)

    def on_validation_epoch_end(self) -> None:
        """Record one point of the curves."""
        validation = self._validation.means()
        self.curves.record(self.trainer.global_step, self._train.means(), validation)
        self.log(MONITORED, validation[0])
        self._train, self._validation = _Tally(), _Tally()

    def configure_optimizers(self) -> Any:
        """Return the recipe's optimiser with its schedule."""
        return configured(self.model.parameters(), self.config)


def probabilities(model: nn.Module, batches: DataLoader[Batch], group: FiniteGroup) -> tuple[Tensor, Tensor]:
    """Return what a classifier says of every image moved by every element of a group.

    Args:
        model: maps images to logits; put in evaluation mode.
        batches: the images and labels.
        group: a group of the pixel grid; element 0 leaves the images as they are.

    Returns:
        Probabilities ``[|G|, n, classes]`` and labels ``[n]``.
    """
    model.eval()
    device = next(model.parameters()).device
    found, labels = [], []
    with torch.inference_mode():
        for images, truth in batches:
            images = images.to(device)  # noqa: PLW2901
            moved = [model(act(images, g, group)).softmax(1).cpu() for g in range(group.order)]
            found.append(torch.stack(moved))
            labels.append(truth)
    return torch.cat(found, 1), torch.cat(labels)


def invariance_error(model: nn.Module, images: Tensor, group: FiniteGroup) -> float:
    """Return the largest change of the logits under a group, over their standard deviation, in float64.

    Args:
        model: a classifier; it is copied.
        images: ``[B, C, y, x]``, at least two of them.
        group: a group of the pixel grid.
    """
    double = deepcopy(model).cpu().double().eval()
    return float(equivariance_error(double, images.cpu().double(), group).max())
