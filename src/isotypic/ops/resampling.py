"""Parity-adaptive resampling: strided windows and upsampling that commute with the group on every size.

A window of extent ``d (k - 1) + 1`` moved by stride s over n samples padded by p on both sides covers the padded
axis symmetrically exactly when the remainder ``r = (n + 2 p - d (k - 1) - 1) mod s`` is zero; otherwise the last r
samples are never seen, a reflection sees others, and equivariance breaks. The rule here widens the window by r:

* a pooling window of k becomes k + r;
* a learned kernel is convolved with the box of r + 1 equal weights of sum one, which is the stride-1 convolution
  followed by a mean over r + 1 neighbours, sampled at the stride.

Output sizes stay the usual ones, one weight serves every size, and each axis follows its own parity.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from isotypic.ops.layout import memory_format

Sizes = tuple[int, ...]


def remainders(
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Sizes:
    """Return, per axis, how many samples a strided window misses at the far end; all zero means exact.

    >>> remainders((32, 33), (3, 3), (2, 2), (1, 1), (1, 1))
    (1, 0)
    """
    axes = zip(size, kernel, stride, padding, dilation, strict=True)
    return tuple((n + 2 * p - d * (k - 1) - 1) % s for n, k, s, p, d in axes)


def symmetric_window(size: int, extent: int, stride: int, padding: int) -> tuple[int, int]:
    """Return padding on *both* sides and widening that give a strided window its usual number of outputs.

    With ``t`` samples of padding in all and ``rem = (n + t - extent) mod s``, any p and r with ``2 p - r = t - rem``
    cover the padded axis symmetrically with as many windows; the smallest widening ``r`` is taken.

    Args:
        size: samples n along the axis.
        extent: ``d (k - 1) + 1``.
        stride: samples between windows.
        padding: t, on both sides together; odd when one side had a sample more.

    >>> symmetric_window(32, 3, 2, 2), symmetric_window(33, 3, 2, 2)
    ((1, 1), (1, 0))
    >>> symmetric_window(32, 3, 2, 1), symmetric_window(33, 3, 2, 1)
    ((1, 1), (0, 0))
    """
    spare = padding - (size + padding - extent) % stride
    sides = max(0, (spare + 1) // 2)
    return sides, 2 * sides - spare


def widen(filters: Tensor, remainder: Sequence[int], dilation: Sequence[int]) -> tuple[Tensor, Sizes]:
    """Convolve a filter bank with the box of ``r + 1`` equal weights along every axis where r is not zero.

    Args:
        filters: ``[..., *kernel]``.
        remainder: r per axis, from :func:`remainders`.
        dilation: per axis; a widened axis is written out with dilation 1.

    Returns:
        The filters, of size ``d (k - 1) + 1 + r`` along a widened axis, and the dilation that remains.
    """
    first = filters.dim() - len(remainder)
    left = list(dilation)
    for i, (r, d) in enumerate(zip(remainder, dilation, strict=True)):
        if r:
            filters = _box(_write_out(filters, first + i, d), first + i, r)
            left[i] = 1
    return filters, tuple(left)


def _write_out(filters: Tensor, axis: int, dilation: int) -> Tensor:
    """Insert the zeros that a dilation stands for."""
    if dilation == 1:
        return filters
    size = filters.shape[axis]
    shape = list(filters.shape)
    shape[axis] = dilation * (size - 1) + 1
    places = torch.arange(0, shape[axis], dilation, device=filters.device)
    return filters.new_zeros(shape).index_copy(axis, places, filters)


def _box(filters: Tensor, axis: int, r: int) -> Tensor:
    """Convolve with the mean of ``r + 1`` neighbours along one axis, full size."""
    after = 2 * (filters.dim() - 1 - axis)
    shifted = [functional.pad(filters, [0] * after + [i, r - i]) for i in range(r + 1)]
    return torch.stack(shifted).sum(0) / (r + 1)


def sampled_mean(x: Tensor, reach: Sizes, stride: Sizes) -> Tensor:
    """Return the mean of ``r + 1`` neighbours along each axis of space, every stride-th: what a widened 1-kernel sees.

    Args:
        x: ``[B, C, *space]``.
        reach: r per axis.
        stride: samples between means.
    """
    pool = functional.avg_pool2d if len(reach) == 2 else functional.avg_pool3d
    return pool(x, [r + 1 for r in reach], list(stride)).contiguous(memory_format=memory_format(x))


def pool_window(size: int, kernel: int, stride: int, padding: int, *, round_up: bool) -> tuple[int, int]:
    """Return the window and padding of a pool that sees one axis symmetrically.

    Args:
        size: samples along the axis.
        kernel: the nominal window.
        stride: samples between windows.
        padding: nominal padding on both sides.
        round_up: where the size does not fit, give one output more by padding a sample more on both sides
            (odd n with k 2, s 2: window 3, pad 1, output (n + 1)/2) instead of the usual size (window 3, pad 0).

    >>> pool_window(16, 2, 2, 0, round_up=False), pool_window(17, 2, 2, 0, round_up=False)
    ((2, 0), (3, 0))
    >>> pool_window(17, 2, 2, 0, round_up=True)
    (3, 1)
    """
    r = (size + 2 * padding - kernel) % stride
    if r == 0 or not round_up:
        return kernel + r, padding
    # One output more: the windows must span stride - r further samples; what is odd widens the window.
    missing = stride - r
    return kernel + missing % 2, padding + (missing + 1) // 2


def resize_linear(signal: Tensor, size: Sequence[int]) -> Tensor:
    """Resize the last axes linearly and symmetrically, the inverse of a parity-adaptive pool by 2.

    Along an axis from m to n samples: ``align_corners`` for odd n = 2 m - 1 (the samples coincide with every
    second one), half-pixel centres otherwise. Either map commutes with reflections.

    Args:
        signal: ``[B, C, *space]`` with two or three axes of space.
        size: the sizes to reach.
    """
    space = signal.shape[2:]
    corners = [n == 2 * m - 1 for m, n in zip(space, size, strict=True)]
    if all(corners) or not any(corners):
        return _interpolate(signal, tuple(size), all(corners))
    first = tuple(n if c else m for m, n, c in zip(space, size, corners, strict=True))
    return _interpolate(_interpolate(signal, first, True), tuple(size), False)


def _interpolate(signal: Tensor, size: Sizes, corners: bool) -> Tensor:
    if tuple(signal.shape[2:]) == size:
        return signal
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(size)]
    return functional.interpolate(signal, size=size, mode=mode, align_corners=corners)
