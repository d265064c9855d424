"""One image file to uint8 channels.

Rule for the values: black and white becomes 0 and 255; 8 bits stay; 16 bits are divided by 257, so 65535
becomes 255; floats must lie in 0..1 and are multiplied by 255; results are rounded. Rule for the channels:
grey gives one, RGB and palettes give three, an alpha channel is dropped. Files with several frames, planes or
other channels are refused. There is no limit to the size of an image.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from threading import Lock

import imageio.v3
import numpy as np
import PIL.Image
import tifffile
from imageio.core.v3_plugin_api import PluginV3

from isotypic.data.readers.pixels import unreadable
from isotypic.data.readers.tiff import TIFF_SUFFIXES, open_tiff
from isotypic.errors import RequestError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm", ".webp"})
_OPENING = Lock()


def list_images(folder: Path) -> list[Path]:
    """Return the image files under a folder, at any depth, in the order of their paths; no hidden ones."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not _hidden(path.relative_to(folder)) and path.is_file()
    )


def read(path: Path) -> np.ndarray:
    """Return an image ``[C, H, W]`` of uint8 with one channel (grey) or three (RGB).

    Args:
        path: a PNG, JPEG, BMP, GIF, TIFF, PGM, PPM or WebP file.

    Raises:
        RequestError: the file is missing, empty, corrupt, of several pages, or of values with no known range.
    """
    if not path.is_file():
        raise RequestError(f"{path}: no such image file")
    if path.stat().st_size == 0:
        raise empty(path)
    return to_uint8(path, pixels_of(path, path))


def decode(name: str, content: bytes) -> np.ndarray:
    """Return the image of a file that is already in memory, as :func:`read` does.

    Args:
        name: what the file is called, for errors; its suffix tells a TIFF file.
        content: the bytes of the file.

    Raises:
        RequestError: as :func:`read`.
    """
    return to_uint8(name, pixels_of(name, BytesIO(content)))


def pixels_of(name: Path | str, source: Path | BytesIO) -> np.ndarray:
    """Return the values of an image file as they are stored, ``[C, H, W]`` with one channel or three.

    Args:
        name: what the file is called, for errors; its suffix tells a TIFF file.
        source: the file, or its bytes.

    Raises:
        RequestError: the file is empty, corrupt, of several frames or planes, or of other channels.
    """
    if isinstance(source, BytesIO) and not source.getbuffer().nbytes:
        raise empty(name)
    if Path(name).suffix.lower() in TIFF_SUFFIXES:
        return _decoded_tiff(name, source)
    try:
        pixels = _decoded_plain(name, source)
    except RequestError:
        raise
    except Exception as error:  # decoders raise errors of every type on corrupt files
        raise _unreadable(name, error) from error
    return _channels_first(name, pixels)


def page_count(name: str, content: bytes) -> int:
    """Return how many pages a TIFF file has.

    Raises:
        RequestError: the file is empty or corrupt.
    """
    with _opened_tiff(name, content) as file:
        return len(file.pages)


def pages_of(name: str, content: bytes) -> list[np.ndarray]:
    """Return the pages of a TIFF file as they are stored, ``[y, x]`` each.

    Raises:
        RequestError: the file is empty or corrupt, or its pages are not grey.
    """
    with _opened_tiff(name, content) as file:
        pages = [page.asarray() for page in file.pages]
    if pages[0].ndim != 2:
        raise RequestError(f"{name}: expected grey pages [y, x], received {list(pages[0].shape)}")
    return pages


def to_uint8(path: Path | str, pixels: np.ndarray) -> np.ndarray:
    """Return pixel values as uint8 by the rule of this module.

    Args:
        path: the file, for the error.
        pixels: an array of bool, uint8, uint16 or of floats in 0..1.

    Raises:
        RequestError: the values are of another type, or floats outside 0..1.
    """
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype == np.uint16:
        return np.rint(pixels / 257.0).astype(np.uint8)
    if pixels.dtype.kind != "f":
        raise RequestError(f"{path}: expected values of 8 or 16 bits or floats, received {pixels.dtype}")
    if not (pixels.min() >= 0 and pixels.max() <= 1):
        raise RequestError(
            f"{path}: expected floats in 0..1, received {pixels.min():g}..{pixels.max():g}; "
            "rescale them, or save 8 or 16 bits"
        )
    return np.rint(pixels * 255.0).astype(np.uint8)


def empty(name: Path | str) -> RequestError:
    """Return the error for an image file of no bytes."""
    return RequestError(f"{name}: the image file is empty; remove it or fetch it again")


@contextmanager
def _opened_tiff(name: str, content: bytes) -> Iterator[tifffile.TiffFile]:
    if not content:
        raise empty(name)
    try:
        with tifffile.TiffFile(BytesIO(content)) as file:
            yield file
    except Exception as error:  # decoders raise errors of every type on corrupt files
        raise unreadable(name, error) from error


def _decoded_tiff(name: Path | str, source: Path | BytesIO) -> np.ndarray:
    pixels = open_tiff(name, source).pixels
    if pixels.shape[0] not in (1, 3):
        raise RequestError(f"{name}: expected a grey or RGB image, received {pixels.shape[0]} channels")
    return pixels[:, :, :]


def _decoded_plain(path: Path | str, source: Path | BytesIO) -> np.ndarray:
    with _opened_plain(source) as file:
        frames = file.properties(index=...).n_images
        if frames != 1:
            raise RequestError(f"{path}: expected one image, received {frames} frames; save them as single images")
        mode = file.metadata(index=0)["mode"]
        if mode in ("CMYK", "LAB", "HSV"):
            raise RequestError(f"{path}: expected a grey or RGB image, received {mode}; convert it to RGB")
        return np.asarray(file.read(index=0))


def _opened_plain(source: Path | BytesIO) -> PluginV3:
    """Open a file without Pillow's limit of pixels: large is what micrographs are.

    The limit is one of the whole process and looked at on opening alone, so one thread opens at a time.
    """
    with _OPENING:
        limit, PIL.Image.MAX_IMAGE_PIXELS = PIL.Image.MAX_IMAGE_PIXELS, None
        try:
            return imageio.v3.imopen(source, "r", plugin="pillow")
        finally:
            PIL.Image.MAX_IMAGE_PIXELS = limit


def _channels_first(path: Path | str, pixels: np.ndarray) -> np.ndarray:
    """Return [H, W] or [H, W, 1..4] as [1, H, W] or [3, H, W], an alpha channel (2nd or 4th) dropped."""
    if pixels.ndim == 2:
        return pixels[None]
    if pixels.ndim != 3 or not 1 <= pixels.shape[2] <= 4:
        raise RequestError(f"{path}: expected a grey or RGB image, received an array {list(pixels.shape)}")
    colours = 1 if pixels.shape[2] <= 2 else 3
    return np.moveaxis(pixels[..., :colours], -1, 0)


def _unreadable(name: Path | str, error: Exception) -> RequestError:
    # What Pillow says, where imageio puts an error of its own before it.
    return unreadable(name, error.__cause__ if isinstance(error.__cause__, Exception) else error)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
