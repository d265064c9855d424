"""Random draws of augmentations: from torch's global generator on the CPU, whatever device the images are on.

So they are the same on every device, and a training that was stopped, which restores that generator, goes on exactly.
That is why augmentations call kornia's functions with draws of their own and not its modules, which draw on the device
that they are moved to.
"""

from __future__ import annotations

import torch
from torch import Tensor


def uniform(count: int, low: float, high: float) -> Tensor:
    """Return uniform draws ``[count]`` between two numbers, on the CPU."""
    return low + (high - low) * torch.rand(count)
