"""Reading the arguments of a recorded call by the names that torch documents."""

from __future__ import annotations

from typing import Any

from torch import fx

from isotypic.convert.tracing import shape


def arguments(node: fx.Node, *names: str, **defaults: Any) -> dict[str, Any]:
    """Return the arguments of a call by name.

    Args:
        node: the call.
        names: the names of its positional arguments, in order.
        defaults: what is meant where an argument is missing; names without a default must be given.
    """
    given = dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
    return {**defaults, **given}


def tuple_of(value: Any, axes: int) -> tuple[int, ...]:
    """Return one integer an axis."""
    if isinstance(value, int):
        return (value,) * axes
    values = tuple(int(v) for v in value)
    return values * axes if len(values) == 1 else values


def input_shape(node: fx.Node) -> tuple[int, ...]:
    """Return the shape that the first argument of a call had in the run."""
    first = node.args[0] if node.args else node.kwargs["input"]
    if isinstance(first, (list, tuple)):
        first = first[0]
    return shape(first)  # type: ignore[arg-type]
