"""The regions as GeoJSON (RFC 7946) that QuPath opens: a detection a region, in pixels, along the pixels' edges.

The first pixel is the square from (0, 0) to (1, 1). A region in one piece is a Polygon, holes included; one in several
a MultiPolygon. The id is made of the image's name and the label, so the same result has the same ids.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from isotypic.inference.labels import Labels
from isotypic.inference.outlines import Polygon


def write(labels: Labels, path: Path) -> None:
    """Write a FeatureCollection, one feature a line."""
    measured = labels.regions().set_index("label").to_dict("index")
    with path.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for i, (label, polygons) in enumerate(labels.outlines.items()):
            feature = {
                "type": "Feature",
                "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{labels.source}#{label}")),
                "geometry": _geometry(polygons),
                "properties": {
                    "objectType": "detection",
                    "name": str(label),
                    # JSON has no NaN, and QuPath has none to show
                    "measurements": {str(k): v for k, v in measured[label].items() if math.isfinite(v)},
                },
            }
            file.write(("," if i else "") + "\n" + json.dumps(feature, ensure_ascii=False))
        file.write("\n]}\n")


def _geometry(polygons: Sequence[Polygon]) -> dict[str, object]:
    parts = [[_closed(ring) for ring in (polygon.ring, *polygon.holes)] for polygon in polygons]
    if len(parts) == 1:
        return {"type": "Polygon", "coordinates": parts[0]}
    return {"type": "MultiPolygon", "coordinates": parts}


def _closed(ring: np.ndarray) -> list[list[int]]:
    return [*ring.tolist(), ring[0].tolist()]
