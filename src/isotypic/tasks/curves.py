"""Learning curves: what training recorded, one entry an evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class LearningCurves:
    """What training recorded.

    Attributes:
        step: optimiser steps made.
        train_loss: mean loss of the training batches since the last evaluation.
        train_score: the task's figure (accuracy, Dice) on those batches, augmented as they were.
        validation_loss: mean loss of the validation images.
        validation_score: the task's figure on the validation images.
    """

    step: list[int] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    train_score: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_score: list[float] = field(default_factory=list)

    def record(self, step: int, train: tuple[float, float], validation: tuple[float, float]) -> None:
        """Add an evaluation: loss and score of training and of validation."""
        self.step.append(step)
        for (loss, score), losses, scores in (
            (train, self.train_loss, self.train_score),
            (validation, self.validation_loss, self.validation_score),
        ):
            losses.append(loss)
            scores.append(score)
