"""An image as a network takes it: opened from whatever it is given as, with the channels of the training images.

A numpy array is ``[y, x]``, or has channels at one end: an axis of at most four samples, first or last, where the other
end is longer. Three channels are colours; behind the pixels two are grey and alpha, and four are colours and alpha, as
in image files, and alpha is dropped. Anything else is given as a :class:`Micrograph`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from isotypic.data.channels import View, converted
from isotypic.data.readers.micrograph import Micrograph, PixelSize, open_micrograph
from isotypic.data.readers.pixels import Pixels, StoredPixels
from isotypic.errors import RequestError, unknown

Image = np.ndarray | Path | str | Micrograph

_MOST = 4
"""Channels of an array whose axes have no names."""


def as_micrograph(image: Image, pixel_size: PixelSize | None = None) -> Micrograph:
    """Return an image with what is known of it.

    Args:
        image: an array ``[y, x]``, ``[C, y, x]`` or ``[y, x, C]``, a path, or a micrograph.
        pixel_size: used in place of what the file says.

    Raises:
        RequestError: the file cannot be read, or the axes of the array are ambiguous.

    >>> as_micrograph(np.zeros((64, 48, 4))).channels
    ('red', 'green', 'blue')
    """
    if isinstance(image, np.ndarray):
        return _of_array(image, pixel_size)
    if not isinstance(image, Micrograph):
        return open_micrograph(Path(image), pixel_size=pixel_size)
    return image if pixel_size is None else replace(image, pixel_size=pixel_size)


def with_channels(micrograph: Micrograph, wanted: int | None, channel: int | str | None = None) -> Pixels:
    """Return the pixels of an image with the channels that a network takes, read by windows as before.

    Colours become grey and grey becomes colours as in training (:mod:`isotypic.data.channels`).

    Args:
        micrograph: the image.
        wanted: channels of the training images; None takes the image as it is.
        channel: the one to use, by its name or its number from 0; None uses all.

    Raises:
        RequestError: there is no such channel, or it must be said which one.
    """
    pixels, axes = micrograph.pixels, micrograph.axes
    if channel is not None:
        index = _index(micrograph, channel)
        pixels, axes = View(pixels, 1, np.asarray, slice(index, index + 1)), "YX"
    found = converted(pixels, axes, wanted)
    if found is not None:
        return found
    choice = "; choose one by --channel (channel=), its name or its number from 0" if wanted in (1, 3) else ""
    names = ", ".join(micrograph.channels) if channel is None else str(channel)
    raise RequestError(
        f"{micrograph.source}: expected {_counted(wanted)} as in training, received {pixels.shape[0]} ({names}){choice}"
    )


def _of_array(array: np.ndarray, pixel_size: PixelSize | None) -> Micrograph:
    axes, samples = _axes(array)
    pixels = StoredPixels(array, axes, {}, samples)
    count = pixels.shape[0]
    names = tuple(f"channel_{i + 1}" for i in range(count)) if count > 1 else ("grey",)
    return Micrograph("array", pixels, axes, pixel_size, ("red", "green", "blue") if count == 3 else names)


def _axes(array: np.ndarray) -> tuple[str, int | None]:
    """Return the axes of an array, a letter each, and how many samples are colours."""
    if array.ndim == 2:
        return "YX", None
    ends = [size <= _MOST for size in array.shape[:: max(array.ndim - 1, 1)]]
    if array.ndim != 3 or sum(ends) != 1:
        raise RequestError(
            f"expected an image [y, x], [C, y, x] or [y, x, C] of at most {_MOST} channels, received "
            f"{list(array.shape)}; give one channel, or a Micrograph, which names the axes"
        )
    if ends[0]:
        return "SYX" if len(array) == 3 else "CYX", None
    return "YXS", 1 if array.shape[2] <= 2 else 3


def _index(micrograph: Micrograph, channel: int | str) -> int:
    names = micrograph.channels
    if channel in names:
        return names.index(str(channel))
    if isinstance(channel, str) and not channel.isdecimal():
        raise unknown(f"channel of {micrograph.source}", channel, names)
    if not 0 <= int(channel) < len(names):
        raise RequestError(f"{micrograph.source}: expected a channel from 0 to {len(names) - 1}, received {channel}")
    return int(channel)


def _counted(channels: int | None) -> str:
    return "1 channel" if channels == 1 else f"{channels} channels"
