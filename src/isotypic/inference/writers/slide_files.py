"""What is saved of a slide: the map for programmes, a picture for people, and the table of patches."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import MappingProxyType

from isotypic.inference.heat_map import HeatMap
from isotypic.inference.writers import heat_map, heat_overlay
from isotypic.inference.writers.catalogue import saved

PATCHES = "patches"


def _write_patches(heat: HeatMap, path: Path) -> None:
    heat.patches().to_csv(path, index=False, float_format="%.9g")


_WRITERS: MappingProxyType[str, tuple[str, Callable[[HeatMap, Path], None]]] = MappingProxyType(
    {
        "heatmap": ("_heatmap.ome.tif", heat_map.write),
        "overlay": ("_overlay.png", heat_overlay.write),
        PATCHES: ("_patches.csv", _write_patches),
    }
)
"""By name: what follows the name of the slide in that of the file, and what writes it."""


def slide_files(stem: Path) -> dict[str, Path]:
    """Return the files of a slide, by what they are.

    >>> slide_files(Path("out/slide"))["patches"].as_posix()
    'out/slide_patches.csv'
    """
    return {name: stem.with_name(stem.name + ending) for name, (ending, _) in _WRITERS.items()}


def save_slide(heat: HeatMap, stem: Path) -> None:
    """Write the files of a slide, each as a whole.

    Raises:
        RequestError: one cannot be written (disk full, no permission): the one before stays as it was.
    """
    for name, path in slide_files(stem).items():
        saved(path, partial(_WRITERS[name][1], heat))
