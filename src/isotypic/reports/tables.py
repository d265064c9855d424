"""The tables and key figures of the page, as the words that stand in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from isotypic.reports.findings import ArmMean, Comparison, Findings, Pace
from isotypic.reports.notation import (
    NOTHING,
    count,
    duration,
    ends,
    factor,
    half_width,
    number,
    percent,
    points,
    scientific,
    signed,
)
from isotypic.studies.records import ROTATED, ArmRef, Outcome
from isotypic.studies.statistics import Interval, Worth


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


def measure_tables(findings: Findings) -> list[Table]:
    """Return a table a test set: arms by sizes, mean with its 95 % interval, the best of a column marked."""
    columns = tuple(f"n = {count(size)}" for size in findings.study.info.sizes)
    return [_of_test(findings, test, columns, _mean_rows(findings, test)) for test in findings.tests]


def further_tables(findings: Findings, size: int) -> list[Table]:
    """Return the further figures at one size: in percent for every test set, and what the runs measured besides."""
    return [*_beside_the_measure(findings, size), *_of_the_runs(findings, size)]


def comparison_tables(findings: Findings) -> list[Table]:
    """Return a table a test set: every pair of arms by sizes and overall, in percentage points."""
    columns = tuple(f"n = {count(size)}" for size in findings.study.info.sizes)
    columns += ("all sizes",) if len(columns) > 1 else ()
    tests = list(dict.fromkeys((findings.primary.test, *(pair.test for pair in findings.comparisons))))
    return [_of_test(findings, test, columns, _comparison_rows(findings, test)) for test in tests]


def worth_table(findings: Findings) -> Table:
    """Return the worth in labels by size; empty where there is a single size."""
    rows = []
    for worth in findings.worths:
        entries = (Entry(_times(worth.estimate)), Entry(ends(worth)))
        rows.append(Row(count(worth.at_size), worth == findings.worth(), entries))
    return Table("Worth in labels", ("times the labels", "95 % interval"), tuple(rows))


def efficiency_table(findings: Findings) -> Table:
    """Return for every arm how many times its training set the declared augmented arm needs to do as well, by size.

    Empty where there is a single size, or no arm but the two of the question.
    """
    sizes = findings.study.info.sizes
    rows = []
    for arm, worths in findings.worth_by_arm.items() if len(findings.worth_by_arm) > 1 else ():
        known = {worth.at_size: Entry(_times(worth.estimate), ends(worth)) for worth in worths}
        entries = tuple(known.get(size, Entry(NOTHING)) for size in sizes)
        rows.append(Row(arm.label, arm in findings.declared, entries))
    return Table("", tuple(f"n = {count(size)}" for size in sizes), tuple(rows))


def pace_table(findings: Findings) -> Table:
    """Return by arm and size the epochs until the validation loss is the best of the augmented arm, and their cost.

    The best is the mean over its seeds. An epoch is as many steps as show every training sample once. Empty where the
    settings tell no size of a batch.
    """
    sizes = findings.study.info.sizes
    rows = []
    for arm in findings.arms:
        paces = [findings.paces(arm, size) for size in sizes]
        if any(paces):
            rows.append(Row(arm.label, arm in findings.declared, tuple(map(_pace_entry, paces))))
    return Table("", tuple(f"n = {count(size)}" for size in sizes), tuple(rows))


def time_table(findings: Findings) -> Table:
    """Return by arm and size the training time until the validation loss is the best of the augmented arm.

    Empty as :func:`pace_table` is.
    """
    rows = []
    for arm in findings.arms:
        paces = [findings.paces(arm, size) for size in findings.study.info.sizes]
        if any(paces):
            rows.append(Row(arm.label, arm in findings.declared, tuple(map(_time_entry, paces))))
    return Table("", tuple(f"n = {count(size)}" for size in findings.study.info.sizes), tuple(rows))


def _time_entry(paces: list[Pace]) -> Entry:
    reached = [pace.epochs * pace.seconds for pace in paces if pace.epochs is not None]
    missed = "" if len(reached) == len(paces) else f"{len(paces) - len(reached)} of {len(paces)} never"
    return Entry(duration(float(np.median(reached))) if reached else NOTHING, missed)


def _pace_entry(paces: list[Pace]) -> Entry:
    if not paces:
        return Entry(NOTHING)
    reached = [pace.epochs for pace in paces if pace.epochs is not None]
    each = duration(float(np.median([pace.seconds for pace in paces])))
    missed = "" if len(reached) == len(paces) else f"{len(paces) - len(reached)} of {len(paces)} never, "
    return Entry(number(float(np.median(reached))) if reached else NOTHING, f"{missed}{each} each")


def _times(worth: Worth) -> str:
    return {"equal": "", "at least": "≥\u2009", "at most": "≤\u2009"}[worth.bound] + factor(worth.factor)


def cost_table(findings: Findings, size: int) -> Table:
    """Return parameters, steps, training time, latency and equivariance error of each arm at one size."""
    rows = []
    for arm in findings.arms:
        outcomes = findings.outcomes(arm, size)
        if outcomes:
            rows.append((arm, _cost_entries(outcomes)))
    columns = [name for name in _COSTS if any(entries[name] is not None for _, entries in rows)]
    table = [
        Row(arm.label, arm in findings.declared, tuple(entries[name] or Entry(NOTHING) for name in columns))
        for arm, entries in rows
    ]
    return Table(f"Cost of one run with {findings.trained(size)}", tuple(columns), tuple(table))


_COSTS = ("parameters", "steps", "training time", "latency (ms)", "images a second", "equivariance error", "changed")


def _cost_entries(outcomes: list[Outcome]) -> dict[str, Entry | None]:
    """Return the entries of a row by column; None of what was not measured."""
    costs = [outcome.cost for outcome in outcomes]
    changed, paces = changed_images(outcomes), [cost.throughput for cost in costs if cost.throughput is not None]
    return {
        "parameters": Entry(count(costs[0].parameters)),
        "steps": Entry(count(float(np.median([cost.steps for cost in costs])))),
        "training time": Entry(duration(float(np.median([cost.train_seconds for cost in costs])))),
        "latency (ms)": Entry(f"{np.median([cost.latency_ms for cost in costs]):.2f}"),
        "images a second": Entry(number(float(np.median(paces)))) if paces else None,
        "equivariance error": Entry(scientific(max(outcome.equivariance_error for outcome in outcomes))),
        "changed": None if changed is None else Entry(f"{changed:,.1f}" if changed else "0"),
    }


def changed_images(outcomes: list[Outcome]) -> float | None:
    """Return the mean number of images whose prediction changes; None where nobody counted."""
    known = [outcome.changed_images for outcome in outcomes if outcome.changed_images is not None]
    return float(np.mean(known)) if known else None


def _of_test(findings: Findings, test: str, columns: tuple[str, ...], rows: tuple[Row, ...]) -> Table:
    name = findings.moved if test == ROTATED else test
    return Table(f"{name.capitalize()} {findings.tested()}", columns, rows)


def _mean_rows(findings: Findings, test: str) -> tuple[Row, ...]:
    sizes = findings.study.info.sizes
    best = {size: _best(findings, test, size) for size in sizes}
    rows = []
    for arm in findings.arms:
        entries = [_mean_entry(findings, test, arm, size, best[size]) for size in sizes]
        rows.append(Row(arm.label, arm in findings.declared, tuple(entries)))
    return tuple(rows)


def _best(findings: Findings, test: str, size: int) -> str:
    found = [mean for (t, _, n), mean in findings.means.items() if (t, n) == (test, size)]
    return max((percent(mean.interval.estimate) for mean in found), key=float, default="")


def _mean_entry(findings: Findings, test: str, arm: ArmRef, size: int, best: str) -> Entry:
    mean = findings.means.get((test, arm, size))
    if mean is None:
        return Entry(NOTHING)
    value = percent(mean.interval.estimate)
    return Entry(value, f"± {half_width(mean.interval)}{_gap(findings, mean)}", value == best)


def _gap(findings: Findings, mean: ArmMean) -> str:
    planned = len(findings.study.info.seeds)
    return "" if mean.seeds == planned else f" ({mean.seeds} of {planned} seeds)"


def _beside_the_measure(findings: Findings, size: int) -> list[Table]:
    names = tuple(findings.study.info.further)

    def rows(test: str) -> tuple[Row, ...]:
        return _figure_rows(
            findings, names, lambda arm: [o.tests[test].figures for o in findings.outcomes(arm, size)], percent
        )

    return [_of_test(findings, test, names, rows(test)) for test in findings.tests if names]


def _of_the_runs(findings: Findings, size: int) -> list[Table]:
    def found(arm: ArmRef) -> list[dict[str, float | None]]:
        return [dict(outcome.figures) for outcome in findings.outcomes(arm, size)]

    names = tuple(dict.fromkeys(name for arm in findings.arms for figures in found(arm) for name in figures))
    return [Table("Other figures of the runs", names, _figure_rows(findings, names, found, number))] if names else []


def _figure_rows(
    findings: Findings,
    names: tuple[str, ...],
    found: Callable[[ArmRef], list[dict[str, float | None]]],
    written: Callable[[float], str],
) -> tuple[Row, ...]:
    """Return a row an arm with the mean over its runs of every named figure."""
    rows = []
    for arm in findings.arms:
        means = [_mean([figures.get(name) for figures in found(arm)]) for name in names]
        entries = tuple(Entry(NOTHING if mean is None else written(mean)) for mean in means)
        rows.append(Row(arm.label, arm in findings.declared, entries))
    return tuple(rows)


def _mean(values: list[float | None]) -> float | None:
    """Return the mean of the values that there are; nothing where there are none."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


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


def _gain(findings: Findings) -> Figure | None:
    overall, primary = findings.primary.overall, findings.primary
    if overall is None:
        return None
    by = "building the symmetry in" if findings.weighs_augmentation else f"the {primary.a.label}"
    name = f"{findings.measure.name} gained by {by}, on {primary.test} {findings.measure.unit}s"
    return Figure(signed(100 * overall.estimate), "points", name, f"95 % interval {points(overall)}")


def _worth(findings: Findings) -> Figure | None:
    worth = findings.worth()
    if worth is None:
        return None
    what = f"what the {findings.contender} was worth at {count(worth.at_size)}"
    name = f"the labelled {findings.measure.sample}s: {what}"
    note = f"95 % interval {ends(worth)}"
    return Figure(_times(worth.estimate), "times", name, note)


def _changed(findings: Findings) -> Figure | None:
    built_in, augmented = _declared_outcomes(findings)
    if not built_in or not augmented:
        return None
    changed = [found for arm in (built_in, augmented) if (found := changed_images(arm)) is not None]
    if len(changed) < 2:
        return None
    share = [percent(value / findings.images()) if value else "0" for value in changed]
    change = f"change {findings.measure.prediction} when {findings.moved}"
    name = f"of the {findings.tested()} {change} ({findings.primary.a.label})"
    return Figure(share[0], "%", name, f"{findings.primary.b.label}: {share[1]} %")


def _price(findings: Findings) -> Figure | None:
    built_in, augmented = _declared_outcomes(findings)
    if not built_in or not augmented:
        return None
    times = [float(np.median([o.cost.train_seconds for o in arm])) for arm in (built_in, augmented)]
    if min(times) <= 0:
        return None
    a, b = ("built-in", "augmented") if findings.weighs_augmentation else (arm.label for arm in findings.declared)
    name = f"training time, {a} relative to {b}"
    return Figure(factor(times[0] / times[1]), "times", name, f"{duration(times[0])} against {duration(times[1])}")


def _declared_outcomes(findings: Findings) -> tuple[list[Outcome], list[Outcome]]:
    """Return the declared arms' outcomes at the largest size that both have finished."""
    primary = findings.primary
    for size in reversed(findings.study.info.sizes):
        pair = findings.outcomes(primary.a, size), findings.outcomes(primary.b, size)
        if all(pair):
            return pair
    return [], []
