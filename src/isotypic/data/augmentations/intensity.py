"""Random changes of the grey levels of a training batch: tone, brightness, contrast, noise, and light for dark.

Every image ``x`` becomes ``s e^a t(x) + b + sigma n`` with its own draws: ``a`` uniform in ``[-c, c]`` (contrast),
``b`` uniform in ``[-d, d]`` (brightness), ``s`` = -1 with a given probability (light for dark), ``sigma`` uniform in
``[0, e]`` and ``n`` white normal noise. Colours share the draws of their image, apart from the noise. Levels are
normalised about zero, the mean or the middle of the range. The tone curve t keeps -1 and 1 and bends what lies between,
which moves dim objects against bright ones, as a factor and a shift cannot: :func:`tone_curve`, with ``k`` uniform.
All of it commutes with the symmetries of the pixel grid in distribution. Draws come from torch's global generator on
the CPU, so that they are the same on every device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import nn

from isotypic.errors import RequestError, chosen


@dataclass(frozen=True)
class Ranges:
    """How far the grey levels may change.

    Args:
        contrast: largest absolute logarithm of the factor.
        brightness: largest absolute shift.
        tone: largest absolute bend of the tone curve.
        noise: largest deviation of the noise.
        invert: probability that light becomes dark.

    Raises:
        RequestError: a range is negative, or the probability is not one.
    """

    contrast: float = 0.0
    brightness: float = 0.0
    tone: float = 0.0
    noise: float = 0.0
    invert: float = 0.0

    def __post_init__(self) -> None:
        if min(self.contrast, self.brightness, self.tone, self.noise, self.invert) < 0 or self.invert > 1:
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
        draws = torch.rand(5, len(images), 1, 1, 1)
        sign = torch.where(draws[0] < self.ranges.invert, -1.0, 1.0)
        factor = sign * torch.exp((2 * draws[1] - 1) * self.ranges.contrast)
        shift = (2 * draws[2] - 1) * self.ranges.brightness
        noise = torch.randn(images.shape) * draws[3] * self.ranges.noise
        bent = tone_curve(images, (2 * draws[4] - 1).to(images) * self.ranges.tone) if self.ranges.tone else images
        return bent * factor.to(images) + (shift + noise).to(images)


def tone_curve(images: torch.Tensor, bend: torch.Tensor) -> torch.Tensor:
    """Bend grey levels smoothly: ``t(x) = 2 (e^(k u) - 1) / (e^k - 1) - 1`` with ``u = (x + 1) / 2`` in 0..1.

    It is the identity for k = 0, rises everywhere, and has ``t(-1) = -1`` and ``t(1) = 1``; k > 0 darkens what lies
    between and k < 0 lightens it. Outside -1..1 it goes on along its tangents. Light for dark turns k into -k:
    ``t_k(-x) = -t_-k(x)``.

    Args:
        images: floats of any shape.
        bend: k, of a shape that broadcasts.
    """
    inside = images.clamp(-1, 1)
    straight = bend.abs() < _STRAIGHT
    k = torch.where(straight, 1.0, bend)
    scale = k / torch.expm1(k)
    u = (inside + 1) / 2
    curve = 2 * torch.expm1(k * u) / torch.expm1(k) - 1 + (images - inside) * scale * torch.exp(k * u)
    return torch.where(straight, images, curve)


_STRAIGHT = 1e-3
"""Below this bend the curve is within 1e-3 / 4 of a straight line, and its formula divides by little."""


INTENSITIES: Mapping[str, Ranges] = MappingProxyType(
    {
        "none": Ranges(),
        "contrast": Ranges(contrast=0.4, brightness=0.3, tone=1.5),
        "noise": Ranges(contrast=0.4, brightness=0.3, tone=1.5, noise=0.2),
        "invert": Ranges(contrast=0.4, brightness=0.3, tone=1.5, noise=0.2, invert=0.5),
    }
)


def intensity(name: str) -> RandomIntensity:
    """Return a change of grey levels by its name: none, contrast, noise or invert; each adds to the one before.

    Raises:
        RequestError: there is no such change.
    """
    return RandomIntensity(chosen("intensity augmentation", name, INTENSITIES))
