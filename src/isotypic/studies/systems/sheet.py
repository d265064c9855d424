"""Pictures and words at exact pixels of a white sheet, as PNG: no pixel of a picture is resampled.

Places are in pixels from the top left corner. A sheet is :data:`WIDTH` wide and as high as what stands on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from isotypic.files import write_atomically
from isotypic.studies.systems.png import DOTS_AN_INCH, INK, LARGEST, RULE, few_colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Bytes = NDArray[np.uint8]

WIDTH, MARGIN = 1440, 4
LINE = 25
"""Pixels from one line of words to the next."""

_LETTERS = 18
_WIDEST = 0.62
"""Width of a usual letter over the height of the letters."""


@dataclass(frozen=True)
class Words:
    """One line of words.

    Attributes:
        text: what is said.
        colour: of the letters.
        bold: their weight.
        across: whether they begin, have their middle or end at their place.
    """

    text: str
    colour: str = INK
    bold: bool = False
    across: Literal["left", "center", "right"] = "left"


class Sheet:
    """What stands on a sheet, until it is written.

    Attributes:
        bottom: where the lowest thing ends.
    """

    def __init__(self) -> None:
        self.bottom = 0
        self._pictures: list[tuple[Bytes, int, int]] = []
        self._words: list[tuple[Words, int, int]] = []

    def put(self, pixels: Bytes, left: int, top: int) -> None:
        """Put a picture ``[y, x, 3]``, with a light rule around it."""
        framed = np.empty((pixels.shape[0] + 2, pixels.shape[1] + 2, 3), np.uint8)
        framed[:] = [*bytes.fromhex(RULE[1:])]
        framed[1:-1, 1:-1] = pixels
        self._pictures.append((framed, left - 1, top - 1))
        self.bottom = max(self.bottom, top + len(pixels) + 1)

    def say(self, words: Words, left: int, top: int) -> None:
        """Put words."""
        self._words.append((words, left, top))
        self.bottom = max(self.bottom, top + LINE)

    def write(self, path: Path) -> Path:
        """Write the sheet; a large one has at most 256 colours.

        Raises:
            ImportError: matplotlib is not installed.
            OSError: the file cannot be written.
        """
        import matplotlib  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415

        drawn = BytesIO()
        with matplotlib.rc_context({"font.family": ["DejaVu Sans"], "text.parse_math": False}):
            size = (WIDTH / DOTS_AN_INCH, (self.bottom + MARGIN) / DOTS_AN_INCH)
            figure = Figure(figsize=size, dpi=DOTS_AN_INCH, facecolor="white")
            self._plot(figure)
            figure.savefig(drawn, format="png", dpi=DOTS_AN_INCH)
        small = drawn.getvalue() if len(drawn.getvalue()) <= LARGEST else few_colours(drawn)
        return write_atomically(path, lambda beside: beside.write_bytes(small))

    def _plot(self, figure: Figure) -> None:
        height = self.bottom + MARGIN
        for pixels, left, top in self._pictures:
            figure.figimage(pixels, left, height - top - len(pixels), origin="upper")
        for words, left, top in self._words:
            figure.text(
                left / WIDTH,
                1 - (top + LINE / 2) / height,
                words.text,
                color=words.colour,
                fontsize=_LETTERS * 72 / DOTS_AN_INCH,
                fontweight="bold" if words.bold else "normal",
                ha=words.across,
                va="center_baseline",
            )


def enlarged(pixels: Bytes, factor: int) -> Bytes:
    """Return a picture ``[y, x, ...]`` with every pixel as a square of so many.

    >>> enlarged(np.array([[1, 2]], np.uint8), 2).tolist()
    [[1, 1, 2, 2], [1, 1, 2, 2]]
    """
    return pixels.repeat(factor, 0).repeat(factor, 1)


def letters(pixels: int) -> int:
    """Return how many letters have room in a width."""
    return int(pixels / (_WIDEST * _LETTERS))


def cut(text: str, most: int) -> str:
    """Return words of at most so many letters.

    >>> cut("adenocarcinoma", 8)
    'adenoca…'
    """
    return text if len(text) <= most else text[: most - 1] + "…"
