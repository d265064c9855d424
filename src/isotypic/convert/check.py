"""Which layer of a network breaks the symmetry, at which size, why, and what repairs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, fx, nn

from isotypic.convert.conversion import place_of
from isotypic.convert.declared import Parts, declared, moved_as_declared
from isotypic.convert.prediction import Prediction, Verdict, predict
from isotypic.convert.tracing import Traced, axes_of, trace
from isotypic.errors import RequestError
from isotypic.groups.catalogue import named
from isotypic.groups.finite import FiniteGroup
from isotypic.groups.representations import Representation, regular
from isotypic.ops.action import act, move_channels

EXACT_BELOW = 1e-10
"""In float64, relative to the output's standard deviation: rounding alone."""

APPROXIMATE_BELOW = 0.1
"""What interpolation and sampled steerable kernels cost."""


@dataclass(frozen=True)
class LayerCheck:
    """What was found at one step of the network.

    Attributes:
        place: the layer and where it stands.
        shape: the shape of its output.
        error: the largest difference over the elements, relative to the output's standard deviation.
        breaks: whether its inputs were exact (or approximate) and its output is less so.
        prediction: what shapes and types say of it.
    """

    place: str
    shape: tuple[int, ...]
    error: float
    breaks: bool
    prediction: Prediction

    @property
    def verdict(self) -> Verdict:
        """Exact, approximate or broken, by the measured error."""
        return verdict_of(self.error)

    @property
    def surprises(self) -> bool:
        """Whether prediction and measurement differ."""
        if self.prediction.verdict is Verdict.EXACT:
            return self.breaks
        return self.prediction.verdict is Verdict.BROKEN and self.verdict is Verdict.EXACT


@dataclass(frozen=True)
class Check:
    """What was found about a network.

    Attributes:
        group: the group.
        error: the largest error of the outputs over all elements.
        by_element: the error of the outputs under each element.
        layers: every step in order.
    """

    group: FiniteGroup
    error: float
    by_element: tuple[float, ...]
    layers: tuple[LayerCheck, ...]

    @property
    def verdict(self) -> Verdict:
        """Exact, approximate or broken."""
        return verdict_of(self.error)

    @property
    def exact(self) -> bool:
        """Whether the outputs commute with every element to rounding error."""
        return self.verdict is Verdict.EXACT

    @property
    def first_break(self) -> LayerCheck | None:
        """The first layer that breaks the symmetry, or None."""
        return next((layer for layer in self.layers if layer.breaks), None)

    def __str__(self) -> str:
        """A table: every layer, its error, and of those that break the symmetry the reason and the repair."""
        lines = [f"{self.verdict.value} under {self.group.name}: largest error {self.error:.1e}"]
        width = max(len(layer.place) for layer in self.layers)
        for layer in self.layers:
            size = "x".join(map(str, layer.shape[1:]))
            line = f"{layer.place:<{width}}  {size:>14}  {layer.error:8.1e}"
            lines.append(line + (f"  <- {_explain(layer)}" if layer.breaks or layer.surprises else ""))
        return "\n".join(lines)


def check(model: nn.Module, input_shape: Sequence[int], group: str | FiniteGroup) -> Check:
    """Measure, layer by layer and under every element, whether a network commutes with a group.

    The network runs in float64 and evaluation mode on noise x and on every g x. An intermediate tensor is compared
    under the representations that its channels may carry (scalar, or regular field-major fields; channels first or
    last), and the best counts: so it serves for any network, made with this library or not.

    Args:
        model: any module with one image or volume in; it stays as it is.
        input_shape: ``[batch, channels, *space]`` of an input, or without the batch.
        group: a group of the grid, or its name.

    Raises:
        RequestError: the group does not fit the input, or the network does not take it.
    """
    resolved = _group(model, group, len(input_shape) - 2)
    size = tuple(input_shape) if len(input_shape) == resolved.dim + 2 else (2, *input_shape)
    if len(size) != resolved.dim + 2:
        raise RequestError(f"expected an input [batch, channels, {resolved.dim} axes], received {list(input_shape)}")
    copy = deepcopy(model).cpu().double().eval()
    x = torch.randn(max(2, size[0]), *size[1:], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    base = _recorded(copy, x)
    errors = [_errors(copy, base, x, g, resolved) for g in range(resolved.order)]
    nodes = [node for node in base.graph.nodes if _is_step(node)]
    worst = {node: max(found[node] for found in errors) for node in nodes}
    layers = tuple(_layer(base, node, worst, resolved) for node in nodes)
    outputs = [node for node in _ends(base) if node in worst]
    by_element = tuple(max(found[node] for node in outputs) for found in errors)
    return Check(resolved, max(by_element), by_element, layers)


def verdict_of(error: float) -> Verdict:
    """Return exact, approximate or broken for a relative error in float64."""
    if error < EXACT_BELOW:
        return Verdict.EXACT
    return Verdict.APPROXIMATE if error < APPROXIMATE_BELOW else Verdict.BROKEN


def _group(model: nn.Module, group: str | FiniteGroup, axes: int) -> FiniteGroup:
    if isinstance(group, str):
        found = axes_of(model)
        group = named(group, found.pop() if len(found) == 1 else axes)
    group.grid_matrices  # noqa: B018
    return group


def _recorded(model: nn.Module, x: Tensor) -> Traced:
    try:
        return trace(model, x, keep=True)
    except RuntimeError as error:
        raise RequestError(
            f"the network does not take an input of shape {list(x.shape)}: {str(error).splitlines()[0]}"
        ) from error


def _errors(model: nn.Module, base: Traced, x: Tensor, element: int, group: FiniteGroup) -> dict[fx.Node, float]:
    """Return the error of every step under one element."""
    moved = _recorded(model, act(x, element, group))
    before, after = ([node for node in traced.graph.nodes if _is_step(node)] for traced in (base, moved))
    if [node.target for node in before] != [node.target for node in after]:
        raise RequestError("the network does other things to the moved input: its code depends on the image size")
    kinds = declared(base)
    pairs = [(a, a.meta["value"], b.meta["value"]) for a, b in zip(before, after, strict=True)]
    return {a: _difference(value, other, element, group, kinds.get(a, ())) for a, value, other in pairs}


def _difference(value: Tensor, moved: Tensor, element: int, group: FiniteGroup, parts: Parts) -> float:
    """Return the smallest error over the ways that a tensor may be meant."""
    scale = float(value.std()) or 1.0
    meanings = [wanted for wanted in _meanings(value, element, group, parts) if wanted.shape == moved.shape]
    return min((float((moved - wanted).abs().max()) for wanted in meanings), default=float("inf")) / scale


def _meanings(value: Tensor, element: int, group: FiniteGroup, parts: Parts) -> Iterator[Tensor]:
    """Yield where an element takes a tensor, for each way that its axes and channels may be meant.

    Channels are of the types that a layer declares; or they come first or last, as scalar fields or as regular ones;
    or fields and their |G| channels are two axes.
    """
    yield from moved_as_declared(value, element, group, parts)
    fields: list[Representation | None] = [None, regular(group)]
    for last, representation in product((False, True), fields):
        channels = value.shape[-1 if last else 1] if value.dim() > 1 else 1
        if representation is not None and channels % group.order:
            continue
        if value.dim() == group.dim + 2:
            first = value.movedim(-1, 1) if last else value
            result = act(first, element, group, representation)
            yield result.movedim(1, -1) if last else result
        elif value.dim() >= 2 and not last:
            yield value if representation is None else move_channels(value, element, representation, 1)
    if value.dim() in (3, group.dim + 3) and value.shape[2] == group.order:
        flat = value.flatten(1, 2)
        both = regular(group)
        moved = act(flat, element, group, both) if value.dim() > 3 else move_channels(flat, element, both, 1)
        yield moved.unflatten(1, value.shape[1:3])


def _layer(traced: Traced, node: fx.Node, worst: dict[fx.Node, float], group: FiniteGroup) -> LayerCheck:
    before = max((worst[n] for n in node.all_input_nodes if n in worst), default=0.0)
    after = worst[node]
    breaks = after >= EXACT_BELOW and before < EXACT_BELOW
    value = node.meta["value"]
    return LayerCheck(place_of(traced, node), tuple(value.shape), after, breaks, predict(traced, node, group))


def _is_step(node: fx.Node) -> bool:
    return node.op in ("call_module", "call_function", "call_method") and isinstance(node.meta.get("value"), Tensor)


def _ends(traced: Traced) -> list[fx.Node]:
    output: Any = next(node for node in reversed(traced.graph.nodes) if node.op == "output")
    return list(output.all_input_nodes)


def _explain(layer: LayerCheck) -> str:
    prediction = layer.prediction
    if not layer.breaks:
        return f"predicted broken ({prediction.reason}), measured exact"
    if prediction.verdict is Verdict.EXACT:
        return "breaks here, though its shapes are symmetric"
    return f"breaks here: {prediction.reason}; {prediction.repair}"
