"""How a signal lies in memory: contiguous, or with its channels last."""

from __future__ import annotations

import torch
from torch import Tensor

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""The memory format with channels last, by the number of axes with batch and channels."""


def is_channels_last(x: Tensor) -> bool:
    """Whether a signal lies in memory with its channels last, and only so."""
    return x.is_contiguous(memory_format=CHANNELS_LAST[x.dim()]) and not x.is_contiguous()


def memory_format(x: Tensor) -> torch.memory_format:
    """Return the memory format of a signal: channels last only where it is not contiguous as well."""
    return CHANNELS_LAST[x.dim()] if is_channels_last(x) else torch.contiguous_format
