"""What a segmentation finds: a label image, and one row of measurements a region.

Lengths are in physical units where the pixel size is known, in pixels otherwise, and the name of a column ends in its
unit (``area_um2``, ``area_px``). Centroids are those of pixel centres with the first pixel's centre at zero; bounding
boxes are in pixels, the last row and column exclusive.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from skimage.measure import regionprops_table

from isotypic.data.readers.micrograph import Micrograph, PixelSize
from isotypic.data.readers.pixels import Pixels
from isotypic.errors import RequestError
from isotypic.inference.outlines import Polygon, outlines

_STRIP = 256
"""Rows whose intensities are read at a time."""

_COLUMNS = {
    "label": "label",
    "area": "area_{area}",
    "centroid-0": "centroid_y_{length}",
    "centroid-1": "centroid_x_{length}",
    "equivalent_diameter_area": "equivalent_diameter_{length}",
    "axis_major_length": "major_axis_{length}",
    "axis_minor_length": "minor_axis_{length}",
    "eccentricity": "eccentricity",
    "perimeter": "perimeter_{length}",
    "bbox-0": "top_px",
    "bbox-1": "left_px",
    "bbox-2": "bottom_px",
    "bbox-3": "right_px",
}
"""skimage's names and ours."""


@dataclass(frozen=True, eq=False)
class Labels:
    """The regions found in an image.

    Attributes:
        image: ``[y, x]`` int32, 0 the background and a number a region.
        source: name of the image.
        pixel_size: the side of a pixel, or None where it is unknown.
        pixels: the image itself, ``[C, y, x]``, for intensities and pictures; may be left out.
        channels: a name a channel of ``pixels``.

    Raises:
        RequestError: the label image is no such array, or another size than the image, or the names are not one a
            channel.
    """

    image: np.ndarray
    source: str
    pixel_size: PixelSize | None = None
    pixels: Pixels | None = None
    channels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.image.ndim != 2 or self.image.dtype != np.int32 or self.image.min(initial=0) < 0:
            raise RequestError(
                f"expected a label image [y, x] of int32 from 0, received {list(self.image.shape)} of "
                f"{self.image.dtype} from {self.image.min(initial=0)}"
            )
        if self.pixels is not None and tuple(self.pixels.shape[1:]) != self.image.shape:
            raise RequestError(f"expected pixels [C, y, x] over {self.image.shape}, received {self.pixels.shape}")
        if self.pixels is not None and len(self.channels) != self.pixels.shape[0]:
            raise RequestError(
                f"expected a name for each of {self.pixels.shape[0]} channels, received {list(self.channels)}"
            )

    @classmethod
    def of(cls, image: np.ndarray, micrograph: Micrograph) -> Labels:
        """Return labels with everything that is known of the image they were found in."""
        return cls(image, micrograph.source, micrograph.pixel_size, micrograph.pixels, micrograph.channels)

    @property
    def count(self) -> int:
        """Number of regions."""
        return len(self._regions)

    def regions(self) -> pd.DataFrame:
        """Return one row a region, in the order of the labels; measured once.

        Columns: label, area, centroid, equivalent diameter, axes of the ellipse of the same second moments and its
        eccentricity, perimeter (of Benkrid and Crookes), bounding box, and ``mean_<channel>`` where the pixels are
        known. Without regions the table has its columns and no row.
        """
        return self._regions.copy()

    @cached_property
    def outlines(self) -> dict[int, tuple[Polygon, ...]]:
        """The polygons of every region along the edges of its pixels."""
        return outlines(self.image)

    @cached_property
    def _regions(self) -> pd.DataFrame:
        size = self.pixel_size
        names = {"area": "px", "length": "px"}
        if size is not None:
            names = {"area": f"{size.plain_unit}2", "length": size.plain_unit}
        wanted = list(dict.fromkeys(name.split("-")[0] for name in _COLUMNS))
        side = 1.0 if size is None else size.value
        found = regionprops_table(self.image, properties=wanted, spacing=(side, side))
        table = pd.DataFrame({ours.format(**names): found[theirs] for theirs, ours in _COLUMNS.items()})
        return table if self.pixels is None else table.assign(**self._intensities(self.pixels, table))

    def _intensities(self, pixels: Pixels, table: pd.DataFrame) -> dict[str, np.ndarray]:
        """Return the mean of every channel over every region, reading a strip at a time."""
        labels = table["label"].to_numpy()
        bins = int(labels.max(initial=0)) + 1
        sums = np.zeros((pixels.shape[0], bins))
        areas = np.zeros(bins)
        for top in range(0, len(self.image), _STRIP):
            strip = self.image[top : top + _STRIP].ravel()
            window = pixels[:, top : top + _STRIP, : self.image.shape[1]]
            areas += np.bincount(strip, minlength=bins)
            sums += [np.bincount(strip, channel.ravel(), minlength=bins) for channel in window]
        return dict(zip(self._mean_names(), sums[:, labels] / areas[labels], strict=True))

    def _mean_names(self) -> list[str]:
        """Return a name a channel, numbered where two channels are called the same."""
        alike = len(set(self.channels)) < len(self.channels)
        return [f"mean_{name}_{i + 1}" if alike else f"mean_{name}" for i, name in enumerate(self.channels)]
