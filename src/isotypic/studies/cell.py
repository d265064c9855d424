"""One cell of a study: train, test upright and moved, measure, and record."""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import torch

from isotypic.data.loading import ArrayDataset
from isotypic.data.splits import nested_subsets
from isotypic.groups.catalogue import named
from isotypic.inference.evaluation import Evaluation, evaluate
from isotypic.inference.run import RunDescription, save_run
from isotypic.metrics.classification import ClassificationScores, overfitting_ratio
from isotypic.studies.records import (
    CELLS_FOLDER,
    ROTATED,
    UPRIGHT,
    Cell,
    Cost,
    Curves,
    Outcome,
    Predictions,
    Record,
    Scores,
    read_study,
    write_record,
)
from isotypic.studies.spec import Plan, plan_from
from isotypic.tasks.classification import invariance_error, latency_ms
from isotypic.tasks.session import Material, Trained, evaluation_batches, material, train
from isotypic.tasks.training import Progress, parameter_count

CACHE_FOLDER = "cache"
_ERROR_IMAGES = 16


def cell_folder(study: Path, cell: Cell) -> Path:
    """Return where a cell's files lie."""
    return study / CELLS_FOLDER / cell.identifier


def run_cell(study: Path, cell: Cell, *, device: str = "cpu", progress: Progress | None = None) -> Record:
    """Run one cell of a described study and write its files.

    Args:
        study: the study's folder, with ``study.json``.
        cell: which cell.
        device: where to train.
        progress: called with the fraction done.
    """
    plan, data = _opened(study)
    recipe = plan.recipe_for(cell)
    subset = nested_subsets(data.images.labels, data.splits.train, plan.info.sizes, cell.seed)[cell.size]
    trained = train(recipe, data, subset, seed=cell.seed, device=device, progress=progress)
    test = evaluation_batches(data.images, data.splits.test, trained.normalisation)
    on_test = evaluate(trained.model, test, named(plan.spec.test_group))
    seen = evaluation_batches(data.images, subset, trained.normalisation)
    on_train = evaluate(trained.model, seen, named("trivial"))
    outcome = _outcome(plan, data, trained, on_test, on_train)
    folder = cell_folder(study, cell)
    description = RunDescription(
        version=plan.info.environment["isotypic"],
        recipe=recipe.model_dump(mode="json"),
        classes=list(data.images.classes),
        image_shape=data.images.shape,
        normalisation=trained.normalisation.to_dict(),
        figures={"accuracy": on_test.upright.accuracy, "training images": cell.size},
    )
    save_run(folder, trained.model, description)
    record = Record(cell=cell, status="done", outcome=outcome)
    predictions = Predictions(on_test.labels.numpy(), on_test.elements, on_test.predicted.numpy())
    write_record(folder, record, predictions)
    return record


@lru_cache(maxsize=1)
def _opened(study: Path) -> tuple[Plan, Material]:
    """Load a study's plan and data once a process."""
    plan = plan_from(read_study(study))
    return plan, material(plan.recipe, study / CACHE_FOLDER)


def _outcome(plan: Plan, data: Material, trained: Trained, on_test: Evaluation, on_train: Evaluation) -> Outcome:
    upright, training = on_test.upright, on_train.upright
    images, _ = ArrayDataset(data.images, data.splits.test[:_ERROR_IMAGES], trained.normalisation).__getitems__(
        range(min(_ERROR_IMAGES, len(data.splits.test)))
    )
    return Outcome(
        group=on_test.group.name,
        train=_scores(training),
        tests={ROTATED: _scores(on_test.moved), UPRIGHT: _scores(upright)},
        per_rotation=on_test.accuracy_by_element,
        disagreeing_images=on_test.disagreeing,
        overfitting_ratio=overfitting_ratio(training.accuracy, upright.accuracy),
        curves=Curves(**asdict(trained.curves)),
        cost=Cost(
            parameters=parameter_count(trained.model),
            train_seconds=trained.seconds,
            steps=plan.recipe.training.steps,
            latency_ms=latency_ms(trained.model, torch.as_tensor(images[0])),
        ),
        equivariance_error=invariance_error(trained.model, images, on_test.group),
    )


def _scores(scores: ClassificationScores) -> Scores:
    return Scores(**asdict(scores))
