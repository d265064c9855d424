"""Patches of a scan around points of the world, upright whatever way the scan lies.

A patch is sampled on a lattice whose axes are those of the world: the point with the number i of n along an axis lies
(i - (n - 1) / 2) s millimetres from the centre, s the spacing. So a lattice is symmetric about its centre, and turning
a patch is turning the world about that point: for every turn or mirror g that maps the lattice to itself, the patch of
a scan that was moved by g is the patch moved by g, to rounding.

1. Values are cut to the window [low, high] and brought to [-1, 1].
2. Along an array axis on which the scan is finer than the lattice it is averaged over w voxels, the length of a cell
   of the lattice on that axis: w_a^2 = sum over world axes b of (s_b di_a/dp_b)^2. The weight of a neighbour is its
   overlap with a box of width w about a voxel's centre: symmetric, and none of a neighbour's where w = 1.
3. Values between voxels are trilinear; outside the volume is air, the low end of the window, both for the average and
   between the outermost voxels' centres and the first ones beyond them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import correlate1d
from torch import Tensor
from torch.nn.functional import grid_sample

from isotypic.data.readers.scan import Scan
from isotypic.data.scans.geometry import Floats, Geometry, outside
from isotypic.errors import RequestError

HU = (-1000.0, 300.0)
"""Hounsfield units from air to soft tissue with contrast."""

_AT_ONCE = 1 << 21
"""Samples that are taken at a time."""


@dataclass(frozen=True)
class Lattice:
    """The points of a patch, along the world's axes.

    Args:
        size: (z, y, x) points.
        spacing: (z, y, x) millimetres.

    Raises:
        RequestError: a number is not positive.

    >>> Lattice((2, 1, 3), (1.25, 0.5, 0.5)).offsets[0, 0].tolist()
    [[-0.5, 0.0, -0.625], [0.0, 0.0, -0.625], [0.5, 0.0, -0.625]]
    """

    size: tuple[int, int, int] = (12, 72, 72)
    spacing: tuple[float, float, float] = (1.25, 0.5, 0.5)

    def __post_init__(self) -> None:
        if not all(math.isfinite(number) and number > 0 for number in (*self.size, *self.spacing)):
            raise RequestError(
                f"expected a lattice (z, y, x) of positive sizes and spacings, received {self.size} and {self.spacing}"
            )

    @property
    def offsets(self) -> Floats:
        """``[z, y, x, 3]``: the ways (x, y, z) in millimetres from the centre to the points."""
        axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(self.size, self.spacing, strict=True)]
        return np.stack(np.meshgrid(*axes, indexing="ij")[::-1], axis=-1)

    @property
    def reach(self) -> Floats:
        """``[3]``: millimetres (x, y, z) from the centre to the outermost points."""
        return (np.array(self.size) - 1)[::-1] / 2 * np.array(self.spacing)[::-1]


class Patches:
    """The patches of one scan; memory beside it is a float copy of the scan and a batch of patches.

    Args:
        scan: the volume.
        lattice: the points of a patch.
        window: the values (low, high) that become -1 and 1.
        dtype: of the arithmetic.
    """

    def __init__(
        self,
        scan: Scan,
        lattice: Lattice,
        window: tuple[float, float] = HU,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.geometry, self.lattice = scan.geometry, lattice
        self.last = np.array(scan.voxels.shape) - 1
        per_mm = np.linalg.inv(scan.geometry.steps)  # voxels (z, y, x) a millimetre (x, y, z)
        self._offsets = torch.from_numpy(self._in_torch(lattice.offsets @ per_mm.T)).to(dtype)
        volume = _above_air(scan.voxels, window, dtype)
        for axis, width in enumerate(cell_of(scan.geometry, lattice)):
            if width > 1:
                correlate1d(volume, box(width), axis=axis, output=volume, mode="constant")
        self._volume = torch.from_numpy(volume)[None, None]

    def at(self, position: Floats) -> NDArray[np.float16]:
        """Return the patches ``[n, 1, z, y, x]`` around some points.

        Args:
            position: ``[n, 3]`` world points (x, y, z) in millimetres.
        """
        found = np.empty((len(position), 1, *self.lattice.size), np.float16)
        many = max(1, _AT_ONCE // math.prod(self.lattice.size))
        for start in range(0, len(position), many):
            found[start : start + many, 0] = self.sampled(position[start : start + many]).numpy()
        return found

    def sampled(self, position: Floats) -> Tensor:
        """Return the patches ``[n, z, y, x]`` around some points ``[n, 3]`` as they are computed, all at once."""
        centres = torch.from_numpy(self._in_torch(self.geometry.index_of(position) - self.last / 2))
        grid = centres.to(self._offsets.dtype)[:, None, None, None] + self._offsets
        volume = self._volume.expand(len(grid), -1, -1, -1, -1)
        return grid_sample(volume, grid, mode="bilinear", padding_mode="zeros", align_corners=True)[:, 0] - 1

    def outside(self, position: Floats) -> NDArray[np.bool_]:
        """Return which patches ``[n]`` reach outside: beyond the centres of the outermost voxels, where air begins."""
        return outside(self.geometry, self.last + 1, position, self.lattice.reach)

    def _in_torch(self, ways: Floats) -> Floats:
        """Return ways (z, y, x) in voxels as (x, y, z), where 2 is from the first voxel to the last."""
        return np.ascontiguousarray((2 * ways / self.last)[..., ::-1])


def cell_of(geometry: Geometry, lattice: Lattice) -> Floats:
    """Return the length ``[3]`` of a cell of a lattice in voxels, along the array axes (z, y, x): w above.

    >>> cell_of(Geometry((0, 0, 0), (0.5, 0.5, 2.5), np.eye(3)), Lattice((2, 2, 2), (1.25, 1, 1))).tolist()
    [0.5, 2.0, 2.0]
    """
    return np.linalg.norm(np.linalg.inv(geometry.steps) * np.array(lattice.spacing)[::-1], axis=1)


def box(width: float) -> Floats:
    """Return the share of every voxel in a box of some voxels about the centre of the middle one; an odd number.

    >>> box(2.0).tolist(), box(0.7).tolist()
    ([0.25, 0.5, 0.25], [1.0])
    """
    half = max(width, 1.0) / 2
    beside = np.arange(math.ceil(half - 0.5) + 1)
    overlap = np.clip(np.minimum(half, beside + 0.5) - np.maximum(-half, beside - 0.5), 0, None) / (2 * half)
    return np.concatenate([overlap[:0:-1], overlap])


def _above_air(voxels: np.ndarray, window: tuple[float, float], dtype: torch.dtype) -> np.ndarray:
    """Return the values above the low end of the window, its whole width being 2."""
    low, high = window
    values = voxels.astype(torch.empty(0, dtype=dtype).numpy().dtype)
    np.clip(values, low, high, out=values)
    values -= low
    values *= 2 / (high - low)
    return values
