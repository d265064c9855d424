"""One image file to uint8 channels.

Rule for the values: black and white becomes 0 and 255; 8 bits stay; 16 bits are divided by 257, so 65535
becomes 255; floats must lie in 0..1 and are multiplied by 255; results are rounded. Rule for the channels:
grey gives one, RGB and palettes give three, an alpha channel is dropped. Files with several pages or frames
are refused.
"""

from __future__ import annotations

from pathlib import Path

import imageio.v3
import numpy as np
import tifffile

from isotypic.errors import RequestError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm", ".webp"})
_COLOURS = frozenset(tifffile.PHOTOMETRIC[name] for name in ("MINISBLACK", "MINISWHITE", "RGB", "YCBCR"))


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
        raise RequestError(f"{path}: the image file is empty; remove it or fetch it again")
    try:
        pixels = _decoded(path)
    except RequestError:
        raise
    except Exception as error:  # decoders raise errors of every type on corrupt files
        reason = " ".join(str(error).split())
        raise RequestError(f"{path}: cannot be read as an image ({reason})") from error
    return to_uint8(path, _channels_first(path, pixels))


def to_uint8(path: Path, pixels: np.ndarray) -> np.ndarray:
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


def _decoded(path: Path) -> np.ndarray:
    return _decoded_tiff(path) if path.suffix.lower() in (".tif", ".tiff") else _decoded_plain(path)


def _decoded_tiff(path: Path) -> np.ndarray:
    """Return the only page of a TIFF file as [H, W] or [H, W, samples]."""
    with tifffile.TiffFile(path) as file:
        _refuse_pages(path, len(file.pages))
        page = file.pages.first
        colours = tifffile.PHOTOMETRIC(page.photometric)
        if colours not in _COLOURS:
            raise RequestError(f"{path}: expected a grey or RGB image, received {colours.name}")
        planar = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.samplesperpixel > 1
        pixels = page.asarray()
        white_is_zero = colours == tifffile.PHOTOMETRIC.MINISWHITE and pixels.dtype.kind in "bu"
    if white_is_zero:
        pixels = ~pixels
    return np.moveaxis(pixels, 0, -1) if planar else pixels


def _decoded_plain(path: Path) -> np.ndarray:
    with imageio.v3.imopen(path, "r", plugin="pillow") as file:
        _refuse_pages(path, file.properties(index=...).n_images)
        mode = file.metadata(index=0)["mode"]
        if mode in ("CMYK", "LAB", "HSV"):
            raise RequestError(f"{path}: expected a grey or RGB image, received {mode}; convert it to RGB")
        return np.asarray(file.read(index=0))


def _refuse_pages(path: Path, pages: int) -> None:
    if pages != 1:
        raise RequestError(f"{path}: expected one image, received {pages} pages; save them as single images")


def _channels_first(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Return [H, W] or [H, W, 1..4] as [1, H, W] or [3, H, W], an alpha channel (2nd or 4th) dropped."""
    if pixels.ndim == 2:
        return pixels[None]
    if pixels.ndim != 3 or not 1 <= pixels.shape[2] <= 4:
        raise RequestError(f"{path}: expected a grey or RGB image, received an array {list(pixels.shape)}")
    colours = 1 if pixels.shape[2] <= 2 else 3
    return np.moveaxis(pixels[..., :colours], -1, 0)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
