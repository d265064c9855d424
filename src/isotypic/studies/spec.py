"""What a study is: the ``study`` section of a recipe, and the plan that it makes with the data at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator
from typing_extensions import Self

from isotypic.configuration import Config, validated
from isotypic.errors import RequestError
from isotypic.studies.environment import environment
from isotypic.studies.records import ArmRef, Cell, Question, StudyInfo, arms_of
from isotypic.studies.systems.catalogue import system_of
from isotypic.studies.systems.system import Counted
from isotypic.tasks.recipe import AnyRecipe, recipe_of

Size = int | float

TRAINING = "training"
"""The section of a recipe that a model of a study may change beside its own."""


class StudySpec(Config):
    """The ``study`` section of a recipe: which arms, sizes and seeds are crossed.

    An arm is a model with an augmentation.
    """

    models: dict[str, dict[str, Any]] = Field(
        description="model name -> changes to the recipe's model section, and under `training` to that section"
    )
    augmentations: list[str] = Field(description="names of augmentations, or several joined by +")
    arms: list[ArmRef] | None = Field(
        None, description="the arms that are run, in their order; none: every model with every augmentation"
    )
    sizes: list[Size] = Field(description="training images: a count, or a share of them between 0 and 1")
    seeds: int = Field(4, ge=1, description="repetitions of every cell")
    test_group: str = Field("p4", description="the test images are moved by every element of this group")
    question: Question = Field(description="the comparison declared in advance")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.sizes or not self.augmentations or not self.models:
            raise ValueError("a study needs at least one model, one augmentation and one size")
        return self

    def arms_to_run(self) -> list[ArmRef]:
        """Return the arms that are listed, or else all.

        Raises:
            RequestError: see :func:`~isotypic.studies.records.arms_of`.
        """
        return arms_of(self.models, self.augmentations, self.arms)


@dataclass(frozen=True)
class Plan:
    """A study with everything decided.

    Attributes:
        recipe: the system.
        spec: what is crossed.
        info: the description that is written to ``study.json``.
    """

    recipe: AnyRecipe
    spec: StudySpec
    info: StudyInfo

    @property
    def cells(self) -> list[Cell]:
        """The cells in the order they are run: seed by seed, so that a stopped study has whole repetitions."""
        return sorted(self.info.cells(), key=lambda cell: cell.seed)

    def recipe_for(self, cell: Cell) -> AnyRecipe:
        """Return the recipe of one cell: its model's changes and its augmentation."""
        return model_recipe(self.recipe, self.spec.models[cell.model], cell.augmentation)


def model_recipe(recipe: AnyRecipe, changes: Mapping[str, Any], augmentation: str) -> AnyRecipe:
    """Return a recipe with a changed model section, or one of another family, and another augmentation.

    Args:
        recipe: what is changed.
        changes: of the model section; ``training`` holds those of the training section.
        augmentation: its name.

    Raises:
        RequestError: a key or a value is wrong.
    """
    raw = recipe.model_dump(mode="json")
    model = {key: value for key, value in changes.items() if key != TRAINING}
    same = model.get("family", raw["model"]["family"]) == raw["model"]["family"]
    raw["model"] = {**raw["model"], **model} if same else model
    raw[TRAINING] |= changes.get(TRAINING, {})
    raw["augmentation"] = augmentation
    return recipe_of(raw)


def settings_of(raw: Mapping[str, Any]) -> tuple[AnyRecipe, StudySpec]:
    """Return recipe and study of a recipe's plain data.

    Raises:
        RequestError: there is no ``study`` section, or a key or value is wrong.
    """
    if not isinstance(raw.get("study"), dict):
        raise RequestError(f"recipe {raw.get('name', '?')} has no study section; isotypic train runs it once")
    recipe = recipe_of(raw)
    spec = validated(StudySpec, raw["study"], f"recipe {recipe.name}: study")
    for name in spec.augmentations:
        model_recipe(recipe, {}, name)
    spec.question.refuse_other_than(spec.arms_to_run())
    system = system_of(recipe)
    for changes in spec.models.values():
        changed = model_recipe(recipe, changes, "none")
        system.moved_by(changed, system.group(changed))
    system.moved_by(recipe, spec.test_group)
    return recipe, spec


def make_plan(raw: Mapping[str, Any], cache: Path, counted: Counted | None = None) -> Plan:
    """Decide a study: load its data, turn shares into sizes, and describe it.

    Args:
        raw: the recipe's plain data with what the command line changed.
        cache: where decoded images are kept.
        counted: told how much of the data is prepared, where that takes long.

    Raises:
        RequestError: what is wrong with recipe, study or data.
    """
    recipe, spec = settings_of(raw)
    system = system_of(recipe)
    material = system.material(recipe, cache, counted)
    about = system.describe(recipe, material)
    sizes = resolved_sizes(spec.sizes, about.available)
    for size in sizes:
        system.subset(material, size, seed=0)
    info = StudyInfo(
        name=recipe.name,
        title=recipe.title or recipe.name,
        description=recipe.description,
        question=spec.question,
        measure=about.measure,
        further=list(about.further),
        models=list(spec.models),
        augmentations=spec.augmentations,
        arms=spec.arms_to_run(),
        sizes=sizes,
        seeds=list(range(spec.seeds)),
        classes=list(about.classes),
        data=about.data,
        settings=settings_as_recorded(recipe, spec),
        environment=environment(),
    )
    return Plan(recipe, spec, info)


def settings_as_recorded(recipe: AnyRecipe, spec: StudySpec) -> dict[str, Any]:
    """Return recipe and study with all their defaults, as ``study.json`` has them."""
    return {**recipe.model_dump(mode="json"), "study": spec.model_dump(mode="json")}


def plan_from(info: StudyInfo) -> Plan:
    """Return the plan of a study that was described before."""
    recipe, spec = settings_of(info.settings)
    return Plan(recipe, spec, info)


def resolved_sizes(sizes: list[Size], available: int) -> list[int]:
    """Turn shares into counts.

    >>> resolved_sizes([0.1, 50, 1.0], 400)
    [40, 50, 400]

    Raises:
        RequestError: a size larger than the data, or a share outside (0, 1].
    """
    counts = set()
    for size in sizes:
        share = isinstance(size, float)
        if not (0 < size <= 1 if share else 1 <= size <= available):
            raise RequestError(
                f"expected training sizes between 1 and the {available} training images, or shares in (0, 1], "
                f"received {size}; set study.sizes"
            )
        counts.add(max(1, round(size * available)) if share else int(size))
    return sorted(counts)
