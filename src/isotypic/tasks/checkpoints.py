"""A training that was stopped goes on where it was, and ends with the same weights and figures to the last bit.

The checkpoint is Lightning's (weights, optimiser, schedule, loops) with what exactness needs besides: the state of the
random generators that augmentations and dropout draw from, the curves, and the seconds spent. Batches need no state:
they follow from the seed and the number of the step. It is written now and then beside the run, and at the end; a stop
costs what came after the last one. Of several processes that train together the first writes, and the others draw
other random numbers after a stop.
"""

from __future__ import annotations

import pickle
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from isotypic.errors import RequestError
from isotypic.files import write_atomically

CHECKPOINT_FILE = "checkpoint.ckpt"
_OURS = "isotypic"


@dataclass(frozen=True)
class Reached:
    """How far a stopped training had come: optimiser steps made, seconds spent on them, and whether it had ended."""

    step: int
    seconds: float
    ended: bool


@dataclass(frozen=True)
class Checkpoint:
    """Where an unfinished training is kept.

    Attributes:
        path: the file.
        training: says which training it is; another one does not go on from it.
        interval: seconds between two checkpoints.
    """

    path: Path
    training: str
    interval: float = 300.0

    def read(self) -> Reached | None:
        """Return how far the training had come, or None where it has not begun.

        Raises:
            RequestError: the file is damaged, or of another training.
        """
        if not self.path.exists():
            return None
        try:
            kept = torch.load(self.path, map_location="cpu", weights_only=True)
            ours = kept[_OURS]
            training, reached = ours["training"], Reached(kept["global_step"], ours["seconds"], ours["ended"])
        except (RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as problem:
            raise RequestError(
                f"expected an unfinished training at {self.path}, the file is damaged: delete it to train anew"
            ) from problem
        if training != self.training:
            raise RequestError(
                f"{self.path} belongs to a training with another recipe, other images or another seed: give another "
                "--out, or delete it to train anew"
            )
        return reached


class Watch:
    """The clock of a training that is kept: what it took so far, and whether it is time to write.

    Args:
        checkpoint: where it is kept.
        spent: seconds that the training took before it was stopped.
    """

    def __init__(self, checkpoint: Checkpoint, spent: float) -> None:
        self.checkpoint, self.spent = checkpoint, spent
        self.started = self.written = time.perf_counter()

    def due(self, trainer: Trainer) -> bool:
        """Return whether the interval has passed; processes that train together write together."""
        passed = time.perf_counter() - self.written >= self.checkpoint.interval
        return trainer.strategy.reduce_boolean_decision(passed, all=False)

    def wrote(self) -> None:
        """Begin the next interval."""
        self.written = time.perf_counter()

    def mark(self, ended: bool, **more: Any) -> dict[str, Any]:
        """Return what :meth:`Checkpoint.read` reads, with what else is to be kept, as an entry of the file."""
        seconds = self.spent + time.perf_counter() - self.started
        return {_OURS: {"training": self.checkpoint.training, "ended": ended, "seconds": seconds, **more}}


class Keeper(Callback):
    """Write the checkpoint of a training now and then, within an interval between evaluations, and at its end.

    Args:
        checkpoint: where.
        spent: seconds that the training took before it was stopped.
    """

    def __init__(self, checkpoint: Checkpoint, spent: float) -> None:
        self.checkpoint, self.watch = checkpoint, Watch(checkpoint, spent)
        self.generators: dict[str, Any] | None = None
        self.ended = False

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        """Set the random generators as they were."""
        if self.generators is not None and trainer.is_global_zero:
            torch.set_rng_state(self.generators["cpu"])
            torch.cuda.set_rng_state_all(self.generators["cuda"])

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write behind a step, if it is time to and the evaluation is not due: it would not be made up for."""
        done = batch_idx + 1
        if done == trainer.num_training_batches or done % trainer.accumulate_grad_batches:
            return
        if self.watch.due(trainer):
            self._write(trainer)

    def on_train_end(self, trainer: Trainer, *_: Any) -> None:
        """Write the end."""
        self.ended = True
        self._write(trainer)

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add what Lightning does not keep."""
        generators = {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}
        checkpoint.update(self.watch.mark(self.ended, generators=generators))

    def on_load_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Remember the random generators; the start of the training draws from them before its first batch."""
        self.generators = checkpoint[_OURS]["generators"]

    def _write(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            write_atomically(self.checkpoint.path, trainer.save_checkpoint)
        else:
            trainer.save_checkpoint(self.checkpoint.path)  # takes part, and writes nothing
        self.watch.wrote()
