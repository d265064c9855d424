"""What a network does in training alone, and the place of it in the recording of its evaluation.

A conversion records evaluation. Code such as ``if self.training: x = drop(x)`` would vanish from it without a word, so
the network is recorded in training as well and the two are compared, call by call. What training adds is kept where it
is dropout or stochastic depth; anything else is refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from isotypic.convert.rules.arguments import arguments
from isotypic.convert.stochastic_depth import EverySampleDroppedError, recognised
from isotypic.convert.tracing import Traced, trace
from isotypic.errors import RequestError

DROPOUTS: dict[str, Callable[[float], nn.Module]] = {
    "dropout": nn.Dropout,
    "dropout2d": nn.Dropout2d,
    "dropout3d": nn.Dropout3d,
    "feature_dropout": nn.Dropout2d,
}
DRAWS = 12
"""How often a network is recorded in training until one sample of a dropped branch has stayed."""

WAY_OUT = "take it out (an nn.Identity() in its place) to convert what evaluation does"


Stands = tuple[fx.Node, tuple[nn.Module, ...]]
"""A node of the evaluation, and the modules that it goes through in training."""


def add_training(traced: Traced, model: nn.Module, example: Tensor) -> None:
    """Put what a network does in training alone into the recording of its evaluation, as modules.

    Args:
        traced: the network in evaluation; it is changed in place.
        model: the network; it is left alone.
        example: the input of the recording.

    Raises:
        RequestError: training does something that is neither dropout nor a drop of whole samples, with its place.
    """
    for seed in range(DRAWS):
        training = _recorded(model, example, seed)
        if training is None:
            return
        _same_readings(traced, training)
        comparison = _Comparison(traced, training, seed)
        try:
            comparison.run()
        except EverySampleDroppedError:
            continue
        _insert(traced, comparison.changes)
        return
    raise RequestError(f"in training the network dropped every sample of a branch in {DRAWS} runs; {WAY_OUT}")


def _recorded(model: nn.Module, example: Tensor, seed: int) -> Traced | None:
    """Record a copy in training, or warn and return None where it cannot be trained on the example."""
    copy = deepcopy(model).cpu().train()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return trace(copy, example)
    except RequestError as error:
        raise RequestError(f"in training, {error}") from error
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        message = f"the network does not run in training ({text}): only its evaluation is converted"
        warnings.warn(message, stacklevel=4)
        return None


def _same_readings(traced: Traced, training: Traced) -> None:
    """Refuse code that decides in training by what it draws or by a tensor's value: one run does not show it."""
    if traced.readings == training.readings:
        return
    new = [reading for reading in training.readings if reading not in traced.readings]
    name, how = (new or [*training.readings, *traced.readings])[0]
    what = "draws random numbers outside torch" if how == "random" else f"reads a tensor's value by {how}()"
    raise _refused(training, name, f"it {what} and may decide by it")


def _refused(traced: Traced, name: str, what: str) -> RequestError:
    kind = type(traced.root.get_submodule(name)).__name__
    place = f"{kind} at {name}" if name else f"the network {kind}"
    return RequestError(f"cannot convert {place}: in training {what}; {WAY_OUT}")


@dataclass
class _Comparison:
    """Two recordings of one network, walked in step.

    Attributes:
        traced: the evaluation.
        training: the training.
        seed: of the draws.
        stands: what the nodes of the training are in the evaluation; None for those that are nothing there.
        extra: the nodes that training alone has, in order.
        kept: those of them that a module stands for.
        changes: call of the evaluation, place among its arguments, and what the argument becomes.
    """

    traced: Traced
    training: Traced
    seed: int
    stands: dict[fx.Node, Stands | None] = field(default_factory=dict)
    extra: list[fx.Node] = field(default_factory=list)
    kept: set[fx.Node] = field(default_factory=set)
    changes: list[tuple[fx.Node, int, Stands]] = field(default_factory=list)

    def run(self) -> None:
        """Find the twin of every node of the evaluation, in order."""
        waiting = [node for node in self.traced.graph.nodes if node.op != "get_attr"][::-1]
        for node in self.training.graph.nodes:
            if node.op == "get_attr":
                continue
            changes = self._changes(waiting[-1], node) if waiting else None
            if changes is None:
                self.extra.append(node)
                dropout = self._dropout(node)
                if dropout is not None:
                    self.stands[node] = dropout
                continue
            self.stands[node] = (waiting.pop(), ())
            self.changes += changes
        if waiting:
            raise self._difference(waiting)

    def _changes(self, node: fx.Node, other: fx.Node) -> list[tuple[fx.Node, int, Stands]] | None:
        """Return what arguments become if two calls are the same but for modules in between, else None."""
        if _key(node) != _key(other):
            return None
        leaves, others = _leaves(node), _leaves(other)
        if len(leaves) != len(others):
            return None
        changes = []
        for place, (a, b) in enumerate(zip(leaves, others, strict=True)):
            if not isinstance(a, fx.Node) or not isinstance(b, fx.Node):
                if a != b and not (isinstance(a, bool) and _name(node) in DROPOUTS):
                    return None
            elif a.op == "get_attr" or b.op == "get_attr":
                if not self._same_constant(a, b):
                    return None
            else:
                found = self._standing(b)
                if found is None or found[0] is not a:
                    return None
                changes += [(node, place, found)] if found[1] else []
        return changes

    def _same_constant(self, a: fx.Node, b: fx.Node) -> bool:
        tensor, other = self.traced.constant(a), self.training.constant(b)
        if tensor is None or other is None:
            return False
        learned = a.target == b.target and not str(a.target).startswith("_constant_")
        return learned or (tensor.shape == other.shape and torch.equal(tensor, other))

    def _standing(self, node: fx.Node) -> Stands | None:
        """Return what a node of the training is in the evaluation."""
        if node not in self.stands:
            self.stands[node] = self._depth(node)
        return self.stands[node]

    def _dropout(self, node: fx.Node) -> Stands | None:
        """Return what a call of dropout that training alone has stands for."""
        module = self.training.module(node) if node.op == "call_module" else None
        kinds = (nn.Dropout, nn.Dropout2d, nn.Dropout3d)
        made: nn.Module | None = deepcopy(module) if isinstance(module, kinds) else None
        if made is None and _name(node) in DROPOUTS:
            given = arguments(node, "input", "p", "training", "inplace", p=0.5, training=True)
            made = DROPOUTS[_name(node)](given["p"] if given["training"] else 0.0)
        before = self._standing(node.args[0]) if made is not None and isinstance(node.args[0], fx.Node) else None
        if made is None or before is None:
            return None
        self.kept.add(node)
        return before[0], (*before[1], made)

    def _depth(self, node: fx.Node) -> Stands | None:
        """Return what the end of a drop of whole samples stands for."""
        region, sources = self._region(node)
        if len(sources) != 1 or any(step.op == "call_module" for step in region):
            return None
        source = sources.pop()
        made = recognised(self.training, source, region, self.seed)
        before = self.stands[source]
        if made is None or before is None:
            return None
        self.kept.update(region)
        return before[0], (*before[1], made)

    def _region(self, end: fx.Node) -> tuple[list[fx.Node], set[fx.Node]]:
        """Return the steps that lead to a node in training alone, in order, and what they start from."""
        region, sources, waiting = set(), set(), [end]
        while waiting:
            node = waiting.pop()
            if self.stands.get(node) is not None:
                sources.add(node)
            elif node.op != "get_attr" and node not in region:
                region.add(node)
                waiting += node.all_input_nodes
        return [node for node in self.training.graph.nodes if node in region], sources

    def _difference(self, waiting: list[fx.Node]) -> RequestError:
        """Return the error for what has no twin."""
        keys = {_key(node) for node in waiting}
        strange = [node for node in self.extra if node not in self.kept and _key(node) not in keys]
        if not strange:
            node = waiting[-1]
            what = "its output differs" if node.op == "output" else f"it leaves out {_name(node)}, or does it otherwise"
            return _refused(self.traced, node.meta.get("module", ""), what)
        place = strange[0].meta.get("module", "")
        names = dict.fromkeys(_name(node) for node in strange if node.meta.get("module", "") == place)
        what = f"it does {', '.join(names)} as well, which is neither dropout nor stochastic depth"
        return _refused(self.training, place, what)


def _insert(traced: Traced, changes: list[tuple[fx.Node, int, Stands]]) -> None:
    """Write the modules into the graph, one call for each module, and change the arguments."""
    modules = nn.ModuleList()
    made: dict[tuple[fx.Node, nn.Module], fx.Node] = {}
    for node, place, (source, chain) in changes:
        end = source
        for module in chain:
            if (end, module) not in made:
                modules.append(module)
                with traced.graph.inserting_after(end):
                    made[end, module] = traced.graph.call_module(f"in_training.{len(modules) - 1}", (end,))
                made[end, module].meta.update(end.meta)
            end = made[end, module]
        _replace(node, place, end)
    if len(modules):
        traced.root.in_training = modules


def _replace(node: fx.Node, place: int, by: fx.Node) -> None:
    """Change one of the leaves of a call's arguments."""
    counted = iter(range(len(_leaves(node))))
    args, kwargs = fx.node.map_aggregate(
        (node.args, dict(node.kwargs)), lambda leaf: by if next(counted) == place else leaf
    )
    node.args, node.kwargs = args, kwargs


def _leaves(node: fx.Node) -> list[Any]:
    found: list[Any] = []
    fx.node.map_aggregate((node.args, dict(node.kwargs)), found.append)
    return found


def _key(node: fx.Node) -> tuple[Any, ...]:
    return node.op, node.target, node.meta.get("module"), node.meta.get("shape")


def _name(node: fx.Node) -> str:
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    return name if node.op == "call_module" else name.strip("_")
