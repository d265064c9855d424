"""What a network costs: the numbers that it learns, and the time that one image takes."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor, nn

from isotypic.ops.layout import channels_last


def parameter_count(model: nn.Module) -> int:
    """Return how many numbers a model learns."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def latency_ms(model: nn.Module, image: Tensor, repeats: int = 30) -> float:
    """Return the median milliseconds that one image ``[C, *space]`` takes, at batch 1, in evaluation mode."""
    model.eval()
    batch = channels_last(image[None].to(next(model.parameters()).device))
    seconds = []
    with torch.inference_mode():
        for _ in range(repeats + 3):
            start = time.perf_counter()
            model(batch).sum().item()
            seconds.append(time.perf_counter() - start)
    return 1e3 * float(np.median(seconds[3:]))
