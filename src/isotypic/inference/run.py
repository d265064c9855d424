"""A run on disk: ``weights.safetensors`` and ``run.yaml``, never a pickle of code.

``run.yaml`` holds the resolved recipe, the class names, the image shape and the normalisation; with the weights that is
all that a prediction needs. A run of a segmenter names no classes, its image shape is that of a training window, and it
holds the pixel size of the training images where that is known. Where runs lie: :mod:`isotypic.models.packaged`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
import yaml
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from isotypic.configuration import Config, validated
from isotypic.data.loading import images_at_once
from isotypic.data.normalisation import Normalisation, Normaliser, normaliser_from
from isotypic.errors import RequestError
from isotypic.files import write_atomically, write_text
from isotypic.metrics.calibration import Calibration
from isotypic.models.catalogue import build, build_cloud, build_dense, build_of_points
from isotypic.models.clouds import CloudNetwork
from isotypic.models.heads import DenseNetwork
from isotypic.models.packaged import DESCRIPTION, FOLDER, WEIGHTS, run_on_disk
from isotypic.models.weights import load_weights
from isotypic.ops.layout import channels_last
from isotypic.tasks.clustering.loss import MASS_CLASSES
from isotypic.tasks.recipe import (
    AnyRecipe,
    AnySphereRecipe,
    DetectionRecipe,
    JetRecipe,
    Recipe,
    SegmentationRecipe,
    SphereClassificationRecipe,
    SphereSegmentationRecipe,
    recipe_of,
)

_Recipe = TypeVar("_Recipe", bound=AnyRecipe)
_Patches = TypeVar("_Patches", Recipe, DetectionRecipe)
_Model = TypeVar("_Model", bound=nn.Module)


class RunDescription(Config):
    """What ``run.yaml`` says."""

    format: int = Field(1, description="version of this layout")
    version: str = Field(description="the isotypic that wrote it")
    recipe: dict[str, Any] = Field(description="the resolved recipe")
    classes: list[str] = Field(description="class names in the order of the logits; none for a segmenter")
    image_shape: tuple[int, ...] = Field(
        min_length=2,
        max_length=4,
        description="channels and (z, y, x) or (y, x) of the training images; particles and features of jets",
    )
    normalisation: dict[str, Any] = Field(description="what images go through first")
    calibration: Calibration | None = Field(
        None, description="of two classes, how logits become probabilities and a class, fitted to validation images"
    )
    pixel_size: float | None = Field(None, gt=0, description="side of a pixel of the training images in micrometres")
    figures: dict[str, Any] = Field({}, description="what was measured when it was trained")


@dataclass(frozen=True)
class Run(Generic[_Patches]):
    """A trained classifier, of images, volumes or candidates, ready to use.

    Attributes:
        model: the network, in evaluation mode.
        recipe: what it was trained by.
        classes: class names.
        image_shape: channels and (y, x) of the training images, or channels and (z, y, x) of volumes.
        normalisation: what images go through first.
        figures: what was measured when it was trained.
        calibration: how logits become probabilities, and these a class; fitted to validation images.
    """

    model: nn.Module
    recipe: _Patches
    classes: tuple[str, ...]
    image_shape: tuple[int, ...]
    normalisation: Normalisation
    figures: dict[str, Any]
    calibration: Calibration = field(default_factory=Calibration)

    def class_of(self, probabilities: Sequence[float]) -> str:
        """Return the class of probabilities: of two the second from the threshold on, of more the likeliest."""
        if len(self.classes) == 2:
            return self.classes[int(probabilities[1] >= self.calibration.threshold)]
        return self.classes[int(np.argmax(probabilities))]

    def threshold_of(self, number: int) -> float:
        """Return the probability from which on a class is called, by its number.

        Of two classes the threshold was chosen for the second, and ``1 - threshold`` is that of the first.
        """
        if len(self.classes) == 2 and number == 0:
            return 1 - self.calibration.threshold
        return self.calibration.threshold

    def probabilities(self, images: np.ndarray, batch_size: int | None = None) -> Tensor:
        """Return the probabilities ``[n, classes]`` of images ``[n, C, *space]``, of numbers as in training.

        Args:
            images: of one size.
            batch_size: how many at a time; None for as many as :func:`~isotypic.data.loading.images_at_once`.

        Raises:
            RequestError: another number of channels than in training.
        """
        self.accepted(images)
        size = batch_size or images_at_once(images.shape[1:])
        return torch.cat([self.classified(images[i : i + size]) for i in range(0, len(images), size)])

    def accepted(self, images: np.ndarray) -> np.ndarray:
        """Return the images, if they have the channels of the training images.

        Raises:
            RequestError: they have not.
        """
        if images.ndim != len(self.image_shape) + 1 or images.shape[1] != self.image_shape[0]:
            space = "z, y, x" if len(self.image_shape) == 4 else "y, x"
            raise RequestError(
                f"expected images [n, {self.image_shape[0]}, {space}] as in training, received {list(images.shape)}"
            )
        return images

    def predict(self, images: Sequence[np.ndarray]) -> Iterator[tuple[str, Tensor]]:
        """Yield class name and probabilities of images ``[C, y, x]`` of any sizes, one after another."""
        for image in images:
            probabilities = self.probabilities(image[None])[0]
            yield self.class_of(probabilities.tolist()), probabilities

    def classified(self, images: np.ndarray, normalisation: Normalisation | None = None) -> Tensor:
        """Return the probabilities ``[n, classes]`` of one batch, on the CPU; the network stays where it is.

        Args:
            images: ``[n, C, *space]`` with the channels of the training images.
            normalisation: what they go through first, in place of the run's own, where white is another value.
        """
        weight = next(self.model.parameters())
        with torch.inference_mode():
            stored = torch.from_numpy(np.ascontiguousarray(images)).to(weight.device, weight.dtype)
            normalised = (normalisation or self.normalisation).apply(stored)
            return self.calibration.probabilities(self.model(channels_last(normalised))).cpu()


@dataclass(frozen=True)
class SegmentationRun:
    """A trained segmenter; :class:`~isotypic.inference.segmenter.Segmenter` uses it.

    Attributes:
        model: the network, in evaluation mode.
        recipe: what it was trained by.
        image_shape: channels and (y, x) of the training windows.
        normaliser: what images go through first.
        pixel_size: side of a pixel of the training images in micrometres, or None where it is not known.
        figures: what was measured when it was trained.
    """

    model: DenseNetwork
    recipe: SegmentationRecipe
    image_shape: tuple[int, ...]
    normaliser: Normaliser
    pixel_size: float | None
    figures: dict[str, Any]


@dataclass(frozen=True)
class SphereRun:
    """A trained network on spherical images.

    Attributes:
        model: the network, in evaluation mode.
        recipe: what it was trained by.
        classes: of the images, or of their points with the background first.
        image_shape: channels and (beta, alpha).
        normalisation: what images go through first.
        figures: what was measured when it was trained.
    """

    model: nn.Module
    recipe: AnySphereRecipe
    classes: tuple[str, ...]
    image_shape: tuple[int, ...]
    normalisation: Normalisation
    figures: dict[str, Any]


def save_run(
    folder: Path,
    model: nn.Module,
    description: RunDescription,
) -> Path:
    """Write a run; the description comes last, so a folder that has one is whole.

    Returns:
        The folder.

    Raises:
        RequestError: it cannot be written, say because the disk is full; an older run there stays as it was.
    """
    weights = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    text = yaml.safe_dump(description.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    try:
        write_atomically(folder / WEIGHTS, lambda path: save_file(weights, path))
        write_text(folder / DESCRIPTION, text)
    except (OSError, SafetensorError) as error:
        raise RequestError(
            f"{folder}: the run cannot be written ({error}); free some space, or give another folder"
        ) from error
    return folder


def recipe_of_run(run: Path | str) -> AnyRecipe:
    """Return what a run was trained by.

    Args:
        run: its folder, or the name of one that comes with the package.

    Raises:
        RequestError: there is no such run.
    """
    with run_on_disk(run) as folder:
        return recipe_of(_description(folder).recipe)


def load_run(folder: Path) -> Run[Recipe]:
    """Load the run of a classifier of images or volumes.

    Raises:
        RequestError: the folder holds no run, or one of another task, or the weights do not fit the recipe.
    """
    return _loaded(folder, Recipe)


def load_detector(folder: Path) -> Run[DetectionRecipe]:
    """Load the run of a detector, which classifies patches of scans.

    Raises:
        RequestError: the folder holds no run, or one of another task, or the weights do not fit the recipe.
    """
    return _loaded(folder, DetectionRecipe)


def _loaded(folder: Path, kind: type[_Patches]) -> Run[_Patches]:
    description, recipe = _described(folder, kind)
    model = build(recipe.model, description.image_shape[0], len(description.classes))
    return Run(
        _with_weights(model, folder / WEIGHTS),
        recipe,
        tuple(description.classes),
        description.image_shape,
        Normalisation.from_dict(description.normalisation),
        description.figures,
        description.calibration or Calibration(),
    )


def load_sphere_run(folder: Path) -> SphereRun:
    """Load the run of a network on spherical images.

    Raises:
        RequestError: the folder holds no run, or one of another task, or the weights do not fit the recipe.
    """
    described: tuple[RunDescription, AnySphereRecipe] = _described(
        folder, SphereClassificationRecipe, SphereSegmentationRecipe
    )
    description, recipe = described
    channels, classes = description.image_shape[0], len(description.classes)
    if isinstance(recipe, SphereSegmentationRecipe):
        model = build_of_points(recipe.model, channels, classes)
    else:
        model = build(recipe.model, channels, classes)
    return SphereRun(
        _with_weights(model, folder / WEIGHTS),
        recipe,
        tuple(description.classes),
        description.image_shape,
        Normalisation.from_dict(description.normalisation),
        description.figures,
    )


def load_segmentation_run(run: Path | str | None = None) -> SegmentationRun:
    """Load the run of a segmenter.

    Args:
        run: its folder, or the name of one that comes with the package; None for the package's :data:`DEFAULT_RUN`.

    Raises:
        RequestError: there is no such run, or it is one of another task, or the weights do not fit the recipe.
    """
    with run_on_disk(run) as folder:
        description, recipe = _described(folder, SegmentationRecipe)
        model = _with_weights(build_dense(recipe.model, description.image_shape[0]), folder / WEIGHTS)
    pixel_size = description.pixel_size
    return SegmentationRun(
        model,
        recipe,
        description.image_shape,
        normaliser_from(description.normalisation),
        recipe.data.pixel_size if pixel_size is None else pixel_size,
        description.figures,
    )


def load_clusters(folder: Path) -> tuple[CloudNetwork, JetRecipe, tuple[str, ...]]:
    """Load the run of a network of jets.

    Returns:
        The network with its centroids, in evaluation mode, what it was trained by, and the names of the particles.

    Raises:
        RequestError: the folder holds no run, or one of another task, or the weights do not fit the recipe.
    """
    description, recipe = _described(folder, JetRecipe)
    supervised = recipe.training.pretext == "label"
    classes = len(description.classes) if supervised else MASS_CLASSES
    network = build_cloud(recipe.model, description.image_shape[-1], classes)
    return _with_weights(network, folder / WEIGHTS), recipe, tuple(description.classes)


def _described(folder: Path, *kinds: type[_Recipe]) -> tuple[RunDescription, _Recipe]:
    """Return what a run says of itself, and its recipe, which must be of one of these tasks."""
    description = _description(folder)
    recipe = recipe_of(description.recipe)
    if not isinstance(recipe, kinds):
        wanted, received = " or ".join(kind.model_fields["task"].default for kind in kinds), recipe.task
        raise RequestError(
            f"expected a run of {wanted} at {folder}, received one of {received}; isotypic {_USE[received]} uses it"
        )
    return description, recipe


def _description(folder: Path) -> RunDescription:
    """Return what a run says of itself."""
    for name in (DESCRIPTION, WEIGHTS):
        if not (folder / name).is_file():
            raise RequestError(
                f"expected a run ({FOLDER}) at {folder}, found no {name}; "
                "isotypic train writes one, and a study one for each cell"
            )
    try:
        raw = yaml.safe_load((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RequestError(f"{folder / DESCRIPTION}: not valid YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(raw, dict):
        raise RequestError(f"{folder / DESCRIPTION}: expected a mapping, found {type(raw).__name__}")
    return validated(RunDescription, raw, str(folder / DESCRIPTION))


def _with_weights(model: _Model, path: Path) -> _Model:
    """Return a network with the weights of a file, in evaluation mode."""
    load_weights(model, path)
    return model.eval()


_USE = {
    "classification": "predict",
    "segmentation": "segment",
    "detection": "predict",
    "clustering": "evaluate",
    "sphere-classification": "evaluate",
    "sphere-segmentation": "evaluate",
}
"""The command that uses a run, by its task."""
