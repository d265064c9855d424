"""The figures of the measure: against size, by rotation, over training, and the declared comparison."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from isotypic.reports.findings import Findings
from isotypic.reports.notation import count, signed
from isotypic.reports.style import GRID, INK, MUTED, arm_style, draw, legend, wrapped
from isotypic.studies.records import ArmRef, Curves, Roc
from isotypic.studies.statistics import Interval, mean_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 4
SPREAD = 0.14
LETTERS_ACROSS = 100
ROC_CORNER = 0.3


@dataclass(frozen=True)
class Quantity:
    """What a row of learning curves shows: its name in the records, its axis, and the factor in between."""

    name: str
    label: str
    scale: float


def measure_by_size(findings: Findings) -> str:
    """Draw the measure against training-set size, a panel a test set, with 95 % intervals."""

    def plot(figure: Figure) -> None:
        tests = findings.tests
        panels = figure.subplots(1, len(tests), sharey=True, squeeze=False)[0]
        for axes, test in zip(panels, tests, strict=True):
            for place, arm in enumerate(findings.arms):
                _mean_line(axes, findings, test, arm, place)
            axes.set_title(f"{test.capitalize()} {findings.tested()}")
            _size_axis(axes, findings.study.info.sizes, findings.measure.sample)
        panels[0].set_ylabel(f"{findings.measure.name} (%)")
        legend(figure, panels[0])

    return draw("measure", plot, height=3.7)


def overfitting(findings: Findings) -> str:
    """Draw the overfitting ratio against training-set size: a dot a run, a line through the means."""

    def plot(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axhline(1, color=MUTED, linewidth=1)
        for place, arm in enumerate(findings.arms):
            _overfitting_line(axes, findings, arm, place)
        _size_axis(axes, findings.study.info.sizes, findings.measure.sample)
        axes.set_ylabel(f"train / upright test {findings.measure.overfitting or findings.measure.name}")
        legend(figure, axes)

    return draw("overfitting", plot, height=3.1)


def measure_by_rotation(findings: Findings) -> str:
    """Draw the measure under every element, a panel a size, with 95 % intervals."""
    sizes = _at_most(findings.study.info.sizes, MOST_PANELS)

    def plot(figure: Figure) -> None:
        panels = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
        for axes, size in zip(panels, sizes, strict=True):
            for place, arm in enumerate(findings.arms):
                _rotation_line(axes, findings, arm, size, place)
            _element_axis(axes, findings, len(sizes))
            axes.set_title(findings.trained(size))
            axes.set_xlabel(f"rotation of the test {findings.measure.unit}")
        panels[0].set_ylabel(f"{findings.measure.name} (%)")
        legend(figure, panels[0])

    return draw("rotation", plot, height=3.3)


def learning_curves(findings: Findings) -> str:
    """Draw score and loss over training at the largest size that has finished runs, a column an arm.

    Where the task records no score there is the loss alone.
    """
    size = findings.finished
    arms = [arm for arm in findings.arms if findings.study.done(arm, size)]
    columns = min(MOST_PANELS, max(2, len(arms)))
    blocks = math.ceil(len(arms) / columns)
    quantities = _quantities(findings, size)
    rows = len(quantities)

    def plot(figure: Figure) -> None:
        panels = figure.subplots(rows * blocks, columns, sharex=True, squeeze=False)
        for place in range(blocks * columns):
            top = rows * (place // columns)
            column = list(panels[top : top + rows, place % columns])
            if place < len(arms):
                _learning_panels(column, quantities, findings, arms[place], size)
            else:
                for axes in column:
                    axes.set_axis_off()
        for row, quantity in enumerate(quantities):
            _share(panels[row::rows], quantity.label)
        legend(figure, panels[0, 0])

    return draw("learning", plot, height=0.5 + 1.8 * rows * blocks)


def roc_curves(findings: Findings) -> str:
    """Draw the ROC curves of the upright test at the largest size that has finished runs, whole and their corner.

    A line is the mean true positive rate of an arm's runs; thin lines are single runs. Nothing where no run has one.
    """
    size = findings.finished
    runs = {arm: [o.roc for o in findings.outcomes(arm, size) if o.roc] for arm in findings.arms}
    if not any(runs.values()):
        return ""

    def plot(figure: Figure) -> None:
        panels = figure.subplots(1, 2)
        for axes in panels:
            for arm, curves in runs.items():
                _roc_lines(axes, curves, arm.label, arm_style(findings.study.info, arm).colour)
            axes.set_xlabel("false positive rate")
        panels[0].plot([0, 1], [0, 1], color=MUTED, linewidth=1)
        panels[0].set_ylabel("true positive rate")
        panels[1].set(xlim=(0, ROC_CORNER), ylim=(_corner_floor(runs.values()), 1), title="the corner")
        legend(figure, panels[0])

    return draw("roc", plot, height=4.2)


def declared_comparison(findings: Findings) -> str:
    """Draw the paired differences of the declared comparison by size and overall, against zero."""
    primary = findings.primary
    rows = [(f"{count(size)} {findings.measure.sample}s", interval) for size, interval in primary.by_size.items()]
    rows += [("all sizes", primary.overall)] if primary.overall and len(rows) > 1 else []

    def plot(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axvline(0, color=MUTED, linewidth=1)
        for place, (label, interval) in enumerate(rows):
            _difference_row(axes, place, interval, bold=label == "all sizes")
        axes.set_yticks(range(len(rows)), [label for label, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.22)
        axes.set_xlabel(wrapped(f"{primary.a.label} minus {primary.b.label} (percentage points)", 86))

    return draw("declared", plot, height=0.75 + 0.34 * len(rows))


def _at_most(sizes: list[int], panels: int) -> list[int]:
    if len(sizes) <= panels:
        return sizes
    return [sizes[round(place)] for place in np.linspace(0, len(sizes) - 1, panels)]


def _size_axis(axes: Axes, sizes: list[int], sample: str) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [count(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlim(sizes[0] / 2**0.5, sizes[-1] * 2**0.5)
    axes.set_xlabel(f"training {sample}s")


def _shift(findings: Findings, place: int) -> float:
    """Return how far an arm stands aside, in [-SPREAD/2, SPREAD/2], so that no interval hides another."""
    return SPREAD * ((place + 0.5) / len(findings.arms) - 0.5)


def _mean_line(axes: Axes, findings: Findings, test: str, arm: ArmRef, place: int) -> None:
    found = {size: findings.means.get((test, arm, size)) for size in findings.study.info.sizes}
    known = {size: mean.interval for size, mean in found.items() if mean}
    aside = 4 ** _shift(findings, place)
    style = arm_style(findings.study.info, arm)
    x = [size * aside for size in known]
    _with_intervals(axes, x, list(known.values()), label=arm.label, **style.lines())


def _with_intervals(axes: Axes, x: list[float], intervals: list[Interval], **line: object) -> None:
    y = np.array([interval.estimate for interval in intervals])
    down = y - np.array([interval.low for interval in intervals])
    up = np.array([interval.high for interval in intervals]) - y
    errors = 100 * np.clip(np.stack([down, up]), 0, None) if len(intervals) else np.zeros((2, 0))
    axes.errorbar(x, 100 * y, yerr=errors, elinewidth=1.1, capsize=0, **line)  # type: ignore[arg-type]


def _overfitting_line(axes: Axes, findings: Findings, arm: ArmRef, place: int) -> None:
    style, aside = arm_style(findings.study.info, arm), 4 ** _shift(findings, place)
    means = {}
    for size in findings.study.info.sizes:
        ratios = [outcome.overfitting_ratio for outcome in findings.outcomes(arm, size)]
        axes.plot([size * aside] * len(ratios), ratios, **{**style.dots(), "markersize": 3, "alpha": 0.55})
        if ratios:
            means[size * aside] = float(np.mean(ratios))
    axes.plot(list(means), list(means.values()), label=arm.label, **style.lines())


def _rotation_line(axes: Axes, findings: Findings, arm: ArmRef, size: int, place: int) -> None:
    study = findings.study
    done = [study.predictions.get(record.cell.identifier) for record in study.done(arm, size)]
    known = [predictions for predictions in done if predictions]
    elements = next(iter(study.predictions.values())).elements
    x = [element + 1.6 * _shift(findings, place) for element in range(len(elements))]
    rows = [np.stack([p.scores[e] for p in known]) for e in range(len(elements)) if known]
    intervals = [mean_interval(row) for row in rows]
    _with_intervals(axes, x[: len(rows)], intervals, label=arm.label, **arm_style(study.info, arm).lines())


def _element_axis(axes: Axes, findings: Findings, panels: int) -> None:
    """Name the elements, upwards where there is no room for their names side by side."""
    elements = next(iter(findings.study.predictions.values())).elements
    crowded = panels * len(elements) * (max(map(len, elements)) + 1) > LETTERS_ACROSS
    axes.set_xticks(range(len(elements)), elements, rotation=90 if crowded else 0)


def _quantities(findings: Findings, size: int) -> list[Quantity]:
    """Return what the learning curves of a size show, from top to bottom."""
    loss = Quantity("loss", "loss", 1)
    runs = [outcome.curves for arm in findings.arms for outcome in findings.outcomes(arm, size)]
    scores = [run.score for run in runs if run.scored]
    return [Quantity("score", f"{scores[0]} (%)", 100), loss] if scores else [loss]


def _learning_panels(
    column: list[Axes], quantities: list[Quantity], findings: Findings, arm: ArmRef, size: int
) -> None:
    runs = [outcome.curves for outcome in findings.outcomes(arm, size)]
    colour = arm_style(findings.study.info, arm).colour
    for axes, quantity in zip(column, quantities, strict=True):
        _course(axes, runs, f"train_{quantity.name}", quantity.scale, "#8b939d")
        _course(axes, runs, f"validation_{quantity.name}", quantity.scale, colour)
    top = column[0]
    top.set_title(wrapped(arm.label, 22), fontsize=9)
    column[-1].set_xlabel("optimiser step")
    column[-1].tick_params(labelbottom=True)  # there may be nothing below it
    top.plot([], [], color="#8b939d", label="training", linewidth=2)
    top.plot([], [], color=INK, label="validation (in colour)", linewidth=2)
    top.plot([], [], color=MUTED, label="single runs", linewidth=0.8, linestyle=(0, (3, 2)))


def _course(axes: Axes, runs: list[Curves], quantity: str, scale: float, colour: str) -> None:
    for run in runs:
        values = scale * np.array(getattr(run, quantity))
        axes.plot(run.step, values, color=colour, linewidth=0.8, linestyle=(0, (3, 2)), alpha=0.7)
    steps = sorted(set.intersection(*(set(run.step) for run in runs)))
    known = [dict(zip(run.step, getattr(run, quantity), strict=True)) for run in runs]
    mean = [scale * float(np.mean([run[step] for run in known])) for step in steps]
    axes.plot(steps, mean, color=colour, linewidth=2)


def _share(panels: np.ndarray, label: str) -> None:
    """Give all panels of one quantity the same range, with figures on the left ones only."""
    shown = [axes for axes in panels.flat if axes.axison]
    low, high = min(axes.get_ylim()[0] for axes in shown), max(axes.get_ylim()[1] for axes in shown)
    for axes in shown:
        axes.set_ylim(low, high)
        axes.tick_params(labelleft=axes in panels[:, 0])
    for axes in panels[:, 0]:
        axes.set_ylabel(label)


def _roc_lines(axes: Axes, curves: list[Roc], label: str, colour: str) -> None:
    for curve in curves:
        axes.plot(curve.false_positive_rate, curve.true_positive_rate, color=colour, linewidth=0.6, alpha=0.5)
    if curves:
        mean = np.mean([curve.true_positive_rate for curve in curves], axis=0)
        axes.plot(curves[0].false_positive_rate, mean, color=colour, linewidth=2, label=label)


def _corner_floor(runs: Iterable[list[Roc]]) -> float:
    """Return where the corner begins: at .55, or lower where a curve would hardly be seen above."""
    early = [np.interp(ROC_CORNER / 4, c.false_positive_rate, c.true_positive_rate) for curves in runs for c in curves]
    return min(1 - 1.5 * ROC_CORNER, math.floor(10 * min(early)) / 10)


def _difference_row(axes: Axes, place: int, interval: Interval, bold: bool) -> None:
    low, middle, high = (100 * value for value in (interval.low, interval.estimate, interval.high))
    axes.axhline(place, color=GRID, linewidth=0.8, zorder=0)
    axes.plot([low, high], [place, place], color=INK, linewidth=2.6 if bold else 1.4, solid_capstyle="butt")
    axes.plot([middle], [place], marker="D" if bold else "o", color=INK, markersize=7 if bold else 5.5)
    weight = "bold" if bold else "normal"
    axes.annotate(signed(middle), (high, place), (7, 0), textcoords="offset points", va="center", fontweight=weight)
