"""An equivariant network as one of ordinary torch layers, for one parity of every axis.

The network is recorded with the layers of this library opened up, so every filter is expanded once and for all, what
the channels of a field share is repeated, and parity-adaptive windows are the fixed ones that the given size asks for.
What is left is a graph of torch modules and functions that needs nothing of this library.

It serves the sizes at which every stride meets the same remainder: those that differ from the given one by a multiple
of the distance between samples at the coarsest step. Where the network interpolates to a size of its own, only the
given size is served. Others are refused at the call.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from copy import deepcopy
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, fx, nn

from isotypic.convert.tracing import Traced, is_torch_layer, trace
from isotypic.errors import RequestError
from isotypic.nn.compute import dense

_LAYERS: dict[str, type[nn.Module]] = {
    "conv2d": nn.Conv2d,
    "conv3d": nn.Conv3d,
    "conv_transpose2d": nn.ConvTranspose2d,
    "conv_transpose3d": nn.ConvTranspose3d,
}
_POOLS = ("max_pool2d", "max_pool3d", "avg_pool2d", "avg_pool3d")


def fold(model: nn.Module, input_shape: Sequence[int]) -> fx.GraphModule:
    """Return a network of ordinary torch layers that computes the same, in evaluation mode.

    Args:
        model: an equivariant network, converted or made of this library's layers; it stays as it is.
        input_shape: ``[batch, channels, *space]`` of an input; the batch may change later.

    Returns:
        A graph module of torch alone; ``served`` holds the size it was folded for and the step between served sizes.

    Raises:
        RequestError: the network does not take such an input, or fixes its batch size.
    """
    size = tuple(input_shape)
    copy = deepcopy(model).cpu().eval()
    dense(copy)
    dtype = next(copy.parameters()).dtype
    traced = _traced(copy, size, dtype)
    step = _step(traced, len(size) - 2)
    _as_layers(traced)
    _guard(traced.graph, size[2:], step)
    folded = fx.GraphModule(copy, traced.graph).eval()
    for constant in folded.buffers():  # one that is repeated by stride 0 could not be saved as it is
        constant.data = constant.detach().clone(memory_format=torch.contiguous_format)
    folded.served = {"size": size[2:], "step": step}  # type: ignore[assignment]
    _refuse_fixed_batch(folded, size, dtype)
    return folded


def _traced(model: nn.Module, size: tuple[int, ...], dtype: torch.dtype) -> Traced:
    try:
        return trace(model, torch.randn(max(2, size[0]), *size[1:], dtype=dtype), leaf=is_torch_layer)
    except RequestError:
        raise
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise RequestError(f"the network does not take an input of shape {list(size)}: {reason}") from error


def _as_layers(traced: Traced) -> None:
    """Replace calls of convolutions with constant filters by torch's layers."""
    folded = nn.ModuleList()
    traced.root.folded = folded
    for node in list(traced.graph.nodes):
        name = getattr(node.target, "__name__", "")
        given = _given(name, node) if name in _LAYERS else {}
        weight = traced.constant(given.get("weight"))
        if weight is None:
            continue
        folded.append(_layer(traced, name, given, weight))
        with traced.graph.inserting_before(node):
            call = traced.graph.call_module(f"folded.{len(folded) - 1}", (given["input"],))
        call.meta.update(node.meta)
        node.replace_all_uses_with(call)
        traced.graph.erase_node(node)
    for node in traced.graph.find_nodes(op="get_attr"):
        if not node.users:
            traced.graph.erase_node(node)


def _given(name: str, node: fx.Node) -> dict[str, Any]:
    """Return the arguments of a call of a convolution by their names in torch, those left out with their defaults."""
    transposed = {"output_padding": 0} if "transpose" in name else {}
    behind = ("groups", "dilation") if transposed else ("dilation", "groups")
    defaults = {"input": None, "weight": None, "bias": None, "stride": 1, "padding": 0}
    names = {**defaults, **transposed, **dict.fromkeys(behind, 1)}
    return {**names, **dict(zip(names, node.args, strict=False)), **node.kwargs}


def _layer(traced: Traced, name: str, given: dict[str, Any], weight: Tensor) -> nn.Module:
    """Return the torch layer that a call of a convolution computes."""
    settings = {key: given[key] for key in given if key not in ("input", "weight", "bias")}
    outer, inner = weight.shape[0], weight.shape[1] * given["groups"]
    channels = (outer, inner) if "transpose" in name else (inner, outer)
    bias = traced.constant(given["bias"])
    layer = _LAYERS[name](
        *channels,
        kernel_size=tuple(weight.shape[2:]),
        bias=bias is not None,
        dtype=weight.dtype,
        **settings,
    )
    with torch.no_grad():
        for place, tensor in (("weight", weight), ("bias", bias)):
            if tensor is not None:
                layer.get_parameter(place).copy_(tensor)
    return layer


def _step(traced: Traced, axes: int) -> tuple[int, ...]:
    """Return the step between served sizes, 0 where a size is written into the graph.

    Sizes that differ by it meet the same remainder at every stride: it is a multiple of the distance between samples,
    in pixels of the image, behind every step of the network.
    """
    apart: dict[fx.Node, tuple[Fraction, ...]] = {}
    for node in traced.graph.nodes:
        if getattr(node.target, "__name__", "") == "interpolate":
            return (0,) * axes
        before = [apart[n] for n in node.all_input_nodes] or [(Fraction(1),) * axes]
        coarsest = tuple(map(max, zip(*before, strict=True)))
        apart[node] = tuple(n * s for n, s in zip(coarsest, _strides(traced, node, axes), strict=True))
    return tuple(math.lcm(*(n.numerator for n in along)) for along in zip(*apart.values(), strict=True))


def _strides(traced: Traced, node: fx.Node, axes: int) -> tuple[Fraction, ...]:
    """Return by how much the outputs of a step lie farther apart than its inputs; below one where it is transposed."""
    stride, transposed = _stride(traced, node)
    steps = (stride,) * axes if isinstance(stride, int) else tuple(stride)
    spread = steps * axes if len(steps) == 1 else steps
    return tuple(Fraction(1, s) if transposed else Fraction(s) for s in spread)


def _stride(traced: Traced, node: fx.Node) -> tuple[int | Sequence[int], bool]:
    """Return the stride of a step, 1 for one without, and whether it is transposed."""
    name = getattr(node.target, "__name__", "")
    if node.op == "call_module":
        module: Any = traced.module(node)
        transposed = isinstance(module, (nn.ConvTranspose2d, nn.ConvTranspose3d))
        return getattr(module, "stride", 1) or module.kernel_size, transposed
    if name in _LAYERS:
        return _given(name, node)["stride"], "transpose" in name
    if name in _POOLS:
        given: dict[str, Any] = {
            **dict(zip(("input", "kernel_size", "stride"), node.args, strict=False)),
            **node.kwargs,
        }
        return given.get("stride") or given["kernel_size"], False
    return 1, False


def _guard(graph: fx.Graph, size: tuple[int, ...], step: tuple[int, ...]) -> None:
    """Write a check of the input's size at the head of the graph."""
    image = next(node for node in graph.nodes if node.op == "placeholder")
    message = f"this network was folded for images of {in_words(size, step)}: fold it again for another size"
    with graph.inserting_before(image.next):
        whole = graph.call_function(getattr, (image, "shape"))
        for axis, (n, s) in enumerate(zip(size, step, strict=True), start=2):
            if s == 1:
                continue
            found = graph.call_function(operator.getitem, (whole, axis))
            rest = graph.call_function(operator.mod, (found, s)) if s else found
            fits = graph.call_function(operator.eq, (rest, n % s if s else n))
            graph.call_function(torch._assert, (fits, message))


def in_words(size: Sequence[int], step: Sequence[int]) -> str:
    """Say which sizes are served, such as ``"33 + 4 k x 41 + 4 k"``."""
    return " x ".join(f"{n} + {s} k" if s else str(n) for n, s in zip(size, step, strict=True))


def _refuse_fixed_batch(folded: fx.GraphModule, size: tuple[int, ...], dtype: torch.dtype) -> None:
    batch = max(2, size[0]) + 1
    try:
        with torch.no_grad():
            folded(torch.randn(batch, *size[1:], dtype=dtype))
    except RuntimeError as error:
        raise RequestError(f"the network fixes its batch size: {str(error).splitlines()[0]}") from error
