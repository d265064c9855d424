"""The regions as a zip archive of ImageJ ROIs, a ROI a region, named by its label.

A region in one piece without holes is a traced polygon of integers, as ImageJ's wand makes; any other is a composite
ROI, its rings as paths (move to 0, line to 1, close 4) that ImageJ fills by the even-odd rule.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from roifile import ROI_TYPE, ImagejRoi

from isotypic.inference.labels import Labels
from isotypic.inference.outlines import Polygon


def write(labels: Labels, path: Path) -> None:
    """Write the archive."""
    width = len(str(labels.image.max(initial=0)))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for label, polygons in labels.outlines.items():
            name = f"{label:0{width}d}"
            archive.writestr(f"{name}.roi", _roi(name, polygons).tobytes())


def _roi(name: str, polygons: Sequence[Polygon]) -> ImagejRoi:
    rings = [ring for polygon in polygons for ring in (polygon.ring, *polygon.holes)]
    roi = ImagejRoi.frompoints(np.concatenate(rings), name=name)
    roi.right, roi.bottom = roi.right - 1, roi.bottom - 1  # corners are given, not pixels
    if len(rings) == 1:
        roi.roitype = ROI_TYPE.TRACED
        return roi
    path = np.concatenate([_path(ring) for ring in rings]).astype(np.float32)
    box = {side: getattr(roi, side) for side in ("left", "top", "right", "bottom")}
    return ImagejRoi(name=name, roitype=ROI_TYPE.RECT, shape_roi_size=len(path), multi_coordinates=path, **box)


def _path(ring: np.ndarray) -> np.ndarray:
    """Return a ring as ImageJ's list of segments."""
    lines = np.insert(ring, 0, 1, axis=1)
    lines[0, 0] = 0
    return np.append(lines.ravel(), 4)
