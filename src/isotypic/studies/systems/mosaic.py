"""Mosaics of small images in rows, as PNG: a pixel becomes a square of pixels, and words stand below every image.

Images of up to :data:`LARGEST_TILE` pixels a side are enlarged by a whole number, so that they are about
:data:`TILE` wide; larger ones are made smaller by the means of square blocks. Three channels are shown as red, green
and blue, as they are. Any other number is shown by its mean as grey, stretched so that the darkest and the brightest
:data:`CLIPPED` of an image's own pixels are black and white: in fluorescence one scale for all would leave dim images
without a shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isotypic.inference.writers.overlay import CLIPPED
from isotypic.studies.systems.png import MUTED
from isotypic.studies.systems.sheet import LINE, MARGIN, WIDTH, Bytes, Sheet, Words, cut, enlarged, letters

TILE, LARGEST_TILE = 144, 288
COLOURED = 3
"""Channels of an image in colour."""

_GAP, _BELOW_ROW = 12, 14


class Scale(NamedTuple):
    """How images are drawn: blocks of so many pixels a side as squares of so many."""

    block: int
    factor: int


@dataclass(frozen=True)
class Tile:
    """An image ``[C, y, x]`` in its own units, and what stands below it, a line each."""

    image: NDArray[Any]
    words: tuple[Words, ...]


@dataclass(frozen=True)
class Row:
    """Images of one kind.

    Attributes:
        name: of the kind.
        note: what is said of it besides.
        tiles: the images; there may be none.
    """

    name: str
    note: str
    tiles: tuple[Tile, ...]


def scale_of(height: int, width: int) -> Scale:
    """Return how images of a size are drawn.

    >>> scale_of(8, 8), scale_of(96, 96), scale_of(400, 300)
    (Scale(block=1, factor=18), Scale(block=1, factor=2), Scale(block=2, factor=1))
    """
    side = max(height, width)
    return Scale(-(-side // LARGEST_TILE), max(1, round(TILE / side)))


def pitch(height: int, width: int) -> int:
    """Return the pixels from one image of a row to the next."""
    scale = scale_of(height, width)
    return max(TILE, -(-width // scale.block) * scale.factor) + _GAP


def columns(height: int, width: int) -> int:
    """Return how many images of a size a row has room for.

    >>> columns(8, 8), columns(96, 96)
    (9, 7)
    """
    return (WIDTH - 2 * MARGIN + _GAP) // pitch(height, width)


def write_mosaic(rows: Sequence[Row], white: float, path: Path) -> Path:
    """Draw rows of images, all of one size.

    Args:
        rows: from the top to the bottom, with an image at least.
        white: the value of full white of the images.
        path: of the PNG.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    size = next(tile.image.shape[1:] for row in rows for tile in row.tiles)
    sheet, step = Sheet(), pitch(*size)
    right = MARGIN + columns(*size) * step - _GAP
    for row in rows:
        top = sheet.bottom + (_BELOW_ROW if sheet.bottom else 0)
        sheet.say(Words(row.name, bold=True), MARGIN, top)
        sheet.say(Words(row.note, MUTED, across="right"), right, top)
        for place, tile in enumerate(row.tiles):
            _draw_tile(sheet, tile, in_bytes(tile.image, white), (MARGIN + place * step, top + LINE + 6))
    return sheet.write(path)


def in_bytes(image: NDArray[Any], white: float) -> Bytes:
    """Return an image ``[C, y, x]`` as it is shown, ``[y, x, 3]``.

    >>> in_bytes(np.array([[[5, 10, 7.5]]]), 255.0)[0, :, 0].tolist()
    [0, 255, 128]
    """
    shares = image / white
    if len(image) != COLOURED:
        grey = shares.mean(0, keepdims=True)
        low, high = np.quantile(grey, (CLIPPED, 1 - CLIPPED))
        shares = np.repeat((grey - low) / ((high - low) or 1.0), COLOURED, axis=0)
    return np.rint(255 * np.moveaxis(shares, 0, -1).clip(0, 1)).astype(np.uint8)


def _draw_tile(sheet: Sheet, tile: Tile, pixels: Bytes, corner: tuple[int, int]) -> None:
    scale = scale_of(*pixels.shape[:2])
    drawn = enlarged(_means(pixels, scale.block), scale.factor)
    left, top = corner
    sheet.put(drawn, left, top)
    for line, words in enumerate(tile.words):
        sheet.say(words, left, top + len(drawn) + 3 + line * LINE)


def _means(pixels: Bytes, block: int) -> Bytes:
    """Return the means of blocks; what is left of one at an edge is left out."""
    if block == 1:
        return pixels
    height, width = (size // block for size in pixels.shape[:2])
    whole = pixels[: height * block, : width * block]
    return np.rint(whole.reshape(height, block, width, block, 3).mean((1, 3))).astype(np.uint8)


def room(height: int, width: int) -> int:
    """Return how many letters have room below an image."""
    return letters(pitch(height, width) - _GAP // 2)


def fitting(text: str, height: int, width: int) -> str:
    """Return words cut so that they have room below an image."""
    return cut(text, room(height, width))
