"""The systems by task: a new task is a module beside this one and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from isotypic.errors import chosen
from isotypic.studies.systems.classification import ClassificationSystem
from isotypic.studies.systems.detection import DetectionSystem
from isotypic.studies.systems.jets import JetSystem
from isotypic.studies.systems.segmentation import SegmentationSystem
from isotypic.studies.systems.sphere import SphereClassificationSystem, SphereSegmentationSystem
from isotypic.studies.systems.system import StudiedSystem
from isotypic.tasks.recipe import AnyRecipe

_SYSTEMS: Mapping[str, StudiedSystem[Any, Any, Any]] = MappingProxyType(
    {
        "classification": ClassificationSystem(),
        "segmentation": SegmentationSystem(),
        "detection": DetectionSystem(),
        "clustering": JetSystem(),
        "sphere-classification": SphereClassificationSystem(),
        "sphere-segmentation": SphereSegmentationSystem(),
    }
)


def system_of(recipe: AnyRecipe) -> StudiedSystem[Any, Any, Any]:
    """Return the system of a recipe's task.

    Raises:
        RequestError: the task cannot be studied.
    """
    return chosen("task of a study", recipe.task, _SYSTEMS)
