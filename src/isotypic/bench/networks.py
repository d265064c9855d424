"""The plain networks that are timed: a residual network and one of concatenations, as a user would write them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

CLASSES = 10
_CONV: dict[int, type[nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
_NORM: dict[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_MEAN: dict[int, type[nn.Module]] = {2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
_POOL: dict[int, type[nn.Module]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}


@dataclass(frozen=True)
class Network:
    """A plain network and what it is timed on.

    Attributes:
        dim: axes of space.
        channels: of its input.
        make: builds it.
        groups: names of the groups that it is converted for.
        size: samples along each axis of its input.
        batch: inputs at once.
    """

    dim: int
    channels: int
    make: Callable[[], nn.Module]
    groups: tuple[str, ...]
    size: int
    batch: int


class BasicBlock(nn.Module):
    """Two 3-convolutions and the input, or its projection where stride or width change."""

    def __init__(self, dim: int, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _CONV[dim](before, after, 3, stride, 1, bias=False)
        self.norm1 = _NORM[dim](after)
        self.conv2 = _CONV[dim](after, after, 3, 1, 1, bias=False)
        self.norm2 = _NORM[dim](after)
        self.relu = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or before != after:
            self.shortcut = nn.Sequential(_CONV[dim](before, after, 1, stride, bias=False), _NORM[dim](after))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, before, *space]`` to ``[B, after, *space / stride]``."""
        y = self.relu(self.norm1(self.conv1(x)))
        return self.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def resnet(dim: int, channels: int, widths: tuple[int, ...], depth: int, *, coarse: bool) -> nn.Module:
    """Return a residual network.

    Args:
        dim: axes of space.
        channels: of the input.
        widths: channels of every stage; from the second on a stage halves the size.
        depth: blocks a stage.
        coarse: whether the stem quarters the size by a strided 7-convolution and a pool; else a 3-convolution keeps it.
    """
    kernel, stride = (7, 2) if coarse else (3, 1)
    stem = [_CONV[dim](channels, widths[0], kernel, stride, kernel // 2, bias=False), _NORM[dim](widths[0]), nn.ReLU()]
    pool = [_POOL[dim](3, 2, 1)] if coarse else []
    blocks = [BasicBlock(dim, widths[0], widths[0], 1) for _ in range(depth)]
    for before, after in pairwise(widths):
        blocks += [BasicBlock(dim, before, after, 2)]
        blocks += [BasicBlock(dim, after, after, 1) for _ in range(depth - 1)]
    return nn.Sequential(*stem, *pool, *blocks, *_head(dim, widths[-1]))


class DenseLayer(nn.Module):
    """Adds ``growth`` channels to those that came in, made by a 1- and a 3-convolution."""

    def __init__(self, before: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(before), nn.Conv2d(before, 4 * growth, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(4 * growth), nn.Conv2d(4 * growth, growth, 3, 1, 1, bias=False)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, before, y, x]`` to ``[B, before + growth, y, x]``."""
        y = self.conv1(self.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(self.relu(self.norm2(y)))], 1)


def densenet(width: int, growth: int, depths: tuple[int, ...]) -> nn.Module:
    """Return a network of concatenations for RGB images.

    Args:
        width: channels of the stem, which halves the size.
        growth: channels that a layer adds.
        depths: layers of every block; between blocks a transition halves channels and size.
    """
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 2, 1, bias=False)]
    for stage, depth in enumerate(depths):
        if stage:
            layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width // 2, 1, bias=False), nn.AvgPool2d(2)]
            width //= 2
        layers += [DenseLayer(width + i * growth, growth) for i in range(depth)]
        width += depth * growth
    return nn.Sequential(*layers, nn.BatchNorm2d(width), nn.ReLU(), *_head(2, width))


def _head(dim: int, channels: int) -> list[nn.Module]:
    return [_MEAN[dim](1), nn.Flatten(), nn.Linear(channels, CLASSES)]


NETWORKS = {
    "resnet18": Network(
        2, 3, lambda: resnet(2, 3, (64, 128, 256, 512), 2, coarse=True), ("p4", "p4m"), size=64, batch=8
    ),
    "densenet": Network(2, 3, lambda: densenet(64, 32, (4, 4, 4)), ("p4", "p4m"), size=64, batch=8),
    "resnet3d": Network(3, 1, lambda: resnet(3, 1, (48, 96, 192), 1, coarse=False), ("O", "D4h"), size=24, batch=2),
}
"""The networks by name."""
