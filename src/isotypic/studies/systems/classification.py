"""Classification as a study sees it: the measure is accuracy, for an image 1 where its class is right, else 0."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isotypic import __version__
from isotypic.data.loading import ArrayDataset
from isotypic.data.splits import nested_subsets
from isotypic.groups.catalogue import named
from isotypic.groups.finite import FiniteGroup
from isotypic.inference.evaluation import Evaluation, evaluate
from isotypic.inference.run import RunDescription, save_run
from isotypic.metrics.calibration import Calibration, calibrated
from isotypic.metrics.classification import ClassificationScores, overfitting_ratio, roc_curve
from isotypic.ops.device import torch_device
from isotypic.studies.predictions import Predictions
from isotypic.studies.records import EXAMPLES, ROTATED, UPRIGHT, Cost, Curves, Measure, Outcome, Roc, Scores
from isotypic.studies.systems.classification_examples import Examples
from isotypic.studies.systems.learned_filters import LearnedFilters
from isotypic.studies.systems.png import can_draw
from isotypic.studies.systems.roc import resampled
from isotypic.studies.systems.system import Counted, Description, Drawing, Finished, Job, StudiedSystem, captions
from isotypic.tasks.classification import invariance_error
from isotypic.tasks.cost import latency_ms, parameter_count
from isotypic.tasks.recipe import Recipe
from isotypic.tasks.session import Material, Trained, evaluation_batches, material, train

FILTERS = "learned filters"
"""The name of a picture."""

BESIDE = ("AUC", "sensitivity", "specificity")
"""Figures beside the measure."""

ACCURACY = Measure(name="accuracy", better="is more accurate", prediction="class")
_ERROR_IMAGES = 16


class ClassificationSystem(StudiedSystem[Recipe, Material, Trained]):
    """Classifiers of single images."""

    def group(self, recipe: Recipe) -> str:
        """Return the group of the network."""
        return recipe.model.group

    def material(self, recipe: Recipe, cache: Path, counted: Counted | None = None) -> Material:
        """Load and split the images."""
        return material(recipe, cache)

    def describe(self, recipe: Recipe, material: Material) -> Description:
        """Say what the images are."""
        return Description(
            measure=ACCURACY,
            data=_in_words(material),
            available=len(material.splits.train),
            classes=tuple(material.images.classes),
            further=BESIDE,
        )

    def subset(self, material: Material, size: int, seed: int) -> np.ndarray:
        """Draw images balanced over the classes, at least one of each."""
        return nested_subsets(material.images.labels, material.splits.train, [size], seed)[size]

    def train(self, job: Job[Recipe, Material]) -> Trained:
        """Train a classifier, and fit its threshold to the validation images."""
        trained = train(job.recipe, job.material, job.subset, **job.training())
        return replace(trained, calibration=_calibration(job, trained))

    def test(self, job: Job[Recipe, Material], trained: Trained) -> Finished:
        """Count what it gets right."""
        on_test = _evaluated(job, trained, job.material.splits.test, job.group)
        on_train = _evaluated(job, trained, job.subset, named("trivial", job.recipe.axes))
        trained.model.cpu()
        drawings = _drawings(job.material, trained, on_test) if can_draw() else {}
        outcome = _outcome(job, trained, on_test, on_train, captions(drawings, job.seed))
        right = (on_test.predicted == on_test.labels).double().numpy()
        return Finished(outcome, Predictions(on_test.labels.numpy(), on_test.elements, right), drawings)

    def save(
        self, folder: Path, job: Job[Recipe, Material], trained: Trained, finished: Finished | None = None
    ) -> None:
        """Write the classifier."""
        save_run(folder, trained.model, _run_description(job, trained, finished))


def _evaluated(job: Job[Recipe, Material], trained: Trained, rows: np.ndarray, group: FiniteGroup) -> Evaluation:
    device = torch_device(job.device)
    batches = evaluation_batches(job.material.images, rows, trained.normalisation, device)
    return evaluate(trained.model.to(device), batches, group)


def scores_of(scores: ClassificationScores) -> Scores:
    """Return the scores of a classifier as they are recorded."""
    figures = {
        "accuracy": scores.accuracy,
        "AUC": scores.auc,
        "sensitivity": scores.sensitivity,
        "specificity": scores.specificity,
    }
    return Scores(figures=figures, confusion=scores.confusion)


def _calibration(job: Job[Recipe, Material], trained: Trained) -> Calibration | None:
    found = _evaluated(job, trained, job.material.splits.validation, named("trivial", job.recipe.axes))
    trained.model.cpu()
    logits = found.probabilities[0].clamp_min(torch.finfo(torch.float32).tiny).log()  # but for a constant an image
    return calibrated(logits, found.labels)


def _outcome(
    job: Job[Recipe, Material],
    trained: Trained,
    on_test: Evaluation,
    on_train: Evaluation,
    pictures: dict[str, str],
) -> Outcome:
    upright, training = on_test.upright, on_train.upright
    few = _few_images(job.material, trained)
    return Outcome(
        group=on_test.group.name,
        train=scores_of(training),
        tests={ROTATED: scores_of(on_test.moved), UPRIGHT: scores_of(upright)},
        per_rotation=on_test.accuracy_by_element,
        changed_images=on_test.disagreeing,
        overfitting_ratio=overfitting_ratio(training.accuracy, upright.accuracy),
        curves=Curves(score=ACCURACY.name, **asdict(trained.curves)),
        cost=Cost(
            parameters=parameter_count(trained.model),
            train_seconds=trained.effort.seconds,
            steps=trained.curves.step[-1],
            latency_ms=latency_ms(trained.model, few[0]),
        ),
        equivariance_error=invariance_error(trained.model, few, on_test.group),
        pictures=pictures,
        roc=_roc(on_test),
    )


def _roc(on_test: Evaluation) -> Roc | None:
    """Return the ROC curve of the upright images, where there are two classes."""
    found = roc_curve(on_test.probabilities[0], on_test.labels)
    return None if found is None else resampled(*found)


def _drawings(material: Material, trained: Trained, on_test: Evaluation) -> dict[str, Drawing]:
    """Return examples of the upright test images, and the filters of the first layer where it is a convolution."""
    rows = ArrayDataset(material.images, material.splits.test).indices
    examples = Examples(material.images, rows, on_test.probabilities[0].numpy())
    filters = LearnedFilters.of(trained.model, _few_images(material, trained))
    found = {} if filters is None else {FILTERS: Drawing(filters.caption, filters.write)}
    return {EXAMPLES: Drawing(examples.caption, examples.write), **found}


def _few_images(material: Material, trained: Trained) -> Tensor:
    """Return the first test images, as the network takes them."""
    images, _ = next(
        iter(evaluation_batches(material.images, material.splits.test[:_ERROR_IMAGES], trained.normalisation))
    )
    return images


def _run_description(job: Job[Recipe, Material], trained: Trained, finished: Finished | None) -> RunDescription:
    images = job.material.images
    return RunDescription(
        version=__version__,
        recipe=job.recipe.model_dump(mode="json"),
        classes=list(images.classes),
        image_shape=images.shape,
        normalisation=trained.normalisation.to_dict(),
        calibration=trained.calibration,
        figures={
            **({} if finished is None else _tested(finished.outcome)),
            **job.figures(trained.model, trained.effort),
        },
    )


def _tested(outcome: Outcome) -> dict[str, float | None]:
    figures = outcome.tests[UPRIGHT].figures
    return {"test accuracy": figures["accuracy"], "test auc": figures["AUC"]}


def _in_words(material: Material) -> dict[str, Any]:
    images, splits = material.images, material.splits
    channels, *space = images.shape
    parts = {"training": splits.train, "validation": splits.validation, "test": splits.test}
    described: dict[str, Any] = {
        "data set": images.name,
        "images": len(images),
        "classes": len(images.classes),
        "image size": f"{' x '.join(map(str, space))}, {channels} channel{'s' if channels > 1 else ''}",
        **{f"{name} images": len(rows) for name, rows in parts.items()},
    }
    if images.subjects is not None:
        described["patients"] = len(set(images.subjects.tolist()))
    return described
