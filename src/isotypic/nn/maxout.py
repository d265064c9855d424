"""Convolutions by the rotated or flipped copies of one kernel, and the maximum over them.

``y(p) = max_k (f * k w)(p) + b`` over a set K of moves k of the kernel's positions. For an element g of the grid that
permutes the set, ``g K = K``, turning the image turns the responses and permutes them, and the maximum does not see
the permutation: the layer maps scalar fields to scalar fields and commutes with g exactly, alone or stacked. The types
of a layer, ``in_type`` and ``out_type``, name the group for which that holds:

==================================  ==========================================================
copies                              exact for
==================================  ==========================================================
2 rotations by 180 degrees          C2
4 rotations by 90 degrees           C4
8 rotations by 45 degrees           C4; 45 degrees is a symmetry of one patch, not of the grid
flips ``klein``                     D2: identity, both flips, the half-turn
flips ``dihedral``                  D4, all eight
flips ``paper``                     nothing: three of the four elements of D2 are no group
==================================  ==========================================================

An ordinary layer behind one of these breaks the symmetry again. So does one with another group: together they keep
what both have.

Source:
    H. Gao, S. Ji, Efficient and Invariant Convolutional Neural Networks for Dense Prediction, ICDM 2017,
    arXiv 1711.09064.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from isotypic.errors import RequestError, unknown
from isotypic.groups.catalogue import named
from isotypic.groups.fields import FieldType, scalar_fields
from isotypic.nn.copies import Flips, KernelSet, Turns, flipped, rotated
from isotypic.nn.layer import EquivariantLayer
from isotypic.nn.window import Extent, Window, window
from isotypic.ops.maxout import Copies, maxout_convolution, neighbour_mean, responses
from isotypic.ops.resampling import Sizes


class Combine(str, Enum):
    """What becomes of the responses to the copies of a kernel."""

    MAX = "max"
    CONCAT = "concat"

    @classmethod
    def of(cls, name: str | Combine) -> Combine:
        """Return a way to combine by name; RequestError for another name."""
        if name not in set(cls):
            raise unknown("way to combine responses", str(name), [way.value for way in cls])
        return cls(name)


class MaxoutConvolution(EquivariantLayer):
    """What both layers share: types, the one weight, its copies and what becomes of their responses.

    Attributes:
        weight: ``[out_channels, in_channels / groups, *kernel]``.
        bias: ``[out_channels]``, or None.
        copies: how many copies of the kernel there are.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    moves: Tensor

    def __init__(self, channels: tuple[int, int], kernels: KernelSet, window: Window, bias: bool, way: Combine) -> None:
        seen, made = channels
        out = scalar_fields(kernels.group, made) if way is Combine.MAX else FieldType(kernels.responses, made)
        super().__init__(scalar_fields(kernels.group, seen), out)
        _divides(window.groups, channels)
        self.window, self.combine, self.copies = window, way, len(kernels.positions)
        self.turned = tuple(bool(p.shape != window.kernel) for p in kernels.positions)
        moves = np.stack([positions.ravel() for positions in kernels.positions])
        self.register_buffer("moves", torch.as_tensor(moves), persistent=False)
        self.weight = nn.Parameter(torch.empty(made, seen // window.groups, *window.kernel))
        self.register_parameter("bias", nn.Parameter(torch.empty(made)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """He initialisation: normal of variance ``2 / fan_in``, as if there were one copy.

        The maximum of n copies is larger than one: on white noise its mean square behind a ReLU is 3 (n = 4) to 4
        (n = 8) times as large, and 0.9 to 2.4 times with every further layer, whose copies see much the same. Put a
        norm between many of them.
        """
        with torch.no_grad():
            self.weight.normal_(0.0, (2.0 / self.weight[0].numel()) ** 0.5)
            if self.bias is not None:
                self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``[B, in_channels, y, x]``; the output has the usual size of a strided convolution.

        Returns:
            ``[B, out_channels, y, x]`` for the maximum, else ``[B, out_channels * copies, y, x]``, field-major.
        """
        self.check(x)
        x, weight, bias = self._in_one_dtype(x)
        x, padding = self._fitted(x)
        w = self.window
        copies = Copies(w.kernel, w.stride, padding, w.dilation, w.groups, self.turned)
        if self.combine is Combine.MAX:
            y = maxout_convolution(x, weight, self.moves, copies)
            return y if bias is None else y + bias[:, None, None]
        y = torch.stack(list(responses(x, weight, self.moves, copies)), 2)
        return (y if bias is None else y + bias[:, None, None, None]).flatten(1, 2)

    def _in_one_dtype(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return signal, weight and bias, in the dtype of autocast where that is on."""
        kind = x.device.type
        if not torch.is_autocast_enabled(kind):
            return x, self.weight, self.bias
        dtype = torch.get_autocast_dtype(kind)
        return x.to(dtype), self.weight.to(dtype), None if self.bias is None else self.bias.to(dtype)

    def _fitted(self, x: Tensor) -> tuple[Tensor, Sizes]:
        """Return a signal that the stride fits, by the parity rule, and the padding that is left to do."""
        padding, widening = self.window.fitted(tuple(x.shape[2:]))
        x, padding = self.window.padded(x, padding)
        if not any(widening):
            return x, padding
        (y, x_), nothing = padding, (0, 0)
        return neighbour_mean(functional.pad(x, [x_, x_, y, y]), widening), nothing

    def extra_repr(self) -> str:
        """Say types, copies and window in one line."""
        w = self.window
        words = [super().extra_repr(), f"{self.combine.value} over {self.copies}", f"kernel {_by(w.kernel)}"]
        words += [f"stride {_by(w.stride)}"] if set(w.stride) != {1} else []
        return ", ".join(words)


class RotateMaxConv2d(MaxoutConvolution):
    """Convolution of an image by the rotations of one 3 x 3 kernel, and the maximum over them.

    A rotation by 45 degrees shifts the ring of the eight outer weights by one; two shifts are exactly 90 degrees. For
    the half-turn (2 angles) or all quarter-turns (4 and 8) the layer is exact on every size. 45 degrees are a
    symmetry of one patch and not of the grid: with 8 angles the error is about 10 % behind one layer and 15 % behind
    two, measured as :mod:`isotypic.nn.steerable` says (means over random weights without bias).

    Args:
        in_channels: channels of the image.
        out_channels: kernels, and channels of the output for the maximum.
        kernel_size: 3; other kernels have no ring of eight.
        angles: 8 (of 45 degrees), 4 (of 90) or 2 (of 180).
        combine: ``"max"``, or ``"concat"`` to keep the response to every angle, ``out_channels * angles`` channels,
            field-major and counter-clockwise. With 2 or 4 angles they are the regular fields of C2 or C4 that a
            lifting :class:`~isotypic.nn.GroupConv2d` gives.
        stride: samples between outputs. Where it does not fit the size the parity rule of the library holds.
        padding: samples on either side, or ``"same"`` or ``"valid"``.
        dilation: samples between taps.
        groups: independent blocks of channels.
        bias: whether to add one learned number a kernel.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.

    Raises:
        RequestError: another kernel size or number of angles; a window that the rotations do not map to itself; at
            the call, another number of channels.

    >>> layer = RotateMaxConv2d(3, 16, padding=1)
    >>> layer(torch.zeros(2, 3, 21, 32)).shape
    torch.Size([2, 16, 21, 32])
    """

    # The arguments of torch's own layer, so more than eight.
    def __init__(  # noqa: PLR0913
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Extent = 3,
        *,
        angles: Turns | int = Turns.QUARTERS,
        combine: Combine | str = Combine.MAX,
        stride: Extent = 1,
        padding: Extent | str = 0,
        dilation: Extent = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
    ) -> None:
        kernels = rotated(Turns.of(angles))
        moved = window(
            kernels.group,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            padding_mode=padding_mode,
        )
        if moved.kernel != (3, 3):
            raise RequestError(
                f"expected a kernel of 3 x 3, whose ring can be rotated, received {kernel_size}: "
                "FlipMaxConv2d takes any kernel"
            )
        super().__init__((in_channels, out_channels), kernels, moved, bias, Combine.of(combine))


class FlipMaxConv2d(MaxoutConvolution):
    """Convolution of an image by the flips of one kernel of any size, and the maximum over them.

    Exact on every size for the group that the flips form: D2 for ``klein``, D4 for ``dihedral``. The published set
    ``paper``, the identity and the two flips, is no group: its layer is equivariant to nothing.

    Args:
        in_channels: channels of the image.
        out_channels: kernels, and channels of the output for the maximum.
        kernel_size: taps, one number or ``(y, x)``.
        flips: ``"klein"``, ``"dihedral"`` or ``"paper"``.
        combine: ``"max"``, or ``"concat"`` to keep the response to every flip, field-major: the regular fields of D2
            or D4 that a lifting :class:`~isotypic.nn.GroupConv2d` gives, or three channels a kernel for ``paper``.
        stride: samples between outputs. Where it does not fit the size the parity rule of the library holds.
        padding: samples on either side, or ``"same"`` or ``"valid"``.
        dilation: samples between taps.
        groups: independent blocks of channels.
        bias: whether to add one learned number a kernel.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.

    Raises:
        RequestError: an unknown set; ``dihedral`` with a window that differs between the axes, unless its turned
            copies give an output of the same size (stride 1, zeros, ``2 padding - dilation (kernel - 1)`` the same on
            both axes); at the call, another number of channels.

    >>> layer = FlipMaxConv2d(3, 16, (7, 1), flips="dihedral", padding=(3, 0))
    >>> layer(torch.zeros(2, 3, 21, 32)).shape
    torch.Size([2, 16, 21, 32])
    """

    # The arguments of torch's own layer, so more than eight.
    def __init__(  # noqa: PLR0913
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Extent,
        *,
        flips: Flips | str = Flips.KLEIN,
        combine: Combine | str = Combine.MAX,
        stride: Extent = 1,
        padding: Extent | str = 0,
        dilation: Extent = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
    ) -> None:
        chosen = Flips.of(flips)
        moved = window(
            named("C1"),
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            padding_mode=padding_mode,
        )
        if chosen is Flips.DIHEDRAL:
            _refuse_unturnable(moved)
        kernels = flipped(chosen, moved.kernel)
        super().__init__((in_channels, out_channels), kernels, moved, bias, Combine.of(combine))


def _refuse_unturnable(w: Window) -> None:
    """Raise RequestError where a quarter-turn of the window gives an output of another size."""
    if all(y == x for y, x in (w.kernel, w.stride, w.padding, w.dilation)):
        return
    growth = {2 * p - e for p, e in zip(w.padding, w.extent, strict=True)}
    if set(w.stride) != {1} or w.padding_mode != "zeros" or len(growth) > 1 or w.kernel[0] == w.kernel[1]:
        raise RequestError(
            f"expected a square window for flips='dihedral', received kernel {w.kernel}, stride {w.stride}, padding "
            f"{w.padding}, dilation {w.dilation}: a rectangular kernel takes stride 1, zeros, and the padding that "
            "lets both axes grow alike, such as (3, 0) for (7, 1)"
        )


def _divides(groups: int, channels: tuple[int, int]) -> None:
    for name, count in zip(("in_channels", "out_channels"), channels, strict=True):
        if groups < 1 or count % groups:
            raise RequestError(f"expected {name} to be a multiple of groups={groups}, received {count}")


def _by(sizes: Sizes) -> str:
    return str(sizes[0]) if len(set(sizes)) == 1 else "x".join(map(str, sizes))
