"""An equivariant network as one of ordinary torch layers, for one parity of every axis.

The network is recorded with the layers of this library opened up, so every filter is expanded once and for all, what
the channels of a field share is repeated, and parity-adaptive windows are the fixed ones that the given size asks for.
What is left is a graph of torch modules and functions that needs nothing of this library.

It serves the sizes at which every stride meets the same remainder: those that differ from the given one by a multiple
of the product of the strides. Where the network interpolates to a size of its own, only the given size is served.
Others are refused at the call.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, fx, nn

from isotypic.convert.tracing import Traced, is_torch_layer, shape, trace
from isotypic.errors import RequestError

_LAYERS: dict[str, type[nn.Module]] = {
    "conv2d": nn.Conv2d,
    "conv3d": nn.Conv3d,
    "conv_transpose2d": nn.ConvTranspose2d,
    "conv_transpose3d": nn.ConvTranspose3d,
}
_STRIDED = ("conv2d", "conv3d", "max_pool2d", "max_pool3d", "avg_pool2d", "avg_pool3d")


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
    dtype = next(copy.parameters()).dtype
    traced = trace(copy, torch.randn(max(2, size[0]), *size[1:], dtype=dtype), leaf=is_torch_layer)
    step = _step(traced, len(size) - 2)
    _as_layers(traced)
    _guard(traced.graph, size[2:], step)
    folded = fx.GraphModule(copy, traced.graph).eval()
    folded.served = {"size": size[2:], "step": step}  # type: ignore[assignment]
    _refuse_fixed_batch(folded, size, dtype)
    return folded


def _as_layers(traced: Traced) -> None:
    """Replace calls of convolutions with constant filters by torch's layers."""
    folded = nn.ModuleList()
    traced.root.folded = folded
    for node in list(traced.graph.nodes):
        name = getattr(node.target, "__name__", "")
        weight = traced.constant(node.args[1]) if name in _LAYERS and len(node.args) > 1 else None
        if weight is None:
            continue
        folded.append(_layer(traced, name, node, weight))
        with traced.graph.inserting_before(node):
            call = traced.graph.call_module(f"folded.{len(folded) - 1}", (node.args[0],))
        call.meta.update(node.meta)
        node.replace_all_uses_with(call)
        traced.graph.erase_node(node)


def _layer(traced: Traced, name: str, node: fx.Node, weight: Tensor) -> nn.Module:
    """Return the torch layer that a call of a convolution computes."""
    defaults: list[Any] = [None, None, None, 1, 0, 0, 1, 1] if "transpose" in name else [None, None, None, 1, 0, 1, 1]
    given = [*node.args, *defaults[len(node.args) :]]
    bias = traced.constant(given[2])
    if "transpose" in name:
        stride, padding, output_padding, groups, dilation = given[3:8]
        channels = (weight.shape[0], weight.shape[1] * groups)
        extra = {"output_padding": output_padding}
    else:
        stride, padding, dilation, groups = given[3:7]
        channels, extra = (weight.shape[1] * groups, weight.shape[0]), {}
    layer = _LAYERS[name](
        *channels,
        kernel_size=tuple(weight.shape[2:]),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=bias is not None,
        dtype=weight.dtype,
        **extra,
    )
    with torch.no_grad():
        for place, tensor in (("weight", weight), ("bias", bias)):
            if tensor is not None:
                layer.get_parameter(place).copy_(tensor)
    return layer


def _step(traced: Traced, axes: int) -> tuple[int, ...]:
    """Return the step between served sizes: the product of the strides, 0 where a size is written into the graph."""
    product = (1,) * axes
    for node in traced.graph.nodes:
        name = getattr(node.target, "__name__", "")
        if name == "interpolate":
            return (0,) * axes
        if name in _STRIDED or (node.op == "call_module" and hasattr(traced.module(node), "stride")):
            before, after = shape(node.args[0])[2:], shape(node)[2:]
            ratios = (max(1, round(n / m)) for n, m in zip(before, after, strict=True))
            product = tuple(p * r for p, r in zip(product, ratios, strict=True))
    return product


def _guard(graph: fx.Graph, size: tuple[int, ...], step: tuple[int, ...]) -> None:
    """Write a check of the input's size at the head of the graph."""
    image = next(node for node in graph.nodes if node.op == "placeholder")
    message = f"this network was folded for images of {_words(size, step)}: fold it again for another size"
    with graph.inserting_before(image.next):
        whole = graph.call_function(getattr, (image, "shape"))
        for axis, (n, s) in enumerate(zip(size, step, strict=True), start=2):
            if s == 1:
                continue
            found = graph.call_function(operator.getitem, (whole, axis))
            rest = graph.call_function(operator.mod, (found, s)) if s else found
            fits = graph.call_function(operator.eq, (rest, n % s if s else n))
            graph.call_function(torch._assert, (fits, message))


def _words(size: tuple[int, ...], step: tuple[int, ...]) -> str:
    """Say which sizes are served, such as ``"33 + 4 k x 41 + 4 k"``."""
    return " x ".join(f"{n} + {s} k" if s else str(n) for n, s in zip(size, step, strict=True))


def _refuse_fixed_batch(folded: fx.GraphModule, size: tuple[int, ...], dtype: torch.dtype) -> None:
    batch = max(2, size[0]) + 1
    try:
        with torch.no_grad():
            folded(torch.randn(batch, *size[1:], dtype=dtype))
    except RuntimeError as error:
        raise RequestError(f"the network fixes its batch size: {str(error).splitlines()[0]}") from error
