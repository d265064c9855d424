"""A whole slide: one image at several resolutions, each read by windows, at the microns per pixel that are asked for.

==================================  ==================================================================================
format                              how a window is read
==================================  ==================================================================================
TIFF, OME-TIFF, BigTIFF, SVS        tifffile (:mod:`isotypic.data.readers.tiff`); a pyramid, or a single resolution
.ndpi, .scn, .bif                   tiffslide (extra ``slides``)
.mrxs, .vms, .vmu                   openslide (extra ``slides``); what was not scanned is white
==================================  ==================================================================================

All resolutions cover the same area, so a level of m pixels along an axis has pixels of ``n/m`` times the side of those
of the finest, which has n. What is asked for at a resolution in between is resampled from the next finer level
(:mod:`isotypic.data.readers.resampling`), which is exact under the symmetries of the pixel grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from isotypic.data.readers import image
from isotypic.data.readers.micrograph import PixelSize, square_pixel
from isotypic.data.readers.pixels import Opened, Pixels, Window, unreadable
from isotypic.data.readers.resampling import Resampled
from isotypic.data.readers.tiff import TIFF_SUFFIXES, open_levels
from isotypic.errors import RequestError

_TIFFSLIDE = frozenset({".ndpi", ".scn", ".bif"})
_OPENSLIDE = frozenset({".mrxs", ".vms", ".vmu"})

SLIDE_SUFFIXES = frozenset({".svs"}) | _TIFFSLIDE | _OPENSLIDE
"""Of files that are slides and nothing else; a TIFF file may be a slide or not."""

READABLE = SLIDE_SUFFIXES | TIFF_SUFFIXES

FINER = 2.0
"""A slide is not enlarged by more: what was not scanned cannot be shown."""

_SAME = 1.05
"""A resolution that differs by no more than this factor is taken as it is: scanners differ as much."""


@dataclass(frozen=True, eq=False)
class Slide:
    """A slide.

    Attributes:
        source: the file's name.
        levels: the resolutions ``[C, y, x]``, finest first.
        axes: as stored; the samples S are colours.
        pixel_size: the side of a pixel of the finest level, or None where the file does not say.
    """

    source: str
    levels: tuple[Pixels, ...]
    axes: str
    pixel_size: PixelSize | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the finest level."""
        _, height, width = self.levels[0].shape
        return height, width

    @property
    def microns(self) -> float | None:
        """Side of a pixel of the finest level in micrometres, or None where it is not known."""
        return None if self.pixel_size is None else self.pixel_size.micrometres

    def size_at(self, microns: float) -> tuple[int, int]:
        """Return height and width at so many micrometres a pixel: those of a level where it has about as many.

        Raises:
            RequestError: the pixel size of the slide is not known, or the slide was scanned at less than half the
                resolution.
        """
        if self.microns is None:
            raise RequestError(
                f"{self.source}: expected a slide that says its microns per pixel, received one that does not; give "
                "the side of its pixels by --pixel-size (pixel_size=), or leave out --microns-per-pixel"
            )
        if not microns * FINER >= self.microns:
            raise RequestError(
                f"{self.source}: expected at least {self.microns / FINER:g} microns per pixel of a slide scanned at "
                f"{self.microns:g}, received {microns:g}"
            )
        ratio = microns / self.microns
        for level in self.levels:
            _, height, width = level.shape
            if 1 / _SAME <= ratio * height / self.size[0] <= _SAME:
                return height, width
        height, width = (max(round(side / ratio), 1) for side in self.size)
        return height, width

    def level_for(self, size: tuple[int, int]) -> Pixels:
        """Return the coarsest level that has at least so many pixels (y, x), or else the finest."""
        enough = [level for level in self.levels if all(a >= b for a, b in zip(level.shape[1:], size, strict=True))]
        return min(enough, key=lambda level: level.shape[1], default=self.levels[0])

    def at(self, size: tuple[int, int]) -> Pixels:
        """Return the slide at another size (y, x), read by windows; of float64 where it has to be resampled."""
        level = self.level_for(size)
        return level if tuple(level.shape[1:]) == size else Resampled(level, size)


def open_slide(path: Path, pixel_size: PixelSize | None = None) -> Slide:
    """Open a slide for reading by windows.

    Args:
        path: the file.
        pixel_size: of the finest level, in place of what the file says.

    Raises:
        RequestError: the file is missing, empty, corrupt or of an unknown format; its pixels are not square; its levels
            are no pyramid; its format needs a package that is not installed.
    """
    if not path.is_file():
        raise RequestError(f"{path}: no such slide")
    if path.stat().st_size == 0:
        raise image.empty(path)
    levels = _open(path)
    _refuse_other_areas(path, levels)
    if pixel_size is None and levels[0].spacing is not None:
        pixel_size = square_pixel(path, *levels[0].spacing)
    return Slide(path.name, tuple(level.pixels for level in levels), levels[0].axes, pixel_size)


def _open(path: Path) -> Sequence[Opened]:
    suffix = path.suffix.lower()
    if suffix in _TIFFSLIDE:
        return _by_regions(path, "tiffslide", "TiffSlide")
    if suffix in _OPENSLIDE:
        return _by_regions(path, "openslide", "OpenSlide")
    if suffix in READABLE:
        return open_levels(path)
    raise RequestError(f"{path}: expected a slide, one of {', '.join(sorted(READABLE))}")


def _refuse_other_areas(path: Path, levels: Sequence[Opened]) -> None:
    """Refuse levels of another shape than the finest: they do not show the same area."""
    channels, height, width = levels[0].pixels.shape
    for number, level in enumerate(levels[1:], 1):
        count, h, w = level.pixels.shape
        # each side of a level may be rounded up, down, or to whole tiles of the scanner
        if count != channels or abs(h * width - w * height) > 0.02 * h * width + 2 * max(height, width):
            raise RequestError(
                f"{path}: expected levels of one image, received {list(levels[0].pixels.shape)} and, as level {number},"
                f" {list(level.pixels.shape)}; save the slide as a pyramid again"
            )


def _by_regions(path: Path, module: str, kind: str) -> list[Opened]:
    """Open a slide by a package that has the interface of openslide."""
    try:
        package: Any = import_module(module)  # of an extra
    except (ImportError, OSError) as error:  # OSError: openslide without its library
        raise RequestError(f"{path}: {path.suffix} needs the extra slides: pip install isotypic[slides]") from error
    try:
        slide = getattr(package, kind)(path)
        spacing = _spacing(slide.properties, module)
        found = [Opened(_Regions(path, slide, level), "YXS", spacing) for level in range(slide.level_count)]
    except Exception as error:  # decoders raise errors of every type on corrupt files
        raise unreadable(path, error) from error
    return found


def _spacing(properties: Any, module: str) -> tuple[float, float, str] | None:
    height, width = (properties.get(f"{module}.mpp-{axis}") for axis in "yx")
    return (float(height), float(width), "µm") if height and width else None


class _Regions:
    """A level of a slide that is read by ``read_region``; pixels are colours, what is transparent is white."""

    def __init__(self, path: Path, slide: Any, level: int) -> None:
        self.path, self.slide, self.level = path, slide, level
        width, height = slide.level_dimensions[level]
        self.shape, self.dtype = (3, height, width), np.dtype(np.uint8)

    def __getitem__(self, window: Window) -> np.ndarray:
        """Return a window ``[C, y, x]``."""
        channels, *places = window
        rows, columns = (range(size)[place] for size, place in zip(self.shape[1:], places, strict=True))
        corner = self._base(columns.start), self._base(rows.start)
        try:
            region = self.slide.read_region(corner, self.level, (len(columns), len(rows)))
            pixels = np.asarray(region.convert("RGBA"))
        except MemoryError:  # says nothing about the file
            raise
        except Exception as error:  # decoders raise errors of every type on corrupt files
            raise unreadable(self.path, error) from error
        opaque = np.where(pixels[..., 3:] > 0, pixels[..., :3], np.uint8(255))
        return np.moveaxis(opaque, -1, 0)[channels]

    def _base(self, place: int) -> int:
        """Return the place in the finest level that the package takes back to a place in this one."""
        factor = self.slide.level_downsamples[self.level]
        base = int(place * factor)
        while int(base / factor) < place:
            base += 1
        return base
