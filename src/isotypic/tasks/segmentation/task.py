"""Segmentation: a dense network trained on windows by the loss of its heads, followed on whole images."""

from __future__ import annotations

from torch import Tensor, nn

from isotypic.data.augmentations.catalogue import Pairwise
from isotypic.data.loading import Batch
from isotypic.models.heads import DenseNetwork, split_heads
from isotypic.tasks.followed import FollowedTask, Tally
from isotypic.tasks.optimisation import TrainingConfig
from isotypic.tasks.segmentation.objectives import Objective


class Segmentation(FollowedTask):
    """A dense network under training; the score of its curves is the Dice coefficient of foreground pixels.

    Args:
        model: maps images ``[B, C, y, x]`` to the channels of its heads.
        objective: the loss of those heads.
        augmentation: moves training images and labels alike.
        intensity: changes the grey levels of training images.
        config: the budget.
    """

    def __init__(
        self,
        model: DenseNetwork,
        objective: Objective,
        augmentation: Pairwise,
        intensity: nn.Module,
        config: TrainingConfig,
    ) -> None:
        super().__init__(model, config)
        self.heads, self.objective = model.heads, objective
        self.augmentation, self.intensity = augmentation, intensity

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the loss of one augmented batch."""
        images, labels = self.augmentation(*batch)
        return self._step(self.intensity(images), labels, self.trained)

    def validation_step(self, batch: Batch, index: int) -> None:
        """Add one batch to the validation figures."""
        self._step(*batch, self.validated)

    def _step(self, images: Tensor, labels: Tensor, tally: Tally) -> Tensor:
        output = split_heads(self(images).to(images.dtype), self.heads)  # half precision is too coarse for positions
        loss = self.objective.loss(output, labels)["total"]
        found, true = self.objective.foreground(output), labels > 0
        tally.add(loss, len(labels), 2 * (found & true).sum(), int(found.sum()) + int(true.sum()))
        return loss
