"""Bringing uint8 images to the channels and the size that a request names.

Colour: as in :mod:`isotypic.data.channels`; ``rgb`` repeats a grey channel.
Size: bilinear with anti-aliasing on half-integer pixel centres, which commutes with the flips and quarter
turns of the pixel grid up to the rounding to integers.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch.nn.functional import interpolate

from isotypic.data.channels import grey
from isotypic.data.config import DataConfig
from isotypic.errors import RequestError

Colour = Literal["keep", "grey", "rgb"]

_BLOCK = 1024


def prepare(images: np.ndarray, config: DataConfig) -> np.ndarray:
    """Return the images in the colour and size of ``config``, block by block so that memory stays bounded.

    Args:
        images: ``[N, C, H, W]``, or volumes ``[N, C, z, y, x]``, of uint8 with one or three channels.
        config: gives ``colour`` and ``resize``.

    Returns:
        ``[N, C', H', W']`` uint8; ``images`` itself when there is nothing to do.

    Raises:
        RequestError: the images have neither one nor three channels, or volumes are to be resized.
    """
    if images.ndim == 5 and config.size is not None:
        raise RequestError(
            f"expected data.resize of images [N, C, H, W], received volumes {list(images.shape)}; leave it out"
        )
    if config.colour == "keep" and config.size in (None, images.shape[2:]):
        return images
    blocks = [images[start : start + _BLOCK] for start in range(0, max(len(images), 1), _BLOCK)]
    return np.concatenate([resized(coloured(block, config.colour), config.size) for block in blocks])


def coloured(images: np.ndarray, colour: Colour) -> np.ndarray:
    """Return ``[N, C, H, W]`` uint8 images as they are, in grey (one channel) or in RGB (three channels).

    Raises:
        RequestError: a change of colour is asked of images with neither one nor three channels.

    >>> white = np.full((1, 3, 2, 2), 255, dtype=np.uint8)
    >>> int(coloured(white, "grey").min()), coloured(white, "grey").shape
    (255, (1, 1, 2, 2))
    """
    wanted = {"keep": images.shape[1], "grey": 1, "rgb": 3}[colour]
    if wanted == images.shape[1]:
        return images
    if images.shape[1] not in (1, 3):
        raise RequestError(
            f"expected images of 1 or 3 channels to make them {colour}, received {images.shape[1]} channels; "
            "use --set data.colour=keep"
        )
    if colour == "rgb":
        return np.repeat(images, 3, axis=1)
    return grey(np.moveaxis(images, 1, 0))[:, None]


def resized(images: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """Return ``[N, C, H, W]`` uint8 images brought to ``size`` (height, width); None leaves them."""
    if size is None or images.shape[2:] == size:
        return images
    signal = torch.from_numpy(np.ascontiguousarray(images)).float()
    scaled = interpolate(signal, size=size, mode="bilinear", antialias=True, align_corners=False)
    return scaled.round_().clamp_(0, 255).to(torch.uint8).numpy()
