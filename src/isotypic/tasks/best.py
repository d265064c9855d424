"""The best weights of a training by its validation loss, and its end when that no longer falls."""

from __future__ import annotations

import math
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from isotypic.tasks.followed import FollowedTask
from isotypic.tasks.optimisation import TrainingConfig


class Best(Callback):
    """Watch the validation loss; what is remembered goes into checkpoints.

    Args:
        config: ``keep`` and ``stop_after``.
    """

    def __init__(self, config: TrainingConfig) -> None:
        self.config = config
        self.loss, self.since = math.inf, 0
        self.weights: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: Trainer, task: FollowedTask) -> None:
        """Remember the weights, or count one more evaluation in vain."""
        loss = task.curves.validation_loss[-1]
        self.since += 1
        if loss < self.loss:
            self.loss, self.since = loss, 0
            if self.config.keep == "best":
                self.weights = {name: value.cpu().clone() for name, value in task.model.state_dict().items()}
        if self.config.stop_after is not None and self.since >= self.config.stop_after:
            trainer.should_stop = True

    def restore(self, model: nn.Module) -> None:
        """Give a network the weights that are to be kept."""
        if self.weights:
            model.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"loss": self.loss, "since": self.since, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what a checkpoint kept."""
        self.loss, self.since, self.weights = (state_dict[key] for key in ("loss", "since", "weights"))
