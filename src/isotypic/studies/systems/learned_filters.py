"""What the first layer of a network has learned: its filters, of a group convolution in all orientations.

A lifting convolution has one weight a field and |G| filters of it, the filter of element g being that of the identity
moved by g: ``psi_g = g psi_e``. The filters are those that the layer convolves with, in a row a field and a column an
element. An ordinary convolution has one filter a channel. Filters of one channel are shown from blue, negative, over
white, zero, to red, positive; those of three in colour, zero as middle grey: every channel between black and white.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from isotypic.groups.catalogue import named
from isotypic.groups.finite import FiniteGroup
from isotypic.nn.convolution import DirectConvolution
from isotypic.studies.systems.png import MUTED
from isotypic.studies.systems.sheet import LINE, MARGIN, WIDTH, Bytes, Sheet, Words, enlarged

MOST = 12
"""Fields that are shown."""

_TILE, _PITCH = 66, 74
_BAR = 360
_CHANNELS = (1, 3)
_NEGATIVE, _ZERO, _POSITIVE = (np.array([*bytes.fromhex(code)]) for code in ("0b5394", "ffffff", "b3261e"))


@dataclass(frozen=True)
class LearnedFilters:
    """The filters of a first layer.

    Attributes:
        filters: ``[fields, |G|, channels, y, x]``, one or three channels.
        group: their orientations; the trivial one for an ordinary convolution.
    """

    filters: NDArray[np.floating]
    group: FiniteGroup

    @classmethod
    def of(cls, model: nn.Module, images: Tensor) -> LearnedFilters | None:
        """Return those of a network; None where its first layer is no convolution of images of one or three channels.

        Args:
            model: a classifier; put in evaluation mode.
            images: a batch that it takes.
        """
        layer = first_layer(model, images)
        group = layer.in_type.group if isinstance(layer, DirectConvolution) else named("trivial")
        filters = None if layer is None else oriented_filters(layer)
        if filters is None or filters.shape[2] not in _CHANNELS:
            return None
        return cls(filters.double().numpy(), group)

    @property
    def shown(self) -> NDArray[np.intp]:
        """The fields of largest norm, the largest first; of equal ones the first."""
        norms = np.linalg.norm(self.filters[:, 0].reshape(len(self.filters), -1), axis=1)
        return np.argsort(-norms, kind="stable")[:MOST]

    @property
    def caption(self) -> str:
        """What the picture shows, without a full stop."""
        count = len(self.filters)
        which = f"all {count} {self._one}s" if count <= MOST else f"{MOST} of {count} {self._one}s, of largest norm"
        colours = "grey" if self.filters.shape[2] > 1 else "white"
        return (
            f"the filters of the first layer: {which}, the largest first{self._moved}. {colours.capitalize()} is zero"
        )

    def write(self, path: Path) -> Path:
        """Draw the filters as PNG.

        Raises:
            ImportError: matplotlib is not installed.
            OSError: the file cannot be written.
        """
        sheet, peak = Sheet(), float(np.abs(self.filters[self.shown]).max()) or 1.0
        for block, fields in enumerate(self._blocks()):
            self._draw_block(sheet, fields, MARGIN + block * self._block_width, peak)
        _draw_scale(sheet, peak, self.filters.shape[2])
        return sheet.write(path)

    @property
    def _one(self) -> str:
        return "filter" if self.group.order == 1 else "field"

    @property
    def _moved(self) -> str:
        """What a row and a column are, where there are several columns."""
        if self.group.order == 1:
            return ""
        mirrored = any("mirror" in self.group.describe(g) for g in range(self.group.order))
        flipped = ", “mirror” after a flip from left to right" if mirrored else ""
        return f"; a row is a field, a column its filter turned counter-clockwise by the angle above{flipped}"

    @property
    def _label(self) -> int:
        """Pixels for the number beside a row."""
        return 36 if self.group.order == 1 else 62

    @property
    def _block_width(self) -> int:
        """Pixels from one block to the next."""
        return self._label + self.group.order * _PITCH + (8 if self.group.order == 1 else 36)

    def _blocks(self) -> list[NDArray[np.intp]]:
        """Return the fields in blocks that stand side by side, as many as there is room for."""
        fields = self.shown
        beside = max(1, (WIDTH - 2 * MARGIN) // self._block_width)
        rows = -(-len(fields) // beside)
        return [fields[start : start + rows] for start in range(0, len(fields), rows)]

    def _draw_block(self, sheet: Sheet, fields: NDArray[np.intp], left: int, peak: float) -> None:
        top = self._draw_head(sheet, left)
        for row, field in enumerate(fields):
            place = top + row * _PITCH
            sheet.say(Words(str(field), MUTED, across="right"), left + self._label - 10, place + (_TILE - LINE) // 2)
            for element, each in enumerate(self.filters[field]):
                sheet.put(_drawn(each, peak), left + self._label + element * _PITCH, place)

    def _draw_head(self, sheet: Sheet, left: int) -> int:
        """Write above a block what the elements do, if there are several, and return where its rows begin."""
        if self.group.order == 1:
            return MARGIN
        names = [self.group.describe(g).split(" ") for g in range(self.group.order)]
        lines = max(map(len, names))
        for element, name in enumerate(names):
            middle = left + self._label + element * _PITCH + _TILE // 2
            for line, word in enumerate(name, lines - len(name)):
                sheet.say(Words(word, across="center"), middle, MARGIN + line * LINE)
        sheet.say(Words("field", MUTED, across="right"), left + self._label - 10, MARGIN + (lines - 1) * LINE)
        return MARGIN + lines * LINE + 4


def first_layer(model: nn.Module, images: Tensor) -> nn.Module | None:
    """Return the first module with weights of its own that a batch meets; None where it meets none.

    Args:
        model: put in evaluation mode.
        images: a batch that it takes.
    """
    met: list[nn.Module] = []
    weighted = [module for module in model.modules() if next(module.parameters(recurse=False), None) is not None]
    handles = [module.register_forward_pre_hook(lambda module, _: met.append(module)) for module in weighted]
    try:
        with torch.inference_mode():
            model.eval()(images)
    finally:
        for handle in handles:
            handle.remove()
    return met[0] if met else None


def oriented_filters(layer: nn.Module) -> Tensor | None:
    """Return the filters of a convolution of images ``[fields, |G|, channels, y, x]``; None of another layer."""
    if isinstance(layer, nn.Conv2d):
        return layer.weight.detach()[:, None]
    if not isinstance(layer, DirectConvolution) or layer.axes != 2 or layer.in_type.representation.dimension > 1:
        return None
    made = layer.filters(layer.weight, widening=(0, 0))
    return made.filters.detach().unflatten(0, (-1, layer.in_type.group.order))


def _in_colours(values: NDArray[np.floating]) -> Bytes:
    """Return values from -1 to 1, ``[1 or 3, y, x]``, as a picture ``[y, x, 3]``."""
    if len(values) > 1:
        return np.rint(127.5 * (1 + np.moveaxis(values, 0, -1))).astype(np.uint8)
    channels = [np.interp(values[0], (-1, 0, 1), shades) for shades in zip(_NEGATIVE, _ZERO, _POSITIVE, strict=True)]
    return np.rint(np.stack(channels, -1)).astype(np.uint8)


def _drawn(filter_: NDArray[np.floating], peak: float) -> Bytes:
    factor = max(1, round(_TILE / max(filter_.shape[1:])))
    return enlarged(_in_colours(filter_ / peak), factor)


def _draw_scale(sheet: Sheet, peak: float, channels: int) -> None:
    """Draw the scale of the weights below everything."""
    bar = np.broadcast_to(np.linspace(-1, 1, _BAR), (channels, LINE - 4, _BAR))
    left, top = MARGIN + 62, sheet.bottom + 14
    sheet.put(_in_colours(bar), left, top)
    words = Words("weight" if channels == 1 else "weight of each of red, green and blue", MUTED)
    sheet.say(words, left + _BAR + 16, top - 2)
    for place, text in ((0, f"{-peak:.2g}".replace("-", "\u2212")), (_BAR // 2, "0"), (_BAR, f"{peak:.2g}")):
        sheet.say(Words(text, across="center"), left + place, top + LINE)
