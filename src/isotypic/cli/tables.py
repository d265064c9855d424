"""Tables that more than one command prints."""

from __future__ import annotations

from rich.table import Table

from isotypic.inference.evaluation import Evaluation
from isotypic.metrics.classification import ClassificationScores


def evaluation_table(result: Evaluation) -> Table:
    """Return the scores of a test, upright and under all elements, with the accuracy under each."""
    table = Table(title=f"{len(result.labels)} images, group {result.group.name}", title_justify="left")
    for name in ("", "accuracy", "AUC", "sensitivity", "specificity"):
        table.add_column(name, justify="right" if name else "left")
    table.add_row("upright", *_figures(result.upright))
    table.add_row(f"all {result.group.order} elements", *_figures(result.moved))
    table.add_section()
    for element, accuracy in result.accuracy_by_element.items():
        table.add_row(element, f"{accuracy:.2%}", "", "", "")
    table.caption = f"{result.disagreeing} images change their class under some element"
    return table


def _figures(scores: ClassificationScores) -> list[str]:
    auc = "-" if scores.auc is None else f"{scores.auc:.4f}"
    return [f"{scores.accuracy:.2%}", auc, f"{scores.sensitivity:.2%}", f"{scores.specificity:.2%}"]
