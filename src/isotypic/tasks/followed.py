"""A network under training whose loss and score are followed, whatever the task; it can be stopped and go on."""

from __future__ import annotations

import math
from dataclasses import asdict, astuple, dataclass
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from isotypic.ops.layout import channels_last
from isotypic.tasks.curves import LearningCurves
from isotypic.tasks.optimisation import MONITORED, TrainingConfig, configured


@dataclass
class Tally:
    """What the images of one interval came to.

    Attributes:
        loss: sum of the losses of the images.
        images: how many.
        hits: what the network got right, in the task's own measure.
        total: the most that it could have got right.
    """

    loss: float = 0.0
    images: int = 0
    hits: int = 0
    total: int = 0

    def add(self, loss: Tensor, images: int, hits: Tensor, total: int) -> None:
        """Add a batch: its mean loss, and its share of the attributes."""
        self.loss += float(loss.detach()) * images
        self.images += images
        self.hits += int(hits)
        self.total += total

    def means(self) -> tuple[float, float]:
        """Return mean loss and score; NaN where there was no image, a score of 1 where nothing could be got right."""
        if not self.images:
            return math.nan, math.nan
        return self.loss / self.images, self.hits / self.total if self.total else 1.0


class FollowedTask(LightningModule):
    """A network under training: a subclass says what a step is and adds every batch to a tally.

    Args:
        model: the network.
        config: the budget.

    Attributes:
        curves: the learning curves so far.
        trained: the tally of the training batches since the last point of the curves.
        validated: the tally of the validation batches of the next point.
    """

    def __init__(self, model: nn.Module, config: TrainingConfig) -> None:
        super().__init__()
        self.model, self.config = model, config
        self.curves = LearningCurves()
        self.trained, self.validated = Tally(), Tally()

    def forward(self, images: Tensor) -> Tensor:
        """Return what the network says of a batch; it gets its channels last, which makes most networks faster."""
        return self.model(channels_last(images))

    def on_validation_epoch_end(self) -> None:
        """Record one point of the curves."""
        validation = self.validated.means()
        self.curves.record(self.trainer.global_step, self._of_all(self.trained).means(), validation)
        self.log(MONITORED, validation[0])
        self.trained, self.validated = Tally(), Tally()

    def _of_all(self, tally: Tally) -> Tally:
        """Return the sum of the tallies of all processes that train together."""
        if self.trainer.world_size == 1:
            return tally
        mine = torch.tensor(astuple(tally), dtype=torch.float64, device=self.device)
        loss, *counts = self.trainer.strategy.reduce(mine, reduce_op="sum").tolist()
        return Tally(loss, *map(int, counts))

    def configure_optimizers(self) -> Any:
        """Return the recipe's optimiser with its schedule."""
        return configured(self.model.parameters(), self.config, self.trainer.accumulate_grad_batches)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the curves and the tally of the interval that has begun."""
        checkpoint |= {"curves": asdict(self.curves), "trained": asdict(self.trained)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the curves and the tally back."""
        self.curves, self.trained = LearningCurves(**checkpoint["curves"]), Tally(**checkpoint["trained"])
