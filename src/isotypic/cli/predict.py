"""``isotypic predict``: classify images, whole slides, or candidates in scans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.console import Console
from rich.progress import track

from isotypic.cli.following import say_failures
from isotypic.cli.options import Device, PixelSide, Run, pixel_size_of
from isotypic.cli.predict_scans import predict_scans
from isotypic.cli.predict_slides import SlideJob, has_slides, predict_slides
from isotypic.data.preparation import prepare
from isotypic.data.readers.image import list_images, read
from isotypic.errors import RequestError
from isotypic.inference.candidate_classifier import CandidateClassifier
from isotypic.inference.ledger import fingerprint
from isotypic.inference.run import Run as TrainedRun
from isotypic.inference.run import load_run, recipe_of_run
from isotypic.inference.segmenter import Precision
from isotypic.inference.slide_classifier import SlideClassifier, SlideExecution
from isotypic.inference.slide_scores import (
    Aggregate,
    Patient,
    Scoring,
    patient_by_name,
    patient_by_pattern,
    patient_by_table,
)
from isotypic.inference.writers.catalogue import saved
from isotypic.ops.device import torch_device
from isotypic.tasks.recipe import DetectionRecipe

EXAMPLE = (
    "Example: isotypic predict photos/ --run runs/one --out predictions.csv\n\n"
    "Slides: isotypic predict slides/ --run runs/one --out maps --microns-per-pixel 0.5 --overlap 0.5\n\n"
    "Scans: isotypic predict scans/ --run runs/one --candidates candidates.csv --out probabilities.csv"
)


def command(
    images: Annotated[
        Path, typer.Argument(help="An image, a slide or a scan, or a folder of them.", show_default=False)
    ],
    run: Run,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="CSV file to write, default predictions.csv; of slides a folder, default slides."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold", min=0, max=1, help="Probability from which on the class is positive; default the run's."
        ),
    ] = None,
    candidates: Annotated[
        Path | None,
        typer.Option("--candidates", help="CSV file of candidates: seriesuid,coordX,coordY,coordZ in millimetres."),
    ] = None,
    slides: Annotated[
        bool, typer.Option("--slides", help="TIFF files are slides; .svs, .ndpi, .mrxs and .scn always are.")
    ] = False,
    microns_per_pixel: Annotated[
        float | None,
        typer.Option("--microns-per-pixel", min=0.01, help="Of the training images; what is given one is a slide."),
    ] = None,
    pixel_size: PixelSide = None,
    class_: Annotated[
        str | None, typer.Option("--class", help="Class that maps show and scores count; default the second of two.")
    ] = None,
    overlap: Annotated[
        float, typer.Option("--overlap", min=0, max=0.95, help="Share of a patch that its neighbour has too.")
    ] = 0.0,
    tissue: Annotated[
        float, typer.Option("--tissue", min=0, max=1, help="Least share of a patch that is tissue; 0 takes all.")
    ] = 0.25,
    aggregate: Annotated[
        Aggregate,
        typer.Option(
            "--aggregate", help="Score of a slide: mean of the top patches, maximum, or area above threshold."
        ),
    ] = Aggregate.TOP,
    top_share: Annotated[
        float, typer.Option("--top-share", min=1e-6, max=1, help="Share of the patches that are the top ones.")
    ] = 0.1,
    patients: Annotated[
        Path | None,
        typer.Option("--patients", help="CSV file with columns file and patient; default: by the slides' folders."),
    ] = None,
    patient_pattern: Annotated[
        str | None,
        typer.Option("--patient-pattern", help="Regular expression that finds the patient in the name of a slide."),
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images or patches at a time.")] = 64,
    precision: Annotated[Precision, typer.Option("--precision", help="Of the arithmetic.")] = Precision.FLOAT32,
    device: Device = "cpu",
) -> None:
    """Write one row an image: file, class, and the probability of every class.

    Of scans one row a candidate, with its probability, as LUNA16 takes it. Of slides: a heat map, a picture, a table
    of patches, and the scores of slides and of patients. What is finished in the folder stays, and the same command
    goes on where it was stopped.
    """
    if isinstance(recipe_of_run(run), DetectionRecipe):
        detector = CandidateClassifier.load(run, device)
        predict_scans(images, candidates, out or Path("predictions.csv"), detector)
        return
    trained = load_run(run) if threshold is None else _with_threshold(load_run(run), threshold)
    if not images.exists():
        raise RequestError(f"expected an image or a folder of images at {images}, found nothing")
    if not (slides or microns_per_pixel is not None or has_slides(images)):
        trained.model.to(torch_device(device), precision.dtype)
        _predict_images(trained, images, out or Path("predictions.csv"), batch_size)
        return
    execution = SlideExecution(overlap, tissue, batch_size, precision, device)
    classifier = SlideClassifier(trained, class_, execution)
    scoring = Scoring(
        trained.classes, classifier.positive, trained.threshold_of(classifier.positive), aggregate, top_share
    )
    patient = _patient(patients, patient_pattern)
    job = SlideJob(classifier, scoring, patient, microns_per_pixel, pixel_size_of(pixel_size))
    predict_slides(images, out or Path("slides"), fingerprint(run), job)


def _with_threshold(run: TrainedRun, threshold: float) -> TrainedRun:
    return replace(run, calibration=run.calibration.model_copy(update={"threshold": threshold}))


def _patient(table: Path | None, pattern: str | None) -> Patient:
    if table is not None and pattern is not None:
        raise RequestError("expected --patients or --patient-pattern, received both")
    if table is not None:
        return patient_by_table(table)
    return patient_by_name if pattern is None else patient_by_pattern(pattern)


def _predict_images(trained: TrainedRun, images: Path, out: Path, batch_size: int) -> None:
    """Write the table of the images that can be read, and say which cannot."""
    console, paths = Console(), _paths(images)
    failures: list[str] = []
    shown = track(paths, "classifying", console=console, transient=True)
    readable = _prepared(trained, shown, failures, alone=paths == [images])
    rows = [row for batch in _equal(readable, batch_size) for row in _rows(trained, batch, images)]
    if rows:
        saved(out, lambda path: pd.DataFrame(rows).to_csv(path, index=False, float_format="%.6g"))
    console.print(f"{len(rows)} images: {out.resolve()}", highlight=False, soft_wrap=True)
    say_failures(failures)


def _paths(images: Path) -> list[Path]:
    paths = list_images(images) if images.is_dir() else [images]
    if not paths:
        raise RequestError(f"expected images in {images}, found none")
    return paths


_Image = tuple[Path, np.ndarray]


def _prepared(run: TrainedRun, paths: Iterable[Path], failures: list[str], *, alone: bool) -> Iterator[_Image]:
    """Yield the images ``[C, y, x]`` as in training, and collect what is wrong with the others."""
    for path in paths:
        try:
            yield path, run.accepted(prepare(read(path)[None], run.recipe.data))[0]
        except RequestError as error:
            if alone:
                raise
            failures.append(str(error) if str(path) in str(error) else f"{path}: {error}")


def _equal(images: Iterable[_Image], most: int) -> Iterator[list[_Image]]:
    """Yield neighbours of one size, at most so many at a time."""
    batch: list[_Image] = []
    for path, image in images:
        if batch and (len(batch) == most or image.shape != batch[0][1].shape):
            yield batch
            batch = []
        batch.append((path, image))
    if batch:
        yield batch


def _rows(run: TrainedRun, batch: list[_Image], root: Path) -> Iterator[dict[str, object]]:
    probabilities = run.probabilities(np.stack([image for _, image in batch])).tolist()
    for (path, _), row in zip(batch, probabilities, strict=True):
        name = path.relative_to(root) if root.is_dir() else path
        yield {"file": str(name), "class": run.class_of(row), **dict(zip(run.classes, row, strict=True))}
