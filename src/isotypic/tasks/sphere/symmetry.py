"""How far a network on the sphere is from commuting with rotations, on images that the grid resolves."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from isotypic.groups.so3.rotations import random_rotations
from isotypic.nn.sphere.transform import SphericalTransform

ROTATIONS = 3
"""That are tried, the same for every network."""


def rotation_error(model: nn.Module, images: Tensor) -> float:
    """Return the largest change under rotations, over the standard deviation of the output, in float64.

    It is ``max |f(h x) - h f(x)| / std f`` of band-limited images x: their degrees below b alone. Of a dense output the
    degrees below b are compared, as no others can be turned; a classifier's logits should not change at all.

    Args:
        model: maps images to logits ``[B, classes]`` or ``[B, classes, 2 b, 2 b]``; it is copied.
        images: ``[B, C, 2 b, 2 b]``, at least two of them.
    """
    double = deepcopy(model).cpu().double().eval()
    transform = SphericalTransform(images.shape[-1] // 2).double()
    with torch.inference_mode():
        x = _resolved(transform, images.cpu().double())
        y = _one_by_one(double, x)
        dense = y.dim() > 2
        y = _resolved(transform, y) if dense else y
        worst = 0.0
        for turn in _turns():
            moved = _one_by_one(double, transform.rotate(x, turn))
            wanted = transform.rotate(y, turn) if dense else y
            worst = max(worst, float(((_resolved(transform, moved) if dense else moved) - wanted).abs().max()))
        return worst / float(y.std())


def _turns() -> list[Rotation]:
    drawn = random_rotations(ROTATIONS, seed=0)
    return [drawn[int(k)] for k in np.arange(ROTATIONS)]


def _resolved(transform: SphericalTransform, signal: Tensor) -> Tensor:
    return transform.synthesise(transform.analyse(signal))


def _one_by_one(model: nn.Module, images: Tensor) -> Tensor:
    """Return the output of a batch, image by image: signals on SO(3) in float64 are large."""
    return torch.cat([model(image[None]) for image in images])
