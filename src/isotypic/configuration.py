"""Configuration: pydantic models read from YAML, with errors that a user can act on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from isotypic.errors import RequestError

Model = TypeVar("Model", bound=BaseModel)


class Config(BaseModel):
    """Base of every section of a recipe: unknown keys are refused, and it does not change once made."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def validated(model: type[Model], raw: Mapping[str, Any], where: str) -> Model:
    """Return a configuration from plain data.

    Args:
        model: the pydantic model.
        raw: what the YAML file held.
        where: what to call the source in an error ("recipe digits").

    Raises:
        RequestError: one line that names the key, what was expected and what came; for an unknown key the
            nearest known one.
    """
    try:
        return model.model_validate(dict(raw))
    except ValidationError as error:
        raise RequestError(f"{where}: {_first_problem(error, model)}") from error


def assign(raw: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Return plain data with ``key=value`` assignments applied; keys are dotted, values are YAML.

    >>> assign({"training": {"steps": 10}}, ["training.steps=20", "data.resize=[32, 32]"])
    {'training': {'steps': 20}, 'data': {'resize': [32, 32]}}

    Raises:
        RequestError: an assignment without ``=``, or one that goes into a value that is no section.
    """
    changed = deepcopy(dict(raw))
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise RequestError(f"expected key=value, received {assignment!r}; for example --set training.steps=500")
        *path, last = key.strip().split(".")
        section = changed
        for part in path:
            section = section.setdefault(part, {})
            if not isinstance(section, dict):
                raise RequestError(f"expected a section at {part!r} in {key!r}, found the value {section!r}")
        section[last] = _parse(value, assignment)
    return changed


def _parse(value: str, assignment: str) -> Any:
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RequestError(f"expected a YAML value in {assignment!r}, such as 3, 0.1, [1, 2] or name") from error


def _first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    problem = error.errors(include_url=False)[0]
    place = _place(model, problem["loc"])
    key, context = ".".join(map(str, place.parts)), problem.get("ctx", {})
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}: {_hint(str(place.parts[-1]), sorted(place.known))}"
    if problem["type"] == "union_tag_not_found":
        return f"{key}: expected the key {context['discriminator']}, found none"
    if problem["type"] == "union_tag_invalid":
        families = [tag.strip("'") for tag in context["expected_tags"].split(", ")]
        name = context["discriminator"].strip("'")
        return f"{key}: unknown {name} {context['tag']!r}: {_hint(context['tag'], families)}"
    whole = problem["type"] == "missing" or isinstance(problem["input"], Mapping)  # a section says itself what is wrong
    received = "" if whole else f", received {problem['input']!r}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key + ': ' if key else ''}{message[0].lower() + message[1:]}{received}"


def _hint(word: str, known: list[str]) -> str:
    near = get_close_matches(word, known, n=1)
    return f"{f'did you mean {near[0]!r}? ' if near else ''}Known: {', '.join(known)}"


@dataclass(frozen=True)
class _Place:
    """Where an error is: the keys as they are written in YAML, and those that are known beside the last one."""

    parts: list[int | str]
    known: set[str]


def _place(model: type[BaseModel], location: tuple[int | str, ...]) -> _Place:
    """Follow an error's location, in which a section that is one of several is followed by its tag."""
    parts: list[int | str] = []
    beside = inner = [model]
    discriminator: str | None = None
    for part in location:
        if discriminator is not None:
            inner = [kind for kind in inner if part in get_args(kind.model_fields[discriminator].annotation)] or inner
            discriminator = None
            continue
        parts.append(part)
        beside = inner or beside
        fields = [section.model_fields[str(part)] for section in beside if str(part) in section.model_fields]
        inner = [kind for field in fields for kind in _models_in(field.annotation)]
        tags = [field.discriminator for field in fields if isinstance(field.discriminator, str)]
        discriminator = tags[0] if tags else None
    return _Place(parts, {name for section in beside for name in section.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
