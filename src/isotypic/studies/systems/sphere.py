"""Spherical images as a study sees them: tested as they are, and each under a random rotation of its own.

All rotations of the sphere, SO(3), are no finite group: the mean over the group is estimated by one rotation drawn from
the Haar measure for every test image, the same for every arm.

Classifiers are measured by accuracy. Networks that tell the class of every point are measured by the mean intersection
over union of the classes but the background, of one confusion matrix of all points of all test images, each point with
the area that it stands for: the grid is dense at the poles, so that points counted once each weigh an upright digit
otherwise than a turned one. An image has no measure of its own there. What it adds to part and whole of every class is
recorded, and a study resamples images and makes the sums, and their ratios, anew.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from isotypic import __version__
from isotypic.data.splits import nested_subsets
from isotypic.errors import RequestError
from isotypic.groups.catalogue import named
from isotypic.groups.finite import FiniteGroup
from isotypic.inference.run import RunDescription, save_run
from isotypic.inference.sphere_evaluation import (
    UPRIGHT_AND_TURNED,
    classify_turned,
    segment_turned,
)
from isotypic.metrics.classification import overfitting_ratio
from isotypic.metrics.points import PointCounts
from isotypic.models.s2cnn import S2CNNClassifierConfig, S2CNNConfig
from isotypic.ops.device import torch_device
from isotypic.studies.predictions import Predictions
from isotypic.studies.records import EXAMPLES, ROTATED, UPRIGHT, Cost, Curves, Measure, Outcome, Scores
from isotypic.studies.systems.classification import ACCURACY, BESIDE, scores_of
from isotypic.studies.systems.png import can_draw
from isotypic.studies.systems.sphere_examples import ClassifiedSpheres, SegmentedSpheres
from isotypic.studies.systems.system import (
    TESTING,
    Counted,
    Description,
    Drawing,
    Finished,
    Job,
    StudiedSystem,
    captions,
)
from isotypic.tasks.cost import latency_ms, parameter_count, throughput
from isotypic.tasks.recipe import AnySphereRecipe, SphereClassificationRecipe, SphereSegmentationRecipe
from isotypic.tasks.session import Trained
from isotypic.tasks.sphere.session import SphereMaterial, sphere_material, train_classifier, train_points
from isotypic.tasks.sphere.symmetry import rotation_error

R = TypeVar("R", bound=AnySphereRecipe)

SO3, TRIVIAL = "SO(3)", "trivial"
MEAN_IOU = Measure(name="mean IoU by area", better="has a higher mean IoU by area", prediction="segmentation")
_ACCURACY, _IOU_OF_POINTS, _ACCURACY_OF_POINTS = "accuracy by area", "mean IoU of points", "accuracy of points"
_FEW, _TRAINED = 4, 64
"""Test images that symmetry is measured on, and training images that are scored as well."""


class _SphereSystem(StudiedSystem[R, SphereMaterial, Trained]):
    """What both tasks share."""

    def group(self, recipe: R) -> str:
        """Return SO(3) for a spherical network, "trivial" for another."""
        return SO3 if isinstance(recipe.model, S2CNNConfig | S2CNNClassifierConfig) else TRIVIAL

    def group_name(self, recipe: R) -> str:
        """Return the family, in a word that a folder may carry."""
        return recipe.model.family

    def moved_by(self, recipe: R, name: str | None = None) -> FiniteGroup:
        """Return the trivial group: images are turned before they are sampled, by rotations of no finite group.

        Raises:
            RequestError: another name than SO(3) or trivial.
        """
        if name not in (None, SO3, TRIVIAL):
            raise RequestError(f"expected the group {SO3} to turn spherical images by, received {name!r}")
        return named(TRIVIAL, recipe.axes)

    def material(self, recipe: R, cache: Path, counted: Counted | None = None) -> SphereMaterial:
        """Load and split the images."""
        return sphere_material(recipe, cache)

    def subset(self, material: SphereMaterial, size: int, seed: int) -> np.ndarray:
        """Draw images balanced over the classes, at least one of each."""
        return nested_subsets(material.images.labels, material.images.splits.train, [size], seed)[size]

    def save(
        self, folder: Path, job: Job[R, SphereMaterial], trained: Trained, finished: Finished | None = None
    ) -> None:
        """Write the network."""
        save_run(folder, trained.model, _run_description(job, trained, self._classes(job.material), finished))

    @abstractmethod
    def _classes(self, material: SphereMaterial) -> tuple[str, ...]:
        """Return the classes of the logits."""


class SphereClassificationSystem(_SphereSystem[SphereClassificationRecipe]):
    """Classifiers of spherical images."""

    def describe(self, recipe: SphereClassificationRecipe, material: SphereMaterial) -> Description:
        """Say what the images are."""
        images = material.images
        return Description(ACCURACY, _in_words(material), len(images.splits.train), images.classes, BESIDE)

    def train(self, job: Job[SphereClassificationRecipe, SphereMaterial]) -> Trained:
        """Train a classifier."""
        return train_classifier(job.recipe, job.material, job.subset, **job.training())

    def test(self, job: Job[SphereClassificationRecipe, SphereMaterial], trained: Trained) -> Finished:
        """Count what it gets right."""
        rows, device = job.material.images.splits.test, torch_device(job.device)
        model = trained.model.to(device)
        on_test = classify_turned(model, job.material, rows, trained.normalisation)
        on_train = classify_turned(model, job.material, job.subset[:_TRAINED], trained.normalisation)
        trained.model.cpu()
        drawings = _drawn(ClassifiedSpheres(job.material, rows, on_test)) if can_draw() else {}
        upright, turned = map(scores_of, on_test.scores)
        outcome = Outcome(
            train=scores_of(on_train.scores[0]),
            tests={ROTATED: turned, UPRIGHT: upright},
            per_rotation=dict(zip(UPRIGHT_AND_TURNED, on_test.right.mean(1).tolist(), strict=True)),
            changed_images=on_test.changed,
            overfitting_ratio=overfitting_ratio(on_train.scores[0].accuracy, on_test.scores[0].accuracy),
            pictures=captions(drawings, job.seed),
            **_common(job, trained, ACCURACY.name),
        )
        return Finished(outcome, Predictions(rows, UPRIGHT_AND_TURNED, on_test.right, drawn=True), drawings)

    def _classes(self, material: SphereMaterial) -> tuple[str, ...]:
        return material.images.classes


class SphereSegmentationSystem(_SphereSystem[SphereSegmentationRecipe]):
    """Networks that tell the class of every point."""

    def describe(self, recipe: SphereSegmentationRecipe, material: SphereMaterial) -> Description:
        """Say what the images are."""
        further = (_ACCURACY, _IOU_OF_POINTS, _ACCURACY_OF_POINTS)
        return Description(MEAN_IOU, _in_words(material), len(material.images.splits.train), further=further)

    def train(self, job: Job[SphereSegmentationRecipe, SphereMaterial]) -> Trained:
        """Train a network."""
        return train_points(job.recipe, job.material, job.subset, **job.training())

    def test(self, job: Job[SphereSegmentationRecipe, SphereMaterial], trained: Trained) -> Finished:
        """Compare every point with the truth."""
        rows, device = job.material.images.splits.test, torch_device(job.device)
        model = trained.model.to(device)
        on_test = segment_turned(model, job.material, rows, trained.normalisation, job.stage(TESTING))
        on_train = segment_turned(model, job.material, job.subset[:_TRAINED], trained.normalisation)
        trained.model.cpu()
        drawings = _drawn(SegmentedSpheres(job.material, rows, trained)) if can_draw() else {}
        upright, turned = (point_scores(*pair) for pair in zip(on_test.by_area, on_test.counts, strict=True))
        measured = [float(counts.mean_iou()) for counts in on_test.by_area]
        training = on_train.by_area[0].mean_iou()
        outcome = Outcome(
            train=Scores(figures={MEAN_IOU.name: training}),
            tests={ROTATED: turned, UPRIGHT: upright},
            per_rotation=dict(zip(UPRIGHT_AND_TURNED, measured, strict=True)),
            changed_images=None,
            overfitting_ratio=overfitting_ratio(training, measured[0]),
            figures={
                "found otherwise when turned (% of area)": 100 * on_test.changed,
                "the truth itself, turned back (% of area)": 100 * on_test.resampled,
            },
            pictures=captions(drawings, job.seed),
            **_common(job, trained, "IoU of points"),
        )
        overlaps = on_test.overlaps.astype(np.float32)
        return Finished(outcome, Predictions(rows, UPRIGHT_AND_TURNED, overlaps, drawn=True), drawings)

    def _classes(self, material: SphereMaterial) -> tuple[str, ...]:
        return material.images.point_classes


def point_scores(by_area: PointCounts, counts: PointCounts) -> Scores:
    """Return the scores of a network of points as they are recorded: by area, and each point once."""
    return Scores(
        figures={
            MEAN_IOU.name: by_area.mean_iou(),
            _ACCURACY: by_area.accuracy(),
            _IOU_OF_POINTS: counts.mean_iou(),
            _ACCURACY_OF_POINTS: counts.accuracy(),
        }
    )


def _drawn(spheres: ClassifiedSpheres | SegmentedSpheres) -> dict[str, Drawing]:
    return {EXAMPLES: Drawing(spheres.caption, spheres.write)}


def _common(job: Job[R, SphereMaterial], trained: Trained, score: str) -> dict[str, Any]:
    """Return what an outcome says whatever is measured."""
    few = _few_images(job.material, trained)
    return {
        "group": SO3,
        "curves": Curves(score=score, **asdict(trained.curves)),
        "cost": Cost(
            parameters=parameter_count(trained.model),
            train_seconds=trained.effort.seconds,
            steps=trained.curves.step[-1],
            latency_ms=latency_ms(trained.model, few[0]),
            throughput=throughput(trained.model, few[0]),
        ),
        "equivariance_error": rotation_error(trained.model, few),
    }


def _few_images(material: SphereMaterial, trained: Trained) -> Tensor:
    """Return the first test images, as the network takes them."""
    pixels = material.pictures(material.images.splits.test, turned=False)[:_FEW]
    return trained.normalisation.apply(torch.from_numpy(np.array(pixels)))


def _run_description(
    job: Job[R, SphereMaterial], trained: Trained, classes: tuple[str, ...], finished: Finished | None
) -> RunDescription:
    side = 2 * job.material.bandwidth
    tests = {} if finished is None else finished.outcome.tests
    return RunDescription(
        version=__version__,
        recipe=job.recipe.model_dump(mode="json"),
        classes=list(classes),
        image_shape=(job.material.images.fields.channels, side, side),
        normalisation=trained.normalisation.to_dict(),
        figures={
            **{f"{test} {name}": value for test, found in tests.items() for name, value in found.figures.items()},
            **job.figures(trained.model, trained.effort),
        },
    )


def _in_words(material: SphereMaterial) -> dict[str, Any]:
    images, b = material.images, material.bandwidth
    parts = {"training": images.splits.train, "validation": images.splits.validation, "test": images.splits.test}
    return {
        "data set": f"{images.name}, on the sphere",
        "images": len(images),
        "classes": len(images.classes),
        "grid": f"bandwidth {b}, {2 * b} x {2 * b} points (beta, alpha)",
        **{f"{name} images": len(rows) for name, rows in parts.items()},
        "validation and test images turned": f"each by its own random rotation, seed {material.rotation_seed}",
    }
