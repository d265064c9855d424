"""A system as a study sees it: material that is described and drawn from, and runs that are trained and measured.

All else is the same for every task: the grid of cells, the runner, the statistics, the report.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from torch import nn

from isotypic.groups.catalogue import named
from isotypic.groups.finite import FiniteGroup
from isotypic.studies.folder import picture_path
from isotypic.studies.predictions import Predictions
from isotypic.studies.records import Measure, Outcome
from isotypic.tasks.checkpoints import CHECKPOINT_FILE, Checkpoint
from isotypic.tasks.cost import parameter_count
from isotypic.tasks.pace import Pace
from isotypic.tasks.pace import Progress as Heard
from isotypic.tasks.recipe import RecipeHead
from isotypic.tasks.training import Effort

R = TypeVar("R", bound=RecipeHead)
M = TypeVar("M")
T = TypeVar("T")

TESTED_UNDER = {2: "p4", 3: "D4h"}
"""The group that tests move images and volumes by where none is named, by the axes of space."""

TRAINING, TESTING = "training", "testing"

Counted = Callable[[int, int], object]
"""Told how many of how many are done."""


class Progress(Protocol):
    """What is told how far a job has come."""

    def __call__(self, stage: str, fraction: float, pace: Pace | None = None, /) -> object:
        """Take note of a stage, :data:`TRAINING` or :data:`TESTING`, the fraction of it that is done, and its pace."""


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
        device: where to train and to test.
        progress: told how far it has come.
        kept: where the training is kept until the job is done, and goes on from; None for nowhere.
    """

    recipe: R
    material: M
    subset: np.ndarray
    group: FiniteGroup
    seed: int
    device: str = "cpu"
    progress: Progress | None = None
    kept: Path | None = None

    def training(self) -> dict[str, Any]:
        """Return what every session of training is told besides the recipe and the images."""
        checkpoint = None if self.kept is None else Checkpoint(self.kept, self._identity())
        heard = self.stage(TRAINING)
        return {"seed": self.seed, "device": self.device, "progress": heard, "checkpoint": checkpoint}

    def figures(self, network: nn.Module, effort: Effort, images: str = "images") -> dict[str, Any]:
        """Return what a run says of its training: on how many images, by the name of these, and what it took."""
        return {
            f"training {images}": len(self.subset),
            "parameters": parameter_count(network),
            **effort.figures,
            "seed": self.seed,
        }

    def stage(self, name: str) -> Heard | None:
        """Return what is told how far a stage has come, if anyone wants to know."""
        return None if self.progress is None else partial(self.progress, name)

    def _identity(self) -> str:
        """Return a digest of what decides about the trained weights."""
        recipe = self.recipe.model_dump(mode="json", exclude={"title", "description"})
        said = json.dumps({"recipe": recipe, "seed": self.seed, "images": self.subset.tolist()}, sort_keys=True)
        return sha256(said.encode()).hexdigest()


@dataclass(frozen=True)
class Drawing:
    """A picture that a job leaves.

    Attributes:
        caption: what it shows, without a full stop.
        write: writes it as PNG.
    """

    caption: str
    write: Callable[[Path], object]


@dataclass(frozen=True)
class Finished:
    """What a job measured.

    Attributes:
        outcome: the figures.
        predictions: the measure of every test image.
        drawings: the pictures that the outcome has captions of, by name.
    """

    outcome: Outcome
    predictions: Predictions
    drawings: Mapping[str, Drawing] = field(default_factory=dict)


class StudiedSystem(ABC, Generic[R, M, T]):
    """A task behind the interface of studies; it holds no state."""

    @abstractmethod
    def group(self, recipe: R) -> str:
        """Return the name of the group that a recipe's network commutes with; "trivial" for an ordinary network."""

    def group_name(self, recipe: R) -> str:
        """Return the same as folders and tables name it."""
        return self.moved_by(recipe, self.group(recipe)).name

    def moved_by(self, recipe: R, name: str | None = None) -> FiniteGroup:
        """Return the finite group whose elements move the test images.

        Args:
            recipe: whose images.
            name: of the group; None for that of the network, or where it has none for the usual one of its space.

        Raises:
            RequestError: there is no such group, or it does not map the grid to itself.
        """
        own = named(self.group(recipe) if name is None else name, recipe.axes)
        found = named(TESTED_UNDER[recipe.axes], recipe.axes) if name is None and own.order == 1 else own
        found.grid_matrices  # noqa: B018
        return found

    @abstractmethod
    def material(self, recipe: R, cache: Path, counted: Counted | None = None) -> M:
        """Load and split the images of a recipe; what is decoded is kept in ``cache``.

        Args:
            recipe: says which.
            cache: a folder.
            counted: told how much is prepared, where that takes long.

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
    def train(self, job: Job[R, M]) -> T:
        """Train."""

    @abstractmethod
    def test(self, job: Job[R, M], trained: T) -> Finished:
        """Test upright and under every element of the group, and measure."""

    @abstractmethod
    def save(self, folder: Path, job: Job[R, M], trained: T, finished: Finished | None = None) -> None:
        """Write the trained run, with what was measured where it has been tested.

        Raises:
            RequestError: it cannot be written.
        """

    def run(self, job: Job[R, M], folder: Path) -> Finished:
        """Do a job, or go on where it was stopped; no test can lose what was trained, which is saved before."""
        kept = folder / CHECKPOINT_FILE
        trained = self.train(replace(job, kept=kept))
        self.save(folder, job, trained)
        finished = self.test(job, trained)
        for name, drawing in finished.drawings.items():
            drawing.write(picture_path(folder, name))
        self.save(folder, job, trained, finished)
        kept.unlink(missing_ok=True)
        return finished


def captions(drawings: Mapping[str, Drawing], seed: int) -> dict[str, str]:
    """Return what drawings show, with the seed of their run, as an outcome has it."""
    return {name: f"{drawing.caption}. Seed {seed}" for name, drawing in drawings.items()}
