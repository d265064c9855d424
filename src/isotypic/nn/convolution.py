"""Group convolutions over any number of axes; :mod:`isotypic.nn.plane` gives them their names.

One weight ``[M, N / groups * components, *kernel]`` is authoritative: M output fields, N input fields, and as many
components as an input field has channels (|G|, or 1 when the layer lifts), laid out as torch lays out channels. The
layer is exactly equivariant for a group of the grid on every input size: where a stride does not fit the size, the
kernel is widened by the parity rule of :mod:`isotypic.ops.resampling`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from isotypic.errors import RequestError
from isotypic.groups.catalogue import resolve
from isotypic.groups.fields import FieldType, regular_fields, scalar_fields
from isotypic.groups.finite import FiniteGroup
from isotypic.nn.compute import BlockBank, Compute, Plans, chosen
from isotypic.nn.filters import Expanded, FilterBank
from isotypic.nn.layer import EquivariantLayer
from isotypic.nn.window import Extent, Window, window
from isotypic.ops.expansion import FilterShape
from isotypic.ops.isotypic.convolution import isotypic_convolution
from isotypic.ops.layout import is_channels_last
from isotypic.ops.resampling import Sizes, sampled_mean

Convolution = Callable[..., Tensor]


class GroupConvolution(EquivariantLayer):
    """What convolution and transposed convolution share: types, the weight, its initialisation and its filters.

    Attributes:
        axes: axes of space of the final class.
        convolve: the ordinary convolution of torch that it ends in.
    """

    axes: ClassVar[int]
    convolve: ClassVar[Convolution]
    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(self, types: tuple[FieldType, FieldType], window: Window, seen: int, made: int, bias: bool) -> None:
        super().__init__(*types)
        self.window = window
        components = min(t.representation.dimension for t in types)
        _divides(window.groups, types)
        self.bank = FilterBank(FilterShape(self.in_type.group, seen, components, window.kernel))
        self.weight = nn.Parameter(torch.empty(made, seen * components, *window.kernel))
        if bias:
            self.bias = nn.Parameter(torch.empty(self.out_type.fields))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """He initialisation: normal of variance ``2 / fan_in``, fan-in counted over fields, |G| and the kernel."""
        with torch.no_grad():
            self.weight.normal_(0.0, (2.0 / self.fan_in) ** 0.5)
            if self.bias is not None:
                self.bias.zero_()

    @property
    def fan_in(self) -> int:
        """Weights that one output sample sums over."""
        return self.weight[0].numel()

    def filters(self, x: Tensor, widening: Sizes) -> Expanded:
        """Return filters and bias of every channel for one input, in the input's memory format."""
        return self.bank(self.weight, self.bias, widening, self.window.dilation, is_channels_last(x))

    def extra_repr(self) -> str:
        """Say types and window in one line."""
        w = self.window
        words = [super().extra_repr(), f"kernel {_by(w.kernel)}"]
        defaults = {"stride": 1, "padding": 0, "dilation": 1}
        words += [f"{n} {_by(getattr(w, n))}" for n, value in defaults.items() if set(getattr(w, n)) != {value}]
        words += [f"groups {w.groups}"] if w.groups > 1 else []
        return ", ".join(words)


def conv_types(
    group: str | FiniteGroup, dim: int, in_fields: int, out_fields: int, lift: bool
) -> tuple[FieldType, FieldType]:
    """Return the types of a convolution: scalar fields in when it lifts, regular fields out."""
    resolved = resolve(group, dim)
    return (scalar_fields if lift else regular_fields)(resolved, in_fields), regular_fields(resolved, out_fields)


class DirectConvolution(GroupConvolution):
    """The strided group convolution, over the axes of its group."""

    # The arguments of torch's own layer, so more than eight: a layer is exchanged by its name alone.
    def __init__(  # noqa: PLR0913
        self,
        in_fields: int,
        out_fields: int,
        kernel_size: Extent,
        group: str | FiniteGroup,
        *,
        lift: bool = False,
        stride: Extent = 1,
        padding: Extent | str = 0,
        dilation: Extent = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        compute: Compute | str = Compute.AUTO,
    ) -> None:
        types = conv_types(group, self.axes, in_fields, out_fields, lift)
        moved = window(
            types[0].group,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            padding_mode=padding_mode,
        )
        super().__init__(types, moved, in_fields // max(groups, 1), out_fields, bias)
        self.compute = chosen(compute, lift=lift, groups=groups)
        self.blocks = BlockBank()
        self.plans = Plans()

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``[B, in channels, *space]``; the output has the usual size of a strided convolution."""
        self.check(x)
        w, plan = self.window, self.plans.of(self, x)
        if plan.mean:
            x = sampled_mean(x, plan.mean, w.stride)
        x, padding = w.padded(x, plan.padding)
        if plan.case:
            blocks = self.blocks(self.weight, plan.widening, w.dilation, plan.case)
            return isotypic_convolution(x, blocks, self.bias, plan.case)
        made = self.filters(x, plan.widening)
        return self.convolve(x, made.filters, made.bias, plan.stride, padding, made.dilation, w.groups)


class TransposedConvolution(GroupConvolution):
    """The adjoint of the strided group convolution, told the size to reach."""

    # The arguments of torch's own layer, so more than eight.
    def __init__(  # noqa: PLR0913
        self,
        in_fields: int,
        out_fields: int,
        kernel_size: Extent,
        group: str | FiniteGroup,
        *,
        stride: Extent = 1,
        padding: Extent = 0,
        output_padding: Extent = 0,
        dilation: Extent = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        types = conv_types(group, self.axes, in_fields, out_fields, lift=False)
        moved = window(
            types[0].group,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            output_padding=output_padding,
        )
        super().__init__(types, moved, out_fields // max(groups, 1), in_fields, bias)

    @property
    def fan_in(self) -> int:
        """Weights that one output sample sums over, on average: every stride-th tap of the kernel meets a sample."""
        components = self.in_type.representation.dimension
        met = max(1, math.prod(self.window.kernel) // math.prod(self.window.stride))
        return self.in_type.fields // self.window.groups * components * met

    def forward(self, x: Tensor, output_size: Sizes | None = None) -> Tensor:
        """Spread ``[B, in channels, *space]`` over the finer grid.

        Args:
            x: the signal.
            output_size: the size to reach along each axis, between ``(n - 1) s - 2 p + d (k - 1) + 1`` and s - 1
                samples more: the size that the convolution with this window came from; default the least and
                ``output_padding``.
        """
        self.check(x)
        w = self.window
        remainder = w.excess(tuple(x.shape[2:]), output_size, self)
        made = self.filters(x, remainder)
        return self.convolve(x, made.filters, made.bias, w.stride, w.padding, 0, w.groups, made.dilation)


def _divides(groups: int, types: tuple[FieldType, FieldType]) -> None:
    for name, kind in zip(("in_fields", "out_fields"), types, strict=True):
        if groups < 1 or kind.fields % groups:
            raise RequestError(f"expected {name} to be a multiple of groups={groups}, received {kind.fields}")


def _by(sizes: Sizes) -> str:
    return str(sizes[0]) if len(set(sizes)) == 1 else "x".join(map(str, sizes))
