"""``isotypic bench``: equivariant layers against the plain ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from isotypic.bench.layers import GRID, LayerResult, cases, measure
from isotypic.files import write_text

EXAMPLE = "Example: isotypic bench --channels 128 --batch 16 --out layers.json"


def command(
    channels: Annotated[list[int] | None, typer.Option("--channels", help="Total channels; default the grid.")] = None,
    batch: Annotated[list[int] | None, typer.Option("--batch", help="Images at once; default the grid.")] = None,
    size: Annotated[list[int] | None, typer.Option("--size", help="Image side; default the grid.")] = None,
    group: Annotated[list[str] | None, typer.Option("--group", help="Group; default C4 and D4.")] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.0, help="Time to spend on a case.")] = 1.0,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Compute threads; default torch's.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="JSON file to write.")] = None,
) -> None:
    """Time forward and training step in turns with torch.nn.Conv2d of the same channels, channels_last."""
    console = Console()
    if threads:
        torch.set_num_threads(threads)
    chosen = {"channels": channels, "batch": batch, "size": size, "group": group}
    grid = {**GRID, **{key: tuple(values) for key, values in chosen.items() if values}}
    results = []
    for case in cases(grid):
        results.append(measure(case, seconds))
        console.print(_line(results[-1]), highlight=False)
    console.print(_table(results))
    if out:
        write_text(out, json.dumps([result.row() for result in results], indent=1))
        console.print(f"figures: {out.resolve()}", highlight=False, soft_wrap=True)


def _line(result: LayerResult) -> str:
    case = result.case
    where = f"{case.group} {case.mode:7} batch {case.batch:2} C {case.channels:3} {case.size:3} px"
    times = f"{result.group_ms:.2f} ms, plain {result.plain_ms:.2f} ms"
    return f"{where}: {result.ratio:5.2f}  ({times}, error {result.error:.0e})"


def _table(results: list[LayerResult]) -> Table:
    """Return ratios, a row for group, mode, batch and channels, a column for each image size."""
    sizes = sorted({result.case.size for result in results})
    table = Table("group", "mode", "batch", "C", title="time / plain time", title_justify="left")
    for size in sizes:
        table.add_column(f"{size} px", justify="right")
    rows: dict[tuple[str, str, str, str], dict[int, str]] = {}
    for result in results:
        case = result.case
        key = (case.group, case.mode, str(case.batch), str(case.channels))
        rows.setdefault(key, {})[case.size] = f"{result.ratio:.2f}"
    for key, ratios in rows.items():
        table.add_row(*key, *(ratios.get(size, "") for size in sizes))
    return table
