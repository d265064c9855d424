"""What is recorded of a study and of its cells; :mod:`isotypic.studies.folder` says where.

A *cell* is one training run: a model, an augmentation, a training-set size and a seed. An *arm* is a model
with an augmentation. The *measure* is the figure of merit that decides: one number in [0, 1] a test image.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, Literal
from zlib import crc32

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from typing_extensions import Self

from isotypic.errors import RequestError, unknown

SCHEMA_VERSION = 2
LONGEST_SLUG = 60
UPRIGHT = "upright"
ROTATED = "rotated"
EXAMPLES = "examples"
"""The picture that a record without names has a caption of."""

NO_AUGMENTATION = "none"
PERMUTATIONS = "permutations"  # the group of an outcome whose test put particles in another order


class Stored(BaseModel):
    """What is kept as JSON: unknown keys are refused, and it does not change once made."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


class Versioned(Stored):
    """A file of its own; a file that does not say its version is of the first."""

    schema_version: int = SCHEMA_VERSION

    @model_validator(mode="before")
    @classmethod
    def _of_this_version(cls, raw: Any, info: ValidationInfo) -> Any:
        if not isinstance(raw, dict):
            return raw
        version = raw.get("schema_version", 1 if info.mode == "json" else SCHEMA_VERSION)
        if version != SCHEMA_VERSION:
            raise ValueError(
                f"schema_version {version}: this isotypic reads {SCHEMA_VERSION}; run the study again in another folder"
            )
        return raw


class ArmRef(Stored):
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


class Cell(Stored):
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


class Measure(Stored):
    """The figure of merit that decides a study: a number in [0, 1] a test image, larger is better.

    Args:
        name: as it stands within a sentence: "accuracy", "Dice", "AP at IoU .5".
        better: what an arm with more of it does, before "than": "is more accurate", "has a higher Dice".
        prediction: what a network says of an image: "class", "segmentation".
        unit: what is tested, of which each has its measure: "image", "nodule".
        sample: what is trained on, of which a training set has its size: "image", "candidate".
        overfitting: the figure whose ratio of training to test is the overfitting ratio; none: the measure itself.
    """

    name: str = Field(min_length=1)
    better: str = Field(min_length=1)
    prediction: str = Field(min_length=1)
    unit: str = Field("image", min_length=1)
    sample: str = Field("image", min_length=1)
    overfitting: str | None = None


class Scores(Stored):
    """Figures of merit on one set of images.

    Args:
        figures: by name, in [0, 1], the study's measure among them; None where it is not defined.
        confusion: ``[i][j]`` counts the images of class i that were called class j; None where there are no classes.
    """

    figures: dict[str, float | None]
    confusion: list[list[int]] | None = None


class Curves(Stored):
    """The course of training; every list has one entry a recording.

    Args:
        score: what the scores are, which need not be the study's measure: "accuracy", "foreground Dice".
        step: optimiser steps made.
        train_loss, validation_loss: the mean loss.
        train_score, validation_score: a figure of merit in [0, 1]; NaN where the task records none.
    """

    score: str
    step: list[int]
    train_loss: list[float]
    train_score: list[float]
    validation_loss: list[float]
    validation_score: list[float]

    @property
    def scored(self) -> bool:
        """Whether a figure of merit was recorded at all."""
        return any(math.isfinite(score) for score in (*self.train_score, *self.validation_score))

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        lengths = {name: len(values) for name, values in self if isinstance(values, list)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"curves must have one entry a recording, got lengths {lengths}")
        return self


class Cost(Stored):
    """Trainable parameters, seconds, optimiser steps, milliseconds an image at batch size 1, and images a second at 32.

    Args:
        throughput: None where it was not measured.
    """

    parameters: int
    train_seconds: float
    steps: int
    latency_ms: float
    throughput: float | None = None


class Roc(Stored):
    """The ROC curve of the upright test, points with rising false positive rate from (0, 0) to (1, 1)."""

    false_positive_rate: list[float]
    true_positive_rate: list[float]

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        if len(self.false_positive_rate) != len(self.true_positive_rate):
            raise ValueError("expected as many true as false positive rates")
        return self


class Froc(Stored):
    """The FROC curve of the upright test by the rules of LUNA16.

    Args:
        false_positives: rates a scan, ascending from 1/8 to 8.
        sensitivity: at each of these.
        cpm, cpm_nearest: the mean sensitivity at the seven rates, between two points on a line, or at the nearest one.
        cpm_interval: 95 % interval of ``cpm`` by the bootstrap over scans.
        intervals: the same of the sensitivity at each of the seven rates.
    """

    false_positives: list[float]
    sensitivity: list[float]
    cpm: float
    cpm_nearest: float
    cpm_interval: tuple[float, float]
    intervals: list[tuple[float, float]]

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        if len(self.false_positives) != len(self.sensitivity):
            raise ValueError("expected as many sensitivities as rates of false positives")
        return self


class Outcome(Stored):
    """What a finished run measured.

    Args:
        group, train: the group whose elements the tests apply ("C4"); scores on the training images.
        tests: scores by test set; "upright" is the images as they are, "rotated" all of them under
            every element of the group, the identity included; of a group that is not finite, each under one that was
            drawn at random.
        per_rotation: the measure by element, the label as it is shown ("90°").
        changed_images: test images whose prediction changes under some element, be it in one pixel; None where no
            element maps the grid to itself, so that every one does.
        overfitting_ratio: the measure on the training images / the measure on the upright test.
        curves, cost: the course of training; parameters, seconds, steps, latency.
        equivariance_error: max |f(gx) - g f(x)| / std of f over images and elements g, in float64.
        figures: further figures of the run by name, of any scale: "differing pixels (%)".
        pictures: what the pictures in the cell's folder show, as their captions without a full stop, by name.
        roc: the ROC curve, where there are two classes.
        froc: the FROC curve, where something is to be found in scans.
    """

    group: str
    train: Scores
    tests: dict[str, Scores]
    per_rotation: dict[str, float]
    changed_images: int | None
    overfitting_ratio: float
    curves: Curves
    cost: Cost
    equivariance_error: float
    figures: dict[str, float] = {}
    pictures: dict[str, str] = {}
    roc: Roc | None = None
    froc: Froc | None = None

    @model_validator(mode="before")
    @classmethod
    def _named_pictures(cls, raw: Any) -> Any:
        """Read the records of before pictures had names: they have the caption of one."""
        if not isinstance(raw, dict) or "examples" not in raw:
            return raw
        caption = raw["examples"]
        others = {key: value for key, value in raw.items() if key != "examples"}
        return others if caption is None else {**others, "pictures": {EXAMPLES: caption}}


class Record(Versioned):
    """A cell that was run: done with an outcome, or failed with an error; and what it ran on."""

    cell: Cell
    status: Literal["done", "failed"]
    error: str | None = None
    outcome: Outcome | None = None
    environment: dict[str, str] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.status == "done" and (self.outcome is None or self.error is not None):
            raise ValueError("a record that is done needs an outcome and no error")
        if self.status == "failed" and (self.error is None or self.outcome is not None):
            raise ValueError("a record that failed needs an error and no outcome")
        return self


class Question(Stored):
    """The comparison that was declared before the study ran.

    Args:
        built_in: the arm that has the symmetry built in.
        augmented: the arm that learns it from augmented data.
        test: the test set that decides.
    """

    built_in: ArmRef
    augmented: ArmRef
    test: Literal["rotated", "upright"] = "rotated"

    def refuse_other_than(self, arms: Sequence[ArmRef]) -> None:
        """Raise RequestError unless both arms are among those of the study."""
        for arm in (self.built_in, self.augmented):
            if arm not in arms:
                raise unknown("arm in study.question", arm.label, [known.label for known in arms])


class StudyInfo(Versioned):
    """What a study is: its question, its grid of cells, its data, settings and environment.

    Args:
        name, title, description: the recipe's name, the report's heading, one or two plain sentences.
        question, measure: the comparison declared in advance, and the figure that decides it.
        further: figures of the tests that are shown beside the measure.
        models, augmentations: names, in the order of the figures; the augmentation "none" is the plain one.
        arms: those that are run, in their order; a file that has none means every model with every augmentation.
        sizes, seeds: training-set sizes in images, ascending; a seed fixes subset and initialisation.
        classes: class names, in the order of the labels; empty where images are not classified.
        data, settings, environment: what the data are; the resolved recipe; versions, commit, machine.
        sample_images: a PNG, JPEG or SVG relative to the study's folder.
    """

    name: str
    title: str
    description: str
    question: Question
    measure: Measure
    further: list[str] = []
    models: list[str] = Field(min_length=1)
    augmentations: list[str] = Field(min_length=1)
    arms: list[ArmRef] = Field(default=[], validate_default=True)
    sizes: list[int] = Field(min_length=1)
    seeds: list[int] = Field(min_length=1)
    classes: list[str] = []
    data: dict[str, Any]
    settings: dict[str, Any]
    environment: dict[str, str]
    sample_images: str | None = None

    @field_validator("arms")
    @classmethod
    def _all_unless_listed(cls, listed: list[ArmRef], info: ValidationInfo) -> list[ArmRef]:
        models, augmentations = info.data.get("models"), info.data.get("augmentations")
        return arms_of(models, augmentations, listed or None) if models and augmentations else listed

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _refuse_collisions("models", self.models)
        _refuse_collisions("augmentations", self.augmentations)
        if self.sizes != sorted(set(self.sizes)):
            raise ValueError(f"sizes must ascend without repetition, got {self.sizes}")
        self.question.refuse_other_than(self.arms)
        return self

    def batch_of(self, model: str) -> int | None:
        """Return the samples a step of a model's training, which may be its own; None where the settings have none."""
        own = self.settings.get("study", {}).get("models", {}).get(model, {}).get("training", {})
        return own.get("batch_size", self.settings.get("training", {}).get("batch_size"))

    def cells(self) -> list[Cell]:
        """Every cell of the grid: arms x sizes x seeds."""
        grid = product(self.arms, self.sizes, self.seeds)
        return [Cell(**arm.model_dump(), size=size, seed=seed) for arm, size, seed in grid]


def arms_of(
    models: Iterable[str], augmentations: Iterable[str], listed: Sequence[ArmRef] | None = None
) -> list[ArmRef]:
    """Return the arms of a study: those listed, in their order, or every model with every augmentation.

    >>> [arm.label for arm in arms_of(["CNN", "p4 G-CNN"], ["none", "rot90"])]
    ['CNN', 'CNN + rot90', 'p4 G-CNN', 'p4 G-CNN + rot90']

    Raises:
        RequestError: an arm of an unknown model or augmentation, an arm twice, or a model or an augmentation of no
            arm.
    """
    known = {"model": list(models), "augmentation": list(augmentations)}
    crossed = [ArmRef(model=m, augmentation=a) for m, a in product(*known.values())]
    arms = crossed if listed is None else list(listed)
    for kind, names in known.items():
        used = [getattr(arm, kind) for arm in arms]
        for name in used:
            if name not in names:
                raise unknown(f"{kind} in study.arms", name, names)
        for name in names:
            if name not in used:
                raise RequestError(
                    f"expected an arm with every {kind}, received none with {name!r}; add one to study.arms, or take "
                    f"it out of study.{kind}s"
                )
    for number, arm in enumerate(arms):
        if arm in arms[:number]:
            raise RequestError(f"expected every arm of the study once, received {arm.label!r} again; leave one out")
    return arms


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


def _refuse_collisions(kind: str, names: list[str]) -> None:
    slugs = [slug(name) for name in names]
    if len(set(slugs)) < len(slugs):
        raise ValueError(f"{kind} must give different folder names, got {names} -> {slugs}")
