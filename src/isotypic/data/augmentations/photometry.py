"""Random changes of light and colour of a batch: exposure, contrast, hue, saturation, blur, lost pixels.

The functions take and give levels in 0..1, ``[B, C, H, W]``, as a camera has them; :class:`OfLevels` puts one of them
between normalised images. Every image has its own draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import pi

import torch
from kornia.enhance import adjust_hue, adjust_saturation_with_gray_subtraction
from kornia.filters import gaussian_blur2d
from torch import Tensor

from isotypic.data.augmentations.draws import uniform
from isotypic.data.normalisation import Normalisation

Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class OfLevels:
    """A change of levels in 0..1 made of normalised images.

    Normalisation is undone, the levels are clamped to 0..1 before and behind the change, and normalised again.

    Attributes:
        change: of levels.
        normalisation: of the images.
    """

    change: Change
    normalisation: Normalisation

    def __call__(self, images: Tensor) -> Tensor:
        """Return changed images ``[B, C, H, W]``."""
        unit = replace(self.normalisation, scale=1.0)
        return unit.apply(self.change(unit.undo(images).clamp_(0, 1)).clamp(0, 1))


def light(levels: Tensor, *, exposure: float, contrast: float) -> Tensor:
    """Multiply the levels of every image, then spread them about their mean: ``m + c (f x - m)``, each step clamped.

    Args:
        levels: ``[B, C, H, W]`` in 0..1.
        exposure: f is uniform in 1 - exposure..1 + exposure.
        contrast: c is uniform in 1 - contrast..1 + contrast; m is the mean of f x over pixels and channels.
    """
    factors = (uniform(len(levels), 1 - reach, 1 + reach).to(levels) for reach in (exposure, contrast))
    f, c = (factor[:, None, None, None] for factor in factors)
    brighter = (f * levels).clamp_(0, 1)
    mean = brighter.mean((1, 2, 3), keepdim=True)  # kornia 0.7 takes that of the whole batch
    return torch.lerp(mean, brighter, c).clamp_(0, 1)


def stain(levels: Tensor, *, hue: float, saturation: float) -> Tensor:
    """Change the saturation of every image, then turn its hues, as another stain or scanner would.

    Args:
        levels: ``[B, 3, H, W]`` in 0..1, red, green, blue.
        hue: the largest shift either way, in turns of the circle of hues.
        saturation: colours go from their grey by a factor uniform in 1 - saturation..1 + saturation.
    """
    count = len(levels)
    factor = uniform(count, 1 - saturation, 1 + saturation).to(levels)
    shift = uniform(count, -hue, hue).to(levels) * (2 * pi)
    return adjust_hue(adjust_saturation_with_gray_subtraction(levels, factor), shift)


def blur(levels: Tensor, *, least: float, most: float) -> Tensor:
    """Blur every image by its own Gaussian, the border repeated.

    Args:
        levels: ``[B, C, H, W]``.
        least: smallest deviation in pixels, above 0.
        most: largest deviation in pixels.
    """
    sigma = uniform(len(levels), least, most).to(levels)[:, None].expand(-1, 2)
    window = 2 * round(3 * most) + 1
    return gaussian_blur2d(levels, (window, window), sigma, border_type="replicate")


def lose_pixels(levels: Tensor, *, most: float) -> Tensor:
    """Make pixels black: of every image a share of its own, uniform in 0..most, each pixel in all its channels.

    Args:
        levels: ``[B, C, H, W]``.
        most: the largest share.
    """
    share = uniform(len(levels), 0, most)[:, None, None, None]
    kept = torch.rand(len(levels), 1, *levels.shape[2:]) >= share
    return levels * kept.to(levels)


def in_turn(levels: Tensor, *, changes: Sequence[Change]) -> Tensor:
    """Make one change after another."""
    for change in changes:
        levels = change(levels)
    return levels


def one_of(levels: Tensor, *, changes: Sequence[Change]) -> Tensor:
    """Make one change of every image, drawn for it; all are as likely."""
    drawn = torch.randint(len(changes), (len(levels),))
    changed = torch.empty_like(levels)
    for number in drawn.unique().tolist():
        rows = (drawn == number).nonzero().flatten().to(levels.device)
        changed[rows] = changes[number](levels[rows])
    return changed
