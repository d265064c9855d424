"""Fitting a task: the budget of a recipe, carried out by Lightning."""

from __future__ import annotations

import ctypes
import logging
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, cast

import torch
from lightning.pytorch import Callback, Trainer
from torch.utils.data import DataLoader

from isotypic.models.foreign import Foreign
from isotypic.ops.device import torch_device
from isotypic.tasks.best import Best
from isotypic.tasks.checkpoints import Checkpoint, Keeper
from isotypic.tasks.followed import FollowedTask
from isotypic.tasks.memory import images_at_a_time
from isotypic.tasks.optimisation import TrainingConfig
from isotypic.tasks.pace import Clock, Pace, Progress
from isotypic.tasks.ranks import devices_here, images_each, share

Batches = Callable[[int, int], DataLoader[Any]]
"""Makes batches of so many images, so many an epoch; their sampler has ``start_at``."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_KEPT, _MOST_KEPT = 1 << 25, (1 << 31) - 1
"""Bytes: glibc takes no larger threshold for a block; and those at the end of the heap that it holds."""


@dataclass(frozen=True)
class Effort:
    """What a training took.

    Attributes:
        seconds: before it was stopped included.
        pace: since it went on; None where that was one step or none.
    """

    seconds: float
    pace: Pace | None

    @property
    def figures(self) -> dict[str, float]:
        """The figures as a run records them."""
        spent = {"training seconds": round(self.seconds, 1)}
        if self.pace is None:
            return spent
        return {
            **spent,
            "training images per second": round(self.pace.images_per_second, 1),
            "share of training waiting for data": round(self.pace.waiting, 3),
        }


def fit(
    task: FollowedTask,
    train: Batches,
    validation: DataLoader[Any],
    config: TrainingConfig,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> Effort:
    """Train a task for its budget of steps, or what is left of it where it was stopped.

    Args:
        task: what to train; it records its own curves at every validation.
        train: makes the training batches; an epoch of them is one interval between evaluations.
        validation: batches for the curves.
        config: the budget.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``.
        progress: told the fraction done and the pace, after every interval and now and then within.
        checkpoint: where it goes on from, if it was stopped, and is kept; it lies there at the end as well.

    Returns:
        What it took.

    Raises:
        KeyboardInterrupt: it was stopped.
        RequestError: the checkpoint is damaged, or of another training; a step does not fit into the memory; or there
            is no such device.
    """
    each, processes = images_each(config.batch_size), share().of
    at_a_time = images_at_a_time(task, train(config.batch_size, 1), each, config, torch_device(device))
    parts = each // at_a_time
    batches = train(at_a_time * processes, config.steps_per_evaluation * parts)
    before = checkpoint.read() if checkpoint else None
    spent = before.seconds if before else 0.0
    if before:
        cast("_Resumable", batches.sampler).start_at(before.step * parts)
    best, clock = Best(config), Clock()
    reports = [_Report(progress, config.steps, clock)] if progress else []
    keepers = [Keeper(checkpoint, spent)] if checkpoint else []
    trainer = Trainer(
        accelerator={"cuda": "gpu"}.get(device, device),
        devices=devices_here(),
        num_nodes=processes // devices_here(),
        strategy=_strategy(task, processes),
        use_distributed_sampler=False,
        max_steps=before.step if before and before.ended else config.steps,
        max_epochs=-1,
        accumulate_grad_batches=parts,
        precision=config.precision,
        callbacks=[best, *reports, *keepers, clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    keep_freed_memory()
    if processes > 1:
        torch.manual_seed(torch.initial_seed() + share().rank)  # each draws its own augmentations
    start = time.perf_counter()
    try:
        resumed = checkpoint.path if checkpoint and before else None
        trainer.fit(task, batches, validation, ckpt_path=resumed, weights_only=True)
        if trainer.global_step == config.steps and config.steps % config.steps_per_evaluation:
            trainer.validate(task, validation, verbose=False)  # the last interval is cut short, without its evaluation
    except SystemExit as end:  # what Lightning makes of an interruption
        raise KeyboardInterrupt from end
    best.restore(task.model)
    return Effort(spent + time.perf_counter() - start, clock.pace)


def _strategy(task: FollowedTask, processes: int) -> str:
    """Return how processes train together; networks of others may have layers of which nothing comes."""
    if processes == 1:
        return "auto"
    return "ddp_find_unused_parameters_true" if isinstance(task.model, Foreign) else "ddp"


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
    warnings.filterwarnings(
        "ignore", message="Grad strides do not match bucket view strides"
    )  # of kernels of one channel


class _Resumable(Protocol):
    def start_at(self, batch: int) -> None: ...


class _Report(Callback):
    """Tell a listener how far training has come, every few steps."""

    def __init__(self, progress: Progress, steps: int, clock: Clock) -> None:
        self.progress, self.steps, self.clock = progress, steps, clock
        self.every = max(1, steps // 50)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step % self.every == 0:
            self.progress(trainer.global_step / self.steps, self.clock.pace)
