"""Steerable convolutions of images: kernels that intertwine field types of C_N, D_N, SO(2) or O(2).

The kernel of an output and an input field is ``k(x) = sum_b w_b k_b(x)`` over the basis of
:mod:`isotypic.groups.harmonics`. The coefficients w are the one weight, a vector ordered ``(output part, input part,
output field, input field, b)``; the filter bank of the ordinary convolution that runs is derived from it.

The rotations by 90 degrees and the flips that the group holds are exact on every size (the parity rule of
:mod:`isotypic.ops.resampling` serves strides); other rotations hold as far as the pixels resolve the signal. Every
class tells its measured error: ``|f(g x) - g f(x)| / |g f(x)|`` (2-norms) for g the rotation by 45 degrees, float64,
random weights, on an image of random waves up to pi/4 a sample that fall to zero at the border of the disc, at
33 x 33 and 65 x 65.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from isotypic.errors import RequestError
from isotypic.groups.catalogue import named
from isotypic.groups.circle import CircleGroup, FieldsLike, FieldSum, fields_of_the_plane
from isotypic.groups.finite import TOLERANCE, FiniteGroup
from isotypic.groups.harmonics import Rings
from isotypic.nn.fieldwise import ExactTables, FieldLayer, InvariantTables, Reorder, bias_size, spread_bias
from isotypic.nn.kernels import SteerableFilters, block_order
from isotypic.nn.window import Extent, Window, window
from isotypic.ops.layout import is_channels_last
from isotypic.ops.resampling import Sizes, remainders


class SteerableConvolution(FieldLayer):
    """What both directions share: types, the weight, its initialisation, filters and bias.

    Attributes:
        weight: all coefficients, a vector.
        bias: one number an invariant component of the output's fields; None without ``bias`` or without any.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self, types: tuple[FieldsLike, FieldsLike], window: Window, *, adjoint: bool, bias: bool, rings: Rings
    ) -> None:
        super().__init__(*types)
        self.window = window
        ends = (self.in_type, self.out_type) if adjoint else (self.out_type, self.in_type)
        self.bank = SteerableFilters(ends, window.kernel, rings, window.groups)
        before, after = (block_order(kind, window.groups) for kind in (self.in_type, self.out_type))
        self.to_blocks, self.bias_to_blocks = Reorder(before), Reorder(after, axis=0)
        self.from_blocks = Reorder(np.argsort(after))
        self._refuse_empty(adjoint)
        self.weight = nn.Parameter(torch.empty(sum(count for *_, count in self.bank.blocks())))
        self.directions = nn.ModuleList(ExactTables(InvariantTables(part.representation)) for part in self.out_type)
        self.register_parameter("bias", None)
        if bias and bias_size(self.out_type):
            self.bias = nn.Parameter(torch.empty(bias_size(self.out_type)))
        self.adjoint = adjoint
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """He initialisation: an output channel has on average twice the mean square of the input's channels.

        A basis element has squared norm n_made, so that it gives ``n_made / n_out`` to the mean output channel.
        """
        with torch.no_grad():
            pieces = self.weight.split([count for *_, count in self.bank.blocks()])
            for (i, j, count), piece in zip(self.bank.blocks(), pieces, strict=True):
                if count:
                    piece.normal_(0.0, (2.0 / self._gain(i if not self.adjoint else j)) ** 0.5)
            if self.bias is not None:
                self.bias.zero_()

    def _gain(self, part: int) -> float:
        """Return the variance of a channel of one output part for unit coefficients and unit inputs."""
        if not self.adjoint:
            return sum(b.fields * size for b, size in zip(self.bank.seen, self.bank.sizes[part], strict=True))
        size_out = self.out_type.parts[part].representation.dimension
        met = [
            a.fields * row[part] * a.representation.dimension
            for a, row in zip(self.bank.made, self.bank.sizes, strict=True)
        ]
        return sum(met) / size_out / math.prod(self.window.stride)

    def _refuse_empty(self, adjoint: bool) -> None:
        sizes = np.array(self.bank.sizes).sum(axis=0 if adjoint else 1)
        for part, size in zip(self.out_type, sizes, strict=True):
            if not size:
                raise RequestError(
                    f"expected a kernel that carries {self.in_type} to {part}, received "
                    f"{'x'.join(map(str, self.window.kernel))}, which resolves none: "
                    "take a larger kernel or other fields"
                )

    def filters(self, x: Tensor, remainder: Sizes) -> tuple[Tensor, Sizes]:
        """Return the filter bank for one input, in the input's memory format, and its dilation."""
        return self.bank(self.weight, remainder, self.window.dilation, is_channels_last(x))

    def channel_bias(self) -> Tensor | None:
        """Return the bias of every channel, block behind block."""
        if self.bias is None:
            return None
        tables = [table("directions") for table in self.directions]
        return self.bias_to_blocks(spread_bias(self.bias, self.out_type, tables))

    def extra_repr(self) -> str:
        """Say types and window in one line."""
        w = self.window
        words = [super().extra_repr(), f"kernel {'x'.join(map(str, w.kernel))}"]
        words += [f"stride {w.stride}"] if set(w.stride) != {1} else []
        words += [f"groups {w.groups}"] if w.groups > 1 else []
        return ", ".join(words)


class SteerableConv2d(SteerableConvolution):
    """Steerable convolution of an image between any field types of C_N, D_N, SO(2) or O(2).

    Exact to rounding for the rotations by 90 degrees and the flips in the group, on every size and stride. Error under
    45 degrees (measured as the module says; the size of the image does not matter, stride 2 gives the same):

    =================================  ====  ====  ====
    kernel                             3     5     7
    =================================  ====  ====  ====
    C8, C16, D8, any representations   2 %   5 %  10 %
    SO(2), O(2), frequencies 0, 1, 2   1 %   3 %   4 %
    =================================  ====  ====  ====

    SO(2) with kernel 5 without the band limit: 18 %; with rings of width 0.6: 10 %; ``torch.nn.Conv2d``: 120 %.

    Args:
        in_type: fields of the input: a :class:`~isotypic.groups.FieldType`, an
            :class:`~isotypic.groups.circle.SO2Fields` or ``O2Fields``, or a tuple of them for fields of several kinds.
        out_type: fields of the output, of the same group.
        kernel_size: samples, one number or ``(y, x)``.
        stride: samples between outputs. Where it does not fit the size the kernel is widened by the parity rule.
        padding: samples on either side, or ``"same"`` or ``"valid"``.
        dilation: samples between taps.
        groups: independent blocks, each with its share of the fields of every part; with one field of each part in
            a block it is depthwise.
        bias: whether to learn one number an invariant component (one a regular field, none a vector field).
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        rings: the radial profile and band limit of the basis.

    Raises:
        RequestError: types of two groups, a kernel too small to carry any input to an output, a window that the
            group does not map to itself, ``groups`` that do not divide the fields of every part; at the call, an
            input of another type.

    Source:
        M. Weiler, G. Cesa, General E(2)-Equivariant Steerable CNNs, NeurIPS 2019, arXiv 1911.08251.

    >>> from isotypic.groups import named, regular_fields, scalar_fields
    >>> layer = SteerableConv2d(scalar_fields(named("C8"), 3), regular_fields(named("C8"), 4), 5, padding=2)
    >>> layer(torch.zeros(2, 3, 21, 32)).shape
    torch.Size([2, 32, 21, 32])
    """

    # The arguments of torch.nn.Conv2d and the profile, so more than eight.
    def __init__(  # noqa: PLR0913
        self,
        in_type: FieldsLike,
        out_type: FieldsLike,
        kernel_size: Extent,
        *,
        stride: Extent = 1,
        padding: Extent | str = 0,
        dilation: Extent = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        rings: Rings = Rings(),  # noqa: B008 - frozen
    ) -> None:
        types = _one_group(in_type, out_type)
        moved = window(
            grid_symmetries(types[0].group),
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            padding_mode=padding_mode,
        )
        super().__init__(types, moved, adjoint=False, bias=bias, rings=rings)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``[B, in channels, y, x]``; the output has the usual size of a strided convolution."""
        self.check(x)
        w = self.window
        missed = remainders(tuple(x.shape[2:]), w.kernel, w.stride, w.padding, w.dilation)
        filters, dilation = self.filters(x, missed)
        x, padding = w.padded(self.to_blocks(x), w.padding)
        y = functional.conv2d(x, filters, self.channel_bias(), w.stride, padding, dilation, w.groups)
        return self.from_blocks(y)


class SteerableConvTranspose2d(SteerableConvolution):
    """Transposed steerable convolution: the adjoint of :class:`SteerableConv2d` with the same window and weight.

    ``layer(x, output_size=...)`` is told the size to reach and widens the kernel by the parity rule, so that the
    rotations by 90 degrees and the flips are exact. Other rotations are not: a stride spreads samples with zeros
    between them, whose spectrum repeats at the highest waves, where pixels know no rotation. Put
    ``BlurPool(1, width=1.0)`` behind a stride of 2. Error under 45 degrees (measured as the module says, stride 2,
    kernels 3 and 5, C8 and SO(2)): alone 120 % to size 2 n - 1 and 25 % to 2 n; with the blur 5 % and 3 %.

    Args:
        in_type: fields of the input, as for :class:`SteerableConv2d`.
        out_type: fields of the output.
        kernel_size: samples, one number or ``(y, x)``.
        stride: how much finer the output grid is.
        padding: samples cut from either side of the output.
        dilation: samples between taps.
        groups: independent blocks, each with its share of the fields of every part; with one field of each part in
            a block it is depthwise.
        bias: whether to learn one number an invariant component.
        rings: the radial profile and band limit of the basis.

    Raises:
        RequestError: as :class:`SteerableConv2d`; an ``output_size`` that the window cannot reach.

    >>> from isotypic.groups.circle import SO2Fields
    >>> layer = SteerableConvTranspose2d(SO2Fields(1, 4), SO2Fields(0, 2), 5, stride=2, padding=2)
    >>> layer(torch.zeros(1, 8, 8, 8), output_size=(16, 16)).shape
    torch.Size([1, 2, 16, 16])
    """

    # The arguments of torch.nn.ConvTranspose2d and the profile, so more than eight.
    def __init__(  # noqa: PLR0913
        self,
        in_type: FieldsLike,
        out_type: FieldsLike,
        kernel_size: Extent,
        *,
        stride: Extent = 1,
        padding: Extent = 0,
        dilation: Extent = 1,
        groups: int = 1,
        bias: bool = True,
        rings: Rings = Rings(),  # noqa: B008 - frozen
    ) -> None:
        types = _one_group(in_type, out_type)
        moved = window(
            grid_symmetries(types[0].group),
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            padding_mode="zeros",
        )
        super().__init__(types, moved, adjoint=True, bias=bias, rings=rings)

    def forward(self, x: Tensor, output_size: Sizes | None = None) -> Tensor:
        """Spread ``[B, in channels, y, x]`` over the finer grid.

        Args:
            x: the signal.
            output_size: the size to reach along each axis, between ``(n - 1) s - 2 p + d (k - 1) + 1`` (the
                default) and s - 1 samples more.
        """
        self.check(x)
        w = self.window
        filters, dilation = self.filters(x, w.excess(tuple(x.shape[2:]), output_size, self))
        x, bias = self.to_blocks(x), self.channel_bias()
        y = functional.conv_transpose2d(x, filters, bias, w.stride, w.padding, 0, w.groups, dilation)
        return self.from_blocks(y)


def grid_symmetries(group: FiniteGroup | CircleGroup) -> FiniteGroup:
    """Return the subgroup that maps the pixel grid to itself, under the name of the group."""
    if isinstance(group, CircleGroup):
        return FiniteGroup(group.name, named("D4" if group.mirrors else "C4").matrices)
    whole = np.abs(group.matrices - np.round(group.matrices)).max(axis=(1, 2)) < TOLERANCE
    return group.restrict(np.nonzero(whole)[0].tolist(), group.name)


def _one_group(in_type: FieldsLike, out_type: FieldsLike) -> tuple[FieldSum, FieldSum]:
    types = fields_of_the_plane(in_type), fields_of_the_plane(out_type)
    if types[0].group != types[1].group:
        names = [kind.group.name for kind in types]
        raise RequestError(f"expected fields of one group, received {names[0]} to {names[1]}: use Restrict first")
    return types
