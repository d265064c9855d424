"""Flattening, reshaping, squeezing and permuting: told apart by the shapes before and after, not by their numbers."""

from __future__ import annotations

import math
import operator
from dataclasses import replace
from typing import Any

from torch import fx

from isotypic.convert.conversion import Conversion
from isotypic.convert.rules.arguments import input_shape
from isotypic.convert.signals import Converted
from isotypic.convert.tracing import shape
from isotypic.errors import RequestError


def reshaping(conversion: Conversion, node: fx.Node, subject: Any) -> Converted:
    """Convert view, reshape, flatten, squeeze and unsqueeze."""
    before, after = input_shape(node), shape(node)
    made = conversion.of(node.args[0], allow="was flattened with its space")
    if after == before:
        return made
    if made.signal.window or made.signal.axis != 1:
        raise RequestError(f"it reshapes {list(before)} to {list(after)} after flattening or with channels last")
    if after == (before[0], math.prod(before[1:])):
        return _flattened(conversion, made, before)
    if len(before) == 2 and after[:2] == before and math.prod(after[2:]) == 1:
        index = (..., *(None,) * (len(after) - 2))
        return Converted(
            conversion.function(operator.getitem, made.node, index), replace(made.signal, space=len(after) - 2)
        )
    if after == (*before[:2], math.prod(before[2:])):
        return Converted(conversion.method("flatten", made.node, 2), replace(made.signal, space=1))
    raise RequestError(f"it reshapes {list(before)} to {list(after)}, which mixes channels, space or images")


def _flattened(conversion: Conversion, made: Converted, before: tuple[int, ...]) -> Converted:
    if math.prod(before[2:]) == 1:
        return Converted(conversion.method("flatten", made.node, 1), replace(made.signal, space=0))
    return Converted(made.node, replace(made.signal, window=before[2:]))


def permutation(conversion: Conversion, node: fx.Node, subject: Any) -> Converted:
    """Convert a permutation that brings the channels to the end, or back."""
    before, made = input_shape(node), conversion.of(node.args[0])
    order = [d % len(before) for d in _order(node, len(before))]
    last = [0, *range(2, len(before)), 1]
    first = [0, len(before) - 1, *range(1, len(before) - 1)]
    if order == last and made.signal.axis == 1:
        return Converted(conversion.method("movedim", made.node, 1, -1), replace(made.signal, axis=-1))
    if order == first and made.signal.axis == -1:
        return Converted(conversion.method("movedim", made.node, -1, 1), replace(made.signal, axis=1))
    raise RequestError(f"it permutes the axes by {order}, which moves space or more than the channels")


def _order(node: fx.Node, axes: int) -> tuple[int, ...]:
    given: Any = node.kwargs.get("dims", node.args[1:])
    if len(given) == 1 and isinstance(given[0], (tuple, list)):
        given = given[0]
    name = node.target if isinstance(node.target, str) else node.target.__name__
    if name != "transpose":
        return tuple(given)
    order = list(range(axes))
    a, b = (int(d) % axes for d in given)
    order[a], order[b] = order[b], order[a]
    return tuple(order)
