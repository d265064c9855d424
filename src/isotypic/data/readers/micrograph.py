"""A microscope's image: pixels read by windows, pixel size and channel names, whatever format it is in.

=================================  =======================================================================
format                             how a window is read
=================================  =======================================================================
PNG, JPEG, BMP, GIF, PGM, WebP     the whole image is decoded and kept, alpha dropped
TIFF, OME-TIFF, ImageJ, BigTIFF    see :mod:`isotypic.data.readers.tiff`; never more than the window and a
                                   bounded number of decoded strips or tiles
OME-Zarr (extra ``zarr``)          the chunks under the window, at full resolution
=================================  =======================================================================

Values stay as they are stored: 1, 8, 16 or 32 bits, or floats of any range. Training reads images through here as well
(:func:`decode`), so what is learned from is what is segmented.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import MappingProxyType

from isotypic.data.readers import image
from isotypic.data.readers.ome_zarr import is_zarr, open_zarr
from isotypic.data.readers.pixels import Opened, Pixels
from isotypic.data.readers.tiff import TIFF_SUFFIXES, open_tiff
from isotypic.errors import RequestError

SUFFIXES = image.SUFFIXES | TIFF_SUFFIXES

_UNITS = MappingProxyType(
    {
        "nm": ("nanometer", "nanometre", "nanometers"),
        "µm": ("um", "μm", "micron", "microns", "micrometer", "micrometre", "micrometers", "\\u00b5m"),
        "mm": ("millimeter", "millimetre", "millimeters"),
    }
)
_MICROMETRES = MappingProxyType({"nm": 1e-3, "µm": 1.0, "mm": 1e3})
_UNIT = {alias: unit for unit, others in _UNITS.items() for alias in (unit, *others)}


@dataclass(frozen=True)
class PixelSize:
    """The side of a square pixel.

    Attributes:
        value: a positive number.
        unit: nm, µm or mm, by any of their usual names.

    Raises:
        RequestError: the value is not positive, or the unit is another.

    >>> PixelSize(0.25, "micron")
    PixelSize(value=0.25, unit='µm')
    """

    value: float
    unit: str = "µm"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and self.value > 0):
            raise RequestError(f"expected a positive pixel size, received {self.value}")
        if self.unit.lower() not in _UNIT:
            raise RequestError(f"expected a pixel size in nm, µm or mm, received {self.unit!r}")
        object.__setattr__(self, "unit", _UNIT[self.unit.lower()])

    @property
    def micrometres(self) -> float:
        """The side in micrometres.

        >>> PixelSize(250.0, "nm").micrometres
        0.25
        """
        return self.value * _MICROMETRES[self.unit]

    @property
    def plain_unit(self) -> str:
        """The unit in ASCII, for the names of columns."""
        return self.unit.replace("µ", "u")


@dataclass(frozen=True, eq=False)
class Micrograph:
    """An image with what its file says about it.

    Attributes:
        source: the file's name.
        pixels: ``[C, y, x]`` as stored, read by windows.
        axes: the axes as stored.
        pixel_size: the side of a pixel, or None where the file does not say.
        channels: a name a channel.
    """

    source: str
    pixels: Pixels
    axes: str
    pixel_size: PixelSize | None
    channels: tuple[str, ...]


def open_micrograph(path: Path, *, plane: int | None = None, pixel_size: PixelSize | None = None) -> Micrograph:
    """Open an image file for reading by windows.

    Args:
        path: a file, or the folder of an OME-Zarr image.
        plane: which plane of a stack (z, t, or both), the last axis fastest.
        pixel_size: used in place of what the file says.

    Raises:
        RequestError: the file is missing, empty, corrupt or of an unknown format; it is a stack and no plane is
            chosen; its pixels are not square; its format needs a package that is not installed.
    """
    path = Path(path)
    opened = _open(path, plane)
    if pixel_size is None and opened.spacing is not None:
        pixel_size = square_pixel(path, *opened.spacing)
    channels = opened.channels or _default_channels(opened.pixels.shape[0], opened.axes)
    return Micrograph(path.name, opened.pixels, opened.axes, pixel_size, channels)


def decode(name: str, content: bytes) -> Opened:
    """Return what a file that is already in memory holds, as :func:`open_micrograph` reads it.

    Args:
        name: what the file is called, for errors; its suffix tells a TIFF file.
        content: the bytes of the file.

    Raises:
        RequestError: the file is empty, corrupt, or holds a stack.
    """
    if not content:
        raise image.empty(name)
    return _decoded(name, BytesIO(content), None)


def _open(path: Path, plane: int | None) -> Opened:
    if not path.exists():
        raise RequestError(f"{path}: no such image file")
    if is_zarr(path):
        return open_zarr(path, plane)
    if path.is_dir():
        raise RequestError(f"{path}: expected an image or an OME-Zarr folder, received another folder")
    if path.stat().st_size == 0:
        raise image.empty(path)
    if path.suffix.lower() not in SUFFIXES:
        raise RequestError(f"{path}: expected one of {', '.join(sorted(SUFFIXES))} or OME-Zarr")
    return _decoded(path, path, plane)


def _decoded(name: Path | str, source: Path | BytesIO, plane: int | None) -> Opened:
    if Path(name).suffix.lower() in TIFF_SUFFIXES:
        return open_tiff(name, source, plane)
    if plane:
        raise RequestError(f"{name}: expected plane 0, the only one of this format, received {plane}")
    pixels = image.pixels_of(name, source)
    return Opened(pixels, "YX" if len(pixels) == 1 else "YXS")


def square_pixel(path: Path, height: float, width: float, unit: str) -> PixelSize | None:
    """Return the size of a pixel that a file describes, or None where the unit is none of length.

    Raises:
        RequestError: height and width are not the same.
    """
    if unit.lower() not in _UNIT or not (height > 0 and width > 0):
        return None
    if not math.isclose(height, width, rel_tol=0.01):
        raise RequestError(
            f"{path}: expected square pixels, received {height:g} x {width:g} {unit}; resample the image, or give "
            "the pixel size to be used"
        )
    return PixelSize(float(width), unit)


def _default_channels(count: int, axes: str) -> tuple[str, ...]:
    if count == 1:
        return ("grey",)
    numbers: Iterable[str] = (f"channel_{i + 1}" for i in range(count))
    return ("red", "green", "blue") if count == 3 and "S" in axes else tuple(numbers)
