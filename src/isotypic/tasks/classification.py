"""Image classification: cross-entropy, learning curves, and the test under every element of a group."""

from __future__ import annotations

import time
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from isotypic.data.loading import Batch
from isotypic.groups.finite import FiniteGroup
from isotypic.metrics.equivariance import equivariance_error
from isotypic.ops.action import act
from isotypic.tasks.training import TrainingConfig, optimiser, schedule


@dataclass
class LearningCurves:
    """What training recorded, one entry an evaluation.

    Attributes:
        step: optimiser steps made.
        train_loss: mean cross-entropy of the training batches since the last evaluation.
        train_accuracy: accuracy on those batches, augmented as they were.
        validation_loss: mean cross-entropy of the validation images.
        validation_accuracy: accuracy on the validation images.
    """

    step: list[int] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)


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
        curves: the learning curves so far.
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
        curves = self.curves
        curves.step.append(self.trainer.global_step)
        for tally, losses, accuracies in (
            (self._train, curves.train_loss, curves.train_accuracy),
            (self._validation, curves.validation_loss, curves.validation_accuracy),
        ):
            loss, accuracy = tally.means()
            losses.append(loss)
            accuracies.append(accuracy)
        self._train, self._validation = _Tally(), _Tally()

    def configure_optimizers(self) -> Any:
        """Return the recipe's optimiser with its schedule, stepped every batch."""
        chosen = optimiser(self.model.parameters(), self.config)
        return {
            "optimizer": chosen,
            "lr_scheduler": {"scheduler": schedule(chosen, self.config), "interval": "step"},
        }


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


def latency_ms(model: nn.Module, image: Tensor, repeats: int = 30) -> float:
    """Return the median milliseconds that one image ``[C, y, x]`` takes, at batch 1, in evaluation mode."""
    model.eval()
    batch = image[None].to(next(model.parameters()).device)
    seconds = []
    with torch.inference_mode():
        for _ in range(repeats + 3):
            start = time.perf_counter()
            model(batch).sum().item()
            seconds.append(time.perf_counter() - start)
    return 1e3 * float(np.median(seconds[3:]))
