"""Convolutions, transposed convolutions and linear layers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from isotypic.convert.conversion import Conversion
from isotypic.convert.rules.arguments import arguments, tuple_of
from isotypic.convert.signals import Converted, Signal
from isotypic.convert.tracing import shape
from isotypic.errors import RequestError
from isotypic.nn.by_axes import DIRECT, TRANSPOSED
from isotypic.nn.convolution import GroupConvolution
from isotypic.nn.linear import GroupLinear


@dataclass(frozen=True)
class Kernel:
    """An ordinary convolution, whether it came as a module or as a call.

    Attributes:
        weight: ``[out, in / groups, *kernel]``; transposed ``[in, out / groups, *kernel]``.
        bias: ``[out]`` or None.
        stride: one number or one an axis, as the others.
        padding: also ``"same"`` or ``"valid"``.
        dilation: samples between taps.
        groups: blocks of channels.
        output_padding: of a transposed convolution.
        padding_mode: what the added samples hold.
        transposed: whether it is a transposed one.
    """

    weight: Tensor
    bias: Tensor | None
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1
    output_padding: Any = 0
    padding_mode: str = "zeros"
    transposed: bool = False

    @property
    def size(self) -> tuple[int, ...]:
        """Taps along each axis."""
        return tuple(self.weight.shape[2:])

    @property
    def channels(self) -> tuple[int, int]:
        """Channels in and out."""
        first, second = self.weight.shape[0], self.weight.shape[1] * self.groups
        return (first, second) if self.transposed else (second, first)

    @property
    def is_pointwise(self) -> bool:
        """Whether it maps every sample alone."""
        return math.prod(self.size) == 1 and set(tuple_of(self.stride, len(self.size))) == {1} and self.groups == 1


def kernel_of_module(module: Any) -> Kernel:
    """Return the convolution that a torch module computes."""
    transposed = module.transposed
    return Kernel(
        module.weight,
        module.bias,
        module.stride,
        module.padding,
        module.dilation,
        module.groups,
        module.output_padding if transposed else 0,
        module.padding_mode,
        transposed,
    )


def convolution_module(conversion: Conversion, node: fx.Node, module: Any) -> Converted:
    """Convert ``nn.Conv2d``, ``nn.ConvTranspose3d`` and their like."""
    return _convolution(conversion, node, node.args[0], kernel_of_module(module))


def convolution_call(conversion: Conversion, node: fx.Node, name: str) -> Converted:
    """Convert ``F.conv2d(x, weight, ...)`` and its like, where the weight is a parameter of the network."""
    transposed = "transpose" in name
    order = ("output_padding", "groups", "dilation") if transposed else ("dilation", "groups")
    given = arguments(node, "input", "weight", "bias", "stride", "padding", *order, bias=None)
    weight = conversion.stored(given["weight"])
    if weight is None:
        raise RequestError("its weight is computed, not a parameter of the network")
    options = {key: given[key] for key in ("stride", "padding", "dilation", "groups", "output_padding") if key in given}
    kernel = Kernel(weight, conversion.stored(given["bias"]), transposed=transposed, **options)
    return _convolution(conversion, node, given["input"], kernel)


def linear_module(conversion: Conversion, node: fx.Node, module: nn.Linear) -> Converted:
    """Convert ``nn.Linear``."""
    return _linear(conversion, node, node.args[0], module.weight, module.bias)


def linear_call(conversion: Conversion, node: fx.Node, name: str) -> Converted:
    """Convert ``F.linear(x, weight, bias)``."""
    given = arguments(node, "input", "weight", "bias", bias=None)
    weight = conversion.stored(given["weight"])
    if weight is None:
        raise RequestError("its weight is computed, not a parameter of the network")
    return _linear(conversion, node, given["input"], weight, conversion.stored(given["bias"]))


def _convolution(conversion: Conversion, node: fx.Node, source: Any, kernel: Kernel) -> Converted:
    axes = conversion.group.dim
    if len(kernel.size) != axes:
        raise RequestError(f"it works on {len(kernel.size)} axes, the group {conversion.group.name} on {axes}")
    before = conversion.of(source, allow="was padded on one side")
    if node in conversion.plan.tails and kernel.is_pointwise and not before.signal.one_sided:
        return _after_the_mean(conversion, node, conversion.pooled(before), kernel)
    signal = before.signal
    if kernel.transposed:
        before = conversion.lifted(before)
    made = _made(conversion, node, before.signal, kernel)
    if conversion.plan.symmetrise:
        fill(made, kernel.weight, kernel.bias)
    arguments_ = [before.node]
    if kernel.transposed and node in conversion.plan.reach:
        partner = conversion.done[conversion.plan.reach[node]]
        arguments_.append(conversion.spatial_size(partner.node))
    new = conversion.module(node, made, *arguments_)
    return Converted(new, Signal(made.out_type.fields, True, axes, signal.axis))


def _made(conversion: Conversion, node: fx.Node, signal: Signal, kernel: Kernel) -> GroupConvolution:
    axes, channels = conversion.group.dim, kernel.channels
    fields = conversion.plan.fields(node, channels[1])
    groups = _groups(kernel, signal.fields, fields)
    if kernel.groups == channels[0] and kernel.groups > 1:
        fields, groups = signal.fields * (channels[1] // channels[0]), signal.fields
    options: dict[str, Any] = {
        "stride": tuple_of(kernel.stride, axes),
        "dilation": tuple_of(kernel.dilation, axes),
        "groups": groups,
        "bias": kernel.bias is not None,
    }
    if kernel.transposed:
        options["output_padding"] = tuple_of(kernel.output_padding, axes)
        options["padding"] = tuple_of(kernel.padding, axes)
        return TRANSPOSED[axes](signal.fields, fields, kernel.size, conversion.group, **options)
    padding, one_sided = _padding(kernel, signal, axes)
    made = DIRECT[axes](
        signal.fields,
        fields,
        kernel.size,
        conversion.group,
        lift=not signal.regular,
        padding=padding,
        padding_mode=kernel.padding_mode,
        **options,
    )
    if any(one_sided):
        made.window = replace(made.window, one_sided=one_sided)
    return made


def _padding(kernel: Kernel, signal: Signal, axes: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return padding on both sides and what is left for one side."""
    own, one_sided = (0,) * axes, (0,) * axes
    if kernel.padding == "same":
        reach = [d * (k - 1) for k, d in zip(kernel.size, tuple_of(kernel.dilation, axes), strict=True)]
        own, one_sided = tuple(r // 2 for r in reach), tuple(r % 2 for r in reach)
    elif kernel.padding != "valid":
        own = tuple_of(kernel.padding, axes)
    if signal.one_sided:
        own = tuple(a + b for a, b in zip(own, signal.padding, strict=True))
        one_sided = tuple(a + b for a, b in zip(one_sided, signal.one_sided, strict=True))
    if len(set(one_sided)) > 1:
        raise RequestError(f"its input is padded on one side by {one_sided} samples, not alike on the axes")
    return own, one_sided


def _groups(kernel: Kernel, in_fields: int, out_fields: int) -> int:
    """Return the largest number of blocks, at most the network's, that divides the fields."""
    return next(g for g in range(kernel.groups, 0, -1) if in_fields % g == 0 and out_fields % g == 0)


def _after_the_mean(conversion: Conversion, node: fx.Node, before: Converted, kernel: Kernel) -> Converted:
    """Convert a pointwise map of the output to an ordinary one on the mean over the group."""
    axes, out = conversion.group.dim, kernel.channels[1]
    kind: type[nn.Conv2d] | type[nn.Conv3d] = nn.Conv2d if axes == 2 else nn.Conv3d
    plain = kind(before.signal.fields, out, 1, bias=kernel.bias is not None)
    _fill_plain(conversion, plain, kernel.weight, kernel.bias)
    return Converted(conversion.module(node, plain, before.node), Signal(out, False, axes))


def _linear(conversion: Conversion, node: fx.Node, source: Any, weight: Tensor, bias: Tensor | None) -> Converted:
    before = conversion.of(source, allow="was flattened with its space")
    if before.signal.window:
        return _whole_window(conversion, node, before, weight, bias)
    signal = before.signal
    if signal.space and signal.axis == 1:
        raise RequestError("it acts on an axis of space, so the network depends on the image size there")
    if node in conversion.plan.tails:
        before = conversion.pooled(before)
        signal = before.signal
    if not signal.regular:
        plain = nn.Linear(signal.fields, weight.shape[0], bias=bias is not None)
        _fill_plain(conversion, plain, weight, bias)
        return Converted(conversion.module(node, plain, before.node), replace(signal, fields=weight.shape[0]))
    fields = conversion.plan.fields(node, weight.shape[0])
    made = GroupLinear(signal.fields, fields, conversion.group, bias=bias is not None)
    if conversion.plan.symmetrise:
        fill(made, weight, bias)
    return Converted(conversion.module(node, made, before.node), signal.with_fields(fields))


def _whole_window(
    conversion: Conversion, node: fx.Node, before: Converted, weight: Tensor, bias: Tensor | None
) -> Converted:
    """Convert a linear layer on a flattened image: a convolution whose kernel is the whole window."""
    signal = before.signal
    channels = weight.shape[1] // math.prod(signal.window)
    kernel = Kernel(weight.view(weight.shape[0], channels, *signal.window), bias)
    made = _made(conversion, node, replace(signal, window=()), kernel)
    if conversion.plan.symmetrise:
        fill(made, kernel.weight, bias)
    flat = conversion.method("flatten", conversion.module(node, made, before.node), 1)
    return Converted(flat, Signal(made.out_type.fields, True, 0))


def fill(made: GroupConvolution | GroupLinear, weight: Tensor, bias: Tensor | None) -> None:
    """Give a group layer the weights of an ordinary one: a field's channel g then holds its answer to ``g^-1 x``.

    The weight sits at the identity component, ``W[m, n, h, x] = w[m, n, x]`` for h = e and zero elsewhere.
    """
    components = made.bank.shape.components
    with torch.no_grad():
        made.weight.zero_()
        made.weight[:, ::components].copy_(weight)
        if bias is not None and made.bias is not None:
            made.bias.copy_(bias)


def _fill_plain(
    conversion: Conversion, plain: nn.Linear | nn.Conv2d | nn.Conv3d, weight: Tensor, bias: Tensor | None
) -> None:
    if conversion.plan.symmetrise:
        with torch.no_grad():
            plain.weight.copy_(weight.view_as(plain.weight))
            if bias is not None and plain.bias is not None:
                plain.bias.copy_(bias)


def is_affine_tail(kind: Any, node: fx.Node) -> bool:
    """Whether a call is a pointwise linear map, which commutes with the mean over the group."""
    if isinstance(kind, nn.Linear):
        return True
    if isinstance(kind, (nn.Conv2d, nn.Conv3d)):
        return kernel_of_module(kind).is_pointwise and shape(node)[2:] == shape(node.args[0])[2:]  # type: ignore[arg-type]
    return False
