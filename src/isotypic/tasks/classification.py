"""Classification of images and volumes: cross-entropy, learning curves, the test under every element of a group."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional

from isotypic.data.loading import Batch
from isotypic.data.normalisation import Normalisation
from isotypic.groups.finite import FiniteGroup
from isotypic.metrics.equivariance import equivariance_error
from isotypic.ops.action import act
from isotypic.ops.layout import channels_last
from isotypic.tasks.followed import FollowedTask, Tally
from isotypic.tasks.optimisation import TrainingConfig


class Classification(FollowedTask):
    """A classifier under training; the score of its curves is accuracy.

    Args:
        model: maps images ``[B, C, *space]`` to logits ``[B, classes]``.
        normalisation: what stored images go through first, on the device.
        augmentation: applied to normalised training batches only.
        config: the budget.
    """

    def __init__(
        self, model: nn.Module, normalisation: Normalisation, augmentation: nn.Module, config: TrainingConfig
    ) -> None:
        super().__init__(model, config)
        self.normalisation, self.augmentation = normalisation, augmentation

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Normalise a batch that has reached the device."""
        images, labels = batch
        return self.normalisation.apply(images.to(self.dtype)), labels

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the loss of one augmented batch."""
        images, labels = batch
        return self._step(self.augmentation(images), labels, self.trained)

    def validation_step(self, batch: Batch, index: int) -> None:
        """Add one batch to the validation figures."""
        self._step(*batch, self.validated)

    def _step(self, images: Tensor, labels: Tensor, tally: Tally) -> Tensor:
        logits = self(images)
        loss = functional.cross_entropy(logits, labels)
        tally.add(loss, len(labels), (logits.argmax(1) == labels).sum(), len(labels))
        return loss


def probabilities(model: nn.Module, batches: Iterable[Batch], group: FiniteGroup) -> tuple[Tensor, Tensor]:
    """Return what a classifier says of every image moved by every element of a group.

    Args:
        model: maps images to logits; put in evaluation mode.
        batches: the normalised images and labels.
        group: a group of the grid; element 0 leaves the images as they are.

    Returns:
        Probabilities ``[|G|, n, classes]`` and labels ``[n]``.
    """
    model.eval()
    device = next(model.parameters()).device
    found, labels = [], []
    with torch.inference_mode():
        for images, truth in batches:
            images = images.to(device)  # noqa: PLW2901
            moved = [model(channels_last(act(images, g, group))).softmax(1).cpu() for g in range(group.order)]
            found.append(torch.stack(moved))
            labels.append(truth)
    return torch.cat(found, 1), torch.cat(labels)


def invariance_error(model: nn.Module, images: Tensor, group: FiniteGroup) -> float:
    """Return the largest change of the logits under a group, over their standard deviation, in float64.

    Args:
        model: a classifier; it is copied.
        images: ``[B, C, *space]``, at least two of them.
        group: a group of the grid.
    """
    double = deepcopy(model).cpu().double().eval()
    return float(equivariance_error(double, images.cpu().double(), group).max())
