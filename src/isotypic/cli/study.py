"""``isotypic study``: cross a recipe with models, augmentations, sizes and seeds, and report."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from isotypic.cli.data_request import shown
from isotypic.cli.options import Data, Device, Out, Recipe, Set, Workers
from isotypic.cli.progress import StudyDisplay
from isotypic.reports.build import build_report
from isotypic.reports.findings import find
from isotypic.reports.tables import Table as MeasureTable
from isotypic.reports.tables import measure_tables
from isotypic.reports.verdict import judge
from isotypic.studies.cell import CACHE_FOLDER
from isotypic.studies.folder import StudyRecords
from isotypic.studies.runner import claim, run, unfinished, write_table
from isotypic.studies.spec import make_plan
from isotypic.tasks.recipe import read_recipe, with_request

EXAMPLE = "Example: isotypic study digits --out runs/digits --set study.seeds=2"


def command(
    recipe: Recipe,
    data: Data = None,
    out: Out = None,
    set_: Set = None,
    workers: Workers = None,
    device: Device = "cpu",
) -> None:
    """Run what is missing of a study in its folder, then write table.csv and report.html."""
    console = Console()
    raw = with_request(read_recipe(recipe), data, set_ or [])
    folder = (out or Path("runs") / str(raw.get("name", recipe))).resolve()
    with shown(console, "preparing") as counted:
        plan = make_plan(raw, folder / CACHE_FOLDER, counted)
    claim(folder, plan.info)
    todo = unfinished(folder, plan.cells)
    display = StudyDisplay(console, len(plan.cells), len(plan.cells) - len(todo))
    console.print(f"{plan.info.title}: {len(plan.cells)} cells, {len(todo)} to run, into {folder}", highlight=False)
    if todo:
        display.follow(run(folder, plan, workers=workers, device=device))
    write_table(folder)
    _conclude(console, folder)


def _conclude(console: Console, folder: Path) -> None:
    findings = find(StudyRecords.load(folder))
    for table in measure_tables(findings):
        console.print(_drawn(table, findings.measure.name))
    verdict = judge(findings)
    console.print(f"\n[bold]{verdict.headline}[/]")
    for sentence in (verdict.sentence, verdict.worth, *verdict.caveats):
        if sentence:
            console.print(sentence, highlight=False, markup=False)
    console.print(f"\nreport: {build_report(folder)}", highlight=False, soft_wrap=True)


def _drawn(source: MeasureTable, measure: str) -> Table:
    """Return a table of the report for the terminal, the best of every column in bold."""
    table = Table("", title=f"{source.title}: {measure} in %, 95 % interval", title_justify="left")
    for column in source.columns:
        table.add_column(column, justify="right")
    for row in source.rows:
        table.add_row(
            row.name, *(f"[bold]{e.value}[/] {e.note}" if e.best else f"{e.value} {e.note}" for e in row.entries)
        )
    return table
