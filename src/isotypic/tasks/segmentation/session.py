"""One training session of a segmentation recipe: data, network and task put together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from isotypic.data.augmentations.catalogue import pair_augmentation
from isotypic.data.augmentations.intensity import intensity
from isotypic.data.catalogue import load_labelled
from isotypic.data.labelled.images import LabelledImages
from isotypic.data.labelled.windows import (
    WholeDataset,
    WindowDataset,
    balanced,
    normaliser_of,
    whole_loader,
    window_loader,
)
from isotypic.data.loading import Batch
from isotypic.data.normalisation import Normaliser
from isotypic.data.splits import Splits, split_labelled
from isotypic.errors import RequestError
from isotypic.models.catalogue import build_dense
from isotypic.models.heads import DenseNetwork, HeadChoice
from isotypic.models.voting import unvoted
from isotypic.models.weights import start_from
from isotypic.tasks.checkpoints import Checkpoint
from isotypic.tasks.curves import LearningCurves
from isotypic.tasks.pace import Progress
from isotypic.tasks.ranks import share
from isotypic.tasks.recipe import Merit, SegmentationRecipe
from isotypic.tasks.segmentation.objectives import objective
from isotypic.tasks.segmentation.task import Segmentation
from isotypic.tasks.training import Effort, fit, quiet_lightning


@dataclass(frozen=True)
class LabelledMaterial:
    """The labelled images of a recipe and their split.

    Attributes:
        labelled: all images with their label images.
        splits: which of them are for training, validation and test.
    """

    labelled: LabelledImages
    splits: Splits


@dataclass(frozen=True)
class TrainedSegmentation:
    """What a session made.

    Attributes:
        model: the trained network, on the CPU.
        normaliser: what its images must go through.
        curves: the learning curves.
        effort: what training took.
    """

    model: DenseNetwork
    normaliser: Normaliser
    curves: LearningCurves
    effort: Effort


def labelled_material(recipe: SegmentationRecipe, cache: Path) -> LabelledMaterial:
    """Load the labelled images of a recipe and split them; decoded images are kept in ``cache``.

    Raises:
        RequestError: what is wrong with the data, or that the network's heads are for other labels.
    """
    labelled = load_labelled(recipe.data, cache)
    _refuse_other_labels(labelled, recipe.model.heads)
    material = LabelledMaterial(labelled, split_labelled(labelled, recipe.data))
    if recipe.merit is Merit.AUC:
        _refuse_one_class(material)
    return material


def _refuse_other_labels(labelled: LabelledImages, heads: HeadChoice) -> None:
    """Raise where boundary heads meet instances, or heads of instances meet classes."""
    if (heads is HeadChoice.BOUNDARY) != (labelled.classes is not None):
        has = "instances" if labelled.classes is None else f"the classes {', '.join(labelled.classes)}"
        fitting = "embedding or offset" if labelled.classes is None else "boundary"
        raise RequestError(
            f"expected labels for {heads.value} heads, received {has} ({labelled.name}): set model.heads to {fitting}, "
            "with a family that has them"
        )


def _refuse_one_class(material: LabelledMaterial) -> None:
    """Raise where a test image is all boundary or has none: there is nothing to rank."""
    labelled = material.labelled
    for index in material.splits.test:
        boundary = float((labelled.labels[index] > 0).mean())
        if boundary in (0, 1):
            raise RequestError(
                f"{labelled.name}: expected test images with boundary and inside, received {boundary:.0%} boundary in "
                f"{labelled.origins.names[index]}: leave it out"
            )


def train_segmentation(
    recipe: SegmentationRecipe,
    material: LabelledMaterial,
    subset: np.ndarray,
    *,
    seed: int,
    device: str = "cpu",
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> TrainedSegmentation:
    """Train the network of a recipe on some of its training images.

    Args:
        recipe: network, loss, augmentation and budget.
        material: the labelled images.
        subset: indices of the training images to use.
        seed: of initialisation, order, windows and augmentation.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``.
        progress: told how far it has come.
        checkpoint: where it goes on from, if it was stopped, and is kept.
    """
    quiet_lightning()
    torch.manual_seed(seed)
    labelled, config = material.labelled, recipe.training
    normaliser = normaliser_of(labelled, subset, recipe.data)
    model = build_dense(recipe.model, labelled.channels)
    start_from(model, recipe.start)
    task = Segmentation(
        unvoted(model),
        objective(recipe.model.heads, recipe.loss),
        pair_augmentation(recipe.augmentation),
        intensity(recipe.intensity),
        config,
    )
    drawn = balanced(labelled, subset) if recipe.data.balance else subset
    windows = WindowDataset(labelled, drawn, normaliser, recipe.data.window)

    def batches(size: int, steps: int) -> DataLoader[Batch]:
        return window_loader(windows, size, seed=seed, workers=config.workers, steps=steps, share=share())

    whole = whole_loader(WholeDataset(labelled, material.splits.validation, normaliser))
    effort = fit(task, batches, whole, config, device=device, progress=progress, checkpoint=checkpoint)
    return TrainedSegmentation(model.cpu(), normaliser, task.curves, effort)
