"""The figures of single images: confusion matrices, and how far a rotation moves the answer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isotypic.reports.findings import Findings
from isotypic.reports.notation import count, power_of_ten
from isotypic.reports.style import INK, arm_style, draw, shortened, wrapped
from isotypic.studies.records import ArmRef

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUMBERED_CLASSES = 12
LONGEST_CLASS = 14
SMALLEST = 1e-17


def confusion_matrices(findings: Findings, size: int) -> str:
    """Draw the confusion of the two declared arms on the declared test, in percent of each true class.

    Empty where neither arm has one.
    """
    arms = [arm for arm in (findings.primary.a, findings.primary.b) if _confusions(findings, arm, size)]
    if not arms:
        return ""

    def plot(figure: Figure) -> None:
        panels = figure.subplots(1, max(2, len(arms)), squeeze=False)[0]
        for axes, arm in zip(panels, arms, strict=False):
            _matrix_panel(axes, confusion(findings, arm, size), findings.study.info.classes)
            axes.set_title(wrapped(arm.label, 48), fontsize=9)
        for axes in panels[len(arms) :]:
            axes.set_axis_off()
        panels[0].set_ylabel("true class")

    return draw("confusion", plot, height=4.3)


def confusion(findings: Findings, arm: ArmRef, size: int) -> NDArray[np.float64]:
    """Return the confusion of an arm summed over its seeds, [classes, classes], rows of percentages."""
    total = np.sum(_confusions(findings, arm, size), axis=0)
    return 100 * total / np.maximum(total.sum(axis=1, keepdims=True), 1)


def equivariance(findings: Findings) -> str:
    """Draw, an arm a row and a dot a run, the equivariance error and the number of predictions that change.

    Where changes are not counted there is the error alone.
    """
    counted = all(o.changed_images is not None for arm in findings.arms for o in findings.outcomes(arm))

    def plot(figure: Figure) -> None:
        errors, *others = figure.subplots(1, 2 if counted else 1, sharey=True, squeeze=False)[0]
        for place, arm in enumerate(findings.arms):
            dots = {**arm_style(findings.study.info, arm).dots(), "markersize": 5, "alpha": 0.75}
            outcomes = findings.outcomes(arm)
            rows = [place] * len(outcomes)
            errors.plot([max(o.equivariance_error, SMALLEST) for o in outcomes], rows, **dots)
            for changes in others:
                changes.plot([o.changed_images for o in outcomes], rows, **dots)
        _arm_rows(errors, findings)
        _log_axis(errors)
        errors.set_xlabel("equivariance error, max |f(gx) \N{MINUS SIGN} f(x)| / std f")
        for changes in others:
            changes.set_xlabel(f"images whose prediction changes, of {count(findings.images())}")
            changes.set_xlim(left=-0.03 * max(changes.get_xlim()[1], 1))
            changes.tick_params(axis="y", length=0)

    return draw("equivariance", plot, height=0.95 + 0.38 * len(findings.arms))


def _confusions(findings: Findings, arm: ArmRef, size: int) -> list[NDArray[np.float64]]:
    found = [outcome.tests[findings.primary.test].confusion for outcome in findings.outcomes(arm, size)]
    return [np.array(confusion, dtype=np.float64) for confusion in found if confusion is not None]


def _matrix_panel(axes: Axes, shares: NDArray[np.float64], classes: list[str]) -> None:
    number = len(classes)
    axes.pcolormesh(np.sqrt(shares), cmap="Blues", vmin=0, vmax=10.5, edgecolors="white", linewidth=1)
    places = np.arange(number) + 0.5
    names = [shortened(name, LONGEST_CLASS) for name in classes]
    upright = max(map(len, names)) * number <= 40
    axes.set_xticks(places, names, rotation=0 if upright else 90)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted class")
    for spine in axes.spines.values():
        spine.set_visible(False)
    if number <= NUMBERED_CLASSES:
        _write_shares(axes, shares)


def _write_shares(axes: Axes, shares: NDArray[np.float64]) -> None:
    size = min(12.0, 6.0 + 15 / len(shares))
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.05:
            text = f"{share:.0f}" if share >= 9.95 else f"{share:.1f}"
            colour = "white" if share > 30 else INK
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=colour, fontsize=size)


def _arm_rows(axes: Axes, findings: Findings) -> None:
    axes.set_yticks(range(len(findings.arms)), [wrapped(arm.label, 34, 2) for arm in findings.arms])
    axes.set_ylim(len(findings.arms) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def _log_axis(axes: Axes) -> None:
    axes.set_xscale("log")
    low, high = (math.log10(value) for value in axes.get_xlim())
    low, high = math.floor(low), math.ceil(high)
    step = max(1, math.ceil((high - low) / 6))
    exponents = range(low, high + 1, step)
    axes.set_xlim(10.0**low, 10.0**high)
    axes.set_xticks([10.0**exponent for exponent in exponents], [power_of_ten(e) for e in exponents])
    axes.minorticks_off()
