"""Fitting a task: the budget of a recipe, carried out by Lightning."""

from __future__ import annotations

import ctypes
import logging
import math
import sys
import time
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, Literal, Protocol, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from pydantic import Field
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau
from torch.utils.data import DataLoader

from isotypic.configuration import Config
from isotypic.tasks.checkpoints import Checkpoint, Keeper

Progress = Callable[[float], object]

MONITORED = "validation loss"
"""What a task logs for the schedule ``plateau``."""

_POLY_POWER = 0.8

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_KEPT, _MOST_KEPT = 1 << 25, (1 << 31) - 1
"""Bytes: glibc takes no larger threshold for a block; and those at the end of the heap that it holds."""


class TrainingConfig(Config):
    """The ``training`` section of a recipe: the same budget of steps for every arm and every size."""

    steps: int = Field(400, ge=1, description="optimiser steps")
    batch_size: int = Field(64, ge=1, description="images a step")
    optimizer: Literal["adam", "sgd", "nesterov"] = Field(
        "adam", description="adam (AdamW), sgd with momentum 0.9, or nesterov: sgd with Nesterov's momentum 0.9"
    )
    learning_rate: float = Field(3e-3, gt=0, description="at the start")
    weight_decay: float = Field(1e-4, ge=0, description="decoupled in adam, an L2 penalty in sgd and nesterov")
    schedule: Literal["cosine", "constant", "poly", "plateau"] = Field(
        "cosine",
        description="of the learning rate: cosine, constant, or poly, (1 - step / steps)^0.8, over the steps; "
        "plateau: a tenth after `patience` evaluations without a lower validation loss",
    )
    patience: int = Field(10, ge=0, description="evaluations that plateau waits")
    evaluations: int = Field(
        20, ge=1, description="points on the learning curve, equally spaced but for the last, which is the end"
    )
    precision: Literal["32", "bf16-mixed", "16-mixed", "64"] = Field("32", description="of the arithmetic")
    workers: int = Field(0, ge=0, description="processes that load data")

    @property
    def steps_per_evaluation(self) -> int:
        """Steps between two points of the learning curve."""
        return math.ceil(self.steps / self.evaluations)


def optimiser(parameters: Any, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the optimiser of a recipe over some parameters."""
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "adam":
        return torch.optim.AdamW(parameters, rate, weight_decay=decay)
    nesterov = config.optimizer == "nesterov"
    return torch.optim.SGD(parameters, rate, momentum=0.9, nesterov=nesterov, weight_decay=decay)


def configured(parameters: Any, config: TrainingConfig) -> dict[str, Any]:
    """Return the optimiser of a recipe with its schedule, as Lightning takes them."""
    chosen = optimiser(parameters, config)
    if config.schedule == "plateau":
        plateau = ReduceLROnPlateau(chosen, patience=config.patience)
        # by steps: at the end of an epoch that was resumed Lightning would leave it out
        when = {"monitor": MONITORED, "interval": "step", "frequency": config.steps_per_evaluation}
        return {"optimizer": chosen, "lr_scheduler": {"scheduler": plateau, **when}}
    return {"optimizer": chosen, "lr_scheduler": {"scheduler": schedule(chosen, config), "interval": "step"}}


def schedule(optimizer: torch.optim.Optimizer, config: TrainingConfig) -> LambdaLR:
    """Return the learning-rate schedule of a recipe, stepped once an optimiser step."""
    factors: dict[str, Callable[[float], float]] = {
        "constant": lambda done: 1.0,
        "cosine": lambda done: 0.5 + 0.5 * math.cos(math.pi * done),
        "poly": lambda done: (1 - done) ** _POLY_POWER,
    }
    factor = factors[config.schedule]
    return LambdaLR(optimizer, lambda step: factor(min(step / config.steps, 1.0)))


def fit(
    task: LightningModule,
    train: DataLoader[Any],
    validation: DataLoader[Any],
    config: TrainingConfig,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> float:
    """Train a task for its budget of steps, or what is left of it where it was stopped.

    Args:
        task: what to train; it records its own curves at every validation.
        train: batches by a sampler with ``start_at``; an epoch of it is one interval between evaluations.
        validation: batches for the curves.
        config: the budget.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``.
        progress: called with the fraction done, after every interval and now and then within.
        checkpoint: where it goes on from, if it was stopped, and is kept; it lies there at the end as well.

    Returns:
        Seconds spent, before it was stopped included.

    Raises:
        KeyboardInterrupt: it was stopped.
        RequestError: the checkpoint is damaged, or of another training.
    """
    before = checkpoint.read() if checkpoint else None
    spent = before.seconds if before else 0.0
    if before:
        cast("_Resumable", train.sampler).start_at(before.step)
    callbacks: list[Callback] = [_Report(progress, config.steps)] if progress else []
    if checkpoint:
        callbacks.append(Keeper(checkpoint, spent))
    trainer = Trainer(
        accelerator={"cuda": "gpu"}.get(device, device),
        devices=1,
        max_steps=config.steps,
        max_epochs=-1,
        precision=config.precision,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    keep_freed_memory()
    start = time.perf_counter()
    try:
        resumed = checkpoint.path if checkpoint and before else None
        trainer.fit(task, train, validation, ckpt_path=resumed, weights_only=True)
        if config.steps % config.steps_per_evaluation:  # the last interval is cut short, without its evaluation
            trainer.validate(task, validation, verbose=False)
    except SystemExit as end:  # what Lightning makes of an interruption
        raise KeyboardInterrupt from end
    return spent + time.perf_counter() - start


@cache
def keep_freed_memory() -> None:
    """Tell glibc to keep what is freed for the next step, where the allocator is glibc's.

    Otherwise it gives activations of many megabytes back to the system and gets them again page by page, each zeroed:
    up to half of the time of a training step on a CPU.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)


def quiet_lightning() -> None:
    """Silence Lightning's banners and advice; errors still come."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\..*")


class _Resumable(Protocol):
    def start_at(self, batch: int) -> None: ...


class _Report(Callback):
    """Tell a listener how far training has come, every few steps."""

    def __init__(self, progress: Progress, steps: int) -> None:
        self.progress, self.steps = progress, steps
        self.every = max(1, steps // 50)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step % self.every == 0:
            self.progress(trainer.global_step / self.steps)
