"""The label image as OME-TIFF: uint16, or uint32 for more than 65535, compressed, with axes and pixel size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from isotypic.inference.labels import Labels


def write(labels: Labels, path: Path) -> None:
    """Write the label image."""
    dtype = np.uint16 if labels.image.max(initial=0) < 2**16 else np.uint32
    metadata: dict[str, object] = {"axes": "YX", "Name": labels.source}
    if labels.pixel_size is not None:
        for axis in "XY":
            metadata[f"PhysicalSize{axis}"] = labels.pixel_size.value
            metadata[f"PhysicalSize{axis}Unit"] = labels.pixel_size.unit
    tifffile.imwrite(path, labels.image.astype(dtype), ome=True, compression="zlib", metadata=metadata)
