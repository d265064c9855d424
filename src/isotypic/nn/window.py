"""How a kernel moves over the grid: what layers with windows are told, spread over the axes and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor
from torch.nn import functional

from isotypic.errors import RequestError, unknown
from isotypic.groups.axes import groups_for
from isotypic.groups.finite import FiniteGroup
from isotypic.ops.action import swaps_axes
from isotypic.ops.resampling import Sizes, symmetric_window

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
Extent = int | tuple[int, ...]


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
            f"give one number, or take a group that keeps the axes ({', '.join(groups_for(sizes))})"
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
