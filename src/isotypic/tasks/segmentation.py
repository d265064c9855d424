"""Segmentation: a dense network trained on windows by the loss of its heads, followed on whole images."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from isotypic.data.augmentation import Pairwise
from isotypic.data.loading import Batch
from isotypic.models.heads import DenseNetwork, split_heads
from isotypic.tasks.curves import LearningCurves
from isotypic.tasks.objectives import Objective
from isotypic.tasks.training import MONITORED, TrainingConfig, configured


class ForegroundDice:
    """The Dice coefficient of foreground pixels and the mean loss, over the images of one interval."""

    def __init__(self) -> None:
        self.loss, self.count, self.shared, self.total = torch.zeros(()), 0, 0, 0

    def add(self, loss: Tensor, found: Tensor, labels: Tensor) -> None:
        """Add a batch: its loss, the pixels called foreground, and the labels."""
        self.loss = self.loss + loss.detach().cpu() * len(labels)
        self.count += len(labels)
        self.shared += 2 * int((found & (labels > 0)).sum())
        self.total += int(found.sum()) + int((labels > 0).sum())

    def means(self) -> tuple[float, float]:
        """Return mean loss and Dice coefficient; NaN where there was no image, 1 where there was no foreground."""
        return float(self.loss / self.count), self.shared / self.total if self.total else 1.0


class Segmentation(LightningModule):
    """A dense network under training.

    Args:
        model: maps images ``[B, C, y, x]`` to the channels of its heads.
        objective: the loss of those heads.
        augmentation: moves training images and labels alike.
        intensity: changes the grey levels of training images.
        config: the budget.

    Attributes:
        curves: the learning curves so far; the score is the Dice coefficient of foreground pixels.
    """

    def __init__(
        self,
        model: DenseNetwork,
        objective: Objective,
        augmentation: Pairwise,
        intensity: nn.Module,
        config: TrainingConfig,
    ) -> None:
        super().__init__()
        self.model, self.objective, self.config = model, objective, config
        self.augmentation, self.intensity = augmentation, intensity
        self.curves = LearningCurves()
        self._train, self._validation = ForegroundDice(), ForegroundDice()

    def forward(self, images: Tensor) -> Tensor:
        """Return the channels of all heads."""
        return self.model(images)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the loss of one augmented batch."""
        images, labels = self.augmentation(*batch)
        return self._step(self.intensity(images), labels, self._train)

    def validation_step(self, batch: Batch, index: int) -> None:
        """Add one batch to the validation figures."""
        self._step(*batch, self._validation)

    def _step(self, images: Tensor, labels: Tensor, figures: ForegroundDice) -> Tensor:
        output = split_heads(self.model(images), self.model.heads)
        loss = self.objective.loss(output, labels)["total"]
        figures.add(loss, self.objective.foreground(output), labels)
        return loss

    def on_validation_epoch_end(self) -> None:
        """Record one point of the curves."""
        validation = self._validation.means()
        self.curves.record(self.trainer.global_step, self._train.means(), validation)
        self.log(MONITORED, validation[0])
        self._train, self._validation = ForegroundDice(), ForegroundDice()

    def configure_optimizers(self) -> Any:
        """Return the recipe's optimiser with its schedule."""
        return configured(self.model.parameters(), self.config)
