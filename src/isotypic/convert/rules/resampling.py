"""Pools, adaptive pools, upsampling and padding."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

from torch import fx, nn
from torch.nn import functional

from isotypic.convert.conversion import Conversion
from isotypic.convert.rules.arguments import arguments, input_shape, tuple_of
from isotypic.convert.signals import Converted
from isotypic.convert.tracing import shape
from isotypic.errors import RequestError
from isotypic.nn.pooling import ParityAvgPool, ParityMaxPool, ParityUpsample
from isotypic.nn.window import spread

JOINS = ("cat", "concat", "concatenate", "add", "add_", "__add__", "__radd__", "__iadd__", "sub")


def pool_module(conversion: Conversion, node: fx.Node, module: Any) -> Converted:
    """Convert ``nn.MaxPool2d``, ``nn.AvgPool3d`` and their kin."""
    return _pool(conversion, node, isinstance(module, (nn.MaxPool2d, nn.MaxPool3d)), vars(module))


def pool_call(conversion: Conversion, node: fx.Node, name: str) -> Converted:
    """Convert ``F.max_pool2d``, ``F.avg_pool3d`` and their kin."""
    if "max" in name:
        order = ("dilation", "ceil_mode", "return_indices")
    else:
        order = ("ceil_mode", "count_include_pad", "divisor_override")
    return _pool(conversion, node, "max" in name, arguments(node, "input", "kernel_size", "stride", "padding", *order))


def _pool(conversion: Conversion, node: fx.Node, largest: bool, given: dict[str, Any]) -> Converted:
    before, axes = conversion.of(node.args[0]), conversion.group.dim
    if given.get("return_indices"):
        raise RequestError("a max pool that returns indices: unpooling by index has no equivariant form here")
    if given.get("divisor_override"):
        raise RequestError("an average pool with divisor_override")
    if set(tuple_of(given.get("dilation", 1), axes)) != {1}:
        raise RequestError("a dilated max pool")
    kernel = tuple_of(given["kernel_size"], axes)
    sizes = (kernel, tuple_of(given.get("stride") or kernel, axes), tuple_of(given.get("padding", 0), axes))
    for name, size in zip(("kernel_size", "stride", "padding"), sizes, strict=True):
        spread(size, conversion.group, name, 0)
    up = bool(given.get("ceil_mode", False))
    if largest:
        made: nn.Module = ParityMaxPool(*sizes, round_up=up)
    else:
        made = ParityAvgPool(*sizes, round_up=up, count_include_pad=given.get("count_include_pad", True))
    return Converted(conversion.module(node, made, before.node), before.signal)


def adaptive_module(conversion: Conversion, node: fx.Node, module: Any) -> Converted:
    """Keep an adaptive pool: its windows are symmetric on every size."""
    before = conversion.of(node.args[0])
    _adaptive_size(conversion, module.output_size)
    return Converted(conversion.module(node, deepcopy(module), before.node), before.signal)


def adaptive_call(conversion: Conversion, node: fx.Node, name: str) -> Converted:
    """Keep ``F.adaptive_avg_pool2d`` and its kin."""
    given = arguments(node, "input", "output_size")
    before = conversion.of(given["input"])
    _adaptive_size(conversion, given["output_size"])
    call = conversion.function(getattr(functional, name), before.node, given["output_size"])
    return Converted(call, before.signal)


def _adaptive_size(conversion: Conversion, size: Any) -> None:
    axes = conversion.group.dim
    wanted = (size,) * axes if isinstance(size, int) or size is None else tuple(size)
    spread(tuple(0 if n is None else n for n in wanted), conversion.group, "output_size", 0)


def upsample_module(conversion: Conversion, node: fx.Node, module: nn.Upsample) -> Converted:
    """Convert ``nn.Upsample``."""
    return _upsample(conversion, node, module.scale_factor, module.mode)


def upsample_call(conversion: Conversion, node: fx.Node, name: str) -> Converted:
    """Convert ``F.interpolate``."""
    given = arguments(node, "input", "size", "scale_factor", "mode", size=None, scale_factor=None, mode="nearest")
    return _upsample(conversion, node, given["scale_factor"], given["mode"])


def _upsample(conversion: Conversion, node: fx.Node, factor: Any, mode: str) -> Converted:
    before = conversion.of(node.args[0])
    modes = {"nearest": "nearest", "nearest-exact": "nearest", "bilinear": "linear", "trilinear": "linear"}
    if mode not in modes:
        raise RequestError(f"interpolation {mode!r}; expected nearest, bilinear or trilinear")
    source, target = input_shape(node)[2:], shape(node)[2:]
    made = ParityUpsample(factor if factor is not None else 2, modes[mode])
    reference = conversion.plan.reach.get(node)
    if reference is None and factor is None:
        reference = _of_size(conversion, node, target)
    if reference is None:
        return Converted(conversion.module(node, made, before.node), before.signal)
    if any(n > t for n, t in zip(source, target, strict=True)):
        raise RequestError("it interpolates to a smaller size; use a pool")
    size = conversion.spatial_size(conversion.done[reference].node)
    return Converted(conversion.module(node, made, before.node, size), before.signal)


def _of_size(conversion: Conversion, node: fx.Node, size: tuple[int, ...]) -> fx.Node:
    """Return a signal of the network that has a size: its input where that does, else the nearest one before."""
    candidates = [n for n, made in conversion.done.items() if made.signal.space and shape(n)[2:] == size]
    if not candidates:
        raise RequestError(f"it interpolates to {list(size)}, a size that no signal before it has")
    inputs = [n for n in candidates if n.op == "placeholder"]
    return (inputs or candidates[::-1])[0]


def pad_module(conversion: Conversion, node: fx.Node, module: Any) -> Converted:
    """Convert ``nn.ConstantPad2d``, ``nn.ReflectionPad2d`` and their kin."""
    kinds = {"Constant": "constant", "Zero": "constant", "Reflection": "reflect", "Replication": "replicate"}
    kind = next((mode for name, mode in kinds.items() if type(module).__name__.startswith(name)), "circular")
    return _pad(conversion, node, tuple(module.padding), kind, getattr(module, "value", 0.0))


def pad_call(conversion: Conversion, node: fx.Node, name: str) -> Converted:
    """Convert ``F.pad``."""
    given = arguments(node, "input", "pad", "mode", "value", mode="constant", value=None)
    return _pad(conversion, node, tuple(given["pad"]), given["mode"], given["value"] or 0.0)


def _pad(conversion: Conversion, node: fx.Node, pads: tuple[int, ...], mode: str, value: float) -> Converted:
    before, axes = conversion.of(node.args[0]), conversion.group.dim
    pads = pads + (0,) * (2 * axes - len(pads))
    if len(pads) > 2 * axes:
        raise RequestError("it pads the channels")
    near, far = pads[0::2][::-1], pads[1::2][::-1]
    if all(getattr(user.target, "__name__", user.target) in JOINS for user in node.users):
        return Converted(before.node, replace(before.signal, resize=True))
    if near == far:
        spread(near, conversion.group, "padding", 0)
        return Converted(conversion.function(functional.pad, before.node, pads, mode, value), before.signal)
    if mode != "constant" or value or any(f < n for n, f in zip(near, far, strict=True)):
        raise RequestError(f"it pads one side more than the other, {list(pads)}, with {mode}: not symmetric")
    extra = tuple(f - n for n, f in zip(near, far, strict=True))
    return Converted(before.node, replace(before.signal, padding=near, one_sided=extra))
