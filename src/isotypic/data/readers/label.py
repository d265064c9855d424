"""One label image file to instance numbers without gaps.

A label image has one channel of integers (8, 16 or 32 bits, or floats without fractions): 0 is background and
every other number an object, in one piece or more. The numbers are replaced by 1 .. n in their order.

A mask, black and white, does not say where one object ends, so one of several pieces is refused. An image by itself
is a mask where it is of booleans or its only number is the largest of its type, 255 or 65535; a whole folder of
images with one number each is one of masks, whatever the number (:mod:`isotypic.data.datasets.labelled_folder`).
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from skimage.measure import label as pieces

from isotypic.data.readers import image
from isotypic.errors import RequestError


def decode(name: str, content: bytes) -> np.ndarray:
    """Return the instances ``[y, x]`` int32 of a label image file that is in memory.

    Args:
        name: what the file is called, for errors; its suffix tells a TIFF file.
        content: the bytes of the file.

    Raises:
        RequestError: the file is empty or corrupt, has colours, negative numbers or fractions, or is a black and
            white mask of several pieces, which does not say where one object ends.
    """
    pixels = image.pixels_of(name, BytesIO(content))
    if len(pixels) != 1:
        raise RequestError(
            f"{name}: expected a label image of one channel, received colours; save the numbers of the objects "
            "as a grey image of 8 or 16 bits"
        )
    return consecutive(name, pixels[0])


def consecutive(name: str, numbers: np.ndarray) -> np.ndarray:
    """Return label numbers ``[y, x]`` of any type as int32 without gaps, 0 staying 0.

    >>> consecutive("a.tif", np.array([[0, 7], [300, 7]])).tolist()
    [[0, 1], [2, 1]]
    """
    values, places = np.unique(numbers, return_inverse=True)
    if values[0] < 0 or (values.dtype.kind == "f" and not (values == np.rint(values)).all()):
        raise RequestError(f"{name}: expected whole numbers from 0, received {values[0]:g}..{values[-1]:g}")
    objects = values[values > 0]
    white = np.iinfo(numbers.dtype).max if numbers.dtype.kind in "iu" else None
    if numbers.dtype == np.bool_ or objects.tolist() == [white]:
        refuse_pieces(name, numbers > 0)
    first = 0 if values[0] == 0 else 1
    return (places.reshape(numbers.shape) + first).astype(np.int32)


def refuse_pieces(name: str, mask: np.ndarray) -> None:
    """Raise when a mask ``[y, x]`` of booleans falls into several pieces, corners joining pixels too."""
    if pieces(mask, connectivity=2).max() > 1:
        raise RequestError(
            f"{name}: a black and white mask of several pieces; expected one number an object, so that objects that "
            "touch can be told apart: number them, for example by skimage.measure.label"
        )
