"""Anti-aliased pooling: a Gaussian low-pass before the stride, symmetric on every size."""

from __future__ import annotations

from functools import partial, reduce
from math import ceil

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from isotypic.errors import RequestError
from isotypic.groups.finite import Floats
from isotypic.nn.fieldwise import ExactTables
from isotypic.ops.resampling import remainders, widen


class BlurPool(nn.Module):
    """Keep every s-th sample after a Gaussian low-pass: ``[B, C, y, x] -> [B, C, ceil(y / s), ceil(x / s)]``.

    With ``dim=3`` volumes likewise.

    The Gaussian of every channel alone is the same in every direction, so that the pool serves fields of any
    representation; borders are replicated. Where the stride does not fit the size the filter follows the parity rule
    of :mod:`isotypic.ops.resampling`: exact on every size for D4, and in space for Oh. For a maximum (permutation
    fields) put ``ParityMaxPool(3, 1, 1)`` before it. Error under 45 degrees for s = 2, measured as
    :mod:`isotypic.nn.steerable` says: 0.4 % (of which the rotation itself is 0.3 %), and 33 % for waves up to pi,
    where the same samples without the low-pass give 120 %.

    Args:
        stride: s, samples between outputs.
        width: standard deviation of the Gaussian, in samples; default ``0.5 s``.
        dim: axes of space, 2 or 3.

    Raises:
        RequestError: a stride below 1, a width that is not positive, other axes.

    Source:
        R. Zhang, Making Convolutional Networks Shift-Invariant Again, ICML 2019, arXiv 1904.11486.

    >>> BlurPool(2)(torch.zeros(1, 3, 16, 17)).shape
    torch.Size([1, 3, 8, 9])
    """

    def __init__(self, stride: int = 2, *, width: float | None = None, dim: int = 2) -> None:
        super().__init__()
        self.stride, self.width = stride, 0.5 * stride if width is None else width
        if stride < 1 or self.width <= 0:
            raise RequestError(f"expected a stride of at least 1 and a positive width, received {stride} and {width}")
        if dim not in _CONVOLVE:
            raise RequestError(f"expected 2 or 3 axes of space, received dim={dim}")
        self.dim = dim
        self.tables = ExactTables(partial(_gaussian, self.width, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Blur and subsample all axes of space, each by its own parity."""
        if x.dim() != self.dim + 2:
            space = ", ".join("zyx"[3 - self.dim :])
            raise RequestError(f"{self}: expected [batch, channels, {space}], received {list(x.shape)}")
        taps = self.tables("taps").to(x.dtype)
        size, stride, ones = tuple(taps.shape), (self.stride,) * self.dim, (1,) * self.dim
        x = _replicated(x, size[0] // 2)
        missed = remainders(tuple(x.shape[2:]), size, stride, (0,) * self.dim, ones)
        filters, _ = widen(taps[None, None], missed, ones)
        filters = filters.expand(x.shape[1], *(-1,) * (self.dim + 1))
        return _CONVOLVE[self.dim](x, filters, None, stride, groups=x.shape[1])

    def extra_repr(self) -> str:
        """Say stride and width."""
        return f"stride {self.stride}, width {self.width:g}"


_CONVOLVE = {2: functional.conv2d, 3: functional.conv3d}


def _replicated(x: Tensor, reach: int) -> Tensor:
    """Repeat the samples at every border."""
    if not torch.compiler.is_compiling():
        return functional.pad(x, [reach] * (2 * (x.dim() - 2)), mode="replicate")
    # Inductor (torch 2.13) expects other strides of this pad's gradient than it gets, and refuses them.
    for axis in range(2, x.dim()):
        first, last = x.narrow(axis, 0, 1), x.narrow(axis, x.shape[axis] - 1, 1)
        x = torch.cat([*[first] * reach, x, *[last] * reach], axis)
    return x


def _gaussian(width: float, dim: int) -> dict[str, Floats]:
    """Return a square or cube of an odd number of taps a side and sum one, out to three standard deviations."""
    reach = ceil(3 * width)
    taps = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * width**2))
    return {"taps": reduce(np.multiply.outer, [taps] * dim) / taps.sum() ** dim}
