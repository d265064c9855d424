"""How figures look, once for all: colour and marker say the model, line and filling say the augmentation.

The colours are of the Okabe-Ito palette, which colour-blind readers can tell apart (M. Okabe and K. Ito, *Color
Universal Design*, 2008, https://jfly.uni-koeln.de/color/), ordered so that neighbours differ in lightness and
survive a grey printer. Text stays text in the SVG and takes the font of the page.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any

from isotypic.errors import RequestError
from isotypic.studies.records import ArmRef, StudyInfo

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 8.0
LEGEND_ROW = 0.19
LONGEST_NAME = 84
INK, MUTED, RULE, GRID = "#1c2128", "#5b6470", "#aab1ba", "#e8ebee"
COLOURS = ("#E69F00", "#0B5394", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.2, 1.6)), (0, (6, 2, 1.2, 2)))
HOUSE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": RULE,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": RULE,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.color": RULE,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 9,
}


@dataclass(frozen=True)
class ArmStyle:
    """How one arm is drawn."""

    colour: str
    marker: str
    line: Any
    filling: str

    def lines(self) -> dict[str, Any]:
        """Return the keywords of a line with markers."""
        return {
            "color": self.colour,
            "linestyle": self.line,
            "marker": self.marker,
            "markerfacecolor": self.filling,
            "markeredgecolor": self.colour,
            "markeredgewidth": 1.4,
        }

    def dots(self) -> dict[str, Any]:
        """Return the keywords of markers without a line."""
        return {**self.lines(), "linestyle": "none"}


def arm_style(info: StudyInfo, arm: ArmRef) -> ArmStyle:
    """Return an arm's style: it depends on the study alone, so it is the same in every figure."""
    model, augmentation = info.models.index(arm.model), info.augmentations.index(arm.augmentation)
    colour = COLOURS[model % len(COLOURS)]
    filling = "white" if augmentation % 2 else colour
    return ArmStyle(colour, MARKERS[model % len(MARKERS)], LINES[augmentation % len(LINES)], filling)


def draw(name: str, plot: Callable[[Figure], None], height: float, width: float = WIDTH) -> str:
    """Return the SVG of a figure as text, ready to stand in an HTML page.

    Args:
        name: distinguishes the identifiers of this figure from those of the others on the page.
        plot: draws on an empty figure.
        height: inches.
        width: inches; the page's column is 8 wide.

    Raises:
        RequestError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as missing:
        raise missing_extra("matplotlib") from missing
    with matplotlib.rc_context({**HOUSE, "svg.hashsalt": name}):
        figure = Figure(figsize=(width, height))
        plot(figure)
        text = StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return _inline(text.getvalue())


def missing_extra(package: str) -> RequestError:
    """Return the error for a package that only reports need."""
    return RequestError(f'a report needs {package}: pip install "isotypic[report]"')


def legend(figure: Figure, axes: Axes) -> None:
    """Put one legend for all panels above the figure; the figure grows by the rows that it needs."""
    handles, labels = axes.get_legend_handles_labels()
    labels = [shortened(label, LONGEST_NAME) for label in labels]
    widest = max((len(label) for label in labels), default=1)
    columns = max(1, min(len(labels), int(100 / (widest + 8))))
    figure.set_figheight(figure.get_figheight() + LEGEND_ROW * (math.ceil(len(labels) / columns) - 1))
    figure.legend(handles, labels, loc="outside upper left", ncols=columns, borderpad=0.2, columnspacing=1.8)


def wrapped(text: str, width: int, lines: int = 3) -> str:
    r"""Return a name over several lines of at most ``width`` characters, cut short after the last.

    >>> wrapped("p4 G-CNN + rot90", 12)
    'p4 G-CNN +\nrot90'
    """
    return "\n".join(textwrap.wrap(text, width, max_lines=lines, placeholder=" …"))


def shortened(text: str, width: int) -> str:
    """Return a name cut to a width.

    >>> shortened("aeroplane, fixed wing", 12)
    'aeroplane, …'
    """
    return text if len(text) <= width else text[: width - 1] + "…"


def _inline(svg: str) -> str:
    """Return the SVG element alone: no prolog, no metadata, no identifiers that clash between figures."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", svg)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font: (bold )?([\d.]+px) [^;\"]*", _font, svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", svg, count=1)
    svg = re.sub(r'<svg ([^>]*?)height="[^"]*"', r"<svg \1", svg, count=1)
    return re.sub(r"\n\s*", "\n", svg)


def _font(match: re.Match[str]) -> str:
    """Return the size and weight of a text; the family comes from the page."""
    return f"font-size: {match[2]}; font-weight: {'bold' if match[1] else 'normal'}"
