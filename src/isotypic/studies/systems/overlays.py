"""Pictures of segmentations in rows and columns, as PNG: instances in colours with outlines, maps, marked pixels.

Instances are drawn along the edges of their pixels, so that outlines stay sharp whatever the size of the image.
Neighbours differ in colour: of those that no neighbour has each label gets the one that is used least so far, where
two instances are neighbours if some pixel nearest to the one lies beside a pixel nearest to the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from isotypic.errors import RequestError
from isotypic.files import write_atomically
from isotypic.inference.outlines import Polygon, outlines
from isotypic.metrics.overlap import Labels
from isotypic.studies.systems.png import COLOURS, DOTS_AN_INCH, GREYS, INK, MARK, RULE, few_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.path import Path as Curve

Bytes = NDArray[np.uint8]

WIDTH = 9.0
FINEST = 256
"""Most marks along a side of a panel: finer ones would not be seen."""

_FLATTEST, _TALLEST = 0.5, 1.5
_STYLE: dict[Any, Any] = {
    "axes.edgecolor": RULE,
    "axes.labelcolor": INK,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.titlecolor": INK,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "figure.facecolor": "white",
    "font.family": ["DejaVu Sans"],
    "text.parse_math": False,
}


@dataclass(frozen=True)
class Instances:
    """Instances to draw.

    Attributes:
        labels: ``[y, x]``, integers, 0 for background.
        colours: by label; the others are of the first of :data:`GREYS`.
        strength: opacity of the areas, 0 to 1.
    """

    labels: Labels
    colours: Mapping[int, str] = field(default_factory=dict)
    strength: float = 0.55


@dataclass(frozen=True)
class Panel:
    """One picture of an image ``[y, x]``, its layers from the bottom to the top.

    Attributes:
        picture: grey levels ``[y, x]`` or colours ``[y, x, 3]``; None for white.
        instances: None for none.
        marks: ``[y, x]``, pixels in red; None for none.
        note: what stands below.
    """

    picture: Bytes | None = None
    instances: Instances | None = None
    marks: NDArray[np.bool_] | None = None
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One image.

    Attributes:
        name: what stands beside it.
        size: of the image (y, x).
        panels: one a column.
    """

    name: str
    size: tuple[int, int]
    panels: tuple[Panel, ...]


def write_overlays(columns: Sequence[str], rows: Sequence[Row], path: Path) -> Path:
    """Draw rows of panels below the names of their columns, and write them as PNG of at most 256 colours.

    Raises:
        RequestError: there is nothing to draw, or a row has not one panel a column.
        ImportError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    received = [len(row.panels) for row in rows]
    if not columns or set(received) != {len(columns)}:
        raise RequestError(f"expected rows of {len(columns)} panels to draw, received {received or 'no row'}")
    import matplotlib  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415

    drawn = BytesIO()
    with matplotlib.rc_context(_STYLE):
        figure = Figure(
            figsize=(WIDTH, _height(rows)),
            layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.05, wspace=0.0, hspace=0.0),
        )
        _plot(figure, columns, rows)
        figure.savefig(drawn, format="png", dpi=DOTS_AN_INCH)
    return write_atomically(path, lambda beside: beside.write_bytes(few_colours(drawn)))


def spread_colours(labels: Labels, palette: Sequence[str] = COLOURS) -> dict[int, str]:
    """Return a colour for every label: of those that no neighbour has the one that is used least.

    As many labels as there are colours all look different.

    Args:
        labels: ``[y, x]``, integers, 0 for background.
        palette: the colours.

    >>> spread_colours(np.array([[1, 0, 2, 0, 4]])) == {1: COLOURS[0], 2: COLOURS[1], 4: COLOURS[2]}
    True
    """
    chosen: dict[int, int] = {}
    uses = Counter[int]()
    for label, others in sorted(_neighbours(labels).items()):
        taken = {chosen[other] for other in others if other in chosen}
        free = [place for place in range(len(palette)) if place not in taken]
        chosen[label] = min(free or range(len(palette)), key=lambda place: uses[place])
        uses[chosen[label]] += 1
    return {label: palette[place] for label, place in chosen.items()}


def darkness(values: NDArray[np.floating]) -> Bytes:
    """Return values from 0 to 1 as grey levels, 0 white and 1 black.

    >>> darkness(np.array([[0, 0.2, 1]])).tolist()
    [[255, 204, 0]]
    """
    return np.rint(255 * (1 - values)).astype(np.uint8)


def _neighbours(labels: Labels) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {int(label): set() for label in np.unique(labels[labels > 0])}
    if not found:
        return found
    rows, columns = distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    nearest = labels[rows, columns]
    for here, there in ((nearest[1:], nearest[:-1]), (nearest[:, 1:], nearest[:, :-1])):
        apart = here != there
        for one, other in np.unique(np.stack([here[apart], there[apart]], 1), axis=0).tolist():
            found[one].add(other)
            found[other].add(one)
    return found


def _aspect(row: Row) -> float:
    """Return height over width of a row's panels, within what a page has room for."""
    return float(np.clip(row.size[0] / row.size[1], _FLATTEST, _TALLEST))


def _height(rows: Sequence[Row]) -> float:
    """Return the height of the figure in inches."""
    side = (WIDTH - 0.4) / len(rows[0].panels)
    lines = sum(max(panel.note.count("\n") + 1 for panel in row.panels) for row in rows)
    return 0.42 + side * sum(map(_aspect, rows)) + 0.14 * lines + 0.13 * len(rows)


def _plot(figure: Figure, columns: Sequence[str], rows: Sequence[Row]) -> None:
    panels = figure.subplots(len(rows), len(columns), squeeze=False, height_ratios=[_aspect(row) for row in rows])
    for axes, column in zip(panels[0], columns, strict=True):
        axes.set_title(column)
    for line, row in zip(panels, rows, strict=True):
        line[0].set_ylabel(row.name, fontsize=8.5, fontweight="bold")
        for axes, panel in zip(line, row.panels, strict=True):
            _draw(axes, panel, row.size)


def _draw(axes: Axes, panel: Panel, size: tuple[int, int]) -> None:
    if panel.picture is not None:
        _draw_picture(axes, panel.picture, size)
    if panel.instances is not None:
        _draw_instances(axes, panel.instances)
    if panel.marks is not None:
        _draw_marks(axes, panel.marks)
    axes.set(xlim=(0, size[1]), ylim=(size[0], 0), aspect="equal", xticks=[], yticks=[])
    axes.set_xlabel(panel.note, labelpad=3)


def _draw_picture(axes: Axes, picture: Bytes, size: tuple[int, int], **kind: Any) -> None:
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, extent=(0, size[1], size[0], 0), **kind)


def _draw_instances(axes: Axes, instances: Instances) -> None:
    from matplotlib.collections import PathCollection  # noqa: PLC0415
    from matplotlib.colors import to_rgba  # noqa: PLC0415

    found = outlines(instances.labels)
    colours = [instances.colours.get(label, GREYS[0]) for label in found]
    areas = [to_rgba(colour, instances.strength) for colour in colours]
    lines = [to_rgba(colour, min(1.0, 2 * instances.strength)) for colour in colours]
    curves = [_curve(polygons) for polygons in found.values()]
    axes.add_collection(PathCollection(curves, facecolors=areas, edgecolors=lines, linewidths=0.8))


def _curve(polygons: Sequence[Polygon]) -> Curve:
    from matplotlib.path import Path as Curve  # noqa: PLC0415

    rings = [ring for polygon in polygons for ring in (polygon.ring, *polygon.holes)]
    return Curve.make_compound_path(*(Curve([*ring, ring[0]], closed=True) for ring in rings))


def _draw_marks(axes: Axes, pixels: NDArray[np.bool_]) -> None:
    """Draw a block red where it has a marked pixel."""
    block = -(-max(pixels.shape) // FINEST)
    for axis, size in enumerate(pixels.shape):
        pixels = np.logical_or.reduceat(pixels, np.arange(0, size, block), axis)
    reds = np.where(pixels[..., None], np.array([*bytes.fromhex(MARK[1:]), 255]), 0).astype(np.uint8)
    _draw_picture(axes, reds, (block * len(pixels), block * pixels.shape[1]), interpolation="nearest", zorder=2)
