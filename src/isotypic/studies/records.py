"""What a study leaves behind: one folder a finished cell, and one file that describes the study.

A *cell* is one training run: a model, an augmentation, a training-set size and a seed. An *arm* is a model
with an augmentation. The layout on disk::

    study/study.json                                       StudyInfo
    study/cells/p4-g-cnn__rot90__n0100__seed0/predictions.npz   Predictions
    study/cells/p4-g-cnn__rot90__n0100__seed0/record.json       Record

``record.json`` is written last: a cell is finished exactly when it is there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Literal, TypeVar
from zlib import crc32

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from isotypic.errors import RequestError
from isotypic.files import write_atomically, write_text

SCHEMA_VERSION = 1
LONGEST_SLUG = 60
RECORD_FILE = "record.json"
PREDICTIONS_FILE = "predictions.npz"
STUDY_FILE = "study.json"
CELLS_FOLDER = "cells"
UPRIGHT = "upright"
ROTATED = "rotated"
NO_AUGMENTATION = "none"


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


class ArmRef(_Stored):
    """A model with an augmentation: one line in every figure.

    >>> ArmRef(model="CNN", augmentation="rot90").label
    'CNN + rot90'
    """

    model: str
    augmentation: str

    @property
    def label(self) -> str:
        """What the arm is called in figures and sentences; "none" is left out."""
        bare = self.augmentation == NO_AUGMENTATION
        return self.model if bare else f"{self.model} + {self.augmentation}"


class Cell(_Stored):
    """One training run of a study.

    >>> Cell(model="p4 G-CNN", augmentation="rot90", size=100, seed=0).identifier
    'p4-g-cnn__rot90__n0100__seed0'
    """

    model: str
    augmentation: str
    size: int = Field(ge=1)
    seed: int = Field(ge=0)

    @property
    def identifier(self) -> str:
        """A readable folder name; unique within a study (:class:`StudyInfo` sees to that)."""
        return f"{slug(self.model)}__{slug(self.augmentation)}__n{self.size:04d}__seed{self.seed}"

    @property
    def arm(self) -> ArmRef:
        """The cell's model and augmentation."""
        return ArmRef(model=self.model, augmentation=self.augmentation)


class Scores(_Stored):
    """Figures of merit on one set of images.

    All lie in [0, 1]; with more than two classes sensitivity and specificity are means over the classes.
    ``confusion[i][j]`` counts the images of class i that were called class j.
    """

    accuracy: float
    auc: float | None
    sensitivity: float
    specificity: float
    confusion: list[list[int]]


class Curves(_Stored):
    """The course of training; every list has one entry a recording, ``step`` counts optimiser steps."""

    step: list[int]
    train_loss: list[float]
    train_accuracy: list[float]
    validation_loss: list[float]
    validation_accuracy: list[float]

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        lengths = {name: len(values) for name, values in self}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"curves must have one entry a recording, got lengths {lengths}")
        return self


class Cost(_Stored):
    """Trainable parameters, seconds, optimiser steps, and milliseconds an image at batch size 1."""

    parameters: int
    train_seconds: float
    steps: int
    latency_ms: float


class Outcome(_Stored):
    """What a finished run measured.

    Args:
        group, train: the group whose elements the tests apply ("C4"); scores on the training images.
        tests: scores by test set; "upright" is the images as they are, "rotated" all of them under
            every element of the group, the identity included.
        per_rotation: accuracy by element, the label as it is shown ("90°").
        disagreeing_images: images whose predicted class differs between the group's elements.
        overfitting_ratio: train accuracy / accuracy on the upright test.
        curves, cost: the course of training; parameters, seconds, steps, latency.
        equivariance_error: max |f(gx) - f(x)| / std of f over images and elements g, in float64.
    """

    group: str
    train: Scores
    tests: dict[str, Scores]
    per_rotation: dict[str, float]
    disagreeing_images: int
    overfitting_ratio: float
    curves: Curves
    cost: Cost
    equivariance_error: float


class Record(_Stored):
    """A cell that was run: done with an outcome, or failed with an error."""

    schema_version: int = SCHEMA_VERSION
    cell: Cell
    status: Literal["done", "failed"]
    error: str | None = None
    outcome: Outcome | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.schema_version != SCHEMA_VERSION:
            raise ValueError(f"schema_version {self.schema_version}: this isotypic reads {SCHEMA_VERSION}")
        if self.status == "done" and (self.outcome is None or self.error is not None):
            raise ValueError("a record that is done needs an outcome and no error")
        if self.status == "failed" and (self.error is None or self.outcome is not None):
            raise ValueError("a record that failed needs an error and no outcome")
        return self


class Question(_Stored):
    """The comparison that was declared before the study ran: two arms and the test set that decides."""

    built_in: ArmRef
    augmented: ArmRef
    test: Literal["rotated", "upright"] = "rotated"


class StudyInfo(_Stored):
    """What a study is: its question, its grid of cells, its data, settings and environment.

    Args:
        name, title, description: the recipe's name, the report's heading, one or two plain sentences.
        question: the comparison declared in advance.
        models, augmentations: names, in the order of the figures; the augmentation "none" is the plain one.
        sizes, seeds: training-set sizes in images, ascending; a seed fixes subset and initialisation.
        classes: class names, in the order of the labels.
        data, settings, environment: what the data are; the resolved recipe; versions, commit, machine.
        sample_images: a PNG, JPEG or SVG relative to the study's folder.
    """

    name: str
    title: str
    description: str
    question: Question
    models: list[str] = Field(min_length=1)
    augmentations: list[str] = Field(min_length=1)
    sizes: list[int] = Field(min_length=1)
    seeds: list[int] = Field(min_length=1)
    classes: list[str] = Field(min_length=2)
    data: dict[str, Any]
    settings: dict[str, Any]
    environment: dict[str, str]
    sample_images: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _refuse_collisions("models", self.models)
        _refuse_collisions("augmentations", self.augmentations)
        if self.sizes != sorted(set(self.sizes)):
            raise ValueError(f"sizes must ascend without repetition, got {self.sizes}")
        for arm in (self.question.built_in, self.question.augmented):
            if arm not in self.arms():
                raise ValueError(f"the question names {arm.label!r}, which is not an arm of the study")
        return self

    def arms(self) -> list[ArmRef]:
        """Every model with every augmentation."""
        return [ArmRef(model=m, augmentation=a) for m, a in product(self.models, self.augmentations)]

    def cells(self) -> list[Cell]:
        """Every cell of the grid: models x augmentations x sizes x seeds."""
        grid = product(self.arms(), self.sizes, self.seeds)
        return [Cell(**arm.model_dump(), size=size, seed=seed) for arm, size, seed in grid]


@dataclass(frozen=True)
class Predictions:
    """Predicted classes of the test images under every element of the group.

    Args:
        labels: true classes, [n].
        elements: the elements as they are shown ("0°", "90°", ...); the first is the identity.
        predicted: predicted classes, [elements, n]; row 0 is upright.

    Raises:
        RequestError: the shapes do not belong together.
    """

    labels: NDArray[np.integer]
    elements: tuple[str, ...]
    predicted: NDArray[np.integer]

    def __post_init__(self) -> None:
        if self.labels.ndim != 1 or self.predicted.shape != (len(self.elements), *self.labels.shape):
            shapes = f"labels {self.labels.shape}, predicted {self.predicted.shape}"
            raise RequestError(f"predictions need labels [n] and predicted [elements, n], got {shapes}")

    def correct(self, test: str) -> NDArray[np.float64]:
        """Return how often each image is right, [n] in [0, 1]: over the elements, or upright alone."""
        right = (self.predicted == self.labels).astype(np.float64)
        return right[0] if test == UPRIGHT else right.mean(axis=0)


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

    def correct(self, arm: ArmRef, size: int, test: str) -> dict[int, NDArray[np.float64]]:
        """Return by seed how often each test image is right, [n] in [0, 1]."""
        cells = [record.cell for record in self.done(arm, size)]
        return {
            cell.seed: self.predictions[cell.identifier].correct(test)
            for cell in sorted(cells, key=lambda cell: cell.seed)
            if cell.identifier in self.predictions
        }


def slug(name: str) -> str:
    """Return a name as it may stand in a file name: lower-case ASCII letters, digits, "+", ".", "-"; cut if long.

    >>> slug("p4 G-CNN"), slug("C₄")
    ('p4-g-cnn', 'c4')
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    short = re.sub(r"[^a-z0-9.+]+", "-", plain).strip("-.")
    if not short:
        raise RequestError(f"the name {name!r} has no letter or digit that a file name can carry")
    return short if len(short) <= LONGEST_SLUG else f"{short[: LONGEST_SLUG - 9]}-{crc32(name.encode()):08x}"


def write_study(folder: Path, info: StudyInfo) -> Path:
    """Write ``study.json`` atomically."""
    return write_text(folder / STUDY_FILE, info.model_dump_json(indent=1))


def read_study(folder: Path) -> StudyInfo:
    """Read ``study.json``; a :class:`RequestError` where there is none or it is no study."""
    return _read(folder / STUDY_FILE, StudyInfo)


def write_record(folder: Path, record: Record, predictions: Predictions | None = None) -> Path:
    """Write a cell's files, predictions first and ``record.json`` last, each atomically."""
    if predictions is not None:
        arrays = {key: np.asarray(value) for key, value in vars(predictions).items()}
        write_atomically(
            folder / PREDICTIONS_FILE, lambda path: np.savez_compressed(path, allow_pickle=False, **arrays)
        )
    return write_text(folder / RECORD_FILE, record.model_dump_json(indent=1))


def read_record(folder: Path) -> Record:
    """Read a cell's ``record.json``; a :class:`RequestError` where there is none or it is no record."""
    return _read(folder / RECORD_FILE, Record)


def read_predictions(folder: Path) -> Predictions:
    """Read a cell's ``predictions.npz``; a :class:`RequestError` where it holds no predictions."""
    path = folder / PREDICTIONS_FILE
    try:
        with np.load(path, allow_pickle=False) as stored:
            elements = tuple(str(element) for element in stored["elements"])
            return Predictions(stored["labels"], elements, stored["predicted"])
    except (OSError, KeyError, ValueError) as problem:
        raise RequestError(f"{path} cannot be read as predictions: {problem}") from problem


def table(records: Iterable[Record]) -> pd.DataFrame:
    """Return one row a cell: model, augmentation, size, seed, status, error, every scalar of the outcome.

    Scores are named by their set, "train_auc" or "rotated_accuracy"; by element it is "accuracy at 90°".
    """
    return pd.DataFrame([_row(record) for record in records])


def _row(record: Record) -> dict[str, Any]:
    row: dict[str, Any] = {**record.cell.model_dump(), "status": record.status, "error": record.error}
    outcome = record.outcome
    if outcome is None:
        return row
    for name, scores in {"train": outcome.train, **outcome.tests}.items():
        row |= {f"{name}_{key}": value for key, value in scores.model_dump(exclude={"confusion"}).items()}
    row |= {f"accuracy at {element}": value for element, value in outcome.per_rotation.items()}
    row |= outcome.model_dump(exclude={"train", "tests", "per_rotation", "curves", "cost"})
    return row | outcome.cost.model_dump()


Stored = TypeVar("Stored", bound=_Stored)


def _read(path: Path, kind: type[Stored]) -> Stored:
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as problem:
        raise RequestError(f"{path.parent} holds no {path.name}: is this the right folder?") from problem
    except ValidationError as problem:
        raise RequestError(f"{path} cannot be read as {kind.__name__}: {problem}") from problem


def _refuse_collisions(kind: str, names: list[str]) -> None:
    slugs = [slug(name) for name in names]
    if len(set(slugs)) < len(slugs):
        raise ValueError(f"{kind} must give different folder names, got {names} -> {slugs}")


def _refuse_different_images(predictions: dict[str, Predictions]) -> None:
    for (first, a), (second, b) in pairwise(predictions.items()):
        if a.elements != b.elements or not np.array_equal(a.labels, b.labels):
            raise RequestError(f"cells {first} and {second} were tested on different images: nothing is paired")
