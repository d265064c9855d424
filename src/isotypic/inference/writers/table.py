"""The measurements as CSV, one row a region, UTF-8; only the header where nothing was found."""

from __future__ import annotations

from pathlib import Path

from isotypic.inference.labels import Labels


def write(labels: Labels, path: Path) -> None:
    """Write the table of regions."""
    labels.regions().to_csv(path, index=False, float_format="%.9g")
