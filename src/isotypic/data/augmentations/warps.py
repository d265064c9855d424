"""Random warps of a batch: rotations by any angle, shifts with shears, elastic displacement.

The image is resampled bilinearly, so it is smoothed a little and its levels stay within their range; what lies outside
it is its reflection in its outermost pixels, for tissue goes on where a patch ends. Every image has its own draws.
"""

from __future__ import annotations

from math import pi, sqrt

import torch
from kornia.geometry.transform import elastic_transform2d, get_affine_matrix2d, warp_affine
from torch import Tensor

from isotypic.data.augmentations.draws import uniform


def turn(images: Tensor, *, degrees: float) -> Tensor:
    """Rotate every image about its centre by its own angle, uniform up to so many degrees either way.

    Args:
        images: ``[B, C, H, W]`` float.
        degrees: the largest angle.
    """
    count = len(images)
    return _affine(images, uniform(count, -degrees, degrees), torch.zeros(count, 2), torch.zeros(count))


def shear(images: Tensor, *, degrees: float, shift: float) -> Tensor:
    """Shift every image along both axes and shear it along its rows, each by its own uniform draws.

    Args:
        images: ``[B, C, H, W]`` float.
        degrees: the largest angle of the shear either way.
        shift: the largest shift either way, in sides of the image.
    """
    count, size = len(images), torch.tensor([images.shape[-1], images.shape[-2]])
    shifts = torch.stack([uniform(count, -shift, shift), uniform(count, -shift, shift)], dim=1) * size
    return _affine(images, torch.zeros(count), shifts, uniform(count, -degrees, degrees))


def elastic(images: Tensor, *, displacement: float, width: float) -> Tensor:
    """Displace the pixels of every image by a smooth random field.

    White noise, uniform in -1..1, is smoothed by a Gaussian of deviation w and scaled to the deviation d along either
    axis: its factor is ``d 2 w sqrt(3 pi)``, as the smoothed noise has the variance ``(1/3) / (4 pi w^2)``. Outside the
    image there is no noise, so that the field fades towards an edge, to about 0.8 d for w = 4. P. Simard,
    D. Steinkraus, J. Platt, "Best practices for convolutional neural networks applied to visual document analysis",
    2003.

    Args:
        images: ``[B, C, H, W]`` float.
        displacement: d, in pixels.
        width: w, in pixels.
    """
    count, _, height, breadth = images.shape
    noise = (2 * torch.rand(count, 2, height, breadth) - 1).to(images)
    factor = displacement * 2 * width * sqrt(3 * pi)
    across, down = (factor * 2 / max(side - 1, 1) for side in (breadth, height))  # -1..1 from centre to centre
    window = 2 * round(3 * width) + 1
    return elastic_transform2d(
        images,
        noise,
        kernel_size=(window, window),
        sigma=(width, width),
        alpha=(across, down),
        align_corners=True,
        padding_mode="reflection",
    )


def _affine(images: Tensor, degrees: Tensor, shifts: Tensor, shears: Tensor) -> Tensor:
    """Return images ``[B, C, H, W]`` turned ``[B]``, shifted ``[B, 2]`` by (x, y) pixels and sheared ``[B]``."""
    height, width = images.shape[-2:]
    centre = torch.tensor([(width - 1) / 2, (height - 1) / 2]).expand(len(images), 2)
    no_shear = torch.zeros(len(images))
    matrix = get_affine_matrix2d(
        shifts, centre, torch.ones(len(images), 2), degrees, sx=torch.deg2rad(shears), sy=no_shear
    )
    return warp_affine(
        images,
        matrix[:, :2].to(images),
        (height, width),
        mode="bilinear",
        padding_mode="reflection",
        align_corners=True,
    )
