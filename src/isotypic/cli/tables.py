"""Tables that more than one command prints."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from isotypic.studies.records import Measure, Scores


def evaluation_table(
    title: str, measure: Measure, tests: Mapping[str, Scores], by_element: Mapping[str, float], changed: int | None
) -> Table:
    """Return the figures of a test in percent: a row a test set, then the measure under every element.

    Args:
        title: what was tested.
        measure: the figure that has a value under every element; its column comes first.
        tests: the scores of every row, by its name.
        by_element: the measure by element.
        changed: images, or what else is tested, whose prediction changes under some element; None where nobody knows.
    """
    table = Table(title=title, title_justify="left")
    found = dict.fromkeys(name for scores in tests.values() for name in scores.figures)
    names = [measure.name, *(name for name in found if name != measure.name)]
    for column in ("", *names):
        table.add_column(column, justify="right" if column else "left")
    for test, scores in tests.items():
        table.add_row(test, *(_percent(scores.figures.get(name)) for name in names))
    table.add_section()
    for element, value in by_element.items():
        table.add_row(element, _percent(value), *[""] * (len(names) - 1))
    if changed is not None:
        table.caption = f"{changed} {measure.unit}s change their {measure.prediction} under some element"
    return table


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"
