"""``isotypic evaluate``: score a trained run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from isotypic.cli.evaluate_detection import evaluated_detector
from isotypic.cli.evaluate_jets import evaluated_jets
from isotypic.cli.evaluate_sphere import evaluated_sphere
from isotypic.cli.options import Data, Device, Set
from isotypic.cli.tables import evaluation_table
from isotypic.data.image_set import ImageSet
from isotypic.data.splits import Splits
from isotypic.errors import RequestError
from isotypic.groups.finite import FiniteGroup
from isotypic.inference.evaluation import evaluate
from isotypic.inference.run import Run, load_run, recipe_of_run
from isotypic.inference.segmenter import Execution, Segmenter
from isotypic.metrics.equivariance import equivariance_error
from isotypic.ops.device import torch_device
from isotypic.studies.cell import CACHE_FOLDER
from isotypic.studies.systems.catalogue import system_of
from isotypic.studies.systems.classification import ACCURACY, scores_of
from isotypic.studies.systems.jet_sources import load_jets
from isotypic.studies.systems.segmentation import evaluated, samples
from isotypic.studies.systems.segmentation_figures import DIFFERING, MEASURES, moved_scores, upright_scores
from isotypic.studies.systems.system import TESTED_UNDER
from isotypic.tasks.detection import detection_material
from isotypic.tasks.recipe import (
    DetectionRecipe,
    JetRecipe,
    Recipe,
    SegmentationRecipe,
    SphereClassificationRecipe,
    SphereRecipe,
    SphereSegmentationRecipe,
    recipe_of,
    with_request,
)
from isotypic.tasks.segmentation.session import labelled_material
from isotypic.tasks.session import evaluation_batches, material

EXAMPLE = "Example: isotypic evaluate runs/one --group p4m"


def command(
    run: Annotated[
        str, typer.Argument(help="Folder of a trained run, or the name of one of the package.", show_default=False)
    ],
    data: Data = None,
    group: Annotated[
        str | None,
        typer.Option(
            "--group", help="Test under every element of this group; default p4, of volumes D4h, of spheres SO(3)."
        ),
    ] = None,
    part: Annotated[str, typer.Option("--part", help="test, validation, train or all images.")] = "test",
    set_: Set = None,
    device: Device = "cpu",
) -> None:
    """Test a run on its own test images, or on other data, upright and under every element of a group."""
    console = Console()
    recipe = recipe_of(with_request(recipe_of_run(run).model_dump(mode="json"), data, set_ or []))
    usual = None if isinstance(recipe, SphereRecipe) else TESTED_UNDER[recipe.axes]
    elements = system_of(recipe).moved_by(recipe, group or usual)
    with _cache(Path(run)) as cache:
        if isinstance(recipe, SphereClassificationRecipe | SphereSegmentationRecipe):
            table, note = evaluated_sphere(Path(run), recipe, part, device, cache)
        elif isinstance(recipe, DetectionRecipe):
            table, note = evaluated_detector(Path(run), detection_material(recipe, cache), part, elements, device)
        elif isinstance(recipe, JetRecipe):
            table, note = evaluated_jets(Path(run), load_jets(recipe.data, cache), part, device)
        elif isinstance(recipe, SegmentationRecipe):
            table, note = _segmenter(run, recipe, part, elements, Execution(device=device), cache)
        else:
            table, note = _classifier(Path(run), recipe, part, elements, torch_device(device), cache)
    console.print(table)
    console.print(note, highlight=False)


@contextmanager
def _cache(run: Path) -> Iterator[Path]:
    """Give the folder for decoded images: the run's own, or a temporary one for a run of the package."""
    if run.is_dir():
        yield run / CACHE_FOLDER
    else:
        with TemporaryDirectory(prefix="isotypic-") as folder:
            yield Path(folder)


def _classifier(
    run: Path, recipe: Recipe, part: str, group: FiniteGroup, device: torch.device, cache: Path
) -> tuple[Table, str]:
    trained, found = load_run(run), material(recipe, cache)
    _same_classes(trained, found.images)
    indices = _indices(found.splits, len(found.images), part)
    batches = evaluation_batches(found.images, indices, trained.normalisation, device)
    result = evaluate(trained.model.to(device), batches, group)
    tests = {"upright": scores_of(result.upright), _all(group): scores_of(result.moved)}
    title = f"{len(result.labels)} images, group {result.group.name}"
    table = evaluation_table(title, ACCURACY, tests, result.accuracy_by_element, result.disagreeing)
    few, _ = next(iter(evaluation_batches(found.images, indices[:16], trained.normalisation)))
    error = equivariance_error(trained.model.cpu().double(), few.double(), group).max()
    return table, f"largest change of the logits, float64, over their standard deviation: {error:.1e}"


def _segmenter(
    run: str, recipe: SegmentationRecipe, part: str, group: FiniteGroup, execution: Execution, cache: Path
) -> tuple[Table, str]:
    segmenter, found = Segmenter.load(run, execution), labelled_material(recipe, cache)
    if segmenter.channels != found.labelled.channels:
        raise _other_channels(segmenter.channels or 0, found.labelled.channels)
    indices = _indices(found.splits, len(found.labelled), part)
    images = track(samples(found, indices), "testing", total=len(indices), transient=True)
    result = evaluated(segmenter, recipe, images, group)
    tests = {"upright": upright_scores(recipe, result), _all(group): moved_scores(recipe, result)}
    title = f"{len(result.names)} images, group {group.name}"
    by_element = dict(zip(result.elements, result.scores.mean(1).tolist(), strict=True))
    table = evaluation_table(title, MEASURES[recipe.merit], tests, by_element, result.changed)
    return table, f"{DIFFERING}: {result.differing_fraction:.4%}"


def _all(group: FiniteGroup) -> str:
    return f"all {group.order} elements"


def _indices(splits: Splits, count: int, part: str) -> np.ndarray:
    parts = {**vars(splits), "all": np.arange(count)}
    if part not in parts:
        raise RequestError(f"expected --part {', '.join(parts)}, received {part!r}")
    return parts[part]


def _same_classes(run: Run, images: ImageSet) -> None:
    if tuple(run.classes) != tuple(images.classes):
        raise RequestError(f"expected the classes of the run, {run.classes}, received {images.classes}")
    if run.image_shape[0] != images.shape[0]:
        raise _other_channels(run.image_shape[0], images.shape[0])


def _other_channels(expected: int, received: int) -> RequestError:
    return RequestError(
        f"expected images of {expected} channels as in training, received {received}; set data.colour when training"
    )
