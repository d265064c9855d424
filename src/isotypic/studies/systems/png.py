"""The colours of pictures in reports, and how a drawn one becomes a PNG that is small enough to stand in a page.

The colours are of the Okabe-Ito palette, which colour-blind readers can tell apart (M. Okabe and K. Ito, *Color
Universal Design*, 2008, https://jfly.uni-koeln.de/color/).
"""

from __future__ import annotations

from importlib.util import find_spec
from io import BytesIO

import numpy as np
from scipy.spatial import KDTree

COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#C9B800")
GREYS = ("#8b949e", "#b4bbc3", "#4b535c")
"""Of instances that are to have no colour; the first for those of which nothing is said."""

INK, MUTED, RULE, MARK = "#1c2128", "#5b6470", "#aab1ba", "#d1001f"
DOTS_AN_INCH = 160

LARGEST = 400_000
"""Bytes; a larger picture is written with fewer colours, as long as there are enough of them to see."""

_PALETTES = (256, 64, 32)
_BYTES = np.array([2**16, 2**8, 1])


def can_draw() -> bool:
    """Whether there is something to draw with: matplotlib is installed."""
    return find_spec("matplotlib") is not None


def few_colours(drawn: BytesIO) -> bytes:
    """Return a PNG as one with so few colours that it is small; those of instances and marks stay as they are."""
    from PIL import Image, ImageColor  # noqa: PLC0415

    picture = Image.open(drawn).convert("RGB")
    packed, place = np.unique(np.asarray(picture) @ _BYTES, return_inverse=True)
    shades = packed[:, None] // _BYTES % 256
    fixed = [ImageColor.getrgb(colour) for colour in ("white", *COLOURS, *GREYS, MARK)]
    for count in _PALETTES:
        others = np.asarray(picture.quantize(count - len(fixed)).getpalette()).reshape(-1, 3)
        palette = np.concatenate([fixed, others[: count - len(fixed)]])
        nearest = KDTree(palette).query(shades)[1].astype(np.uint8)
        few = Image.fromarray(nearest[place].reshape(picture.height, picture.width))
        few.putpalette(palette.astype(np.uint8).tobytes())
        small = BytesIO()
        few.save(small, format="png", optimize=True)
        if small.tell() <= LARGEST:
            break
    return small.getvalue()
