"""How a signal lies in memory: contiguous, or with its channels last."""

from __future__ import annotations

import torch
from torch import Tensor

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""The memory format with channels last, by the number of axes with batch and channels."""


def is_channels_last(x: Tensor) -> bool:
    """Whether a signal lies in memory with its channels last, and only so.

    Gaps do not matter: a slice of the channels, as the gradient of ``torch.cat`` is, lies as what it was cut from. A
    signal of one channel lies both ways, and its strides say which is meant, as for torch's own layers.
    """
    return x.stride(1) == 1 and (x.shape[1] == 1 or not x.is_contiguous()) and x.shape[2:].numel() > 1


def memory_format(x: Tensor) -> torch.memory_format:
    """Return the memory format of a signal: channels last only where it is not contiguous as well."""
    return CHANNELS_LAST[x.dim()] if is_channels_last(x) else torch.contiguous_format


def without_gaps(x: Tensor) -> Tensor:
    """Return a signal without gaps, in its memory format; itself where it has none."""
    return x.contiguous(memory_format=memory_format(x))


def channels_last(x: Tensor) -> Tensor:
    """Return a signal with its channels last, one of a single channel too, which ``Tensor.contiguous`` leaves alone."""
    if is_channels_last(x):
        return without_gaps(x)
    return torch.empty_like(x, memory_format=CHANNELS_LAST[x.dim()]).copy_(x)
