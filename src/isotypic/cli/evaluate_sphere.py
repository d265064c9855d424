"""How ``isotypic evaluate`` scores runs on spherical images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from rich.table import Table

from isotypic.cli.tables import evaluation_table
from isotypic.errors import RequestError
from isotypic.inference.run import SphereRun, load_sphere_run
from isotypic.inference.sphere_evaluation import UPRIGHT_AND_TURNED, classify_turned, segment_turned
from isotypic.ops.device import torch_device
from isotypic.studies.systems.classification import ACCURACY, scores_of
from isotypic.studies.systems.sphere import MEAN_IOU, point_scores
from isotypic.tasks.recipe import AnySphereRecipe, SphereSegmentationRecipe
from isotypic.tasks.sphere.session import SphereMaterial, sphere_material


def evaluated_sphere(run: Path, recipe: AnySphereRecipe, part: str, device: str, cache: Path) -> tuple[Table, str]:
    """Return the table of a run's test as it is and turned, and a note.

    Args:
        run: its folder.
        recipe: the run's, on which images it is tested.
        part: test, validation, train or all.
        device: where.
        cache: a folder for samples.

    Raises:
        RequestError: an unknown part, or images of other classes or channels than in training.
    """
    trained, material = load_sphere_run(run), sphere_material(recipe, cache)
    _refuse_others(trained, material)
    rows = _rows(material, part)
    trained.model.to(torch_device(device))
    title = f"{len(rows)} images, group SO(3)"
    test = _points if isinstance(recipe, SphereSegmentationRecipe) else _images
    return test(trained, material, rows, title)


def _points(run: SphereRun, material: SphereMaterial, rows: np.ndarray, title: str) -> tuple[Table, str]:
    found = segment_turned(run.model, material, rows, run.normalisation)
    scores = [point_scores(*pair) for pair in zip(found.by_area, found.counts, strict=True)]
    tests = dict(zip(UPRIGHT_AND_TURNED, scores, strict=True))
    itself = f"{found.resampled:.2%} of the truth itself, turned back"
    note = f"found otherwise when turned: {found.changed:.2%} of the area, {itself}"
    return evaluation_table(title, MEAN_IOU, tests, {}, None), note


def _images(run: SphereRun, material: SphereMaterial, rows: np.ndarray, title: str) -> tuple[Table, str]:
    found = classify_turned(run.model, material, rows, run.normalisation)
    tests = dict(zip(UPRIGHT_AND_TURNED, map(scores_of, found.scores), strict=True))
    changed = (found.probabilities[0] - found.probabilities[1]).abs().max(1).values
    note = f"largest change of a probability when turned: median {torch.median(changed):.3f} of the images"
    return evaluation_table(title, ACCURACY, tests, {}, found.changed), note


def _rows(material: SphereMaterial, part: str) -> np.ndarray:
    parts = {**vars(material.images.splits), "all": np.arange(len(material.images))}
    if part not in parts:
        raise RequestError(f"expected --part {', '.join(parts)}, received {part!r}")
    return parts[part]


def _refuse_others(run: SphereRun, material: SphereMaterial) -> None:
    images = material.images
    known = images.point_classes if isinstance(run.recipe, SphereSegmentationRecipe) else images.classes
    if run.classes != known:
        raise RequestError(f"expected the classes of the run, {run.classes}, received {known}")
    if run.image_shape[0] != images.fields.channels:
        raise RequestError(f"expected {run.image_shape[0]} channels as in training, received {images.fields.channels}")
