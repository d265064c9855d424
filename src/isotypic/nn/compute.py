"""Which way a group convolution is computed: by expanded filters, or in the isotypic basis.

Both give the same to rounding. The dense way is an ordinary convolution with |G| times expanded filters; the isotypic
one has 2 to 18 times fewer multiplications, and transforms that cost a few additions a sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from isotypic.errors import RequestError, unknown
from isotypic.groups.fields import FieldType
from isotypic.groups.finite import FiniteGroup
from isotypic.groups.irreps import irreps
from isotypic.nn.filters import Bank
from isotypic.nn.window import Window
from isotypic.ops import native
from isotypic.ops.action import swaps_axes
from isotypic.ops.isotypic import compiled
from isotypic.ops.isotypic.case import Case, patch_basis
from isotypic.ops.isotypic.convolution import to_blocks
from isotypic.ops.isotypic.program import program
from isotypic.ops.resampling import Sizes, widen


class Compute(str, Enum):
    """How a group convolution is computed."""

    AUTO = "auto"
    DENSE = "dense"
    ISOTYPIC = "isotypic"


def chosen(compute: Compute | str, *, lift: bool, groups: int) -> Compute:
    """Return the way that a layer asks for, refused where it has none.

    Raises:
        RequestError: another word, or the isotypic way for scalar fields or blocks of fields.
    """
    words = [way.value for way in Compute]
    if compute not in words:
        raise unknown("compute", str(compute), words)
    if compute == Compute.ISOTYPIC and (lift or groups > 1):
        what = "a lifting layer" if lift else f"groups={groups}"
        raise RequestError(f"expected compute='auto' or 'dense' for {what}, received 'isotypic'")
    return Compute(compute)


class Convolution(Protocol):
    """What the choice depends on."""

    compute: Compute
    window: Window
    in_type: FieldType
    out_type: FieldType
    weight: nn.Parameter


class BlockBank(Bank[Tensor]):
    """Brings a weight into blocks, and keeps the last as :class:`~isotypic.nn.filters.Bank` says."""

    def forward(self, weight: Tensor, widening: Sizes, dilation: Sizes, case: Case) -> Tensor:
        """Return the blocks of a weight ``[M, N |G|, *kernel]``, widened to the kernel of a case."""
        make = lambda: to_blocks(widen(weight, widening, dilation)[0], case)  # noqa: E731
        return self.keep((widening, dilation), weight, None, make)


def dense(model: nn.Module) -> None:
    """Tell every layer of a network to compute by ordinary convolutions."""
    for module in model.modules():
        if isinstance(getattr(module, "compute", None), Compute):
            module.compute = Compute.DENSE  # type: ignore[assignment]


@dataclass(frozen=True)
class Plan:
    """How a layer convolves inputs of one kind.

    Attributes:
        padding: samples on both sides, per axis.
        widening: of the kernel, per axis.
        stride: samples between outputs.
        mean: r of the means of r + 1 neighbours, every stride-th, that are convolved in the input's place, or None.
        case: what is computed in the isotypic basis, or None for the dense way.
    """

    padding: Sizes
    widening: Sizes
    stride: Sizes
    mean: Sizes | None
    case: Case | None


class Plans:
    """The plans of a layer, each made once; pickles and copies start anew.

    An input is of another kind if its size, dtype or device is, or what surrounds the call: gradients, autocast, or the
    way that the layer is told to compute.
    """

    MOST = 256
    """Kinds that are remembered."""

    def __init__(self) -> None:
        self._made: dict[tuple[Any, ...], Plan] = {}

    def of(self, layer: Convolution, x: Tensor) -> Plan:
        """Return how a layer convolves an input."""
        if torch.compiler.is_compiling():
            return _plan(layer, x, isotypic=False)
        device = x.device.type
        autocast, weight = torch.is_autocast_enabled(device), layer.weight.dtype
        kind = (x.shape, x.dtype, device, layer.compute, torch.is_grad_enabled(), autocast, weight)
        plan = self._made.get(kind)
        if plan is None:
            if len(self._made) >= self.MOST:
                self._made.clear()
            plan = self._made[kind] = _plan(layer, x, isotypic=not autocast)
        return plan

    def __reduce__(self) -> tuple[type[Plans], tuple[()]]:
        return Plans, ()


def _plan(layer: Convolution, x: Tensor, *, isotypic: bool) -> Plan:
    """Work out a plan. A strided 1-kernel is one without a stride after means, which no zeros or copies enter."""
    window, mean = layer.window, None
    size = tuple(x.shape[2:])
    padding, widening = window.fitted(size)
    if {*window.kernel} == {1} and {*window.stride} != {1} and not any(padding):
        size, mean = _sampled(size, widening, window.stride), widening
        widening, window = (0,) * len(size), replace(window, stride=(1,) * len(size))
    case = _isotypic_case(layer, window, x, size, padding, widening) if isotypic else None
    return Plan(padding, widening, window.stride, mean, case)


def _sampled(size: Sizes, reach: Sizes, stride: Sizes) -> Sizes:
    return tuple((n - r - 1) // s + 1 for n, r, s in zip(size, reach, stride, strict=True))


def _isotypic_case(  # noqa: PLR0917
    layer: Convolution, window: Window, x: Tensor, size: Sizes, padding: Sizes, widening: Sizes
) -> Case | None:
    """Return what a layer computes in the isotypic basis, as it was told or because it takes less, or None.

    The dense way is taken where a graph of ordinary operators is wanted (``torch.export``, ``torch.compile``), under
    autocast, and where the group does not map the widened kernel to itself; by ``auto`` also on other devices than the
    CPU: on a GPU nothing has been measured yet.
    """
    told = layer.compute is Compute.ISOTYPIC
    if layer.compute is Compute.DENSE or not (told or _can(layer, x)):
        return None
    if window.padding_mode != "zeros":
        size, padding = tuple(n + 2 * p for n, p in zip(size, padding, strict=True)), (0,) * len(padding)
    case = _case(window, layer.in_type.group, padding, widening)
    outputs = len(x) * math.prod(case.output_size(size)) if case else 0
    return case if case and (told or _pays(layer.in_type.fields, layer.out_type.fields, outputs, x, case)) else None


def _can(layer: Convolution, x: Tensor) -> bool:
    regular = layer.in_type.representation.dimension == layer.in_type.group.order > 1
    if not regular or layer.window.groups > 1 or x.device.type != "cpu":
        return False
    return x.dtype == layer.weight.dtype and x.dtype in native.DTYPES


@cache
def _case(window: Window, group: FiniteGroup, padding: Sizes, widening: Sizes) -> Case | None:
    """Return what a window computes in the isotypic basis, or None where the group does not map its kernel to itself.

    That is so for a kernel that the parity rule widens along one of two axes that the group swaps.
    """
    axes = list(zip(window.kernel, window.dilation, widening, strict=True))
    kernel = tuple(d * (k - 1) + 1 + r if r else k for k, d, r in axes)
    dilation = tuple(1 if r else d for _, d, r in axes)
    if any(swaps_axes(group, g, kernel) for g in range(group.order)):
        return None
    return Case(group, kernel, window.stride, padding, dilation)


def _pays(seen: int, made: int, outputs: int, x: Tensor, case: Case) -> bool:
    """Whether the isotypic way takes less than the dense one."""
    group, taps = case.group, math.prod(case.kernel)
    dense = DENSE_CALL + outputs * taps * group.order**2 * seen * made
    fewest = outputs * taps * seen * made * multiplications(group)
    entries, channels = outputs * taps * group.order * seen, outputs * group.order * (seen + made)
    if fewest + COMPILED.of(entries, channels, group) >= dense:
        return False
    return compiled.serves(x, case) or fewest + STOCK.of(entries, channels, group) < dense


@dataclass(frozen=True)
class _Cost:
    """What a way costs beside its products, in multiplications of a convolution at full speed.

    Fitted to timings of plane and volume layers in float32 on two AVX-512 cores. A dense call, with its expanded
    filters, is the dearer one.

    Attributes:
        call: a call.
        entry: an entry of the patches that are transformed.
        channel: a channel of a sample in or out.
        addition: an addition of the transform of the channels.
    """

    call: int
    entry: int
    channel: int
    addition: int

    def of(self, entries: int, channels: int, group: FiniteGroup) -> float:
        return self.call + self.entry * entries + (self.channel + self.addition * additions(group)) * channels


DENSE_CALL = 1_000_000
COMPILED = _Cost(0, 5, 10, 8)
STOCK = _Cost(20_000_000, 150, 35, 0)


@cache
def multiplications(group: FiniteGroup) -> int:
    """Return the multiplications of a pair of fields a tap: d^2 for every copy of an irrep in a regular field."""
    return sum(rho.dimension**2 * rho.multiplicity for rho in irreps(group))


@cache
def additions(group: FiniteGroup) -> float:
    """Return the additions that the transform of a field's channels takes, a channel."""
    return len(program(patch_basis(group, (1,) * group.dim).channel).steps) / group.order
