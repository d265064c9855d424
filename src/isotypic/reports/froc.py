"""What a page, or the command line, shows of FROC curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from isotypic.reports.findings import Findings
from isotypic.reports.notation import percent
from isotypic.reports.style import COLOURS, arm_style, draw, legend
from isotypic.reports.tables import Entry, Row, Table
from isotypic.studies.records import Froc

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RATES = {0.125: "1/8", 0.25: "1/4", 0.5: "1/2", 1.0: "1", 2.0: "2", 4.0: "4", 8.0: "8"}
"""The rates of false positives a scan that count, and what they are called."""


def one_curve(froc: Froc, title: str) -> str:
    """Draw a single curve with the intervals at the rates that count, as SVG."""

    def plot(figure: Figure) -> None:
        axes, colour = figure.subplots(), COLOURS[0]
        at = 100 * np.interp(list(RATES), froc.false_positives, froc.sensitivity)
        low, high = 100 * np.array(froc.intervals).T
        errors = np.clip(np.stack([at - low, high - at]), 0, None)
        axes.plot(froc.false_positives, 100 * np.array(froc.sensitivity), color=colour, linewidth=2)
        axes.errorbar(list(RATES), at, yerr=errors, fmt="o", color=colour, elinewidth=1.1)
        axes.set_title(title)
        _axes(axes)

    return draw("froc", plot, height=4.2)


def froc_curves(findings: Findings) -> str:
    """Draw the FROC curves of the upright test at the largest size that has finished runs; nothing where there is none.

    A line is the mean sensitivity of an arm's runs at every rate; thin lines are single runs.
    """
    runs = {arm: [o.froc for o in findings.outcomes(arm, findings.finished) if o.froc] for arm in findings.arms}
    if not any(runs.values()):
        return ""

    def plot(figure: Figure) -> None:
        axes = figure.subplots()
        for arm, curves in runs.items():
            _lines(axes, curves, arm.label, arm_style(findings.study.info, arm).lines())
        _axes(axes)
        legend(figure, axes)

    return draw("froc", plot, height=4.2)


def froc_table(findings: Findings, size: int) -> Table:
    """Return the CPM of each arm at one size: on a line, at the nearest point, and the first seed's with its interval.

    Empty where nothing is to be found in scans.
    """
    rows = []
    for arm in findings.arms:
        found = [outcome.froc for outcome in findings.outcomes(arm, size) if outcome.froc]
        if found:
            line, nearest = [f.cpm for f in found], [f.cpm_nearest for f in found]
            means = [Entry(percent(float(np.mean(values)))) for values in (line, nearest)]
            low, high = (percent(end) for end in found[0].cpm_interval)
            first = Entry(percent(line[0]), f"{low} to {high}")
            rows.append(Row(arm.label, arm in findings.declared, (*means, first)))
    return Table("", ("CPM", "CPM, nearest point", "CPM of the first seed, 95 % interval"), tuple(rows))


def _axes(axes: Axes) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(RATES), list(RATES.values()))
    axes.set(xlabel="false positives a scan", ylabel="sensitivity (%)", ylim=(0, 100))


def _lines(axes: Axes, curves: list[Froc], label: str, line: dict[str, Any]) -> None:
    percents = [100 * np.array(curve.sensitivity) for curve in curves]
    for curve, found in zip(curves, percents, strict=True):
        axes.plot(curve.false_positives, found, color=line["color"], linewidth=0.6, alpha=0.5)
    if curves:
        axes.plot(curves[0].false_positives, np.mean(percents, axis=0), label=label, **{**line, "marker": ""})
