"""What shapes and types alone say about a step of a network: whether it is symmetric, why not, and the repair."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from torch import fx, nn

from isotypic.convert.tracing import OWN_LAYERS, Traced, shape
from isotypic.errors import RequestError
from isotypic.groups.axes import groups_for, unlike_axes
from isotypic.groups.circle import members
from isotypic.groups.finite import FiniteGroup
from isotypic.nn.layer import EquivariantLayer
from isotypic.nn.pooling import ParityPool, ParityUpsample
from isotypic.ops.resampling import remainders


class Verdict(str, Enum):
    """What is said of a step, or of a network."""

    EXACT = "exact"
    APPROXIMATE = "approximate"
    BROKEN = "broken"
    UNKNOWN = "depends on the weights"


@dataclass(frozen=True)
class Prediction:
    """What shapes and types say.

    Attributes:
        verdict: exact, broken, or that the weights decide.
        reason: the rule and the sizes, where it is broken.
        repair: what to do about it.
    """

    verdict: Verdict
    reason: str = ""
    repair: str = ""


EXACT = Prediction(Verdict.EXACT)
_WINDOWS = ("conv2d", "conv3d", "max_pool2d", "max_pool3d", "avg_pool2d", "avg_pool3d")
_WINDOW_MODULES = (nn.Conv2d, nn.Conv3d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool2d, nn.AvgPool3d)
_TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)
_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, *_TRANSPOSED)
_UNSHARED = (nn.BatchNorm2d, nn.BatchNorm3d)


def predict(traced: Traced, node: fx.Node, group: FiniteGroup) -> Prediction:
    """Say what the shapes of one step tell.

    Args:
        traced: the network.
        node: the step.
        group: the group that moves the input.
    """
    module = traced.module(node) if node.op == "call_module" else None
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    if group.order == 1:
        return EXACT
    if isinstance(module, OWN_LAYERS):
        return _own(module, group)
    if isinstance(module, _WINDOW_MODULES) or name in _WINDOWS:
        return _window(traced, node, group, module)
    if isinstance(module, _TRANSPOSED):
        return _transposed(module, group)
    if name == "pad":
        return _pad(node, group)
    return next((found for kinds, found in _BY_WEIGHTS.items() if isinstance(module, kinds)), EXACT)


_BY_WEIGHTS: dict[Any, Prediction] = {
    nn.Linear: Prediction(Verdict.UNKNOWN, "a linear map of what it is given", "pool over space and group before it"),
    _UNSHARED: Prediction(Verdict.UNKNOWN, "statistics of each channel by itself", "use GroupBatchNorm"),
}


def _own(module: nn.Module, group: FiniteGroup) -> Prediction:
    """Say whether a layer of this library is one for a group: its windows and its type."""
    if isinstance(module, ParityPool):
        return _uneven(group, window=module.kernel_size, stride=module.stride, padding=module.padding) or EXACT
    if isinstance(module, ParityUpsample):
        return _uneven(group, factor=module.factor) or EXACT
    made_for = module.in_type.group if isinstance(module, EquivariantLayer) else group
    if isinstance(made_for, FiniteGroup) and not _holds(made_for, group):
        reason = f"made for {made_for.name}, which does not hold {group.name}"
        return Prediction(Verdict.UNKNOWN, reason, f"build the network with {group.name}")
    return EXACT


def _holds(group: FiniteGroup, smaller: FiniteGroup) -> bool:
    try:
        members(group, smaller)
    except RequestError:
        return False
    return True


def _uneven(group: FiniteGroup, **settings: Any) -> Prediction | None:
    """Say which setting of a window differs on axes that a group swaps, or None."""
    for name, value in settings.items():
        sizes = _tuple(value, group.dim)
        if unlike_axes(group, sizes):
            given = "x".join(f"{n:g}" for n in sizes)
            reason = f"{name} {given} on axes that {group.name} swaps: behind it no network is exact under {group.name}"
            cube = "x".join([f"{max(sizes):g}"] * group.dim)
            others = ", ".join(groups_for(sizes))
            repair = f"use {name} {cube}, or a group that keeps these axes apart: {others}"
            return Prediction(Verdict.BROKEN, reason, repair)
    return None


def _transposed(module: Any, group: FiniteGroup) -> Prediction:
    if any(_tuple(module.output_padding, group.dim)):
        reason = f"output_padding {module.output_padding} adds samples on one side"
        return Prediction(Verdict.BROKEN, reason, "use a transposed GroupConv, or kernel 4, stride 2, padding 1")
    return Prediction(Verdict.UNKNOWN, "an ordinary transposed convolution", "convert it by isotypic.equivariant")


def _window(traced: Traced, node: fx.Node, group: FiniteGroup, module: Any) -> Prediction:
    settings = _settings(traced, node, module)
    if settings is None:
        return Prediction(Verdict.UNKNOWN, "a window whose settings are computed")
    kernel, stride, padding, dilation = (_tuple(value, group.dim) for value in settings)
    uneven = _uneven(group, window=kernel, stride=stride, padding=padding, dilation=dilation)
    if uneven:
        return uneven
    size = shape(node.args[0])[2:]  # type: ignore[arg-type]
    missed = remainders(size, kernel, stride, padding, dilation)
    learned = module is None or isinstance(module, _CONVOLUTIONS)
    if any(missed):
        axis = next(i for i, r in enumerate(missed) if r)
        window = (kernel[axis], stride[axis], padding[axis])
        return _missed(size[axis], window, missed[axis], learned)
    if learned:
        reason = "an ordinary convolution: its kernel has no symmetry of its own"
        return Prediction(Verdict.UNKNOWN, reason, "convert it by isotypic.equivariant")
    return EXACT


def _missed(size: int, window: tuple[int, int, int], missed: int, learned: bool) -> Prediction:
    """Say what a window misses along one axis, and the layer or the sizes that do not."""
    kernel, stride, padding = window
    what = f"stride {stride} with kernel {kernel} and padding {padding} on {size}"
    reason = f"{what}: the far border loses {missed} sample{'s' if missed > 1 else ''}, the near one none"
    layer = "a GroupConv (parity rule)" if learned else "parity-adaptive pooling"
    return Prediction(Verdict.BROKEN, reason, f"use {layer}, or {size - missed} or {size - missed + stride}")


def _settings(traced: Traced, node: fx.Node, module: Any) -> tuple[Any, Any, Any, Any] | None:
    """Return kernel, stride, padding and dilation of a window."""
    if module is not None:
        stride = module.stride if module.stride is not None else module.kernel_size
        padding = module.padding if not isinstance(module.padding, str) else 0
        return module.kernel_size, stride, padding, getattr(module, "dilation", 1)
    name = getattr(node.target, "__name__", "")
    if "conv" in name:
        weight = traced.constant(node.args[1]) if len(node.args) > 1 else None
        given = dict(zip(("input", "weight", "bias", "stride", "padding", "dilation"), node.args, strict=False))
        given |= node.kwargs
        if weight is None:
            return None
        return tuple(weight.shape[2:]), given.get("stride", 1), given.get("padding", 0), given.get("dilation", 1)
    given = dict(zip(("input", "kernel_size", "stride", "padding", "dilation"), node.args, strict=False)) | node.kwargs
    dilation = given.get("dilation", 1) if "max" in name else 1
    kernel = given["kernel_size"]
    return kernel, given.get("stride") or kernel, given.get("padding", 0), dilation


def _pad(node: fx.Node, group: FiniteGroup) -> Prediction:
    given = dict(zip(("input", "pad"), node.args, strict=False)) | node.kwargs
    pads = tuple(given["pad"]) + (0,) * (2 * group.dim - len(given["pad"]))  # type: ignore[arg-type]
    if pads[0::2] == pads[1::2]:
        return EXACT
    return Prediction(Verdict.BROKEN, f"one-sided padding {pads}", "pad both sides alike, or tell upsampling its size")


def _tuple(value: Any, axes: int) -> tuple[Any, ...]:
    values = (value,) * axes if isinstance(value, (int, float)) else tuple(value)
    return values * axes if len(values) == 1 else values
