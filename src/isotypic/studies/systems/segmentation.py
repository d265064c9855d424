"""Segmentation as a study sees it: the measure is the recipe's figure of merit, one number an image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isotypic import __version__
from isotypic.data.splits import nested_subsets
from isotypic.groups.catalogue import named
from isotypic.groups.finite import FiniteGroup
from isotypic.inference.run import RunDescription, save_run
from isotypic.inference.segmentation_evaluation import (
    ALL,
    Sample,
    SegmentationEvaluation,
    SegmentedImage,
    evaluate_segmentation,
)
from isotypic.inference.segmenter import Execution, Segmenter
from isotypic.metrics.classification import overfitting_ratio
from isotypic.metrics.equivariance import equivariance_error
from isotypic.models.heads import output_representation
from isotypic.studies.predictions import Predictions
from isotypic.studies.records import EXAMPLES, ROTATED, UPRIGHT, Cost, Curves, Outcome, Scores
from isotypic.studies.systems.segmentation_examples import Examples
from isotypic.studies.systems.segmentation_figures import (
    CHANGED,
    MEASURES,
    moved_scores,
    names_beside,
    roc_curve,
    run_figures,
    upright_scores,
)
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
from isotypic.tasks.cost import latency_ms, parameter_count
from isotypic.tasks.recipe import SegmentationRecipe
from isotypic.tasks.segmentation.session import (
    LabelledMaterial,
    TrainedSegmentation,
    labelled_material,
    train_segmentation,
)

_FEW = 16
_ERROR_SIDE = 128


class SegmentationSystem(StudiedSystem[SegmentationRecipe, LabelledMaterial, TrainedSegmentation]):
    """Segmenters of images of any size."""

    def group(self, recipe: SegmentationRecipe) -> str:
        """Return the group that the network commutes with."""
        return recipe.model.symmetry

    def material(self, recipe: SegmentationRecipe, cache: Path, counted: Counted | None = None) -> LabelledMaterial:
        """Load and split the labelled images."""
        return labelled_material(recipe, cache)

    def describe(self, recipe: SegmentationRecipe, material: LabelledMaterial) -> Description:
        """Say what the images are."""
        return Description(
            measure=MEASURES[recipe.merit],
            data=_in_words(material),
            available=len(material.splits.train),
            further=names_beside(recipe.model.heads, recipe.merit, _kinds(material)),
        )

    def subset(self, material: LabelledMaterial, size: int, seed: int) -> np.ndarray:
        """Draw images, whatever is in them."""
        train = material.splits.train
        return nested_subsets(np.zeros(len(material.labelled), dtype=np.int64), train, [size], seed)[size]

    def train(self, job: Job[SegmentationRecipe, LabelledMaterial]) -> TrainedSegmentation:
        """Train a segmenter."""
        return train_segmentation(job.recipe, job.material, job.subset, **job.training())

    def test(self, job: Job[SegmentationRecipe, LabelledMaterial], trained: TrainedSegmentation) -> Finished:
        """Score every test image upright and moved."""
        segmenter = Segmenter(trained.model, job.recipe, trained.normaliser, execution=Execution(device=job.device))
        test = job.material.splits.test
        examples = Examples(len(test), job.group, MEASURES[job.recipe.merit].name)
        seen = _watch(examples, len(test), job.stage(TESTING))
        on_test = evaluated(segmenter, job.recipe, samples(job.material, test), job.group, seen)
        on_train = evaluated(segmenter, job.recipe, samples(job.material, job.subset[:_FEW]), named("trivial"))
        trained.model.cpu()
        drawings = {} if examples.caption is None else {EXAMPLES: Drawing(examples.caption, examples.write)}
        outcome = _outcome(job, trained, on_test, on_train, captions(drawings, job.seed))
        predictions = Predictions(np.array(on_test.names), on_test.elements, on_test.scores)
        return Finished(outcome, predictions, drawings)

    def save(
        self,
        folder: Path,
        job: Job[SegmentationRecipe, LabelledMaterial],
        trained: TrainedSegmentation,
        finished: Finished | None = None,
    ) -> None:
        """Write the segmenter."""
        save_run(folder, trained.model, _run_description(job, trained, finished))


def _watch(
    examples: Examples, images: int, heard: Callable[[float], object] | None
) -> Callable[[SegmentedImage], object]:
    """Return what sees every test image: it keeps examples, and tells how many there were."""
    seen = count(1)

    def see(image: SegmentedImage) -> None:
        examples.see(image)
        if heard is not None:
            heard(next(seen) / images)

    return see


def evaluated(
    segmenter: Segmenter,
    recipe: SegmentationRecipe,
    images: Iterable[Sample],
    group: FiniteGroup,
    watch: Callable[[SegmentedImage], object] | None = None,
) -> SegmentationEvaluation:
    """Score a segmenter as its recipe says (:func:`evaluate_segmentation`)."""
    heads, grouping, merit = recipe.model.heads, recipe.grouping, recipe.merit
    return evaluate_segmentation(
        segmenter.outputs, images, group, heads=heads, grouping=grouping, merit=merit, watch=watch
    )


def samples(material: LabelledMaterial, indices: np.ndarray) -> Iterator[Sample]:
    """Yield some images of a material with their kinds, where the test images are of several."""
    labelled, kinds = material.labelled, _kinds(material)
    for index in indices:
        kind = str(labelled.origins.kinds[index]) if kinds and labelled.origins.kinds is not None else ALL
        yield Sample(str(labelled.origins.names[index]), labelled.images[index], labelled.labels[index], kind)


def _kinds(material: LabelledMaterial) -> list[str]:
    """Return the kinds of the test images; none where they are all of one."""
    kinds = material.labelled.origins.kinds
    found = [] if kinds is None else sorted(set(kinds[material.splits.test].tolist()))
    return found if len(found) > 1 else []


def _outcome(
    job: Job[SegmentationRecipe, LabelledMaterial],
    trained: TrainedSegmentation,
    on_test: SegmentationEvaluation,
    on_train: SegmentationEvaluation,
    pictures: dict[str, str],
) -> Outcome:
    few = _few_windows(job.material, trained)
    upright, rotated = upright_scores(job.recipe, on_test), moved_scores(job.recipe, on_test)
    measure, training = MEASURES[job.recipe.merit].name, float(on_train.scores.mean())
    by_element = on_test.scores.mean(1).tolist()
    return Outcome(
        group=on_test.group.name,
        train=Scores(figures={measure: training}),
        tests={ROTATED: rotated, UPRIGHT: upright},
        per_rotation=dict(zip(on_test.elements, by_element, strict=True)),
        changed_images=on_test.changed,
        overfitting_ratio=overfitting_ratio(training, float(on_test.scores[0].mean())),
        curves=Curves(score="Dice of foreground pixels", **asdict(trained.curves)),
        cost=Cost(
            parameters=parameter_count(trained.model),
            train_seconds=trained.effort.seconds,
            steps=trained.curves.step[-1],
            latency_ms=latency_ms(trained.model, few[0]),
        ),
        equivariance_error=_equivariance_error(trained, few, on_test.group),
        figures=run_figures(on_test),
        pictures=pictures,
        roc=roc_curve(on_test.upright[ALL]),
    )


def _few_windows(material: LabelledMaterial, trained: TrainedSegmentation) -> Tensor:
    """Return the corner of the first test images, as the network takes them: of one size, at most 128 a side."""
    images = [material.labelled.images[index] for index in material.splits.test[:_FEW]]
    side = min(_ERROR_SIDE, *(min(image.shape[1:]) for image in images))
    return torch.stack([_normalised(trained, image)[:, :side, :side] for image in images])


def _normalised(trained: TrainedSegmentation, image: np.ndarray) -> Tensor:
    return trained.normaliser.for_image(image).apply(torch.from_numpy(np.array(image)))


def _equivariance_error(trained: TrainedSegmentation, images: Tensor, group: FiniteGroup) -> float:
    double = trained.model.double().eval()
    moves = output_representation(trained.model.heads, group)
    error = equivariance_error(double, images.double(), group, output_representation=moves)
    trained.model.float()
    return float(error.max())


def _run_description(
    job: Job[SegmentationRecipe, LabelledMaterial], trained: TrainedSegmentation, finished: Finished | None
) -> RunDescription:
    labelled = job.material.labelled
    height, width = job.recipe.data.window or labelled.sizes[job.subset[0]].tolist()
    return RunDescription(
        version=__version__,
        recipe=job.recipe.model_dump(mode="json"),
        classes=[],
        image_shape=(labelled.channels, height, width),
        normalisation=trained.normaliser.to_dict(),
        pixel_size=_side(labelled.pixel_size),
        figures={
            **({} if finished is None else _tested(finished)),
            **job.figures(trained.model, trained.effort),
        },
    )


def _tested(finished: Finished) -> dict[str, Any]:
    outcome = finished.outcome
    return {
        **{f"test {name}": value for name, value in outcome.tests[UPRIGHT].figures.items()},
        **outcome.figures,
        CHANGED: outcome.changed_images,
        "test images": len(finished.predictions.images),
    }


def _side(pixel_size: tuple[float, float] | None) -> float | None:
    """Return the side of a square pixel in micrometres, or None."""
    return pixel_size[0] if pixel_size is not None and pixel_size[0] == pixel_size[1] else None


def _in_words(material: LabelledMaterial) -> dict[str, Any]:
    labelled, splits = material.labelled, material.splits
    parts = {"training": splits.train, "validation": splits.validation, "test": splits.test}
    sizes = [" x ".join(map(str, size)) for size in np.unique(labelled.sizes, axis=0).tolist()]
    described: dict[str, Any] = {
        "data set": labelled.name,
        "images": len(labelled),
        "channels": labelled.channels,
        "image sizes": sizes[0] if len(sizes) == 1 else f"{len(sizes)}, from {sizes[0]} to {sizes[-1]}",
        **{f"{name} images": len(rows) for name, rows in parts.items()},
    }
    if labelled.origins.subjects is not None:
        described["sources"] = len(set(labelled.origins.subjects.tolist()))
    return described
