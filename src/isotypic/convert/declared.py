"""What the layers of a network say that the channels of its tensors mean."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, fx

from isotypic.convert.tracing import Traced, shape
from isotypic.errors import RequestError
from isotypic.groups.circle import Fields, FieldSum, restriction
from isotypic.groups.finite import FiniteGroup
from isotypic.nn.layer import EquivariantLayer
from isotypic.ops.action import act, move_channels

Parts = tuple[Fields, ...]


def declared(traced: Traced) -> dict[fx.Node, Parts]:
    """Return the field types of the tensors for which a layer of this library declares them.

    What stands behind such a layer, up to the next one, is taken to have its type as long as it has as many channels;
    a concatenation has those of its members.
    """
    known: dict[fx.Node, Parts] = {}
    for node in traced.graph.nodes:
        parts = _of_layer(traced, node) or _of_inputs(node, known)
        if parts and len(node.meta.get("shape", ())) > 1 and shape(node)[1] == _channels(parts):
            known[node] = parts
    return known


def moved_as_declared(value: Tensor, element: int, group: FiniteGroup, parts: Parts) -> Iterator[Tensor]:
    """Yield where an element takes a tensor of some field types, channels first.

    Nothing is yielded without types, without the element in their group, or for other axes of space.
    """
    if not parts or value.dim() not in (2, group.dim + 2):
        return
    try:
        carried = [restriction(part.representation, group) for part in parts]
    except RequestError:  # the network is not made for this group: no meaning is declared
        return
    space = act(value, element, group) if value.dim() > 2 else value
    split = space.split([part.channels for part in parts], 1)
    yield torch.cat([move_channels(t, element, rho, 1) for t, rho in zip(split, carried, strict=True)], 1)


def _of_layer(traced: Traced, node: fx.Node) -> Parts:
    layer = traced.module(node) if node.op == "call_module" else None
    if not isinstance(layer, EquivariantLayer):
        return ()
    kind: Fields | FieldSum = layer.out_type
    return kind.parts if isinstance(kind, FieldSum) else (kind,)


def _of_inputs(node: fx.Node, known: dict[fx.Node, Parts]) -> Parts:
    inputs = [known[before] for before in node.all_input_nodes if before in known]
    joined = getattr(node.target, "__name__", "") in ("cat", "concat", "concatenate")
    if joined and len(inputs) == len(node.all_input_nodes):
        return tuple(part for parts in inputs for part in parts)
    return inputs[0] if inputs else ()


def _channels(parts: Parts) -> int:
    return sum(part.channels for part in parts)
