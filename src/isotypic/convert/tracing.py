"""Recording a network as a graph of modules and functions, by running it.

The network runs on real tensors, so whatever its Python code does with shapes, types and options is simply done; what
is recorded is every torch module that it calls and every torch function that it applies to what those gave. Sizes that
the code computes (``x.view(x.size(0), -1)``) end up as numbers in the graph: the rules that read it go by the shapes
before and after instead.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from isotypic.errors import RequestError
from isotypic.nn.layer import EquivariantLayer
from isotypic.nn.pooling import InvariantHead, ParityPool, ParityUpsample

OWN_LAYERS = (EquivariantLayer, ParityPool, ParityUpsample, InvariantHead)
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
READINGS = ("__bool__", "__float__", "__int__", "__index__", "item", "tolist", "numpy")
"""Calls by which Python code learns a tensor's values, and may decide by them."""


@dataclass(frozen=True)
class Traced:
    """A network as a graph.

    Attributes:
        root: the network; its modules and parameters are what the graph names.
        graph: nodes of kind placeholder, get_attr, call_module, call_function, call_method and output. The metadata
            ``"shape"`` of a node is that of its tensor in the run, ``"module"`` the module whose code made it.
        readings: what that code learned in passing, outside the graph: the module, and how.
    """

    root: nn.Module
    graph: fx.Graph
    readings: tuple[tuple[str, str], ...] = ()

    def module(self, node: fx.Node) -> nn.Module:
        """Return the module that a call_module node calls."""
        return self.root.get_submodule(str(node.target))

    def tensor(self, node: fx.Node) -> Tensor:
        """Return the parameter or buffer that a get_attr node reads."""
        return operator.attrgetter(str(node.target))(self.root)

    def constant(self, value: Any) -> Tensor | None:
        """Return the stored tensor that an argument names, or None where it names none."""
        return self.tensor(value) if isinstance(value, fx.Node) and value.op == "get_attr" else None


def axes_of(model: nn.Module) -> set[int]:
    """Return over how many axes of space a network's layers work: {2}, {3}, both or none."""
    plain = {2: (nn.Conv2d, nn.ConvTranspose2d), 3: (nn.Conv3d, nn.ConvTranspose3d)}
    found = {axes for axes, kinds in plain.items() if any(isinstance(m, kinds) for m in model.modules())}
    return found | {m.in_type.group.dim for m in model.modules() if isinstance(m, EquivariantLayer)}


def is_torch_layer(module: nn.Module) -> bool:
    """Whether a module is one of torch's own that computes, not a container."""
    return type(module).__module__.startswith("torch.nn") and not isinstance(module, CONTAINERS)


def is_leaf(module: nn.Module) -> bool:
    """Whether a module is one of torch's own that computes, or a layer of this library."""
    return isinstance(module, OWN_LAYERS) or is_torch_layer(module)


def trace(model: nn.Module, *inputs: Tensor, leaf: Callable[[nn.Module], bool] = is_leaf, keep: bool = False) -> Traced:
    """Record what a network does with some inputs, without gradients.

    Args:
        model: the network, in the mode (training, evaluation) that is to be recorded; it is not changed, but its batch
            norms see the inputs if it is in training mode.
        inputs: example tensors.
        leaf: which modules are recorded as one node; the others are opened up.
        keep: whether to keep the tensors themselves, as metadata ``"value"``.

    Raises:
        RequestError: the network writes into a part of a tensor, or puts out something other than tensors.
    """
    recorder = _Recorder(model, inputs, leaf)
    recorder.keep = keep
    with torch.no_grad(), recorder.leaves(), recorder:
        output = model(*inputs)
    recorder.finish(output)
    return Traced(model, recorder.graph, tuple(recorder.readings))


def shape(node: fx.Node) -> tuple[int, ...]:
    """Return the shape that a node's tensor had in the run."""
    return node.meta["shape"]


class _Recorder(TorchFunctionMode):
    """Writes the graph while the network runs."""

    def __init__(self, model: nn.Module, inputs: Sequence[Tensor], leaf: Callable[[nn.Module], bool]) -> None:
        super().__init__()
        self.model, self.graph, self.leaf = model, fx.Graph(), leaf
        self.keep = self.inside = False
        self.path: list[str] = [""]
        self.readings: list[tuple[str, str]] = []
        self.names = {id(module): name for name, module in model.named_modules()}
        self.stored = {id(t): name for name, t in [*model.named_parameters(), *model.named_buffers()]}
        self.nodes: dict[int, fx.Node] = {}
        self.alive: list[Any] = []
        for i, tensor in enumerate(inputs):
            self._note(tensor, self.graph.placeholder(f"input_{i}" if i else "input"))

    @contextmanager
    def leaves(self) -> Iterator[None]:
        """Record calls of torch's own modules and of ours as one node each."""
        call, recorder = nn.Module.__call__, self

        def recording_call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if recorder.inside or id(module) not in recorder.names:
                return call(module, *args, **kwargs)
            if not recorder.leaf(module):
                with recorder._opened(recorder.names[id(module)]):
                    return call(module, *args, **kwargs)
            recorder.inside = True
            try:
                output = call(module, *args, **kwargs)
            finally:
                recorder.inside = False
            recorder._write("call_module", recorder.names[id(module)], args, kwargs, output)
            return output

        nn.Module.__call__ = recording_call  # type: ignore[method-assign]
        try:
            yield
        finally:
            nn.Module.__call__ = call  # type: ignore[method-assign]

    @contextmanager
    def _opened(self, name: str) -> Iterator[None]:
        """Note that what follows is the code of one module, and whether it draws numbers that torch does not see."""
        before, known = _draws(), len(self.readings)
        self.path.append(name)
        yield
        self.path.pop()
        if len(self.readings) == known and _draws() != before:
            self.readings.append((name, "random"))

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run a torch function and record it when it makes tensors of recorded ones."""
        output = func(*args, **(kwargs or {}))
        if self.inside:
            return output
        name = func.__name__
        if name in READINGS:
            self.readings.append((self.path[-1], name.strip("_")))
        if name == "__setitem__" and self._concerns((args, kwargs)):
            raise RequestError("the network writes into a part of a tensor (x[...] = y), which cannot be converted")
        if not self._concerns((args, kwargs)) or not _tensors(output) or name == "__get__":
            return output
        is_method = getattr(torch.Tensor, name, None) is func
        self._write("call_method" if is_method else "call_function", name if is_method else func, args, kwargs, output)
        return output

    def finish(self, output: Any) -> None:
        """Close the graph with what the network put out."""
        if not self._concerns(output):
            raise RequestError(f"expected a network that puts out tensors, received {type(output).__name__}")
        self.graph.output(self._mapped(output))

    def _concerns(self, values: Any) -> bool:
        return any(id(tensor) in self.nodes for tensor in _tensors(values))

    def _write(self, op: str, target: Any, args: Any, kwargs: Any, output: Any) -> None:
        node = self.graph.create_node(op, target, self._mapped(tuple(args)), self._mapped(dict(kwargs or {})))
        if isinstance(output, Tensor):
            self._note(output, node)
            return
        for i, part in enumerate(output):
            if isinstance(part, Tensor):
                self._note(part, self.graph.call_function(operator.getitem, (node, i)))

    def _note(self, tensor: Tensor, node: fx.Node) -> None:
        node.meta["shape"], node.meta["module"] = tuple(tensor.shape), self.path[-1]
        if self.keep:
            # A layer that works in place gives back a tensor that is known: the copy of it is no step of the network.
            inside, self.inside = self.inside, True
            node.meta["value"] = tensor.detach().clone()
            self.inside = inside
        self.nodes[id(tensor)] = node
        self.alive.append(tensor)

    def _mapped(self, values: Any) -> Any:
        return fx.node.map_aggregate(values, lambda v: self._node_of(v) if isinstance(v, Tensor) else v)

    def _node_of(self, tensor: Tensor) -> fx.Node:
        if id(tensor) not in self.nodes:
            self._note(tensor, self.graph.get_attr(self._name_of(tensor)))
        return self.nodes[id(tensor)]

    def _name_of(self, tensor: Tensor) -> str:
        if id(tensor) not in self.stored:
            name = f"_constant_{len(self.stored)}"
            self.model.register_buffer(name, tensor, persistent=False)
            self.stored[id(tensor)] = name
        return self.stored[id(tensor)]


def _draws() -> tuple[Any, ...]:
    """Return where the random numbers of Python and of NumPy stand."""
    legacy: Any = np.random.get_state()  # noqa: NPY002 - the state that a network's own code may move
    return random.getstate(), legacy[1].tobytes(), *legacy[2:]


def _tensors(values: Any) -> list[Tensor]:
    found: list[Tensor] = []

    def collect(value: Any) -> Any:
        if isinstance(value, Tensor):
            found.append(value)
        return value

    fx.node.map_aggregate(values if isinstance(values, (tuple, list, dict)) else (values,), collect)
    return found
