"""One training session of jets: sources, network and task put together, stopped and resumed.

A checkpoint holds the weights, the optimiser and how many jets were seen; everything else follows from that number. So
a training goes on in the middle of an epoch, with the batch that would have come next, by any number of processes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer

from isotypic.data.jets.batch import FEATURES, Jets
from isotypic.data.jets.sets import JetSets
from isotypic.data.jets.source import JetSource, MemoryJets
from isotypic.errors import RequestError
from isotypic.files import write_atomically
from isotypic.models.catalogue import build_cloud
from isotypic.models.clouds import CloudNetwork
from isotypic.tasks.checkpoints import Checkpoint, Watch
from isotypic.tasks.clustering.loss import MASS_CLASSES
from isotypic.tasks.clustering.task import ClusterCurves, Clustering, Snapshot
from isotypic.tasks.pace import Progress
from isotypic.tasks.ranks import devices_here, leads, share
from isotypic.tasks.recipe import JetRecipe
from isotypic.tasks.training import Effort, keep_freed_memory, quiet_lightning


@dataclass(frozen=True)
class TrainedClusters:
    """What a session made.

    Attributes:
        network: trained, with its centroids, on the CPU and in evaluation mode.
        curves: the course of the training.
        snapshots: the space behind some epochs.
        effort: what it took.
    """

    network: CloudNetwork
    curves: ClusterCurves
    snapshots: list[Snapshot]
    effort: Effort


def training_part(sets: JetSets, subset: np.ndarray | None, seed: int) -> JetSource:
    """Return training jets as a source.

    Args:
        sets: their set.
        subset: places of those to use; None for all.
        seed: of their order.

    Raises:
        RequestError: a part of a source that is not in memory is asked for.
    """
    source = sets.train
    if isinstance(source, MemoryJets):
        return source.select(np.arange(len(source)) if subset is None else np.sort(subset), seed)
    if subset is not None and len(subset) != len(source):
        raise RequestError(
            f"expected all {len(source)} training jets of {sets.name}, which is not held in memory, received a part of "
            f"{len(subset)}; set study.sizes=[1.0]"
        )
    return source if sets.reordered is None else sets.reordered(seed)


def classes_of(recipe: JetRecipe, sets: JetSets) -> int:
    """Return how many classes the pretext has."""
    return len(sets.classes) if recipe.training.pretext == "label" else MASS_CLASSES


def train_clusters(
    recipe: JetRecipe,
    sets: JetSets,
    subset: np.ndarray | None = None,
    *,
    seed: int,
    device: str = "cpu",
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> TrainedClusters:
    """Train the network of a recipe on jets.

    Args:
        recipe: network and budget.
        sets: the jets.
        subset: places of the training jets to use; None for all.
        seed: of initialisation, order and k-means.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``.
        progress: told how far it has come.
        checkpoint: where it goes on from, if it was stopped, and is kept; it lies there at the end as well.

    Raises:
        KeyboardInterrupt: it was stopped.
        RequestError: the checkpoint is damaged, or of another training.
    """
    quiet_lightning()
    keep_freed_memory()
    torch.manual_seed(seed)
    network = build_cloud(recipe.model, len(FEATURES), classes_of(recipe, sets))
    network.to(torch.float64 if recipe.training.precision == "64" else torch.float32)
    source = training_part(sets, subset, seed)
    task = Clustering(network, recipe.training, source, sets.validation, classes=len(sets.classes), seed=seed)
    effort = fit_clusters(task, device=device, progress=progress, checkpoint=checkpoint)
    return TrainedClusters(network.cpu().eval(), task.curves, task.snapshots, effort)


def fit_clusters(
    task: Clustering, *, device: str = "cpu", progress: Progress | None = None, checkpoint: Checkpoint | None = None
) -> Effort:
    """Train a task for its budget of epochs, or what is left of it where it was stopped.

    Without joint training the centroids are those of k-means at the end.
    """
    reached = checkpoint.read() if checkpoint else None
    spent = reached.seconds if reached else 0.0
    keeper = _Keeper(checkpoint, spent) if checkpoint else None
    if reached and checkpoint and keeper:
        keeper.restore(task, torch.load(checkpoint.path, map_location="cpu", weights_only=True))
    schedule, processes = task.schedule, share().of
    trainer = Trainer(
        accelerator={"cuda": "gpu"}.get(device, device),
        devices=devices_here(),
        num_nodes=processes // devices_here(),
        strategy="auto" if processes == 1 else "ddp",
        use_distributed_sampler=False,
        max_epochs=schedule.epochs - schedule.epoch(task.seen),
        callbacks=[*([_Report(progress)] if progress else []), *([keeper] if keeper else [])],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    start = time.perf_counter()
    try:
        trainer.fit(task, _Epochs(task))
    except SystemExit as end:  # what Lightning makes of an interruption
        raise KeyboardInterrupt from end
    if not task.clustered:
        task.find_clusters()
    return Effort(spent + time.perf_counter() - start, None)


class _Epochs:
    """The batches of the epoch that a task is in, from where it is in it."""

    def __init__(self, task: Clustering) -> None:
        self.task = task

    def __iter__(self) -> Iterator[Jets]:
        schedule = self.task.schedule
        epoch, seen = divmod(self.task.seen, schedule.rows)
        start, rest = divmod(seen, schedule.batch)
        if rest:
            raise RequestError(
                f"expected batches that go on behind the {seen} jets of the epoch that were seen, received batches of "
                f"{schedule.batch}: go on with as many processes as before, or train with training.scaling=fixed"
            )
        return iter(self.task.source.batches(epoch, schedule.batch, *share(), start))


class _Report(Callback):
    """Tell a listener how far training has come."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_train_batch_end(self, trainer: Trainer, task: Any, *_: Any) -> None:
        self.progress(task.seen / (task.schedule.rows * task.schedule.epochs))


class _Keeper(Callback):
    """Write a checkpoint now and then, behind a step, and at the end.

    Args:
        checkpoint: where.
        spent: seconds that the training took before it was stopped.
    """

    def __init__(self, checkpoint: Checkpoint, spent: float) -> None:
        self.checkpoint, self.watch = checkpoint, Watch(checkpoint, spent)
        self.optimiser: dict[str, Any] | None = None

    def restore(self, task: Clustering, kept: dict[str, Any]) -> None:
        """Put a task where it was; its optimiser follows when there is one."""
        task.network.load_state_dict(kept["network"])
        task.go_on(kept["progress"])
        self.optimiser = kept["optimiser"]

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        """Put the optimiser where it was."""
        if self.optimiser is not None:
            trainer.optimizers[0].load_state_dict(self.optimiser)

    def on_train_batch_end(self, trainer: Trainer, task: Any, *_: Any) -> None:
        """Write behind a step, if it is time to."""
        if task.seen % task.schedule.rows and self.watch.due(trainer):
            self.write(trainer, task)

    def on_train_epoch_start(self, trainer: Trainer, task: Any) -> None:
        """Write behind an epoch and its evaluation, if it is time to."""
        if self.watch.due(trainer):
            self.write(trainer, task)

    def on_train_end(self, trainer: Trainer, task: Any) -> None:
        """Write the end."""
        self.write(trainer, task, ended=True)

    def write(self, trainer: Trainer, task: Clustering, ended: bool = False) -> None:
        """Write what the training needs to go on; the first process does."""
        kept = {
            "global_step": task.steps,
            "network": task.network.state_dict(),
            "optimiser": trainer.optimizers[0].state_dict(),
            "progress": task.progress(),
            **self.watch.mark(ended),
        }
        if leads():
            write_atomically(self.checkpoint.path, lambda path: torch.save(kept, path))
        self.watch.wrote()
