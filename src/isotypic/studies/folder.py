"""A study's folder: one file that describes the study, and one folder a finished cell.

The layout on disk::

    study/study.json                                            StudyInfo
    study/cells/p4-g-cnn__rot90__n0100__seed0/examples.png      a picture that the record names; there may be several
    study/cells/p4-g-cnn__rot90__n0100__seed0/predictions.npz   Predictions
    study/cells/p4-g-cnn__rot90__n0100__seed0/record.json       Record

``record.json`` is written last: a cell is finished exactly when it is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ValidationError

from isotypic.errors import RequestError
from isotypic.files import write_text
from isotypic.studies.predictions import PREDICTIONS_FILE, Predictions, read_predictions, write_predictions
from isotypic.studies.records import ArmRef, Cell, Record, Stored, StudyInfo, slug

STUDY_FILE = "study.json"
CELLS_FOLDER = "cells"
RECORD_FILE = "record.json"


@dataclass(frozen=True)
class StudyRecords:
    """A study as read from its folder: the description, the records, the predictions by cell identifier."""

    info: StudyInfo
    records: tuple[Record, ...]
    predictions: dict[str, Predictions]

    @classmethod
    def load(cls, folder: Path) -> StudyRecords:
        """Read ``study.json`` and every ``cells/*/record.json``; cells outside the grid are left out.

        Raises:
            RequestError: no study there, a file that cannot be read, or cells tested on different images.
        """
        info = read_study(folder)
        grid = set(info.cells())
        paths = sorted((folder / CELLS_FOLDER).glob(f"*/{RECORD_FILE}"))
        found = [(path.parent, record) for path in paths if (record := read_record(path.parent)).cell in grid]
        predictions = {
            record.cell.identifier: read_predictions(cell)
            for cell, record in found
            if record.status == "done" and (cell / PREDICTIONS_FILE).is_file()
        }
        _refuse_different_images(predictions)
        return cls(info, tuple(record for _, record in found), predictions)

    def done(self, arm: ArmRef, size: int | None = None) -> list[Record]:
        """Return an arm's finished records, at one size or at all."""
        ours = [record for record in self.records if record.cell.arm == arm and record.outcome]
        return [record for record in ours if size is None or record.cell.size == size]

    def failed(self) -> list[Record]:
        """Return the records of cells that failed."""
        return [record for record in self.records if record.status == "failed"]

    def missing(self) -> list[Cell]:
        """Return the cells of the grid that have no record."""
        recorded = {record.cell for record in self.records}
        return [cell for cell in self.info.cells() if cell not in recorded]

    def scores(self, arm: ArmRef, size: int, test: str) -> dict[int, NDArray[np.float64]]:
        """Return by seed the measure of each test image, [n] in [0, 1]."""
        cells = [record.cell for record in self.done(arm, size)]
        return {
            cell.seed: self.predictions[cell.identifier].of(test)
            for cell in sorted(cells, key=lambda cell: cell.seed)
            if cell.identifier in self.predictions
        }


def cell_folder(study: Path, cell: Cell) -> Path:
    """Return where a cell's files lie."""
    return study / CELLS_FOLDER / cell.identifier


def picture_path(cell: Path, name: str) -> Path:
    """Return where the picture of a name lies in a cell's folder.

    >>> picture_path(Path("cell"), "learned filters").as_posix()
    'cell/learned-filters.png'
    """
    return cell / f"{slug(name)}.png"


def write_study(folder: Path, info: StudyInfo) -> Path:
    """Write ``study.json`` atomically."""
    return write_text(folder / STUDY_FILE, info.model_dump_json(indent=1))


def read_study(folder: Path) -> StudyInfo:
    """Read ``study.json``; a :class:`RequestError` where there is none or it is no study."""
    return _read(folder / STUDY_FILE, StudyInfo)


def write_record(folder: Path, record: Record, predictions: Predictions | None = None) -> Path:
    """Write a cell's files, predictions first and ``record.json`` last, each atomically."""
    if predictions is not None:
        write_predictions(folder, predictions)
    return write_text(folder / RECORD_FILE, record.model_dump_json(indent=1))


def read_record(folder: Path) -> Record:
    """Read a cell's ``record.json``; a :class:`RequestError` where there is none or it is no record."""
    return _read(folder / RECORD_FILE, Record)


def table(records: Iterable[Record], measure: str) -> pd.DataFrame:
    """Return one row a cell: model, augmentation, size, seed, status, error, every scalar of the outcome.

    Scores are named by their set, "train_auc" or "rotated_accuracy", and the measure by element is "accuracy at 90°".

    Args:
        records: the cells.
        measure: the name of the study's measure.
    """
    return pd.DataFrame([_row(record, measure) for record in records])


def _row(record: Record, measure: str) -> dict[str, Any]:
    row: dict[str, Any] = {**record.cell.model_dump(), "status": record.status, "error": record.error}
    outcome = record.outcome
    if outcome is None:
        return row
    for name, scores in {"train": outcome.train, **outcome.tests}.items():
        row |= {f"{name}_{figure.lower()}": value for figure, value in scores.figures.items()}
    row |= {f"{measure.lower()} at {element}": value for element, value in outcome.per_rotation.items()}
    row |= outcome.model_dump(include={"group", "changed_images", "overfitting_ratio", "equivariance_error"})
    return row | outcome.figures | outcome.cost.model_dump()


Kind = TypeVar("Kind", bound=Stored)


def _read(path: Path, kind: type[Kind]) -> Kind:
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as problem:
        raise RequestError(f"{path.parent} holds no {path.name}: is this the right folder?") from problem
    except ValidationError as problem:
        raise RequestError(f"{path} cannot be read as {kind.__name__}: {problem}") from problem


def _refuse_different_images(predictions: dict[str, Predictions]) -> None:
    for (first, a), (second, b) in pairwise(predictions.items()):
        if a.elements != b.elements or not np.array_equal(a.images, b.images):
            raise RequestError(f"cells {first} and {second} were tested on different images: nothing is paired")
