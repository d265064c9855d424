r"""Images on the southern hemisphere: a ray from an eye above the north pole through every point, down to a plane.

The sphere has radius 1 and stands on the plane z = 0, its centre at (0, 0, 1); the eye is at (0, 0, 2.001). The ray
through ``p = (x, y, z)`` meets the plane at ``(x, y) e / (e - z)``, e the height of the eye. There lies the image, a
square of half side 1.5 about the south pole, columns along x and rows along y: seen from outside it is not mirrored.
Points of the northern hemisphere and rays beside the image see black. A pixel is in the middle of its square, and what
lies between is bilinear, the border fading to black.

Source:
    T. Cohen, M. Geiger, J. Koehler, M. Welling, Spherical CNNs, ICLR 2018, arXiv 1801.10130; J. Gerken et al.,
    Equivariance versus Augmentation for Spherical Images, ICML 2022, arXiv 2202.03990.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isotypic.groups.finite import Floats

EYE = 2.001
"""Height of the eye above the plane."""

HALF_SIDE = 1.5
"""Of the image, in radii; its sides end 74 degrees from the south pole, its corners at the equator."""


def on_plane(points: Floats) -> tuple[Floats, Floats]:
    """Return x and y of the plane, in half sides of the image, that points of the sphere see; NaN from the north.

    Args:
        points: unit vectors ``[..., 3]`` from the centre of the sphere.

    >>> x, y = on_plane(np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    >>> x.round(3).tolist(), y.round(3).tolist()
    ([0.0, 1.333, nan], [0.0, 0.0, nan])
    """
    stretch = EYE / (EYE - 1 - points[..., 2]) / HALF_SIDE
    stretch = np.where(points[..., 2] <= 0, stretch, np.nan)
    return points[..., 0] * stretch, points[..., 1] * stretch


def project(images: np.ndarray, points: Floats) -> Floats:
    """Return what points of the sphere see of square images, bilinear.

    Args:
        images: ``[n, side, side]``.
        points: unit vectors ``[n, points, 3]``, each image at its own.

    Returns:
        ``[n, points]``.
    """
    places, seen = _places(points, images.shape[-1])
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    corner = np.floor(places).astype(np.int64)
    across, down = places - corner
    column, row = corner + 1
    image = np.arange(len(images))[:, None]
    top = padded[image, row, column] * (1 - across) + padded[image, row, column + 1] * across
    bottom = padded[image, row + 1, column] * (1 - across) + padded[image, row + 1, column + 1] * across
    return np.where(seen, top * (1 - down) + bottom * down, 0.0)


def nearest(images: np.ndarray, points: Floats) -> np.ndarray:
    """Return the pixel of square images ``[n, side, side]`` nearest to what points see, ``[n, points]``; 0 beside."""
    places, seen = _places(points, images.shape[-1])
    column, row = np.clip(np.rint(places), 0, images.shape[-1] - 1).astype(np.int64)
    return np.where(seen, images[np.arange(len(images))[:, None], row, column], 0)


def _places(points: Floats, side: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Return column and row of the plane in pixels ``[2, n, points]``, and which points see the image."""
    places = (np.stack(on_plane(points)) + 1) * (side / 2) - 0.5
    seen = np.all((places > -1) & (places < side), axis=0)
    return np.where(seen, places, 0.0), seen
