"""Residual convolutions down to a coarse grid and back: the CNN that spherical networks are compared with.

On the way down a block is ``relu(conv(x) + pool(1x1(x)))``, on the way up it is the transposed convolution and bilinear
upsampling, with kernels and strides mirrored; the first and the last block are a convolution alone.

Source:
    J. Gerken et al., Equivariance versus Augmentation for Spherical Images, ICML 2022, arXiv 2202.03990.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from isotypic.configuration import Config
from isotypic.errors import RequestError


@dataclass(frozen=True)
class HourglassWidths:
    """The sizes of the way down.

    Attributes:
        features: channels behind every block.
        kernels: taps along each axis; odd.
        strides: samples between outputs.
    """

    features: tuple[int, ...]
    kernels: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        if not len(self.features) == len(self.kernels) == len(self.strides) > 0:
            raise RequestError(
                "expected features, kernels and strides of every block, received "
                f"{len(self.features)}, {len(self.kernels)} and {len(self.strides)}"
            )
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise RequestError(f"expected odd kernels, received {self.kernels}")


CNN_218K = HourglassWidths((13, 15, 22, 31, 141), (5, 3, 9, 7, 3), (1, 1, 1, 1, 2))
CNN_1M = HourglassWidths((12, 13, 16, 77, 96, 163), (3, 3, 5, 5, 3, 5), (1, 1, 1, 2, 1, 1))
CNN_5M = HourglassWidths((12, 15, 16, 85, 141, 191, 1100), (3, 5, 3, 7, 5, 3, 3), (1, 1, 1, 2, 1, 1, 2))

CLASSIFIER_150K = HourglassWidths((13, 15, 22, 31, 264), (5, 3, 9, 7, 3), (1, 1, 1, 1, 2))
CLASSIFIER_1M = HourglassWidths((12, 13, 16, 77, 140, 234), (3, 3, 5, 5, 3, 5), (1, 1, 1, 2, 1, 1))
CLASSIFIER_5M = HourglassWidths((12, 15, 16, 85, 200, 344, 1100), (3, 5, 3, 7, 5, 3, 3), (1, 1, 1, 2, 1, 1, 2))
"""The same kernels and strides with more features at the end, as there is no way up."""

Positive = Annotated[int, Field(ge=1)]


class OwnWidths(Config):
    """Widths that are not one of the paper's."""

    features: list[Positive] = Field(description="channels behind every block")
    kernels: list[Positive] = Field(description="taps along each axis of every block; odd")
    strides: list[Positive] = Field(description="samples between outputs of every block")


class HourglassConfig(Config):
    """The ``model`` section of a recipe for :class:`Hourglass`."""

    family: Literal["hourglass"] = "hourglass"
    widths: Literal["218k", "1m", "5m"] | OwnWidths = Field(
        "218k", description="218k, 1m or 5m as in the paper, or features, kernels and strides"
    )


class HourglassClassifierConfig(Config):
    """The ``model`` section of a recipe for :class:`HourglassClassifier`."""

    family: Literal["hourglass"] = "hourglass"
    widths: Literal["150k", "1m", "5m"] | OwnWidths = Field(
        "150k", description="150k, 1m or 5m, or features, kernels and strides"
    )


_SEGMENTING: Mapping[str, HourglassWidths] = MappingProxyType({"218k": CNN_218K, "1m": CNN_1M, "5m": CNN_5M})
_CLASSIFYING: Mapping[str, HourglassWidths] = MappingProxyType(
    {"150k": CLASSIFIER_150K, "1m": CLASSIFIER_1M, "5m": CLASSIFIER_5M}
)


class Hourglass(nn.Module):
    """Dense prediction ``[B, in_channels, y, x] -> [B, classes, y, x]``, any size.

    Args:
        widths: features, kernels and strides.
        in_channels: channels of the image.
        classes: how many logits a pixel.

    >>> sum(p.numel() for p in Hourglass(CNN_218K, 1, 11).parameters())
    218144
    """

    def __init__(self, widths: HourglassWidths, in_channels: int, classes: int) -> None:
        super().__init__()
        ends = list(pairwise((in_channels, *widths.features)))
        back = [(after, before) for before, after in ends[:0:-1]] + [(widths.features[0], classes)]
        shapes = list(zip(widths.kernels, widths.strides, strict=True))
        up = [_Block(*end, *shape, up=True) for end, shape in zip(back, shapes[::-1], strict=True)]
        up[-1].skip = None
        self.down, self.up = _way_down(widths, in_channels), nn.ModuleList(up)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits of every pixel."""
        x, sizes = image, []
        for block in self.down:
            sizes.append(x.shape[2:])
            x = functional.relu(block(x))
        for number, block in enumerate(self.up, 1):
            x = block(x, sizes[-number])
            x = functional.relu(x) if number < len(self.up) else x
        return x


class HourglassClassifier(nn.Module):
    """The way down, the mean over the plane, and a linear layer: ``[B, in_channels, y, x] -> [B, classes]``.

    Args:
        widths: features, kernels and strides.
        in_channels: channels of the image.
        classes: how many logits.

    >>> nets = [HourglassClassifier(w, 1, 10) for w in (CLASSIFIER_150K, CLASSIFIER_1M, CLASSIFIER_5M)]
    >>> [sum(p.numel() for p in net.parameters()) for net in nets]
    [148602, 1001990, 5003730]
    """

    def __init__(self, widths: HourglassWidths, in_channels: int, classes: int) -> None:
        super().__init__()
        self.down = _way_down(widths, in_channels)
        self.classify = nn.Linear(widths.features[-1], classes)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits."""
        x = image
        for block in self.down:
            x = functional.relu(block(x))
        return self.classify(x.mean((2, 3)))


def segmenting(config: HourglassConfig, in_channels: int, classes: int) -> Hourglass:
    """Make the network of a recipe that segments."""
    return Hourglass(_chosen(config.widths, _SEGMENTING), in_channels, classes)


def classifying(config: HourglassClassifierConfig, in_channels: int, classes: int) -> HourglassClassifier:
    """Make the network of a recipe that classifies."""
    return HourglassClassifier(_chosen(config.widths, _CLASSIFYING), in_channels, classes)


def _chosen(widths: str | OwnWidths, known: Mapping[str, HourglassWidths]) -> HourglassWidths:
    if isinstance(widths, str):
        return known[widths]
    return HourglassWidths(tuple(widths.features), tuple(widths.kernels), tuple(widths.strides))


def _way_down(widths: HourglassWidths, in_channels: int) -> nn.ModuleList:
    """Return the blocks of the way down; the first is a convolution alone."""
    ends, shapes = pairwise((in_channels, *widths.features)), zip(widths.kernels, widths.strides, strict=True)
    down = [_Block(*end, *shape, up=False) for end, shape in zip(ends, shapes, strict=True)]
    down[0].skip = None
    return nn.ModuleList(down)


class _Block(nn.Module):
    """A convolution, or a transposed one, and beside it a 1x1 convolution that is resampled to its size."""

    skip: nn.Conv2d | None

    # Two ends, a window and a direction.
    def __init__(self, before: int, after: int, kernel: int, stride: int, *, up: bool) -> None:
        super().__init__()
        kind = nn.ConvTranspose2d if up else nn.Conv2d
        self.conv = kind(before, after, kernel, stride=stride, padding=kernel // 2)
        self.skip = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Convolve, up to a size."""
        y = self.conv(x) if size is None else self.conv(x, output_size=size)
        if self.skip is None:
            return y
        beside = self.skip(x)
        if size is None:
            return y + functional.adaptive_avg_pool2d(beside, y.shape[2:])
        return y + functional.interpolate(beside, size, mode="bilinear", align_corners=False)
