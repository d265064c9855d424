"""Which rule is for what: the whole list of what can be converted."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from isotypic.convert.conversion import Rule
from isotypic.convert.rules import arithmetic, convolution, normalisation, resampling, shapes
from isotypic.convert.stochastic_depth import StochasticDepth
from isotypic.convert.tracing import Traced
from isotypic.errors import RequestError

POINTWISE_MODULES: tuple[type[nn.Module], ...] = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Softsign,
    nn.Sigmoid, nn.LogSigmoid, nn.Tanh, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Threshold, nn.Identity,
)  # fmt: skip

PADS: tuple[type[nn.Module], ...] = (
    nn.ConstantPad2d, nn.ConstantPad3d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ReflectionPad2d, nn.ReflectionPad3d,
    nn.ReplicationPad2d, nn.ReplicationPad3d, nn.CircularPad2d, nn.CircularPad3d,
)  # fmt: skip

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
BATCH_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)
OTHER_NORMS = (nn.InstanceNorm2d, nn.InstanceNorm3d, nn.GroupNorm, nn.LayerNorm)
DROPOUTS = (nn.Dropout, nn.Dropout2d, nn.Dropout3d)
POOLS = (nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool2d, nn.AvgPool3d)
ADAPTIVE_POOLS = (nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)

MODULES: dict[tuple[type[nn.Module], ...], Rule] = {
    CONVOLUTIONS: convolution.convolution_module,
    (nn.Linear,): convolution.linear_module,
    (*BATCH_NORMS, *OTHER_NORMS): normalisation.norm_module,
    (nn.PReLU,): normalisation.prelu_module,
    DROPOUTS: normalisation.dropout_module,
    POOLS: resampling.pool_module,
    ADAPTIVE_POOLS: resampling.adaptive_module,
    (nn.Upsample,): resampling.upsample_module,
    PADS: resampling.pad_module,
    (nn.Softmax, nn.LogSoftmax): arithmetic.softmax_module,
    (nn.Flatten,): shapes.reshaping,
    (*POINTWISE_MODULES, StochasticDepth): arithmetic.pointwise_module,
}

POINTWISE_CALLS = [
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "selu",
    "celu",
    "gelu",
    "silu",
    "mish",
    "softplus",
    "sigmoid",
    "logsigmoid",
    "tanh",
    "hardtanh",
    "hardswish",
    "hardsigmoid",
    "exp",
    "log",
    "sqrt",
    "rsqrt",
    "square",
    "abs",
    "neg",
    "clamp",
    "clamp_min",
    "clamp_max",
    "pow",
    "erf",
]

CALLS: dict[str, Rule] = {
    **dict.fromkeys(POINTWISE_CALLS, arithmetic.pointwise_call),
    **dict.fromkeys(("conv2d", "conv3d", "conv_transpose2d", "conv_transpose3d"), convolution.convolution_call),
    **dict.fromkeys(("add", "sub", "mul", "div", "truediv", "radd", "rmul", "iadd", "imul"), arithmetic.binary),
    **dict.fromkeys(("cat", "concat", "concatenate"), arithmetic.concatenation),
    **dict.fromkeys(("chunk", "split"), arithmetic.splitting),
    **dict.fromkeys(("mean", "sum", "amax", "amin"), arithmetic.reduction),
    **dict.fromkeys(("softmax", "log_softmax"), arithmetic.softmax_call),
    **dict.fromkeys(("max_pool2d", "max_pool3d", "avg_pool2d", "avg_pool3d"), resampling.pool_call),
    **dict.fromkeys(
        ("adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool2d", "adaptive_max_pool3d"),
        resampling.adaptive_call,
    ),
    **dict.fromkeys(("flatten", "view", "reshape", "squeeze", "unsqueeze"), shapes.reshaping),
    **dict.fromkeys(("permute", "transpose"), shapes.permutation),
    **dict.fromkeys(("contiguous", "clone", "to", "float", "type_as"), arithmetic.same),
    **dict.fromkeys(("dropout", "dropout2d", "dropout3d", "feature_dropout"), normalisation.dropout_call),
    "linear": convolution.linear_call,
    "layer_norm": normalisation.layer_norm_call,
    "interpolate": resampling.upsample_call,
    "pad": resampling.pad_call,
    "getitem": arithmetic.part,
}


def rule_for(traced: Traced, node: fx.Node) -> tuple[Rule, Any]:
    """Return the rule for a node, and what it is applied to: the module, or the name of the function.

    Raises:
        RequestError: there is none.
    """
    if node.op == "call_module":
        module = traced.module(node)
        for kinds, rule in MODULES.items():
            if isinstance(module, kinds):
                return rule, module
        raise RequestError("there is no equivariant form of this module here; see isotypic.convert.rules.table")
    name = node.target if isinstance(node.target, str) else node.target.__name__
    bare = name.strip("_")
    if bare not in CALLS:
        raise RequestError(f"there is no equivariant form of the function {name!r} here")
    return CALLS[bare], bare
