"""Pointwise functions, sums and products, concatenation, and reductions over channels or space."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn

from isotypic.convert.conversion import Conversion
from isotypic.convert.rules.arguments import arguments, input_shape
from isotypic.convert.signals import Converted, Signal
from isotypic.convert.tracing import shape
from isotypic.errors import RequestError
from isotypic.nn.affine import FieldParameter
from isotypic.nn.pooling import ParityUpsample

OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "truediv": torch.div,
}
FLATTENED = "was flattened with its space"


def pointwise_module(conversion: Conversion, node: fx.Node, module: nn.Module) -> Converted:
    """Keep a module that maps every number alone."""
    before = conversion.of(node.args[0], allow=FLATTENED)
    return Converted(conversion.module(node, deepcopy(module), before.node), before.signal)


def pointwise_call(conversion: Conversion, node: fx.Node, name: str) -> Converted:
    """Keep a function that maps every number alone."""
    before = conversion.of(node.args[0], allow=FLATTENED)
    rest = tuple(node.args[1:])
    if node.op == "call_method":
        return Converted(conversion.method(name, before.node, *rest, **node.kwargs), before.signal)
    kwargs = {key: value for key, value in node.kwargs.items() if key != "inplace"}
    return Converted(conversion.function(_target(node), before.node, *rest, **kwargs), before.signal)


def same(conversion: Conversion, node: fx.Node, name: Any) -> Converted:
    """Pass a signal through: clone, contiguous, identity."""
    return conversion.done[node.args[0]]  # type: ignore[index]


def binary(conversion: Conversion, node: fx.Node, name: str) -> Converted:
    """Convert a sum or product: of two signals, or a signal with a number or a parameter."""
    operation = OPERATIONS[name.strip("_").removeprefix("r").removeprefix("i")]
    left, right = node.args[:2]
    if name.startswith("__r"):
        left, right = right, left
    options = {key: value for key, value in node.kwargs.items() if key == "alpha"}
    sides = [_side(conversion, node, side) for side in (left, right)]
    signals = [side for side in sides if isinstance(side, Converted)]
    if len(signals) == 2:
        signals = _broadcast(conversion, _resized(conversion, _alike(conversion, signals)))
        call = conversion.function(operation, *(side.node for side in signals), **options)
        return Converted(call, max((s.signal for s in signals), key=lambda s: (s.space, s.fields)))
    operands = [side.node if isinstance(side, Converted) else side for side in sides]
    return Converted(conversion.function(operation, *operands, **options), signals[0].signal)


def concatenation(conversion: Conversion, node: fx.Node, name: str) -> Converted:
    """Convert a concatenation of channels."""
    given = arguments(node, "tensors", "dim", dim=0)
    dim, first = given["dim"], input_shape(node)
    parts = [conversion.anything(part) for part in given["tensors"]]
    if dim % len(first) != parts[0].signal.axis % len(first):
        raise RequestError(f"it joins along axis {dim}, not the channels")
    parts = _resized(conversion, _alike(conversion, parts))
    call = conversion.function(torch.cat, [part.node for part in parts], dim)
    return Converted(call, replace(parts[0].signal, fields=sum(part.signal.fields for part in parts)))


def splitting(conversion: Conversion, node: fx.Node, name: str) -> Converted:
    """Convert ``chunk`` and ``split`` of the channels into equal parts; ``getitem`` takes them out."""
    before = conversion.of(node.args[0])
    whole, axis = input_shape(node), before.signal.axis
    dim = node.kwargs.get("dim", node.args[2] if len(node.args) > 2 else 0)
    parts = [shape(user)[axis] for user in node.users]
    if dim % len(whole) != axis % len(whole) or len(set(parts)) > 1:  # type: ignore[operator]
        raise RequestError("it splits along another axis than the channels, or into unequal parts")
    count = whole[axis] // parts[0]
    if before.signal.fields % count:
        raise RequestError(f"it splits {before.signal.fields} fields into {count} parts; choose match='fields'")
    call = conversion.method("chunk", before.node, count, dim=axis)
    return Converted(call, replace(before.signal, fields=before.signal.fields // count))


def part(conversion: Conversion, node: fx.Node, name: str) -> Converted:
    """Take one part of a split."""
    source = node.args[0]
    if not isinstance(source, fx.Node) or source not in conversion.done or not isinstance(node.args[1], int):
        raise RequestError(f"it takes a part of a tensor by [{node.args[1]}]")
    before = conversion.done[source]
    return Converted(conversion.function(_target(node), before.node, node.args[1]), before.signal)


def reduction(conversion: Conversion, node: fx.Node, name: str) -> Converted:
    """Convert ``mean``, ``sum`` and the maximum over space, or over the channels."""
    given = arguments(node, "input", "dim", "keepdim", keepdim=False)
    before, whole = conversion.of(given["input"]), input_shape(node)
    signal, dims = before.signal, given.get("dim", given.get("axis"))
    chosen = {d % len(whole) for d in ((dims,) if isinstance(dims, int) else tuple(dims or range(len(whole))))}
    channel = signal.axis % len(whole)
    if chosen == set(range(1, len(whole))) - {channel}:
        call = conversion.method(name, before.node, tuple(sorted(chosen)), keepdim=given["keepdim"])
        left = signal.space if given["keepdim"] else 0
        return Converted(call, replace(signal, space=left, axis=signal.axis if left else 1))
    if chosen == {channel} and given["keepdim"] and channel == 1:
        order = conversion.group.order if signal.regular else 1
        fields = conversion.method("unflatten", before.node, 1, (signal.fields, order))
        return Converted(conversion.method(name, fields, 1), replace(signal, fields=1))
    axes = f"axes {sorted(chosen)} of {list(whole)}"
    raise RequestError(f"it takes the {name} over {axes}: neither all of space nor the channels")


def softmax(conversion: Conversion, node: fx.Node, dim: int, function: Any) -> Converted:
    """Convert a softmax over the channels: every element's channels by themselves."""
    before, axis = conversion.of(node.args[0]), 1
    if dim % len(input_shape(node)) != axis or before.signal.axis != 1:
        raise RequestError(f"a softmax along axis {dim}, not over the channels")
    if not before.signal.regular:
        return Converted(conversion.function(function, before.node, axis), before.signal)
    fields = conversion.method("unflatten", before.node, 1, (before.signal.fields, conversion.group.order))
    return Converted(conversion.method("flatten", conversion.function(function, fields, 1), 1, 2), before.signal)


def softmax_module(conversion: Conversion, node: fx.Node, module: Any) -> Converted:
    """Convert ``nn.Softmax`` and ``nn.LogSoftmax``."""
    function = torch.log_softmax if isinstance(module, nn.LogSoftmax) else torch.softmax
    return softmax(conversion, node, module.dim if module.dim is not None else 1, function)


def softmax_call(conversion: Conversion, node: fx.Node, name: str) -> Converted:
    """Convert ``softmax(x, dim)`` and ``log_softmax(x, dim)``."""
    return softmax(conversion, node, arguments(node, "input", "dim")["dim"], getattr(torch, name))


def _target(node: fx.Node) -> Callable[..., Any]:
    if isinstance(node.target, str):
        raise RequestError(f"expected a function, found the method {node.target!r}")
    target: Any = node.target
    return target


def _side(conversion: Conversion, node: fx.Node, value: Any) -> Any:
    """Return an operand: a number, a converted signal, or a parameter with a number for every field."""
    tensor = conversion.stored(value)
    if tensor is None:
        if not isinstance(value, fx.Node):
            return value
        return conversion.anything(value)
    if tensor.numel() == 1:
        return float(tensor)
    other = next(a for a in node.args[:2] if isinstance(a, fx.Node) and a in conversion.done)
    signal, whole = conversion.done[other].signal, shape(other)
    if tensor.numel() != whole[signal.axis] or not signal.regular:
        raise RequestError(f"a parameter of shape {list(tensor.shape)} that is not one number a channel")
    place = str(value.target)
    trailing = len(whole) - 2 if signal.axis == 1 else 0
    made = FieldParameter(signal.fields, conversion.group, float(tensor.detach().mean()), trailing=trailing)
    if conversion.plan.symmetrise:
        with torch.no_grad():
            made.value.copy_(tensor.flatten())
    conversion.modules.setdefault(place, made)
    return conversion.graph.call_module(place, ())


def _alike(conversion: Conversion, sides: list[Converted]) -> list[Converted]:
    """Return signals of one kind: scalar ones become regular where another is."""
    if any(side.signal.regular for side in sides):
        return [conversion.lifted(side) if not side.signal.regular else side for side in sides]
    return sides


def _resized(conversion: Conversion, sides: list[Converted]) -> list[Converted]:
    """Bring what the network padded to another's size to that size, symmetrically."""
    if not any(side.signal.resize for side in sides):
        if any(side.signal.pending for side in sides):
            raise RequestError(f"its input {next(s.signal.pending for s in sides if s.signal.pending)}")
        return sides
    fixed = next((side for side in sides if not side.signal.resize), None)
    if fixed is None:
        raise RequestError("all of its inputs are padded to each other's size")
    return [_resize(conversion, side, fixed) if side.signal.resize else side for side in sides]


def _resize(conversion: Conversion, side: Converted, to: Converted) -> Converted:
    place = "functions.resize"
    conversion.modules.setdefault(place, ParityUpsample())
    call = conversion.graph.call_module(place, (side.node, conversion.spatial_size(to.node)))
    return Converted(call, replace(side.signal, resize=False))


def _broadcast(conversion: Conversion, sides: list[Converted]) -> list[Converted]:
    """Spread a signal of one field over the fields of the other."""
    fields = max(side.signal.fields for side in sides)
    return [_spread(conversion, side, fields) for side in sides]


def _spread(conversion: Conversion, side: Converted, fields: int) -> Converted:
    signal: Signal = side.signal
    if signal.fields == fields or not signal.regular:
        return side
    if signal.fields != 1 or signal.axis != 1:
        raise RequestError(f"it joins {signal.fields} and {fields} fields")
    tiled = conversion.method("repeat", side.node, 1, fields, *(1,) * signal.space)
    return Converted(tiled, replace(signal, fields=fields))
