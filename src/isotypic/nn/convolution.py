"""Group convolutions over any number of axes; :mod:`isotypic.nn.plane` gives them their names.

One weight ``[M, N / groups * components, *kernel]`` is authoritative: M output fields, N input fields, and as many
components as an input field has channels (|G|, or 1 when the layer lifts), laid out as torch lays out channels. The
layer is exactly equivariant for a group of the grid on every input size: where a stride does not fit the size, the
kernel is widened by the parity rule of :mod:`isotypic.ops.resampling`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from isotypic.errors import RequestError, unknown
from isotypic.groups.catalogue import resolve
from isotypic.groups.fields import FieldType, regular_fields, scalar_fields
from isotypic.groups.finite import FiniteGroup
from isotypic.nn.filters import Expanded, FilterBank
from isotypic.nn.layer import EquivariantLayer
from isotypic.ops.action import swaps_axes
from isotypic.ops.expansion import FilterShape
from isotypic.ops.resampling import Sizes, symmetric_window

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
Extent = int | tuple[int, ...]
Convolution = Callable[..., Tensor]


@dataclass(frozen=True)
class Window:
    """How a kernel moves over the grid, one number an axis.

    Attributes:
        kernel: taps.
        stride: samples between outputs.
        padding: samples added on either side.
        dilation: samples between taps.
        groups: independent blocks of fields.
        padding_mode: what the added samples hold.
        one_sided: samples that an ordinary layer would add on the far side alone; the widened kernel shares them
            between both.
        output_padding: samples that a transposed convolution puts out beyond the least, where no size is asked for.
    """

    kernel: Sizes
    stride: Sizes
    padding: Sizes
    dilation: Sizes
    groups: int = 1
    padding_mode: PaddingMode = "zeros"
    one_sided: Sizes = ()
    output_padding: Sizes = ()

    def fitted(self, size: Sizes) -> tuple[Sizes, Sizes]:
        """Return padding and widening, per axis, that make the window symmetric on an input of this size."""
        axes = zip(size, self.extent, self.stride, self.total_padding, strict=True)
        padding, widening = zip(*(symmetric_window(*axis) for axis in axes), strict=True)
        return padding, widening

    def excess(self, size: Sizes, wanted: Sizes | None, layer: object) -> Sizes:
        """Return how many samples beyond the least a transposed convolution must put out to reach a size.

        Raises:
            RequestError: the size is out of reach, said in the name of ``layer``.
        """
        axes = zip(size, self.extent, self.stride, self.padding, strict=True)
        least = tuple((n - 1) * s - 2 * p + e for n, e, s, p in axes)
        if wanted is None:
            return self.output_padding or (0,) * len(least)
        excess = tuple(n - m for n, m in zip(wanted, least, strict=True))
        if any(not 0 <= e < s for e, s in zip(excess, self.stride, strict=True)):
            most = tuple(m + s - 1 for m, s in zip(least, self.stride, strict=True))
            raise RequestError(f"{layer}: expected output_size between {least} and {most}, received {wanted}")
        return excess

    def padded(self, x: Tensor, padding: Sizes) -> tuple[Tensor, Sizes]:
        """Pad a signal where the mode is not zeros; return it with the padding that is left to the convolution."""
        if self.padding_mode == "zeros":
            return x, padding
        sides = [p for side in reversed(padding) for p in (side, side)]
        return functional.pad(x, sides, mode=self.padding_mode), (0,) * len(padding)

    @property
    def extent(self) -> Sizes:
        """Samples that the dilated kernel spans."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    @property
    def total_padding(self) -> Sizes:
        """Samples added on both sides together."""
        extra = self.one_sided or (0,) * len(self.padding)
        return tuple(2 * p + e for p, e in zip(self.padding, extra, strict=True))


def window(
    group: FiniteGroup,
    kernel_size: Extent,
    *,
    stride: Extent,
    padding: Extent | str,
    dilation: Extent,
    groups: int,
    padding_mode: str = "zeros",
    output_padding: Extent = 0,
) -> Window:
    """Spread numbers over the axes and refuse what the group does not map to itself."""
    if padding_mode not in get_args(PaddingMode):
        raise unknown("padding mode", padding_mode, get_args(PaddingMode))
    kernel = spread(kernel_size, group, "kernel_size", 1)
    steps = spread(stride, group, "stride", 1)
    gaps = spread(dilation, group, "dilation", 1)
    sides = _same_padding(kernel, steps, gaps) if isinstance(padding, str) else spread(padding, group, "padding", 0)
    if isinstance(padding, str) and padding not in ("same", "valid"):
        raise unknown("padding", padding, ("same", "valid"))
    if padding == "valid":
        sides = (0,) * group.dim
    beyond = spread(output_padding, group, "output_padding", 0)
    if any(b and b >= s for b, s in zip(beyond, steps, strict=True)):
        raise RequestError(f"expected output_padding smaller than the stride {steps}, received {beyond}")
    return Window(kernel, steps, sides, gaps, groups, padding_mode, output_padding=beyond)  # type: ignore[arg-type]


def spread(value: Extent, group: FiniteGroup, name: str, least: int) -> Sizes:
    """Return one number an axis, refused where the group swaps axes that differ."""
    sizes = (value,) * group.dim if isinstance(value, int) else tuple(value)
    if len(sizes) != group.dim or min(sizes) < least:
        raise RequestError(f"expected {name} of {group.dim} integers >= {least}, received {value!r}")
    if any(swaps_axes(group, g, sizes) for g in range(group.order)):
        raise RequestError(
            f"expected the same {name} on the axes that {group.name} swaps, received {sizes}: "
            "give one number, or take a subgroup that keeps the axes (D2, C2, Cs)"
        )
    return sizes


def _same_padding(kernel: Sizes, stride: Sizes, dilation: Sizes) -> Sizes:
    reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    if any(r % 2 for r in reach) or set(stride) != {1}:
        raise RequestError(
            f"expected an odd kernel and stride 1 for padding='same', received kernel {kernel}, stride {stride}: "
            "one-sided padding is not symmetric; give the padding as a number"
        )
    return tuple(r // 2 for r in reach)


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

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``[B, in channels, *space]``; the output has the usual size of a strided convolution."""
        self.check(x)
        w = self.window
        padding, widening = w.fitted(tuple(x.shape[2:]))
        made = self.filters(x, widening)
        x, padding = w.padded(x, padding)
        return self.convolve(x, made.filters, made.bias, w.stride, padding, made.dilation, w.groups)


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


def is_channels_last(x: Tensor) -> bool:
    """Whether a signal lies in memory with its channels last, and only so."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return x.is_contiguous(memory_format=formats[x.dim()]) and not x.is_contiguous()


def _by(sizes: Sizes) -> str:
    return str(sizes[0]) if len(set(sizes)) == 1 else "x".join(map(str, sizes))
