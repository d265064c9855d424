"""Random changes of the grey levels of a training batch: brightness, contrast, noise, and light for dark.

Every image ``x`` becomes ``s e^a x + b + sigma n`` with its own draws: ``a`` uniform in ``[-c, c]`` (contrast), ``b``
uniform in ``[-d, d]`` (brightness), ``s`` = -1 with a given probability (light for dark), ``sigma`` uniform in
``[0, e]`` and ``n`` white normal noise. Colours share the draws of their image, apart from the noise. Levels are
normalised about zero, the mean or the middle of the range. All of it commutes with the
symmetries of the pixel grid in distribution. Draws come from torch's global generator on the CPU, so that they
are the same on every device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import nn

from isotypic.errors import RequestError, unknown


@dataclass(frozen=True)
class Ranges:
    """How far the grey levels may change.

    Args:
        contrast: largest absolute logarithm of the factor.
        brightness: largest absolute shift.
        noise: largest deviation of the noise.
        invert: probability that light becomes dark.

    Raises:
        RequestError: a range is negative, or the probability is not one.
    """

    contrast: float = 0.0
    brightness: float = 0.0
    noise: float = 0.0
    invert: float = 0.0

    def __post_init__(self) -> None:
        if min(self.contrast, self.brightness, self.noise, self.invert) < 0 or self.invert > 1:
            raise RequestError(f"expected ranges of at least 0 and a probability, received {self}")


class RandomIntensity(nn.Module):
    """Change the grey levels of every image of a batch by its own draws; in eval mode nothing changes.

    Args:
        ranges: how far.
    """

    def __init__(self, ranges: Ranges) -> None:
        super().__init__()
        self.ranges = ranges

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the changed images.

        Args:
            images: ``[B, C, H, W]`` float, normalised.

        Raises:
            RequestError: the shape is another.
        """
        if images.ndim != 4:
            raise RequestError(f"expected a batch of images [B, C, H, W], received {list(images.shape)}")
        if not self.training or self.ranges == Ranges():
            return images
        draws = torch.rand(4, len(images), 1, 1, 1)
        sign = torch.where(draws[0] < self.ranges.invert, -1.0, 1.0)
        factor = sign * torch.exp((2 * draws[1] - 1) * self.ranges.contrast)
        shift = (2 * draws[2] - 1) * self.ranges.brightness
        noise = torch.randn(images.shape) * draws[3] * self.ranges.noise
        return images * factor.to(images) + (shift + noise).to(images)


INTENSITIES: Mapping[str, Ranges] = MappingProxyType(
    {
        "none": Ranges(),
        "contrast": Ranges(contrast=0.4, brightness=0.3),
        "noise": Ranges(contrast=0.4, brightness=0.3, noise=0.2),
        "invert": Ranges(contrast=0.4, brightness=0.3, noise=0.2, invert=0.5),
    }
)


def intensity(name: str) -> RandomIntensity:
    """Return a change of grey levels by its name: none, contrast, noise or invert; each adds to the one before.

    Raises:
        RequestError: there is no such change.
    """
    if name not in INTENSITIES:
        raise unknown("intensity augmentation", name, INTENSITIES)
    return RandomIntensity(INTENSITIES[name])
