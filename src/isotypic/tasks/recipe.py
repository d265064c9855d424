"""A recipe: data, task, model family and training of one system, read from a YAML file.

The recipes that come with the package are the YAML files of ``isotypic/recipes``; a path to a YAML file of one's own
serves as well. A recipe may hold a ``study`` section, which :mod:`isotypic.studies.spec` reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from isotypic.configuration import Config, assign, validated
from isotypic.data.augmentations.catalogue import pair_augmentation, parts_of
from isotypic.data.augmentations.intensity import intensity
from isotypic.data.catalogue import recognise, recognise_candidates, recognise_labelled, recognise_sphere
from isotypic.data.config import CandidateDataConfig, DataConfig, SegmentationDataConfig, SphereDataConfig
from isotypic.data.jets.sets import JetSetConfig, recognise_jets
from isotypic.data.sphere.augmentation import copies_of
from isotypic.errors import RequestError, chosen, unknown
from isotypic.models.catalogue import (
    CloudModelConfig,
    DenseModelConfig,
    ModelConfig,
    PointModelConfig,
    SphereModelConfig,
    VolumeModelConfig,
    axes_of,
)
from isotypic.models.convnet import ConvNetConfig
from isotypic.models.heads import HeadChoice
from isotypic.models.s2cnn import S2CNNClassifierConfig, S2CNNConfig
from isotypic.models.ucluster import UClusterConfig
from isotypic.models.unet import UNetConfig
from isotypic.models.voxelnet import VoxelNetConfig
from isotypic.tasks.clustering.schedule import ClusterTraining
from isotypic.tasks.optimisation import TrainingConfig
from isotypic.tasks.segmentation.grouping import GroupingConfig
from isotypic.tasks.segmentation.objectives import LossConfig


class RecipeHead(Config):
    """What every recipe says."""

    name: str = Field(description="what to call it")
    title: str = Field("", description="a heading")
    description: str = Field("", description="one or two sentences on the data and where they come from")

    @property
    def axes(self) -> int:
        """Axes of space of what the network takes: 2 of images."""
        return 2


class BaseRecipe(RecipeHead):
    """What every recipe of images says."""

    augmentation: str = Field("none", description="what happens to the training batches: a name, or several with +")
    start: str | None = Field(
        None, description="run whose weights training begins with: its folder, or its name if the package has it"
    )
    training: TrainingConfig = Field(TrainingConfig(), description="the budget")


class Recipe(BaseRecipe):
    """A classifier: from which images, by which network, within which budget."""

    task: Literal["classification"] = Field("classification", description="what is learned")
    data: DataConfig = Field(DataConfig(), description="the images")
    model: ModelConfig = Field(ConvNetConfig(), description="the network", discriminator="family")

    @property
    def axes(self) -> int:
        """Axes of space of what the network takes: 2 of images, 3 of volumes."""
        return axes_of(self.model)

    @model_validator(mode="after")
    def _known_augmentation(self) -> Self:
        parts_of(self.augmentation, self.axes)
        return self


class Merit(str, Enum):
    """The figure of merit of a segmentation, a number from 0 to 1 an image."""

    DICE = "dice"
    """Mean Dice coefficient of the instances and the background, the best matching."""

    GREEDY_DICE = "greedy-dice"
    """The same matched greedily in the order of the truth, as in the thesis' Paper III."""

    AP50 = "ap50"
    """TP / (TP + FP + FN) at an intersection over union of one half."""

    AUC = "auc"
    """Area under the ROC curve of the boundary's probability."""


class SegmentationRecipe(BaseRecipe):
    """A segmenter: from which labelled images, by which network and loss, and how its output becomes labels."""

    task: Literal["segmentation"] = Field("segmentation", description="what is learned")
    data: SegmentationDataConfig = Field(SegmentationDataConfig(), description="the labelled images")
    model: DenseModelConfig = Field(UNetConfig(), description="the network", discriminator="family")
    intensity: str = Field("none", description="random changes of the grey levels of the training batches")
    loss: LossConfig = Field(LossConfig(), description="what the network is trained for")
    grouping: GroupingConfig = Field(GroupingConfig(), description="how its output becomes instances")
    merit: Merit = Field(Merit.DICE, description="the figure that decides: dice, greedy-dice, ap50 or auc")

    @field_validator("augmentation")
    @classmethod
    def _known_augmentation(cls, name: str) -> str:
        pair_augmentation(name)
        return name

    @field_validator("intensity")
    @classmethod
    def _known_intensity(cls, name: str) -> str:
        intensity(name)
        return name

    @model_validator(mode="after")
    def _merit_of_the_heads(self) -> Self:
        heads = self.model.heads
        if self.merit is Merit.AUC and heads is not HeadChoice.BOUNDARY:
            raise ValueError(f"expected merit dice, greedy-dice or ap50 for {heads.value} heads, received auc")
        return self


class DetectionRecipe(BaseRecipe):
    """A detector: which candidates in scans are what is looked for, by which network of volumes."""

    task: Literal["detection"] = Field("detection", description="what is learned")
    data: CandidateDataConfig = Field(CandidateDataConfig(), description="the scans and their candidates")
    model: VolumeModelConfig = Field(VoxelNetConfig(), description="the network", discriminator="family")

    @property
    def axes(self) -> int:
        """Axes of space of a patch."""
        return 3

    @model_validator(mode="after")
    def _of_volumes(self) -> Self:
        parts_of(self.augmentation, self.axes)
        if axes_of(self.model) != self.axes:
            raise ValueError("expected a network of volumes, received one of images; set model.axes=3")
        return self


class JetRecipe(RecipeHead):
    """Clusters of jets: from which jets, by which network, within which budget."""

    task: Literal["clustering"] = Field("clustering", description="what is learned")
    data: JetSetConfig = Field(JetSetConfig(), description="the jets")
    model: CloudModelConfig = Field(UClusterConfig(), description="the network", discriminator="family")
    training: ClusterTraining = Field(ClusterTraining(), description="the budget")
    augmentation: Literal["none"] = Field("none", description="none: jets are not augmented")

    @property
    def axes(self) -> int:
        """Axes of the plane of the detector, which no group moves here."""
        return 2


class SphereRecipe(BaseRecipe):
    """What recipes for spherical images say; a spherical network has the bandwidth of the images."""

    data: SphereDataConfig = Field(SphereDataConfig(), description="the images")

    @field_validator("augmentation")
    @classmethod
    def _known_augmentation(cls, name: str) -> str:
        copies_of(name)
        return name

    @model_validator(mode="before")
    @classmethod
    def _of_one_bandwidth(cls, raw: Any) -> Any:
        if not isinstance(raw, dict) or not isinstance(model := raw.get("model", {}), dict):
            return raw
        data = raw.get("data", {})
        images = data.get("bandwidth", SphereDataConfig().bandwidth) if isinstance(data, dict) else data.bandwidth
        if model.get("family", "s2cnn") != "s2cnn":
            return raw
        if model.get("bandwidth") not in (None, images):
            raise ValueError(
                f"expected model.bandwidth as data.bandwidth ({images}), received {model['bandwidth']}; leave it out"
            )
        return {**raw, "model": {"family": "s2cnn", **model, "bandwidth": images}}


class SphereClassificationRecipe(SphereRecipe):
    """A classifier of spherical images."""

    task: Literal["sphere-classification"] = Field("sphere-classification", description="what is learned")
    model: SphereModelConfig = Field(S2CNNClassifierConfig(), description="the network", discriminator="family")

    @model_validator(mode="after")
    def _one_label(self) -> Self:
        if self.data.digits != 1:
            raise ValueError(f"expected data.digits=1 where images have one class, received {self.data.digits}")
        return self


class SphereSegmentationRecipe(SphereRecipe):
    """A network that tells the class of every point of spherical images."""

    task: Literal["sphere-segmentation"] = Field("sphere-segmentation", description="what is learned")
    model: PointModelConfig = Field(S2CNNConfig(), description="the network", discriminator="family")


PatchRecipe = Recipe | DetectionRecipe | SphereClassificationRecipe
"""What trains a classifier: of images or volumes with classes, of candidates, or of spherical images."""

AnySphereRecipe = SphereClassificationRecipe | SphereSegmentationRecipe

AnyRecipe = Recipe | SegmentationRecipe | DetectionRecipe | JetRecipe | AnySphereRecipe

_KINDS: dict[str, type[AnyRecipe]] = {
    "classification": Recipe,
    "segmentation": SegmentationRecipe,
    "detection": DetectionRecipe,
    "clustering": JetRecipe,
    "sphere-classification": SphereClassificationRecipe,
    "sphere-segmentation": SphereSegmentationRecipe,
}
_RECOGNISERS = {
    "segmentation": recognise_labelled,
    "detection": recognise_candidates,
    "clustering": recognise_jets,
    "sphere-classification": recognise_sphere,
    "sphere-segmentation": recognise_sphere,
}


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the package."""
    folder = resources.files("isotypic.recipes")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def read_recipe(name: str) -> dict[str, Any]:
    """Return the plain data of a recipe.

    Args:
        name: a recipe of the package, or the path of a YAML file.

    Raises:
        RequestError: neither is there, or the file is no YAML mapping.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise RequestError(f"expected a recipe file at {path}, found none")
        return _mapping(path.read_text(encoding="utf-8"), name)
    if name not in recipe_names():
        raise unknown("recipe", name, recipe_names())
    text = resources.files("isotypic.recipes").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return _mapping(text, name)


def with_request(raw: Mapping[str, Any], data: Path | None, assignments: Iterable[str]) -> dict[str, Any]:
    """Return a recipe with what the command line asks: ``--data`` and ``--set key=value``.

    ``--data`` also decides which reader is used, by what lies at the path.
    """
    changed = dict(raw)
    if data is not None:
        section = {**changed.get("data", {}), "path": str(data.resolve())}
        kind = _RECOGNISERS.get(changed.get("task", "classification"), recognise)
        changed["data"] = {**section, "dataset": kind(data)}
    return assign(changed, assignments)


def recipe_of(raw: Mapping[str, Any]) -> AnyRecipe:
    """Return the validated recipe of its task; its ``study`` section is left to the study.

    Raises:
        RequestError: an unknown task or key, a value out of range, a missing name.
    """
    task = raw.get("task", "classification")
    kind = chosen("task", str(task), _KINDS)
    plain = {key: value for key, value in raw.items() if key != "study"}
    return validated(kind, plain, f"recipe {raw.get('name', '?')}")


def _mapping(text: str, name: str) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RequestError(f"recipe {name}: not valid YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(raw, dict):
        raise RequestError(
            f"recipe {name}: expected a mapping with data, model and training, found {type(raw).__name__}"
        )
    return raw
