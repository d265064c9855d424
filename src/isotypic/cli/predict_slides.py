"""What ``isotypic predict`` does with slides: maps, and the scores of slides and patients."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from rich.markup import escape
from rich.table import Table

from isotypic.cli.following import Steps, follow, memory_said, plain_console, say_results
from isotypic.data.readers.micrograph import PixelSize
from isotypic.data.readers.slide import READABLE, SLIDE_SUFFIXES, open_slide
from isotypic.inference.ledger import Ledger, Request, SlideRow, Source, root, sources
from isotypic.inference.slide_classifier import SlideClassifier
from isotypic.inference.slide_scores import Patient, Scoring, patient_table, read_patches, slide_table
from isotypic.inference.writers.catalogue import saved
from isotypic.inference.writers.slide_files import PATCHES, save_slide, slide_files

LEDGER, SLIDES, PATIENTS = "slides.csv", "scores.csv", "patients.csv"

_SHOWN = 20
"""Rows of the table at the end; all are in the table on disk."""


@dataclass(frozen=True)
class SlideJob:
    """What is asked for every slide.

    Attributes:
        classifier: runs over them.
        scoring: how patches become scores.
        patient: whose slides they are.
        microns: per pixel of the training images; None takes the finest level as it is.
        pixel_size: of the slides, in place of what their files say.
    """

    classifier: SlideClassifier
    scoring: Scoring
    patient: Patient
    microns: float | None = None
    pixel_size: PixelSize | None = None

    @property
    def request(self) -> dict[str, str | int | float | bool | None]:
        """What the maps depend on; scores are made of the tables of patches anew whenever they are asked for."""
        execution = self.classifier.execution
        return {
            "class": self.scoring.classes[self.scoring.positive],
            "microns_per_pixel": self.microns,
            "pixel_size": None if self.pixel_size is None else self.pixel_size.micrometres,
            "overlap": execution.overlap,
            "tissue": execution.tissue,
            "precision": execution.precision.value,
        }

    def run(self, source: Source, stem: Path, steps: Steps) -> SlideRow:
        """Classify a slide and write what is found."""
        start, (size, modified_ns) = time.perf_counter(), source.state
        slide = replace(open_slide(source.path, self.pixel_size), source=source.title)
        heat = self.classifier(slide, self.microns, steps)
        save_slide(heat, stem)
        height, width = slide.size
        return SlideRow(
            file=source.name,
            height=height,
            width=width,
            microns=math.nan if slide.microns is None else slide.microns,
            tissue=round(float(heat.tissue.mean()), 4),
            patches=len(heat.scores),
            seconds=round(time.perf_counter() - start, 3),
            bytes=size,
            modified_ns=modified_ns,
            saved=" ".join(slide_files(stem)),
        )


def has_slides(images: Path) -> bool:
    """Whether a path is a slide by its suffix, or a folder that has one at any depth."""
    paths = images.rglob("*") if images.is_dir() else [images]
    return any(path.suffix.lower() in SLIDE_SUFFIXES for path in paths)


def predict_slides(images: Path, out: Path, run: str, job: SlideJob) -> None:
    """Classify every slide that is not finished, and write the scores of all.

    Args:
        images: a slide, or a folder of slides.
        out: the folder to write to.
        run: the fingerprint of the run.
        job: what is asked.
    """
    found = sources(images, out, READABLE)
    for source in found:
        job.patient(source.name)  # what is wrong with the patients is said before hours of work
    request: Request = {"images": str(root(images).resolve()), "run": run, **job.request}
    ledger, console = Ledger(out, request, SlideRow, LEDGER), plain_console()
    waiting = [source for source in found if not ledger.finished(source, slide_files(ledger.stem(source)))]
    work = partial(_classify, job, ledger)
    failures = follow(console, waiting, work, ("patch", "map"), alone=found[0].path == images)
    slides = _write_scores(job, ledger, found)
    console.print(_table(slides, job.scoring))
    console.print(f"threshold: {job.scoring.threshold:.4g}", highlight=False)
    say_results(console, out, len(found) - len(waiting), failures)


def _classify(job: SlideJob, ledger: Ledger[SlideRow], source: Source, steps: Steps) -> str:
    batch = job.classifier.execution.batch_size
    with memory_said(source.path, f"in batches of {batch} patches; give a smaller --batch-size"):
        row = job.run(source, ledger.stem(source), steps)
    ledger.add(row)
    return f"{row.patches} patches, {row.seconds:.1f} s"


def _write_scores(job: SlideJob, ledger: Ledger[SlideRow], found: list[Source]) -> pd.DataFrame:
    """Write the scores of the slides that are finished, and of their patients; return the former."""
    finished = [source for source in found if source.name in ledger.rows]
    probabilities: dict[str, np.ndarray] = {}
    for source in finished:
        path = slide_files(ledger.stem(source))[PATCHES]
        probabilities[source.name] = read_patches(path, job.scoring.classes, job.scoring.positive)
    slides = slide_table(probabilities, job.scoring, job.patient)
    for name, table in ((SLIDES, slides), (PATIENTS, patient_table(slides, job.scoring))):
        saved(ledger.out / name, partial(table.to_csv, index=False, float_format="%.6g"))
    return slides


def _table(slides: pd.DataFrame, scoring: Scoring) -> Table:
    table = Table("slide", "patient", title_justify="left")
    name = scoring.classes[scoring.positive]
    table.add_column("patches", justify="right")
    table.add_column(f"score of {name} ({scoring.aggregate.value})", justify="right")
    table.add_column("class")
    for row in slides.head(_SHOWN).itertuples(index=False):
        file, patient, patches, score, found = map(str, row)
        shown = "no tissue" if score == "nan" else f"{float(score):.3f}"
        table.add_row(escape(file), escape(patient), patches, shown, escape(found))
    if len(slides) > _SHOWN:
        table.add_row(f"... {len(slides) - _SHOWN} more in {SLIDES}")
    return table
