"""Norms, dropout and the slopes of a PReLU: whatever has a number for every channel."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, fx, nn

from isotypic.convert.conversion import Conversion
from isotypic.convert.rules.arguments import arguments
from isotypic.convert.signals import Converted
from isotypic.errors import RequestError
from isotypic.nn.affine import FieldPReLU
from isotypic.nn.dropout import GroupDropout
from isotypic.nn.norm import GroupBatchNorm, GroupGroupNorm, GroupInstanceNorm, GroupLayerNorm


def norm_module(conversion: Conversion, node: fx.Node, module: Any) -> Converted:
    """Convert a batch, instance, group or layer norm."""
    before = conversion.lifted(conversion.of(node.args[0]))
    made = _norm(conversion, module, before)
    if conversion.plan.symmetrise:
        _copy_state(made, module)
    return Converted(conversion.module(node, made, before.node), before.signal)


def layer_norm_call(conversion: Conversion, node: fx.Node, name: str) -> Converted:
    """Convert ``F.layer_norm`` over channels that come last."""
    given = arguments(node, "input", "normalized_shape", "weight", "bias", "eps", weight=None, bias=None, eps=1e-5)
    before = conversion.lifted(conversion.of(given["input"]))
    weight, bias = conversion.stored(given["weight"]), conversion.stored(given["bias"])
    made = _layer_norm(conversion, before, tuple(given["normalized_shape"]), given["eps"], weight is not None)
    if conversion.plan.symmetrise:
        _copy_tensors(made, {"weight": weight, "bias": bias})
    return Converted(conversion.module(node, made, before.node), before.signal)


def prelu_module(conversion: Conversion, node: fx.Node, module: nn.PReLU) -> Converted:
    """Convert a PReLU with one slope, or one a channel."""
    before = conversion.of(node.args[0])
    if module.num_parameters == 1 or not before.signal.regular:
        return Converted(conversion.module(node, deepcopy(module), before.node), before.signal)
    made = FieldPReLU(before.signal.fields, conversion.group, float(module.weight.detach().mean()))
    if conversion.plan.symmetrise:
        _copy_state(made, module)
    return Converted(conversion.module(node, made, before.node), before.signal)


def dropout_module(conversion: Conversion, node: fx.Node, module: Any) -> Converted:
    """Convert dropout: the channels of a field are dropped together."""
    return _dropout(conversion, node, module.p, whole=not isinstance(module, nn.Dropout))


def dropout_call(conversion: Conversion, node: fx.Node, name: str) -> Converted:
    """Convert ``F.dropout`` and its kin; the new module follows its own training mode."""
    probability = arguments(node, "input", "p", "training", "inplace", p=0.5)["p"]
    return _dropout(conversion, node, probability, whole=name != "dropout")


def _dropout(conversion: Conversion, node: fx.Node, probability: float, whole: bool) -> Converted:
    before = conversion.of(node.args[0], allow="was flattened with its space")
    signal = before.signal
    if not signal.regular or signal.axis != 1 or not signal.space:
        return Converted(conversion.module(node, nn.Dropout(probability), before.node), signal)
    made = GroupDropout(signal.fields, conversion.group, probability, pointwise=not whole)
    return Converted(conversion.module(node, made, before.node), signal)


def _norm(conversion: Conversion, module: Any, before: Converted) -> nn.Module:
    group, fields, shared = conversion.group, before.signal.fields, not conversion.plan.symmetrise
    affine = getattr(module, "weight", None) is not None
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        if not module.track_running_stats or module.momentum is None:
            raise RequestError("a batch norm without running statistics, or with a cumulative average")
        return GroupBatchNorm(fields, group, eps=module.eps, momentum=module.momentum, affine=affine)
    if isinstance(module, nn.modules.instancenorm._InstanceNorm):
        if module.track_running_stats:
            raise RequestError("an instance norm with running statistics")
        return GroupInstanceNorm(fields, group, shared=shared, eps=module.eps, affine=affine)
    if isinstance(module, nn.GroupNorm):
        blocks = next(b for b in range(min(module.num_groups, fields), 0, -1) if fields % b == 0)
        return GroupGroupNorm(blocks, fields, group, shared=shared, eps=module.eps, affine=affine)
    return _layer_norm(conversion, before, tuple(module.normalized_shape), module.eps, affine)


def _layer_norm(
    conversion: Conversion, before: Converted, normalised: tuple[int, ...], eps: float, affine: bool
) -> GroupLayerNorm:
    last = before.signal.axis == -1 or before.signal.space == 0
    if len(normalised) != 1 or not last:
        raise RequestError(f"it normalises over {list(normalised)}, not the channels alone: it fixes the image size")
    shared = not conversion.plan.symmetrise
    return GroupLayerNorm(
        before.signal.fields, conversion.group, shared=shared, channels_last=True, eps=eps, affine=affine
    )


def _copy_state(made: nn.Module, module: nn.Module) -> None:
    names = {name for name, _ in [*made.named_parameters(), *made.named_buffers()]}
    _copy_tensors(made, {name: t for name, t in module.state_dict().items() if name in names})


def _copy_tensors(made: nn.Module, tensors: dict[str, Tensor | None]) -> None:
    with torch.no_grad():
        for name, tensor in tensors.items():
            if tensor is not None:
                getattr(made, name).copy_(tensor)
