"""A system as a study sees it: material that is described and drawn from, and runs that are trained and measured.

All else is the same for every task: the grid of cells, the runner, the statistics, the report.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from isotypic.groups.finite import FiniteGroup
from isotypic.studies.predictions import Predictions
from isotypic.studies.records import Measure, Outcome
from isotypic.tasks.recipe import BaseRecipe
from isotypic.tasks.training import Progress

R = TypeVar("R", bound=BaseRecipe)
M = TypeVar("M")


@dataclass(frozen=True)
class Description:
    """What a study says of its material before anything is trained.

    Attributes:
        measure: the figure of merit that decides.
        data: the data in words, as the report shows them.
        available: how many training images there are.
        classes: class names in the order of the labels; empty where images are not classified.
        further: figures of the tests that the report shows beside the measure.
    """

    measure: Measure
    data: dict[str, Any]
    available: int
    classes: tuple[str, ...] = ()
    further: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job(Generic[R, M]):
    """One training run to do.

    Attributes:
        recipe: network, augmentation and budget.
        material: the images.
        subset: which training images are used.
        group: the test images are moved by each of its elements.
        seed: of initialisation, order and augmentation.
        device: where to train.
        progress: called with the fraction done.
    """

    recipe: R
    material: M
    subset: np.ndarray
    group: FiniteGroup
    seed: int
    device: str = "cpu"
    progress: Progress | None = None


@dataclass(frozen=True)
class Finished:
    """What a job made.

    Attributes:
        outcome: what was measured.
        predictions: the measure of every test image.
        save: writes the trained run into a folder, and ``examples.png`` where the outcome says what it shows.
    """

    outcome: Outcome
    predictions: Predictions
    save: Callable[[Path], object]


class StudiedSystem(ABC, Generic[R, M]):
    """A task behind the interface of studies; it holds no state."""

    @abstractmethod
    def group(self, recipe: R) -> str:
        """Return the name of the group that a recipe's network is built on; "trivial" for an ordinary network."""

    @abstractmethod
    def material(self, recipe: R, cache: Path) -> M:
        """Load and split the images of a recipe; what is decoded is kept in ``cache``.

        Raises:
            RequestError: what is wrong with the data.
        """

    @abstractmethod
    def describe(self, recipe: R, material: M) -> Description:
        """Say what is measured, on what."""

    @abstractmethod
    def subset(self, material: M, size: int, seed: int) -> np.ndarray:
        """Draw a training set of ``size`` images; with the same seed the smaller lies within the larger.

        Raises:
            RequestError: the material has no training set of this size.
        """

    @abstractmethod
    def run(self, job: Job[R, M]) -> Finished:
        """Train, test upright and under every element of the group, and measure."""
