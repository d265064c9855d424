"""The tables and key figures of the page, as the words that stand in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isotypic.reports.findings import ArmAccuracy, Comparison, Findings
from isotypic.reports.notation import (
    NOTHING,
    count,
    duration,
    ends,
    factor,
    half_width,
    percent,
    points,
    scientific,
    signed,
)
from isotypic.studies.records import ArmRef, Outcome
from isotypic.studies.statistics import Interval


@dataclass(frozen=True)
class Figure:
    """A key figure: the number, its unit, what it is, and the interval or the comparison below it."""

    value: str
    unit: str
    name: str
    note: str


@dataclass(frozen=True)
class Entry:
    """A table's cell: the number, what stands small beside it, and whether it is the column's best."""

    value: str
    note: str = ""
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A table's row: the arm or pair, whether the study's question names it, and its entries."""

    name: str
    declared: bool
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Table:
    """A table with its heading and the names of its columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def key_figures(findings: Findings) -> list[Figure]:
    """Return the figures that a reader looks for first; those that cannot be computed are left out."""
    figures = [_gain(findings), _worth(findings), _changed(findings), _price(findings)]
    return [figure for figure in figures if figure]


def accuracy_tables(findings: Findings) -> list[Table]:
    """Return a table a test set: arms by sizes, mean with its 95 % interval, the best of a column marked."""
    tests = sorted({test for test, _, _ in findings.accuracy}, key=lambda test: test != findings.primary.test)
    columns = tuple(f"n = {count(size)}" for size in findings.study.info.sizes)
    return [Table(f"{test.capitalize()} test images", columns, _accuracy_rows(findings, test)) for test in tests]


def comparison_tables(findings: Findings) -> list[Table]:
    """Return a table a test set: every pair of arms by sizes and overall, in percentage points."""
    columns = tuple(f"n = {count(size)}" for size in findings.study.info.sizes)
    columns += ("all sizes",) if len(columns) > 1 else ()
    tests = list(dict.fromkeys((findings.primary.test, *(pair.test for pair in findings.comparisons))))
    return [Table(f"{test.capitalize()} test images", columns, _comparison_rows(findings, test)) for test in tests]


def worth_table(findings: Findings) -> Table:
    """Return the worth in labels by size; empty where there is a single size."""
    rows = []
    for worth in findings.worths:
        words = {"equal": "", "at least": "≥\u2009", "at most": "≤\u2009"}
        estimate = words[worth.estimate.bound] + factor(worth.estimate.factor)
        entries = (Entry(estimate), Entry(ends(worth)))
        rows.append(Row(count(worth.at_size), worth == findings.worth(), entries))
    return Table("Worth in labels", ("times the labels", "95 % interval"), tuple(rows))


def cost_table(findings: Findings, size: int) -> Table:
    """Return parameters, steps, training time, latency and equivariance error of each arm at one size."""
    columns = ("parameters", "steps", "training time", "latency (ms)", "equivariance error", "changed")
    rows = []
    for arm in findings.arms:
        outcomes = _outcomes(findings, arm, size)
        if outcomes:
            rows.append(Row(arm.label, _declared(findings, arm), _cost_entries(outcomes)))
    return Table(f"Cost of one run with {count(size)} training images", columns, tuple(rows))


def _cost_entries(outcomes: list[Outcome]) -> tuple[Entry, ...]:
    costs = [outcome.cost for outcome in outcomes]
    changed = float(np.mean([outcome.disagreeing_images for outcome in outcomes]))
    return (
        Entry(count(costs[0].parameters)),
        Entry(count(float(np.median([cost.steps for cost in costs])))),
        Entry(duration(float(np.median([cost.train_seconds for cost in costs])))),
        Entry(f"{np.median([cost.latency_ms for cost in costs]):.2f}"),
        Entry(scientific(max(outcome.equivariance_error for outcome in outcomes))),
        Entry(f"{changed:,.1f}" if changed else "0"),
    )


def _accuracy_rows(findings: Findings, test: str) -> tuple[Row, ...]:
    sizes = findings.study.info.sizes
    best = {size: _best(findings, test, size) for size in sizes}
    rows = []
    for arm in findings.arms:
        entries = [_accuracy_entry(findings, test, arm, size, best[size]) for size in sizes]
        rows.append(Row(arm.label, _declared(findings, arm), tuple(entries)))
    return tuple(rows)


def _best(findings: Findings, test: str, size: int) -> str:
    found = [accuracy for (t, _, n), accuracy in findings.accuracy.items() if (t, n) == (test, size)]
    return max((percent(accuracy.interval.estimate) for accuracy in found), key=float, default="")


def _accuracy_entry(findings: Findings, test: str, arm: ArmRef, size: int, best: str) -> Entry:
    accuracy = findings.accuracy.get((test, arm, size))
    if accuracy is None:
        return Entry(NOTHING)
    value = percent(accuracy.interval.estimate)
    return Entry(value, f"± {half_width(accuracy.interval)}{_gap(findings, accuracy)}", value == best)


def _gap(findings: Findings, accuracy: ArmAccuracy) -> str:
    planned = len(findings.study.info.seeds)
    return "" if accuracy.seeds == planned else f" ({accuracy.seeds} of {planned} seeds)"


def _comparison_rows(findings: Findings, test: str) -> tuple[Row, ...]:
    primary = findings.primary
    pairs = [pair for pair in findings.comparisons if pair.test == test]
    if test == primary.test:
        others = [pair for pair in pairs if {pair.a, pair.b} != {primary.a, primary.b}]
        pairs = [primary, *others]
    return tuple(_comparison_row(findings, pair, declared=pair == primary) for pair in pairs)


def _comparison_row(findings: Findings, pair: Comparison, declared: bool) -> Row:
    intervals = [pair.by_size.get(size) for size in findings.study.info.sizes]
    intervals += [pair.overall] if len(intervals) > 1 else []
    name = f"{pair.a.label} minus {pair.b.label}"
    return Row(name, declared, tuple(_difference_entry(interval) for interval in intervals))


def _difference_entry(interval: Interval | None) -> Entry:
    if interval is None:
        return Entry(NOTHING)
    return Entry(signed(100 * interval.estimate), points(interval), best=not interval.contains_zero)


def _declared(findings: Findings, arm: ArmRef) -> bool:
    return arm in (findings.primary.a, findings.primary.b)


def _gain(findings: Findings) -> Figure | None:
    overall, primary = findings.primary.overall, findings.primary
    if overall is None:
        return None
    name = f"accuracy gained by building the symmetry in, on {primary.test} images"
    return Figure(signed(100 * overall.estimate), "points", name, f"95 % interval {points(overall)}")


def _worth(findings: Findings) -> Figure | None:
    worth = findings.worth()
    if worth is None:
        return None
    mark = {"equal": "", "at least": "≥\u2009", "at most": "≤\u2009"}[worth.estimate.bound]
    name = f"the labelled images: what the symmetry was worth at {count(worth.at_size)}"
    note = f"95 % interval {ends(worth)}"
    return Figure(mark + factor(worth.estimate.factor), "times", name, note)


def _changed(findings: Findings) -> Figure | None:
    built_in, augmented = _declared_outcomes(findings)
    if not built_in or not augmented:
        return None
    changed = [float(np.mean([o.disagreeing_images for o in arm])) for arm in (built_in, augmented)]
    share = [percent(value / findings.images()) if value else "0" for value in changed]
    name = f"of the test images change class when rotated ({findings.primary.a.label})"
    return Figure(share[0], "%", name, f"{findings.primary.b.label}: {share[1]} %")


def _price(findings: Findings) -> Figure | None:
    built_in, augmented = _declared_outcomes(findings)
    if not built_in or not augmented:
        return None
    times = [float(np.median([o.cost.train_seconds for o in arm])) for arm in (built_in, augmented)]
    if min(times) <= 0:
        return None
    name = "training time, built-in relative to augmented"
    return Figure(factor(times[0] / times[1]), "times", name, f"{duration(times[0])} against {duration(times[1])}")


def _declared_outcomes(findings: Findings) -> tuple[list[Outcome], list[Outcome]]:
    """Return the declared arms' outcomes at the largest size that both have finished."""
    primary = findings.primary
    for size in reversed(findings.study.info.sizes):
        pair = _outcomes(findings, primary.a, size), _outcomes(findings, primary.b, size)
        if all(pair):
            return pair
    return [], []


def _outcomes(findings: Findings, arm: ArmRef, size: int) -> list[Outcome]:
    return [record.outcome for record in findings.study.done(arm, size) if record.outcome]
