"""The figure of one image under a group: what a network makes of it, and how far that is from symmetric."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isotypic.errors import RequestError
from isotypic.files import write_atomically
from isotypic.reports.notation import power_of_ten
from isotypic.reports.style import COLOURS, GRID, HOUSE, INK, MUTED, RULE, missing_extra, shortened, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

FORMATS = (".png", ".svg", ".pdf")
DOTS_AN_INCH = 200
COLUMN, NARROWEST = 1.45, 8.0
MOST_CLASSES, LONGEST_CLASS = 10, 16
ROUNDING = 1e-10
"""Differences below this many standard deviations are rounding: the scale of colours never ends below it."""
FAINT, STRONG, DARKEST = "#ffffff", COLOURS[5], "#4d1300"


@dataclass(frozen=True)
class SymmetryPicture:
    """What is drawn: one entry an element of the group in each list, the identity first.

    Attributes:
        title: the verdict.
        subtitle: the reason, or empty.
        elements: the elements in words.
        images: the moved images, ``[y, x]`` or ``[y, x, 3]`` in 0..1.
        outputs: the network's answers: one channel ``[y, x]``, or ``[classes]``.
        wanted: the answer to the first image, moved: of the shapes of ``outputs``.
        differences: ``|f(g x) - g f(x)|`` in standard deviations of f(x): ``[y, x]``, or ``[classes]``.
        classes: the names of the classes; empty for a dense output.
    """

    title: str
    subtitle: str
    elements: tuple[str, ...]
    images: tuple[Floats, ...]
    outputs: tuple[Floats, ...]
    wanted: tuple[Floats, ...]
    differences: tuple[Floats, ...]
    classes: tuple[str, ...] = ()

    @property
    def largest(self) -> float:
        """The largest difference of all."""
        return max(float(d.max()) for d in self.differences)


def write_picture(picture: SymmetryPicture, path: Path) -> Path:
    """Draw a picture and write it as PNG, SVG or PDF, told by the file's suffix.

    Raises:
        RequestError: another suffix, or matplotlib is not installed.
    """
    if path.suffix.lower() not in FORMATS:
        raise RequestError(f"expected a picture {', '.join(FORMATS)} to write, received {path.name!r}")
    try:
        import matplotlib  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as missing:
        raise missing_extra("matplotlib") from missing
    with matplotlib.rc_context({**HOUSE, "figure.facecolor": "white", "axes.titleweight": "normal"}):
        figure = Figure(figsize=(_width(picture), 1.0))
        _plot(figure, picture)
        return write_atomically(path, lambda beside: figure.savefig(beside, dpi=DOTS_AN_INCH))


def _width(picture: SymmetryPicture) -> float:
    return max(NARROWEST, COLUMN * len(picture.elements) + 1.7)


def _plot(figure: Figure, picture: SymmetryPicture) -> None:
    columns, cell = len(picture.elements), (_width(picture) - 1.7) / len(picture.elements)
    shown = min(len(picture.classes), MOST_CLASSES)
    heights = [cell, 0.45 + 0.22 * shown] if picture.classes else [cell, cell, cell]
    widths = [1.0] * columns if picture.classes else [1.0] * columns + [0.07]
    figure.set_figheight(sum(heights) + 1.25 + 0.22 * bool(picture.subtitle))
    panels = figure.subplots(len(heights), len(widths), squeeze=False, height_ratios=heights, width_ratios=widths)
    _head(figure, picture)
    for axes, image, element in zip(panels[0, :columns], picture.images, picture.elements, strict=True):
        _image(axes, image, "gray", 0, 1)
        axes.set_title(element, loc="center", fontsize=10, color=INK)
    if picture.classes:
        _scores(figure, panels[1], picture)
    else:
        for axes in panels[:2, columns]:
            axes.set_axis_off()
        _maps(figure, panels[1], panels[2], picture)
    _name(panels[0, 0], "image  g x")
    figure.align_ylabels(panels[:, 0])


def _head(figure: Figure, picture: SymmetryPicture) -> None:
    """Write the verdict, and the reason below it, above the panels."""
    room = int(10 * _width(picture))
    figure.suptitle(shortened(picture.title, room), x=0.012, ha="left", fontsize=14, fontweight="bold", color=INK)
    if picture.subtitle:
        text = wrapped(picture.subtitle, int(1.3 * room), 2)
        figure.supxlabel(text, x=0.012, ha="left", fontsize=9.5, color=MUTED)


def _name(axes: Axes, text: str) -> None:
    axes.set_ylabel(text, fontsize=9.5, color=MUTED, labelpad=8)


def _image(axes: Axes, pixels: Floats, colours: Any, low: float, high: float) -> ScalarMappable:
    """Draw an image in the middle of a square panel, so that an upright and a turned one stand in line."""
    from matplotlib.patches import Rectangle  # noqa: PLC0415

    drawn = axes.imshow(pixels, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
    height, width = pixels.shape[:2]
    centre, half = ((width - 1) / 2, (height - 1) / 2), 0.51 * max(height, width)
    axes.set(xlim=(centre[0] - half, centre[0] + half), ylim=(centre[1] + half, centre[1] - half))
    axes.add_patch(Rectangle((-0.5, -0.5), width, height, fill=False, edgecolor=RULE, linewidth=0.8))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    return drawn


def _maps(figure: Figure, answers: Any, differences: Any, picture: SymmetryPicture) -> None:
    """Draw what the network answers, and below it the difference, all on one scale."""
    from matplotlib.colors import LinearSegmentedColormap  # noqa: PLC0415

    heat = LinearSegmentedColormap.from_list("difference", [FAINT, STRONG, DARKEST])
    values = np.concatenate([output.ravel() for output in picture.outputs])
    low, high = np.percentile(values, [1, 99])
    top = max(picture.largest, ROUNDING)
    for column, (output, difference) in enumerate(zip(picture.outputs, picture.differences, strict=True)):
        _image(answers[column], output, "viridis", low, high)
        drawn = _image(differences[column], difference, heat, 0, top)
        differences[column].set_xlabel(f"max {_size(float(difference.max()))}", fontsize=9.5, color=INK)
    bar = figure.colorbar(drawn, cax=differences[-1])
    bar.set_ticks([0, top / 2, top], labels=["0", _size(top / 2), _size(top)])
    bar.set_label("std of f(x)", fontsize=9, color=MUTED)
    bar.ax.tick_params(length=0)
    bar.ax.grid(visible=False)
    bar.outline.set_edgecolor(RULE)
    _name(answers[0], "answer  f(g x)")
    _name(differences[0], "|f(g x) \N{MINUS SIGN} g f(x)|")


def _size(value: float) -> str:
    """Write a difference in two digits, below a hundredth with a power of ten."""
    if value == 0:
        return "0"
    if value >= 0.01:
        return f"{value:.2g}" if value < 10 else f"{value:.0f}"
    digits, exponent = f"{value:.0e}".split("e")
    return power_of_ten(int(exponent)) if digits == "1" else f"{digits} × {power_of_ten(int(exponent))}"


def _scores(figure: Figure, panels: Any, picture: SymmetryPicture) -> None:
    """Draw for every class a ring for the upright image and a dot for the moved one, joined."""
    shown = np.argsort(-np.stack(picture.outputs).max(0), kind="stable")[:MOST_CLASSES]
    values = np.stack([*picture.outputs, *picture.wanted])[:, shown]
    margin = 0.08 * max(float(np.ptp(values)), 1e-12)
    columns = zip(panels, picture.outputs, picture.wanted, picture.differences, strict=True)
    for axes, found, wanted, difference in columns:
        _pairs(axes, found[shown], wanted[shown])
        axes.set_xlim(values.min() - margin, values.max() + margin)
        axes.locator_params(axis="x", nbins=3)
        axes.set_xlabel(f"max {_size(float(difference.max()))} std", fontsize=9.5, color=INK)
    names = [shortened(picture.classes[i], LONGEST_CLASS) for i in shown]
    panels[0].set_yticks(range(len(shown)), names)
    _name(panels[0], "class scores")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), borderpad=0, handletextpad=0.2)


def _pairs(axes: Axes, found: Floats, wanted: Floats) -> None:
    rows = np.arange(len(found))
    axes.hlines(rows, wanted, found, color=STRONG, linewidth=2.2, zorder=2)
    axes.plot(wanted, rows, "o", markersize=8, markerfacecolor="none", markeredgecolor=INK, label="f(x)", zorder=3)
    axes.plot(found, rows, "o", markersize=4.2, color=COLOURS[1], label="f(g x)", zorder=4)
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_yticks(rows, [""] * len(rows))
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=True, axis="y", color=GRID)
    axes.spines["left"].set_visible(False)
