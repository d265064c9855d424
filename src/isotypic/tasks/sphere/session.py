"""Learning on spherical images: their material, and the session of a network that tells the class of every point."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from isotypic.data.catalogue import load_sphere
from isotypic.data.image_set import ImageSet
from isotypic.data.lazy import Joined
from isotypic.data.loading import Batch
from isotypic.data.normalisation import Normalisation
from isotypic.data.sphere.augmentation import augmented
from isotypic.data.sphere.loading import PointDataset, normalisation_of, point_loader, points_in_order
from isotypic.data.sphere.samples import Sampled, Samples, Turns, on_disk
from isotypic.data.sphere.sphere_set import SphereSet
from isotypic.data.splits import Splits
from isotypic.models.catalogue import begin_of_points
from isotypic.models.weights import start_from
from isotypic.tasks.checkpoints import Checkpoint
from isotypic.tasks.followed import FollowedTask, Tally
from isotypic.tasks.optimisation import TrainingConfig
from isotypic.tasks.pace import Progress
from isotypic.tasks.ranks import share
from isotypic.tasks.recipe import AnySphereRecipe, SphereClassificationRecipe, SphereSegmentationRecipe
from isotypic.tasks.session import Material, Trained, train
from isotypic.tasks.training import fit, quiet_lightning

EVALUATED = 16
"""Images that are evaluated at a time: one signal on SO(3) is a thousand times an image."""


@dataclass(frozen=True)
class SphereMaterial:
    """The spherical images of a recipe.

    Attributes:
        images: all of them, with their split.
        bandwidth: of the grid that they are sampled on.
        rotation_seed: of the rotations of validation and test images.
        cache: where samples are kept.
    """

    images: SphereSet
    bandwidth: int
    rotation_seed: int
    cache: Path

    def samples(self, rows: np.ndarray, *, turned: bool) -> Samples:
        """Return some images as they are, or each under a rotation of its own."""
        turns = Turns((0, self.rotation_seed)) if turned else None
        return Samples(self.images.fields, rows, self.bandwidth, turns)

    def pictures(self, rows: np.ndarray, *, turned: bool) -> np.ndarray:
        """Return images ``[n, C, 2 b, 2 b]``, mapped from the cache."""
        return on_disk(Sampled(self.samples(rows, turned=turned)), self.cache)

    def points(self, rows: np.ndarray, *, turned: bool) -> PointDataset:
        """Return images with the classes of their points, mapped from the cache."""
        classes = on_disk(Sampled(self.samples(rows, turned=turned), classes=True), self.cache)
        return PointDataset(self.pictures(rows, turned=turned), classes)

    def normalisation(self, subset: np.ndarray) -> Normalisation:
        """Return the normalisation that is fitted to some training images as they are."""
        return normalisation_of(self.samples(subset, turned=False))


def sphere_material(recipe: AnySphereRecipe, cache: Path) -> SphereMaterial:
    """Load the spherical images of a recipe; samples are kept in ``cache``.

    Raises:
        RequestError: what loading refuses.
    """
    data = recipe.data
    return SphereMaterial(load_sphere(data, cache), data.bandwidth, data.rotation_seed, cache)


class PointClassification(FollowedTask):
    """A network under training that tells the class of every point; cross-entropy, each point of the grid counts once.

    The score of its curves is the intersection over union of all points but the background of both.

    Args:
        model: maps images ``[B, C, 2 b, 2 b]`` to logits ``[B, classes, 2 b, 2 b]``.
        normalisation: what stored images go through first, on the device.
        config: the budget.
    """

    def __init__(self, model: nn.Module, normalisation: Normalisation, config: TrainingConfig) -> None:
        super().__init__(model, config)
        self.normalisation = normalisation

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Normalise a batch that has reached the device."""
        images, classes = batch
        return self.normalisation.apply(images.to(self.dtype)), classes

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the loss of one batch."""
        return self._step(*batch, self.trained)

    def validation_step(self, batch: Batch, index: int) -> None:
        """Add one batch to the validation figures."""
        self._step(*batch, self.validated)

    def _step(self, images: Tensor, classes: Tensor, tally: Tally) -> Tensor:
        logits = self(images)
        loss = functional.cross_entropy(logits, classes)
        found = logits.argmax(1)
        either = (found > 0) | (classes > 0)
        tally.add(loss, len(classes), (either & (found == classes)).sum(), int(either.sum()))
        return loss


def train_points(
    recipe: SphereSegmentationRecipe,
    material: SphereMaterial,
    subset: np.ndarray,
    *,
    seed: int,
    device: str = "cpu",
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> Trained:
    """Train the network of a recipe on some of its training images, validated on turned ones.

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
    normalisation = material.normalisation(subset)
    model = begin_of_points(recipe.model, images.fields.channels, len(images.point_classes))
    start_from(model, recipe.start)
    task = PointClassification(model, normalisation, config)
    samples = _trained_on(recipe, material, subset, seed)
    part = PointDataset(Sampled(samples), Sampled(samples, classes=True))

    def batches(size: int, steps: int) -> DataLoader[Batch]:
        return point_loader(part, size, seed=seed, steps=steps, workers=config.workers, share=share())

    validation = points_in_order(material.points(images.splits.validation, turned=True), EVALUATED)
    effort = fit(task, batches, validation, config, device=device, progress=progress, checkpoint=checkpoint)
    return Trained(model.cpu(), normalisation, task.curves, effort)


def train_classifier(
    recipe: SphereClassificationRecipe,
    material: SphereMaterial,
    subset: np.ndarray,
    *,
    seed: int,
    device: str = "cpu",
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> Trained:
    """Train the classifier of a recipe likewise."""
    images, validation = material.images, material.images.splits.validation
    samples = _trained_on(recipe, material, subset, seed)
    held_out = material.samples(validation, turned=True)
    labels = np.concatenate([np.resize(images.labels[samples.rows], len(samples)), images.labels[validation]])
    both = ImageSet(images.name, Joined([Sampled(samples), Sampled(held_out)]), labels, images.classes)
    first, last = np.arange(len(samples)), len(samples) + np.arange(len(held_out))
    return train(
        recipe.model_copy(update={"augmentation": "none"}),
        Material(
            both,
            Splits(first, last, np.array([], np.int64)),
            normalisation=material.normalisation(subset),
            validated=EVALUATED,
        ),
        first,
        seed=seed,
        device=device,
        progress=progress,
        checkpoint=checkpoint,
    )


def _trained_on(recipe: AnySphereRecipe, material: SphereMaterial, subset: np.ndarray, seed: int) -> Samples:
    seen = recipe.training.steps * recipe.training.batch_size
    fields = material.images.fields
    return augmented(fields, subset, material.bandwidth, recipe.augmentation, seen=seen, seed=seed)
