"""From patches to slides and patients: one score each, and a class.

===========  =====================================================================================================
aggregate    the score of a slide
===========  =====================================================================================================
``top``      the mean of the highest tenth (``share``) of its patch probabilities, at least of one
``maximum``  the highest patch probability
``area``     the share of its patches whose probability reaches the threshold
===========  =====================================================================================================

A slide is positive where its score reaches the threshold, by ``area`` where half of its patches do. The threshold was
chosen for single patches; where slides have labels, choose one for slides. A patient's score is the highest of their
slides'. A slide without tissue has no score and no class, and a patient of such slides has none either.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from isotypic.data.readers.table import distinct_files, text_column, text_frame
from isotypic.errors import RequestError, unknown

Patient = Callable[[str], str]
"""The patient of a slide, by the slide's name below the folder that was given."""


class Aggregate(str, Enum):
    """What a slide's score is made of."""

    TOP = "top"
    MAXIMUM = "maximum"
    AREA = "area"


@dataclass(frozen=True)
class Scoring:
    """How the probabilities of patches become a score and a class.

    Attributes:
        classes: class names.
        positive: number of the class that is looked for.
        threshold: probability from which on a patch or a slide is positive.
        aggregate: what a slide's score is made of.
        share: of the patches that ``top`` looks at, above 0 to 1.

    Raises:
        RequestError: a number is out of range, or there is no such aggregate.
    """

    classes: tuple[str, ...]
    positive: int = 1
    threshold: float = 0.5
    aggregate: Aggregate = Aggregate.TOP
    share: float = 0.1

    def __post_init__(self) -> None:
        known = [each.value for each in Aggregate]
        if self.aggregate not in known:
            raise unknown("aggregate", str(self.aggregate), known)
        if not (0 <= self.threshold <= 1 and 0 < self.share <= 1):
            raise RequestError(
                f"expected a threshold from 0 to 1 and a share above 0 to 1, received {self.threshold:g} and "
                f"{self.share:g}"
            )

    def score(self, probabilities: np.ndarray) -> float:
        """Return the score of a slide from those of its patches, ``[n]``; NaN without patches.

        >>> Scoring(("no", "yes"), aggregate=Aggregate.TOP, share=0.5).score(np.array([0.1, 0.9, 0.3, 0.7]))
        0.8
        """
        if not len(probabilities):
            return math.nan
        if self.aggregate == Aggregate.AREA:
            return float((probabilities >= self.threshold).mean())
        count = math.ceil(self.share * len(probabilities)) if self.aggregate == Aggregate.TOP else 1
        return float(np.sort(probabilities)[-count:].mean())

    def class_of(self, score: float) -> str:
        """Return the class of a slide or a patient; empty without a score."""
        if math.isnan(score):
            return ""
        name = self.classes[self.positive]
        if score >= (0.5 if self.aggregate == Aggregate.AREA else self.threshold):
            return name
        return self.classes[1 - self.positive] if len(self.classes) == 2 else f"not {name}"


def slide_table(found: Mapping[str, np.ndarray], scoring: Scoring, patient: Patient) -> pd.DataFrame:
    """Return one row a slide: file, patient, patches, score and class.

    Args:
        found: the probabilities of the patches, ``[n]``, by the name of the slide.
        scoring: how they become a score.
        patient: whose slide it is.
    """
    scores = [scoring.score(probabilities) for probabilities in found.values()]
    return pd.DataFrame(
        {
            "file": list(found),
            "patient": [patient(name) for name in found],
            "patches": [len(probabilities) for probabilities in found.values()],
            "score": scores,
            "class": [scoring.class_of(score) for score in scores],
        }
    )


def patient_table(slides: pd.DataFrame, scoring: Scoring) -> pd.DataFrame:
    """Return one row a patient: patient, slides, score and class, from a table of slides."""
    found = slides.groupby("patient")["score"].agg(["size", "max"]).reset_index()
    classes = [scoring.class_of(score) for score in found["max"]]
    return found.rename(columns={"size": "slides", "max": "score"}).assign(**{"class": classes})


def read_patches(path: Path, classes: Sequence[str], positive: int) -> np.ndarray:
    """Return the probabilities ``[n]`` of one class from a table of patches.

    Raises:
        RequestError: it is none.
    """
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise RequestError(f"{path}: cannot be read as a table of patches ({error}); remove it") from error
    if table.shape[1] <= len(classes):
        raise RequestError(f"{path}: expected a column a class, received {list(table.columns)}; remove it")
    return table.iloc[:, table.shape[1] - len(classes) + positive].to_numpy(np.float64)  # a class may be called x


def patient_by_name(name: str) -> str:
    """Return the folder that a slide lies in, or the slide's own name where it lies in none.

    >>> patient_by_name("patient 7/left.svs"), patient_by_name("left.ome.tif")
    ('patient 7', 'left')
    """
    path = PurePosixPath(name)
    return path.stem.removesuffix(".ome") if path.parent == PurePosixPath() else path.parent.as_posix()


def patient_by_pattern(pattern: str) -> Patient:
    """Return the patient as what a regular expression finds in the name of a slide, its first group if it has one.

    Raises:
        RequestError: it is no regular expression, or, when called, finds nothing.

    >>> patient_by_pattern("patient_[0-9]+")("patient_012_node_3.tif")
    'patient_012'
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise RequestError(
            f"expected --patient-pattern to be a regular expression, received {pattern!r}: {error}"
        ) from error

    def patient(name: str) -> str:
        found = compiled.search(name)
        if found is None:
            raise RequestError(f"{name}: expected a name in which {pattern!r} finds the patient, found nothing")
        return found[1] if compiled.groups else found[0]

    return patient


def patient_by_table(path: Path) -> Patient:
    """Return the patient as a CSV file with the columns file and patient says, the file as below the folder of slides.

    Raises:
        RequestError: the file cannot be read or lists a slide twice, or, when called, does not list the slide.
    """
    rows = text_frame(path)
    patients = dict(zip(distinct_files(path, rows, "file"), text_column(path, rows, "patient"), strict=True))

    def patient(name: str) -> str:
        if name not in patients:
            raise RequestError(f"{path}: expected a row for the slide {name}, found none")
        return str(patients[name])

    return patient
