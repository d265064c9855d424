"""The channels of an image made those of others, window by window: colours grey, and grey colours.

Colours become grey by ``0.2989 R + 0.587 G + 0.114 B``, rounded to an integer where they are integers; grey becomes
colours by repetition. Training and inference both see images through here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from isotypic.data.readers.pixels import Pixels, Window

_LUMA = (0.2989, 0.587, 0.114)


class View:
    """Pixels that are made from those of an image, window by window.

    Args:
        pixels: of the image.
        count: channels that are made.
        made: makes them from a window ``[C, y, x]``.
        taken: channels of the image that are read.
    """

    def __init__(
        self,
        pixels: Pixels,
        count: int,
        made: Callable[[np.ndarray], np.ndarray],
        taken: slice = slice(None),
    ) -> None:
        self.pixels, self.made, self.taken = pixels, made, taken
        self.shape, self.dtype = (count, *pixels.shape[1:]), pixels.dtype

    def __getitem__(self, window: Window) -> np.ndarray:
        """Return a window ``[C, y, x]``."""
        channels, rows, columns = window
        return self.made(self.pixels[self.taken, rows, columns])[channels]


def converted(pixels: Pixels, axes: str, wanted: int | None) -> Pixels | None:
    """Return an image with so many channels, or None where they cannot be made of what it has.

    Args:
        pixels: the image.
        axes: its axes as stored; three channels are colours where they are samples, S.
        wanted: how many channels; None takes the image as it is.

    >>> converted(np.full((3, 1, 2), 200, np.uint8), "YXS", 1)[:, :, :].tolist()
    [[[200, 200]]]
    """
    have = pixels.shape[0]
    if wanted in (None, have):
        return pixels
    if have == 1 and wanted == 3:
        return View(pixels, 3, lambda grey: np.repeat(grey, 3, 0))
    if have == 3 and wanted == 1 and "S" in axes:
        return View(pixels, 1, lambda colours: grey(colours)[None])
    return None


def grey(colours: np.ndarray) -> np.ndarray:
    """Return ``0.2989 R + 0.587 G + 0.114 B`` of ``colours[0], colours[1], colours[2]``, of the same type.

    >>> grey(np.array([[255, 0], [255, 0], [255, 2]], np.uint8)).tolist()
    [255, 0]
    """
    # Product by product: a dot product may round a value by its place, and a turned image would differ.
    red, green, blue = (share * colour for share, colour in zip(_LUMA, colours, strict=True))
    mixed = red + green + blue
    return mixed.astype(colours.dtype) if colours.dtype.kind == "f" else np.rint(mixed).astype(colours.dtype)
