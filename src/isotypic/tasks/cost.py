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
    return 1e3 * _seconds(model, image[None], repeats)


def throughput(model: nn.Module, image: Tensor, batch_size: int = 32, repeats: int = 3) -> float:
    """Return the images ``[C, *space]`` a second in batches, the median of some, in evaluation mode."""
    return batch_size / _seconds(model, image[None].repeat(batch_size, *[1] * image.dim()), repeats)


def _seconds(model: nn.Module, images: Tensor, repeats: int) -> float:
    """Return the median seconds of a batch, after three that do not count, or one of few."""
    model.eval()
    batch = channels_last(images.to(next(model.parameters()).device))
    warm = min(3, repeats - 1)
    seconds = []
    with torch.inference_mode():
        for _ in range(repeats + warm):
            start = time.perf_counter()
            model(batch).sum().item()
            seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[warm:]))
