"""One training session of a classifier, of images or volumes: data, network and task put together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from isotypic.data.augmentations.catalogue import augmentation
from isotypic.data.catalogue import load
from isotypic.data.image_set import ImageSet
from isotypic.data.lazy import fitted
from isotypic.data.loading import ArrayDataset, Batch, Normalised, images_at_once, loader
from isotypic.data.normalisation import IMAGENET, Normalisation
from isotypic.data.splits import Splits, split
from isotypic.errors import RequestError
from isotypic.metrics.calibration import Calibration
from isotypic.models.catalogue import axes_of, begin
from isotypic.models.weights import start_from
from isotypic.tasks.checkpoints import Checkpoint
from isotypic.tasks.classification import Classification
from isotypic.tasks.curves import LearningCurves
from isotypic.tasks.pace import Progress
from isotypic.tasks.ranks import share
from isotypic.tasks.recipe import PatchRecipe, Recipe
from isotypic.tasks.training import Effort, fit, quiet_lightning


@dataclass(frozen=True)
class Material:
    """The images of a recipe and their split.

    Attributes:
        images: all images with labels.
        splits: which of them are for training, validation and test.
        cache: where is kept what is made of them, or None.
        normalisation: what the images go through first; None for what the recipe says.
        validated: images of a validation batch; None for as many as :func:`~isotypic.data.loading.images_at_once`.
    """

    images: ImageSet
    splits: Splits
    cache: Path | None = None
    normalisation: Normalisation | None = None
    validated: int | None = None


@dataclass(frozen=True)
class Trained:
    """What a session made.

    Attributes:
        model: the trained network, on the CPU.
        normalisation: what its inputs must go through.
        curves: the learning curves.
        effort: what training took.
        calibration: how its logits become probabilities and a class; None where it has not been fitted.
    """

    model: nn.Module
    normalisation: Normalisation
    curves: LearningCurves
    effort: Effort
    calibration: Calibration | None = None


def material(recipe: Recipe, cache: Path) -> Material:
    """Load the images of a recipe and split them; decoded images are kept in ``cache``.

    Raises:
        RequestError: the network takes images and these are volumes, or the other way round; or what loading refuses.
    """
    images = load(recipe.data, cache)
    if images.axes != axes_of(recipe.model):
        kinds = {2: "images", 3: "volumes"}
        raise RequestError(
            f"{images.name}: expected {kinds[axes_of(recipe.model)]} for a network of the family "
            f"{recipe.model.family}, these are {kinds[images.axes]}; set model.family"
        )
    return Material(images, split(images, recipe.data), cache)


def train(
    recipe: PatchRecipe,
    material: Material,
    subset: np.ndarray,
    *,
    seed: int,
    device: str = "cpu",
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> Trained:
    """Train the network of a recipe on some of its training images.

    Args:
        recipe: network, augmentation and budget.
        material: the images.
        subset: indices of the training images to use.
        seed: of initialisation, order and augmentation.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``.
        progress: told how far it has come.
        checkpoint: where it goes on from, if it was stopped, and is kept.
    """
    quiet_lightning()
    torch.manual_seed(seed)
    images, config = material.images, recipe.training
    normalisation = material.normalisation or _normalisation(recipe, material, subset)
    model = begin(recipe.model, images.shape[0], len(images.classes))
    start_from(model, recipe.start)
    changes = augmentation(recipe.augmentation, normalisation, recipe.axes)
    task = Classification(model, normalisation, changes, config)
    part = ArrayDataset(images, subset)

    def batches(size: int, steps: int) -> DataLoader[Batch]:
        return loader(part, size, shuffle=True, seed=seed, workers=config.workers, steps=steps, share=share())

    validation = stored_batches(images, material.splits.validation, material.validated)
    effort = fit(task, batches, validation, config, device=device, progress=progress, checkpoint=checkpoint)
    return Trained(model.cpu(), normalisation, task.curves, effort)


def _normalisation(recipe: PatchRecipe, material: Material, subset: np.ndarray) -> Normalisation:
    images = material.images
    if recipe.data.normalise == "set":
        return fitted(images.images, subset, material.cache)
    if images.shape[0] != len(IMAGENET[0]):
        raise RequestError(
            f"expected RGB images to normalise as ImageNet, received {images.shape[0]} channels; set data.colour=rgb"
        )
    return Normalisation(*IMAGENET, images.value_range)


def evaluation_batches(
    images: ImageSet, indices: np.ndarray, normalisation: Normalisation, device: torch.device | str = "cpu"
) -> Normalised:
    """Return normalised batches of some images in their order, on a device."""
    return Normalised(stored_batches(images, indices), normalisation, device)


def stored_batches(images: ImageSet, indices: np.ndarray, batch_size: int | None = None) -> DataLoader[Batch]:
    """Return batches of some images in their order, as they are stored; of as many as are evaluated at a time."""
    size = images_at_once(images.shape) if batch_size is None else batch_size
    return loader(ArrayDataset(images, indices), size, shuffle=False, seed=0)
