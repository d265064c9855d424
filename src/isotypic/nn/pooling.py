"""Pooling over space, symmetric on every size, and pooling over the group.

The spatial pools work on every channel alone, so they need no types; where the nominal window would leave samples
at one border unseen they follow the parity rule of :mod:`isotypic.ops.resampling` (even n: window 2; odd n: window
3), axis by axis. Output sizes are those of the torch layer of the same name.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from enum import Enum

import torch
from torch import Tensor, nn
from torch.nn import functional

from isotypic.errors import RequestError, unknown
from isotypic.groups.catalogue import resolve
from isotypic.groups.fields import regular_fields, scalar_fields
from isotypic.groups.finite import FiniteGroup
from isotypic.nn.layer import EquivariantLayer
from isotypic.ops.maximum import field_maximum
from isotypic.ops.resampling import pool_window, resize_linear

Extent = int | Sequence[int]


class ParityPool(nn.Module):
    """A pool over space whose window follows the parity of each axis.

    Args:
        kernel_size: nominal window, one number or one an axis.
        stride: samples between windows; default the window.
        padding: nominal padding on both sides.
        round_up: for a size that does not fit, one output more ((n + 1)/2 for odd n) instead of the usual size;
            for strides 1 and 2.

    Raises:
        RequestError: ``round_up`` with a larger stride, whose windows could see padding alone.
    """

    def __init__(
        self,
        kernel_size: Extent = 2,
        stride: Extent | None = None,
        padding: Extent = 0,
        *,
        round_up: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = (
            kernel_size,
            kernel_size if stride is None else stride,
            padding,
        )
        self.round_up = round_up
        steps = (self.stride,) if isinstance(self.stride, int) else self.stride
        if round_up and max(steps) > 2:
            raise RequestError(f"expected stride 1 or 2 for a pool that rounds up, received {self.stride}")

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``[B, C, *space]``, any channels, over two or three axes of space."""
        space = tuple(x.shape[2:])
        nominal = zip(
            space,
            *(_spread(e, len(space)) for e in (self.kernel_size, self.stride, self.padding)),
            strict=True,
        )
        windows, padding = zip(
            *(pool_window(n, k, s, p, round_up=self.round_up) for n, k, s, p in nominal), strict=True
        )
        return self.pool(x, windows, _spread(self.stride, len(space)), padding)

    @abstractmethod
    def pool(self, x: Tensor, window: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...]) -> Tensor:
        """Pool with windows that fit."""

    def extra_repr(self) -> str:
        """Say the nominal window."""
        return f"kernel {self.kernel_size}, stride {self.stride}, padding {self.padding}, round_up={self.round_up}"


class ParityMaxPool(ParityPool):
    """Maximum over parity-adaptive windows (:class:`ParityPool`).

    >>> import torch
    >>> ParityMaxPool(2)(torch.zeros(1, 1, 16, 17)).shape
    torch.Size([1, 1, 8, 8])
    """

    def pool(self, x: Tensor, window: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...]) -> Tensor:
        """Take the maximum; padding never wins."""
        return _MAX_POOLS[len(window)](_padded(x, padding, float("-inf")), window, stride)


class ParityAvgPool(ParityPool):
    """Mean over parity-adaptive windows (:class:`ParityPool`).

    Args:
        kernel_size: nominal window.
        stride: samples between windows.
        padding: nominal padding on both sides.
        round_up: one output more for a size that does not fit.
        count_include_pad: whether padded samples count as zeros, or not at all.
    """

    def __init__(
        self,
        kernel_size: Extent = 2,
        stride: Extent | None = None,
        padding: Extent = 0,
        *,
        round_up: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding, round_up=round_up)
        self.count_include_pad = count_include_pad

    def pool(self, x: Tensor, window: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...]) -> Tensor:
        """Take the mean."""
        average = _AVG_POOLS[len(window)]
        mean = average(_padded(x, padding, 0.0), window, stride)
        if self.count_include_pad or not any(padding):
            return mean
        counted = average(_padded(torch.ones_like(x[:1, :1]), padding, 0.0), window, stride)
        return mean / counted


class ParityUpsample(nn.Module):
    """Linear upsampling to a size that it is told, the inverse of a parity-adaptive pool.

    ``upsample(x, size)`` interpolates with coinciding corners from m to 2 m - 1 samples and with half-pixel centres
    otherwise; both commute with the group. Without a size it multiplies every axis by ``factor``.

    Args:
        factor: how much finer, one number or one an axis.
        mode: ``"linear"``, or ``"nearest"`` where the size is a whole multiple (and linear where it is not).

    >>> import torch
    >>> ParityUpsample()(torch.zeros(1, 1, 8, 9), (15, 18)).shape
    torch.Size([1, 1, 15, 18])
    """

    def __init__(self, factor: float | Sequence[float] = 2, mode: str = "linear") -> None:
        super().__init__()
        if mode not in ("linear", "nearest"):
            raise unknown("interpolation", mode, ("linear", "nearest"))
        self.factor, self.mode = factor, mode

    def forward(self, x: Tensor, size: Sequence[int] | None = None) -> Tensor:
        """Upsample ``[B, C, *space]``."""
        space = x.shape[2:]
        factors = (self.factor,) * len(space) if isinstance(self.factor, (int, float)) else tuple(self.factor)
        target = tuple(size) if size is not None else tuple(int(n * f) for n, f in zip(space, factors, strict=True))
        if self.mode == "nearest" and all(t % n == 0 for t, n in zip(target, space, strict=True)):
            return functional.interpolate(x, size=target, mode="nearest")
        return resize_linear(x, target)

    def extra_repr(self) -> str:
        """Say factor and mode."""
        return f"factor {self.factor}, {self.mode}"


class Reduction(str, Enum):
    """How a field's |G| channels become one invariant channel."""

    MAX = "max"
    MEAN = "mean"

    @classmethod
    def of(cls, name: str | Reduction) -> Reduction:
        """Return a reduction by name; RequestError for another name."""
        if name not in set(cls):
            raise unknown("reduction over the group", str(name), [r.value for r in cls])
        return cls(name)


class GroupPool(EquivariantLayer):
    """Pool over the group: ``[B, fields * |G|, *space] -> [B, fields, *space]``, regular fields to scalar ones.

    Args:
        fields: fields of the input.
        group: the group or its name.
        reduce: ``"max"`` or ``"mean"``.
        dim: axes of space, where the group is given by name.
    """

    def __init__(self, fields: int, group: str | FiniteGroup, reduce: str = "max", *, dim: int = 2) -> None:
        resolved = resolve(group, dim) if isinstance(group, str) else group
        super().__init__(regular_fields(resolved, fields), scalar_fields(resolved, fields))
        self.reduce = Reduction.of(reduce)

    def forward(self, x: Tensor) -> Tensor:
        """Pool every field over its |G| channels."""
        self.check(x)
        if self.in_type.group.order == 1:
            return x
        order = self.in_type.group.order
        return field_maximum(x, order) if self.reduce is Reduction.MAX else x.unflatten(1, (-1, order)).mean(2)


class InvariantHead(nn.Module):
    """Regular fields to numbers that the group does not change: pool over space, over the group, then linear.

    Space comes first: a linear layer on flattened space would see where things are, and change under the group.

    Args:
        fields: fields of the input ``[B, fields * |G|, *space]``.
        out_features: numbers to put out, such as classes.
        group: the group or its name.
        reduce: how to pool over the group, ``"max"`` or ``"mean"``.
        hidden: features of further linear layers before the last, each with ReLU and dropout behind it.
        dropout: probability to drop one of their features.
        dim: axes of space, where the group is given by name.
    """

    def __init__(
        self,
        fields: int,
        out_features: int,
        group: str | FiniteGroup,
        reduce: str = "max",
        *,
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
        dim: int = 2,
    ) -> None:
        super().__init__()
        if out_features < 1:
            raise RequestError(f"expected at least one output feature, received {out_features}")
        self.pool = GroupPool(fields, group, reduce, dim=dim)
        before, layers = fields, []
        for width in hidden:
            layers += [_hidden(before, width), nn.ReLU(inplace=True), nn.Dropout(dropout)]
            before = width
        last = nn.Linear(before, out_features)
        self.linear = nn.Sequential(*layers, last) if layers else last

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, out_features]``."""
        axes = tuple(range(2, x.dim()))
        pooled = self.pool(x.mean(axes, keepdim=True))
        return self.linear(pooled.flatten(1))


def _hidden(features: int, width: int) -> nn.Linear:
    """Return a linear layer that a ReLU follows, initialised as He et al. do."""
    layer = nn.Linear(features, width)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer


_MAX_POOLS = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
_AVG_POOLS = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def _padded(x: Tensor, padding: tuple[int, ...], value: float) -> Tensor:
    """Pad both sides of space; torch's pools take no more than half a window themselves."""
    sides = [p for side in reversed(padding) for p in (side, side)]
    return functional.pad(x, sides, value=value) if any(padding) else x


def _spread(extent: Extent, axes: int) -> tuple[int, ...]:
    sizes = (extent,) * axes if isinstance(extent, int) else tuple(extent)
    if len(sizes) != axes:
        raise RequestError(f"expected one number or {axes}, one an axis, received {extent}")
    return sizes
