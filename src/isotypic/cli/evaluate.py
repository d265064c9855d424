"""``isotypic evaluate``: score a trained run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from isotypic.cli.options import Data
from isotypic.cli.tables import evaluation_table
from isotypic.data.image_set import ImageSet
from isotypic.errors import RequestError
from isotypic.groups.catalogue import named
from isotypic.inference.evaluation import Evaluation, evaluate
from isotypic.inference.run import Run, load_run
from isotypic.metrics.equivariance import equivariance_error
from isotypic.studies.cell import CACHE_FOLDER
from isotypic.studies.systems.classification import ACCURACY, scores_of
from isotypic.tasks.recipe import Recipe, recipe_of, with_request
from isotypic.tasks.session import evaluation_batches, material

EXAMPLE = "Example: isotypic evaluate runs/one --group p4m"


def command(
    run: Annotated[Path, typer.Argument(help="Folder of a trained run.", show_default=False)],
    data: Data = None,
    group: Annotated[str, typer.Option("--group", help="Test under every element of this group.")] = "p4",
    part: Annotated[str, typer.Option("--part", help="test, validation, train or all images.")] = "test",
) -> None:
    """Test a run on its own test images, or on other data, upright and under every element of a group."""
    console = Console()
    trained, elements = load_run(run), named(group)
    recipe = recipe_of(with_request(trained.recipe.model_dump(mode="json"), data, []))
    if not isinstance(recipe, Recipe):
        raise RequestError(f"expected the run of a classifier at {run}, received one for {recipe.task}")
    found = material(recipe, run / CACHE_FOLDER)
    _same_classes(trained, found.images)
    parts = {**vars(found.splits), "all": np.arange(len(found.images))}
    if part not in parts:
        raise RequestError(f"expected --part {', '.join(parts)}, received {part!r}")
    batches = evaluation_batches(found.images, parts[part], trained.normalisation)
    console.print(_table(evaluate(trained.model, batches, elements)))
    few, _ = next(iter(evaluation_batches(found.images, parts[part][:16], trained.normalisation)))
    error = equivariance_error(trained.model.double(), few.double(), elements).max()
    console.print(f"largest change of the logits, float64, over their standard deviation: {error:.1e}", highlight=False)


def _table(result: Evaluation) -> Table:
    title = f"{len(result.labels)} images, group {result.group.name}"
    tests = {"upright": scores_of(result.upright), f"all {result.group.order} elements": scores_of(result.moved)}
    return evaluation_table(title, ACCURACY, tests, result.accuracy_by_element, result.disagreeing)


def _same_classes(run: Run, images: ImageSet) -> None:
    if tuple(run.classes) != tuple(images.classes):
        raise RequestError(f"expected the classes of the run, {run.classes}, received {images.classes}")
    if run.image_shape[0] != images.shape[0]:
        raise RequestError(
            f"expected images of {run.image_shape[0]} channels as in training, received {images.shape[0]}; "
            "set data.colour when training"
        )
