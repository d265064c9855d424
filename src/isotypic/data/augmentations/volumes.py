"""Random changes of a batch of volumes: pose about the axis z, and noise.

A pose is resampled trilinearly, once, whatever it is made of, so a volume is smoothed a little and its levels stay
within their range; what lies outside is the outermost voxel. Every volume has its own draws.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from isotypic.data.augmentations.draws import uniform


def pose(volumes: Tensor, *, shift: float, zoom: float) -> Tensor:
    """Turn every volume about z by any angle, enlarge it, and shift it along all three axes.

    The result at p is the volume at ``R(angle) (p - s) / f``, p in voxels from the centre; y and x have one spacing.

    Args:
        volumes: ``[B, C, z, y, x]`` float.
        shift: s is uniform up to so many voxels either way, along every axis.
        zoom: f is uniform in 1 - zoom..1 + zoom.
    """
    count = len(volumes)
    angle, factor = uniform(count, -torch.pi, torch.pi), uniform(count, 1 - zoom, 1 + zoom)
    shifts = torch.stack([uniform(count, -shift, shift) for _ in range(3)], dim=1)
    moves = torch.zeros(count, 3, 3)
    moves[:, 0, 0] = moves[:, 1, 1] = angle.cos()
    moves[:, 1, 0], moves[:, 0, 1] = angle.sin(), -angle.sin()
    moves[:, 2, 2] = 1
    moves = moves / factor[:, None, None]
    return _resampled(volumes, moves, -(moves @ shifts[..., None])[..., 0])


def noise(volumes: Tensor, *, most: float) -> Tensor:
    """Add Gaussian noise to every volume, of a deviation of its own, uniform in 0..most.

    Args:
        volumes: ``[B, C, z, y, x]`` float, normalised.
        most: in deviations of the training images.
    """
    deviation = uniform(len(volumes), 0, most).reshape(-1, 1, 1, 1, 1)
    return volumes + (deviation * torch.randn(volumes.shape)).to(volumes)


def _resampled(volumes: Tensor, moves: Tensor, shifts: Tensor) -> Tensor:
    """Return every volume at ``A p + s``.

    Args:
        volumes: ``[B, C, z, y, x]``.
        moves: A, ``[B, 3, 3]``, of coordinates (x, y, z) in voxels from the centre.
        shifts: s, ``[B, 3]``, likewise.
    """
    halves = torch.tensor(volumes.shape[:1:-1]) / 2  # torch counts from -1 to 1 over every side
    scaled = moves * halves / halves[:, None]
    grid = affine_grid(torch.cat([scaled, (shifts / halves)[..., None]], dim=2), list(volumes.shape), False)
    return grid_sample(volumes, grid.to(volumes), mode="bilinear", padding_mode="border", align_corners=False)
