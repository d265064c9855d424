"""What a classifier says of the patches of a slide, as a map and as a table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from isotypic.data.readers.resampling import Resampled
from isotypic.inference.patches import PatchGrid


@dataclass(frozen=True, eq=False)
class HeatMap:
    """The probabilities of the patches of a slide.

    Attributes:
        source: the file's name.
        classes: class names.
        positive: number of the class that the map shows.
        grid: the patches.
        probabilities: ``[rows, columns, classes]``; NaN where a patch was left out as background.
        thumbnail: the slide at the size of the map, ``[C, y, x]`` of uint8.
        tissue: where it has tissue, ``[y, x]`` of bool.
        base: height and width of the finest level of the slide.
        microns: side of one of its pixels in micrometres, or None where it is not known.
    """

    source: str
    classes: tuple[str, ...]
    positive: int
    grid: PatchGrid
    probabilities: np.ndarray
    thumbnail: np.ndarray
    tissue: np.ndarray
    base: tuple[int, int]
    microns: float | None

    @cached_property
    def image(self) -> np.ndarray:
        """The mean probability of the positive class, ``[y, x]`` of float32; NaN outside the tissue."""
        found = self.grid.mean(self.probabilities[..., self.positive])
        found[~self.tissue] = np.nan
        return found.astype(np.float32)

    @property
    def sample_microns(self) -> tuple[float, float] | None:
        """Height and width of a sample of the map in micrometres."""
        if self.microns is None:
            return None
        height, width = (self.microns * n / m for n, m in zip(self.base, self.grid.map_size, strict=True))
        return height, width

    @property
    def scores(self) -> np.ndarray:
        """The probabilities of the positive class, ``[patches]``."""
        found = self.probabilities[..., self.positive]
        return found[np.isfinite(found)]

    def patches(self) -> pd.DataFrame:
        """Return one row a patch: where it lies, and the probability of every class.

        Corner, width and height are in pixels of the finest level; the width is also in micrometres, where these are
        known.
        """
        i, j = np.nonzero(np.isfinite(self.probabilities[..., 0]))
        down, across = (n / m for n, m in zip(self.base, self.grid.size, strict=True))
        rows, columns = self.grid.rows, self.grid.columns
        width = columns.side * across
        places = {
            "x": np.array(columns.origins)[j] * across,
            "y": np.array(rows.origins)[i] * down,
            "width": width,
            "height": rows.side * down,
            "microns": np.nan if self.microns is None else width * self.microns,
        }
        table = pd.DataFrame(places, index=range(len(i)))
        said = pd.DataFrame(self.probabilities[i, j], columns=list(self.classes))
        return pd.concat([table, said], axis=1)


def smaller(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a map ``[y, x]`` at a smaller size, the means of what is known; NaN where less than half of a sample is.

    It commutes with the symmetries of the pixel grid.
    """
    known = np.isfinite(image)
    total, share = (Resampled(each[None], size)[:, :, :][0] for each in (np.where(known, image, 0), known))
    return np.divide(total, share, out=np.full_like(total, np.nan), where=share >= 0.5).astype(image.dtype)
