"""A heat map as a pyramidal, tiled OME-TIFF: float32 probabilities from 0 to 1, NaN where there is no tissue.

Floats and not bytes: NaN is no probability, and rounding to 1/255 would tie what is to be ranked. The levels are halved
until one fits into a tile. The pixel size is that of a sample of the map, so that it lies on the slide in a viewer.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from isotypic.inference.heat_map import HeatMap, smaller

_TILE = 256
_CLASSIC = 2**31
"""Bytes from which on the file needs 64-bit offsets."""


def write(heat: HeatMap, path: Path) -> None:
    """Write the map."""
    levels = list(_levels(heat.image))
    metadata: dict[str, object] = {"axes": "YX", "Name": f"{heat.source}: {heat.classes[heat.positive]}"}
    if heat.sample_microns is not None:
        metadata |= dict(zip(("PhysicalSizeY", "PhysicalSizeX"), heat.sample_microns, strict=True))
    stored: dict[str, Any] = {"tile": (_TILE, _TILE), "compression": "zlib"}
    with tifffile.TiffWriter(path, ome=True, bigtiff=levels[0].nbytes > _CLASSIC) as file:
        file.write(levels[0], subifds=len(levels) - 1, metadata=metadata, **stored)
        for level in levels[1:]:
            file.write(level, subfiletype=1, **stored)


def _levels(image: np.ndarray) -> Iterator[np.ndarray]:
    yield image
    while max(image.shape) > _TILE:
        height, width = (-(-n // 2) for n in image.shape)
        image = smaller(image, (height, width))
        yield image
