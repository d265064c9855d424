"""A run on disk: ``weights.safetensors`` and ``run.yaml``, never a pickle of code.

``run.yaml`` holds the resolved recipe, the class names, the image shape and the normalisation; with the weights that is
all that a prediction needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from isotypic.configuration import Config, validated
from isotypic.data.normalisation import Normalisation
from isotypic.errors import RequestError
from isotypic.files import write_atomically, write_text
from isotypic.models.catalogue import build
from isotypic.tasks.recipe import Recipe, recipe_of

WEIGHTS = "weights.safetensors"
DESCRIPTION = "run.yaml"


class RunDescription(Config):
    """What ``run.yaml`` says."""

    format: int = Field(1, description="version of this layout")
    version: str = Field(description="the isotypic that wrote it")
    recipe: dict[str, Any] = Field(description="the resolved recipe")
    classes: list[str] = Field(description="class names in the order of the logits")
    image_shape: tuple[int, int, int] = Field(description="channels, height and width of the training images")
    normalisation: dict[str, Any] = Field(description="what images go through first")
    figures: dict[str, Any] = Field({}, description="what was measured when it was trained")


@dataclass(frozen=True)
class Run:
    """A trained classifier, ready to use.

    Attributes:
        model: the network, in evaluation mode.
        recipe: what it was trained by.
        classes: class names.
        image_shape: channels, height and width of the training images.
        normalisation: what images go through first.
        figures: what was measured when it was trained.
    """

    model: nn.Module
    recipe: Recipe
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    normalisation: Normalisation
    figures: dict[str, Any]

    def probabilities(self, images: np.ndarray, batch_size: int = 256) -> Tensor:
        """Return the probabilities ``[n, classes]`` of images ``[n, C, y, x]``, uint8 or float as in training.

        Raises:
            RequestError: another number of channels than in training.
        """
        if images.ndim != 4 or images.shape[1] != self.image_shape[0]:
            raise RequestError(
                f"expected images [n, {self.image_shape[0]}, y, x] as in training, received {list(images.shape)}"
            )
        return torch.cat([self._batch(images[i : i + batch_size]) for i in range(0, len(images), batch_size)])

    def predict(self, images: Sequence[np.ndarray]) -> Iterator[tuple[str, Tensor]]:
        """Yield class name and probabilities of images ``[C, y, x]`` of any sizes, one after another."""
        for image in images:
            probabilities = self.probabilities(image[None])[0]
            yield self.classes[int(probabilities.argmax())], probabilities

    def _batch(self, images: np.ndarray) -> Tensor:
        with torch.inference_mode():
            return self.model(self.normalisation.apply(torch.from_numpy(np.ascontiguousarray(images)))).softmax(1)


def save_run(
    folder: Path,
    model: nn.Module,
    description: RunDescription,
) -> Path:
    """Write a run; the description comes last, so a folder that has one is whole.

    Returns:
        The folder.
    """
    weights = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    write_atomically(folder / WEIGHTS, lambda path: save_file(weights, path))
    text = yaml.safe_dump(description.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_text(folder / DESCRIPTION, text)
    return folder


def load_run(folder: Path) -> Run:
    """Load a run.

    Raises:
        RequestError: the folder holds no run, or the weights do not fit the recipe.
    """
    for name in (DESCRIPTION, WEIGHTS):
        if not (folder / name).is_file():
            raise RequestError(
                f"expected a run (a folder with {DESCRIPTION} and {WEIGHTS}) at {folder}, found no {name}; "
                "isotypic train writes one, and a study one for each cell"
            )
    raw = yaml.safe_load((folder / DESCRIPTION).read_text(encoding="utf-8"))
    description = validated(RunDescription, raw, str(folder / DESCRIPTION))
    recipe = recipe_of(description.recipe)
    model = build(recipe.model, description.image_shape[0], len(description.classes))
    _load_weights(model, folder / WEIGHTS)
    return Run(
        model.eval(),
        recipe,
        tuple(description.classes),
        description.image_shape,
        Normalisation.from_dict(description.normalisation),
        description.figures,
    )


def _load_weights(model: nn.Module, path: Path) -> None:
    try:
        model.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise RequestError(
            f"the weights of {path} do not fit their recipe: {str(error).splitlines()[-1].strip()}"
        ) from error
