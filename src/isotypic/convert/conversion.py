"""Walking a traced network and writing the equivariant one, node by node.

Every kind of module and function has a *rule* (in :mod:`isotypic.convert.rules`); what has none is refused by name.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from isotypic.convert.signals import Converted, Signal
from isotypic.convert.tracing import Traced, shape
from isotypic.errors import RequestError
from isotypic.groups.finite import FiniteGroup
from isotypic.nn.matching import Match, matched_fields


@dataclass(frozen=True)
class Plan:
    """What is decided for the whole network before the walk.

    Attributes:
        group: the group to build in.
        match: how widths follow from the network's.
        symmetrise: whether weights start as the network's own, averaged over the group.
        finals: nodes whose channels are the network's output: their number is kept.
        tails: nodes after which only maps that commute with the mean over the group follow: the mean is taken before
            them.
        reach: upsampling nodes and the node whose size they are to reach.
    """

    group: FiniteGroup
    match: Match
    symmetrise: bool
    finals: frozenset[fx.Node]
    tails: frozenset[fx.Node]
    reach: dict[fx.Node, fx.Node]

    def fields(self, node: fx.Node, channels: int) -> int:
        """Return how many fields stand for the output channels of a node."""
        return channels if node in self.finals else matched_fields(channels, self.group, self.match)


@dataclass
class Conversion:
    """The new graph while it is written.

    Attributes:
        traced: the network as it was.
        plan: what is decided.
        graph: the new graph.
        modules: the new modules by their place in the tree.
        done: what every old node became.
    """

    traced: Traced
    plan: Plan
    graph: fx.Graph = field(default_factory=fx.Graph)
    modules: dict[str, nn.Module] = field(default_factory=dict)
    done: dict[fx.Node, Converted] = field(default_factory=dict)

    @property
    def group(self) -> FiniteGroup:
        """The group to build in."""
        return self.plan.group

    def of(self, node: Any, *, allow: str = "") -> Converted:
        """Return what an old node became.

        Args:
            node: an argument of a call.
            allow: a pending treatment that the caller takes care of.

        Raises:
            RequestError: the argument is no signal, or something is pending that the caller does not handle.
        """
        converted = self.anything(node)
        if converted.signal.pending and converted.signal.pending != allow:
            raise RequestError(f"its input {converted.signal.pending}, and that has no equivariant form here")
        return converted

    def anything(self, node: Any) -> Converted:
        """Return what an old node became, whatever is pending there."""
        if not isinstance(node, fx.Node) or node not in self.done:
            stored = self.stored(node) is not None
            what = "a tensor made without the image, with a direction of its own" if stored else repr(node)
            raise RequestError(f"expected a signal, found {what}")
        return self.done[node]

    def stored(self, node: Any) -> Tensor | None:
        """Return the parameter or buffer that an argument names, or None."""
        return self.traced.constant(node)

    def function(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """Write a call of a torch function."""
        return self.graph.call_function(target, args, kwargs)

    def method(self, name: str, *args: Any, **kwargs: Any) -> fx.Node:
        """Write a call of a tensor method."""
        return self.graph.call_method(name, args, kwargs)

    def module(self, node: fx.Node, made: nn.Module, *args: Any) -> fx.Node:
        """Put a module where the old node's was (or at a name of its own) and write its call."""
        place = str(node.target) if node.op == "call_module" else f"functions.{node.name}"
        if place in self.modules and type(self.modules[place]) is not type(made):
            raise RequestError("it is called twice, on signals of different kinds")
        self.modules.setdefault(place, made)
        return self.graph.call_module(place, args)

    def spatial_size(self, node: fx.Node) -> fx.Node:
        """Write the size of the space of a new node whose channels are at axis 1."""
        return self.function(operator.getitem, self.function(getattr, node, "shape"), slice(2, None))

    def lifted(self, converted: Converted) -> Converted:
        """Return scalar fields as regular ones that are constant over the group."""
        signal = converted.signal
        if signal.regular:
            return converted
        repeated = self.method("repeat_interleave", converted.node, self.group.order, dim=signal.axis)
        return Converted(repeated, signal.with_fields(signal.fields))

    def pooled(self, converted: Converted) -> Converted:
        """Return the mean of regular fields over the group."""
        signal = converted.signal
        if not signal.regular:
            return converted
        axis = 1 if signal.axis == 1 else -1
        fields = self.method("unflatten", converted.node, axis, (signal.fields, self.group.order))
        mean = self.method("mean", fields, axis + 1 if axis == 1 else -1)
        return Converted(mean, Signal(signal.fields, False, signal.space, signal.axis))


Rule = Callable[[Conversion, fx.Node, Any], Converted]


def convert(conversion: Conversion, rule_for: Callable[[Traced, fx.Node], tuple[Rule, Any]]) -> fx.GraphModule:
    """Walk the graph and return the new network.

    Raises:
        RequestError: a node that cannot be converted, with its place in the network and the reason.
    """
    for node in conversion.traced.graph.nodes:
        if node.op == "placeholder":
            _placeholder(conversion, node)
        elif node.op == "output":
            conversion.graph.output(_outputs(conversion, node.args[0]))
        elif node.op != "get_attr":
            _convert_call(conversion, node, rule_for)
    return fx.GraphModule(dict(conversion.modules), conversion.graph)


def _convert_call(conversion: Conversion, node: fx.Node, rule_for: Callable[..., tuple[Rule, Any]]) -> None:
    try:
        rule, subject = rule_for(conversion.traced, node)
        conversion.done[node] = rule(conversion, node, subject)
    except RequestError as error:
        raise RequestError(f"cannot convert {place_of(conversion.traced, node)}: {error}") from error


def place_of(traced: Traced, node: fx.Node) -> str:
    """Say what a node is and where it stands in the network."""
    if node.op == "call_module":
        return f"{type(traced.module(node)).__name__} at {node.target}"
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    before = next((n.target for n in _before(node) if n.op == "call_module"), "the input")
    return f"the call of {name} after {before}"


def _before(node: fx.Node) -> Iterator[fx.Node]:
    current = node.prev
    while current.op != "root":
        yield current
        current = current.prev


def _placeholder(conversion: Conversion, node: fx.Node) -> None:
    size, axes = shape(node), conversion.group.dim
    if len(size) != axes + 2:
        raise RequestError(
            f"expected an input [batch, channels, {', '.join('zyx'[3 - axes :])}] for {conversion.group.name}, "
            f"received {list(size)}"
        )
    conversion.done[node] = Converted(conversion.graph.placeholder(node.name), Signal(size[1], False, axes))


def _outputs(conversion: Conversion, values: Any) -> Any:
    def finish(value: Any) -> Any:
        if isinstance(value, fx.Node):
            return conversion.pooled(conversion.of(value)).node
        return value

    return torch.fx.node.map_aggregate(values, finish)
