"""Fitting a task: the budget of a recipe, carried out by Lightning."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from pydantic import Field
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from isotypic.configuration import Config

Progress = Callable[[float], None]


class TrainingConfig(Config):
    """The ``training`` section of a recipe: the same budget of steps for every arm and every size."""

    steps: int = Field(400, ge=1, description="optimiser steps")
    batch_size: int = Field(64, ge=1, description="images a step")
    optimizer: Literal["adam", "sgd"] = Field("adam", description="adam (AdamW) or sgd with Nesterov momentum 0.9")
    learning_rate: float = Field(3e-3, gt=0, description="at the start")
    weight_decay: float = Field(1e-4, ge=0, description="decoupled weight decay")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="of the learning rate, over the steps")
    evaluations: int = Field(20, ge=1, description="points on the learning curve, equally spaced")
    precision: Literal["32", "bf16-mixed", "16-mixed", "64"] = Field("32", description="of the arithmetic")
    workers: int = Field(0, ge=0, description="processes that load data")

    @property
    def steps_per_evaluation(self) -> int:
        """Steps between two points of the learning curve."""
        return math.ceil(self.steps / self.evaluations)


def optimiser(parameters: Any, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the optimiser of a recipe over some parameters."""
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, config.learning_rate, momentum=0.9, nesterov=True, weight_decay=config.weight_decay
        )
    return torch.optim.AdamW(parameters, config.learning_rate, weight_decay=config.weight_decay)


def schedule(optimizer: torch.optim.Optimizer, config: TrainingConfig) -> LambdaLR:
    """Return the learning-rate schedule of a recipe, stepped once an optimiser step."""
    if config.schedule == "constant":
        return LambdaLR(optimizer, lambda step: 1.0)
    return LambdaLR(optimizer, lambda step: 0.5 + 0.5 * math.cos(math.pi * min(step / config.steps, 1.0)))


def fit(
    task: LightningModule,
    train: DataLoader[Any],
    validation: DataLoader[Any],
    config: TrainingConfig,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> float:
    """Train a task for its budget of steps.

    Args:
        task: what to train; it records its own curves at every validation.
        train: batches; an epoch of it is one interval between evaluations.
        validation: batches for the curves.
        config: the budget.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``.
        progress: called with the fraction done, after every interval and now and then within.

    Returns:
        Seconds spent.
    """
    trainer = Trainer(
        accelerator={"cuda": "gpu"}.get(device, device),
        devices=1,
        max_steps=config.steps,
        max_epochs=-1,
        precision=config.precision,
        callbacks=[_Report(progress, config.steps)] if progress else [],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    start = time.perf_counter()
    trainer.fit(task, train, validation)
    return time.perf_counter() - start


def quiet_lightning() -> None:
    """Silence Lightning's banners and advice; errors still come."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\..*")


def parameter_count(model: nn.Module) -> int:
    """Return how many numbers a model learns."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


class _Report(Callback):
    """Tell a listener how far training has come, every few steps."""

    def __init__(self, progress: Progress, steps: int) -> None:
        self.progress, self.steps = progress, steps
        self.every = max(1, steps // 50)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step % self.every == 0:
            self.progress(trainer.global_step / self.steps)
