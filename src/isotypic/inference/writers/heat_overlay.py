"""A picture of a heat map on its slide for people: RGB PNG with a scale of colours and, where sizes are known, a bar.

Blue is a low probability of the class, red a high one; what has no probability shows the slide as it is. The colours
are ColorBrewer's RdYlBu (C. Brewer, https://colorbrewer2.org), which people with a colour deficiency can tell apart.
"""

from __future__ import annotations

import math
from pathlib import Path

import imageio.v3
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from isotypic.data.readers.resampling import Resampled
from isotypic.inference.heat_map import HeatMap, smaller

SIDE = 2048
_OPACITY = 0.55
_COLOURS = np.array([(49, 54, 149), (116, 173, 209), (255, 255, 191), (244, 109, 67), (165, 0, 38)], np.float64)
_INK, _PAPER = (40, 40, 40), (255, 255, 255)


def write(heat: HeatMap, path: Path) -> None:
    """Write the picture."""
    imageio.v3.imwrite(path, picture(heat), plugin="pillow", extension=".png")


def picture(heat: HeatMap) -> np.ndarray:
    """Return the picture ``[y, x, 3]`` of uint8: the slide with the map on it, and to the right the colours."""
    page = _Page(overlaid(heat))
    page.draw_colours(heat.classes[heat.positive])
    if heat.sample_microns is not None:
        page.draw_bar(heat.sample_microns[1] * heat.grid.map_size[1] / page.width)
    return np.asarray(page.image)


def overlaid(heat: HeatMap) -> np.ndarray:
    """Return the slide with the map on it, ``[y, x, 3]`` of uint8, at most :data:`SIDE` pixels a side."""
    image, slide = heat.image, heat.thumbnail.astype(np.float64)
    shrunk = max(image.shape) / SIDE
    if shrunk > 1:
        height, width = (max(round(n / shrunk), 1) for n in image.shape)
        image, slide = smaller(image, (height, width)), Resampled(heat.thumbnail, (height, width))[:, :, :]
    colours = slide if len(slide) == 3 else np.broadcast_to(slide.max(0), (3, *slide.shape[1:]))
    under = np.moveaxis(colours, 0, -1)
    opacity = np.where(np.isfinite(image), _OPACITY, 0.0)[..., None]
    return np.rint((1 - opacity) * under + opacity * _coloured(np.nan_to_num(image))).astype(np.uint8)


def _coloured(values: np.ndarray) -> np.ndarray:
    """Return the colours ``[..., 3]`` of values from 0 to 1."""
    places = np.linspace(0, 1, len(_COLOURS))
    return np.stack([np.interp(values, places, channel) for channel in _COLOURS.T], -1)


class _Page:
    """A picture with room for the colours to the right of it."""

    def __init__(self, shown: np.ndarray) -> None:
        self.height, self.width = shown.shape[:2]
        self.unit = unit = max(round(max(self.height, self.width) / 64), 8)
        self.image = Image.new("RGB", (self.width + 9 * unit, max(self.height, 16 * unit)), _PAPER)
        self.image.paste(Image.fromarray(shown), (0, 0))
        self.drawing, self.font = ImageDraw.Draw(self.image), ImageFont.load_default(1.25 * unit)

    def draw_colours(self, name: str) -> None:
        """Draw the colours from 1 above to 0 below, under the name of the class."""
        left, top, height = self.width + self.unit, 3 * self.unit, 10 * self.unit
        self.drawing.text((left, self.unit), name, _INK, self.font)
        ramp = _coloured(np.linspace(1, 0, height))[:, None].repeat(self.unit, 1)
        self.image.paste(Image.fromarray(np.rint(ramp).astype(np.uint8)), (left, top))
        for value in (1.0, 0.5, 0.0):
            place = left + 1.5 * self.unit, top + (1 - value) * (height - 1)
            self.drawing.text(place, f"{value:g}", _INK, self.font, anchor="lm")

    def draw_bar(self, microns: float) -> None:
        """Draw a bar of 1, 2 or 5 times a power of ten micrometres, at most a quarter of the width, with its length.

        Args:
            microns: side of a pixel of the picture.
        """
        most = self.width / 4 * microns
        decade = 10.0 ** math.floor(math.log10(most))
        length = max(step * decade for step in (1, 2, 5) if step * decade <= most)
        left, bottom, thick = self.unit, self.height - self.unit, max(self.width / 200, 2)
        self.drawing.rectangle((left, bottom - thick, left + length / microns, bottom), _INK, _PAPER)
        words = f"{length / 1000:g} mm"  # Pillow's own font has no µ
        edge = {"stroke_width": max(round(thick / 4), 1), "stroke_fill": _PAPER}
        self.drawing.text((left, bottom - 1.5 * thick), words, _INK, self.font, anchor="lb", **edge)
