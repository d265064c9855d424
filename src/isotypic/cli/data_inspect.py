"""``isotypic data inspect``: what isotypic sees in a data set, and what is suspicious about it."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from isotypic.cli.data_request import DataPath, Dataset, data_config, shown
from isotypic.cli.options import Set
from isotypic.data.catalogue import load
from isotypic.data.config import DataConfig
from isotypic.data.image_set import PARTS, ImageSet
from isotypic.data.inspection import Inspection, inspect, part_of
from isotypic.data.splits import Splits, split
from isotypic.inference.writers.catalogue import saved
from isotypic.studies.systems.mosaic import Row, Tile, columns, fitting, write_mosaic
from isotypic.studies.systems.png import MUTED
from isotypic.studies.systems.sheet import Words

SUMMARY = "Say what isotypic sees in a data set: classes, patients, split, statistics, copies."
EXAMPLE = "Example: isotypic data inspect photos/ --picture photos.png"

_CLASSES = 20
"""Classes that the table and the picture show."""


def command(
    path: DataPath = None,
    dataset: Dataset = None,
    set_: Set = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE.png", help="Draw some images of every class.")
    ] = None,
) -> None:
    """Read every image once; nothing is written but the picture."""
    console, config = Console(), data_config(path, dataset, set_)
    with TemporaryDirectory(prefix="isotypic-") as cache, shown(Console(stderr=True), "reading") as progress:
        found = load(config, Path(cache))
        splits = split(found, config)
        seen = inspect(found, splits, progress)
        if picture is not None:
            saved(picture, lambda beside: _draw(found, splits, beside))
    if json_:
        console.print_json(json.dumps(_record(seen, config)))
    else:
        _say(console, seen, config)
        if picture is not None:
            console.print(f"picture: {picture.resolve()}", highlight=False, soft_wrap=True)


def _record(seen: Inspection, config: DataConfig) -> dict[str, Any]:
    return {"dataset": config.dataset, "split_seed": config.split_seed, **seen.to_dict()}


def _say(console: Console, seen: Inspection, config: DataConfig) -> None:
    console.print(_facts(seen, config))
    console.print(_counts(seen))
    if seen.copies.examples:
        console.print("copies, for example:")
        for group in seen.copies.examples:
            console.print(f"  {' = '.join(group)}", highlight=False, markup=False, soft_wrap=True)
    for warning in seen.warnings:
        console.print(f"[bold yellow]look:[/] {warning}", highlight=False, soft_wrap=True)


def _facts(seen: Inspection, config: DataConfig) -> Table:
    channels, height, width = seen.shape
    fit, auc = seen.normalisation, seen.grey_auc
    table = Table(title=f"{seen.name}, read as {config.dataset}", title_justify="left", show_header=False)
    table.add_row("images", f"{seen.images:,} of {height} x {width} pixels, {_channels(channels)}, {seen.dtype}")
    table.add_row("split", _split(seen, config))
    known = (
        "none is in two parts"
        if seen.parts["train"].patients is not None
        else "not known, so none can be told to be in two parts"
    )
    table.add_row("patients", known)
    table.add_row("mean", f"{_values(fit.mean)} of full white (training part)")
    table.add_row("standard deviation", _values(fit.std))
    table.add_row("copies", f"{seen.copies.images:,} images, {seen.copies.across:,} with a copy in another part")
    if auc is not None:
        table.add_row("grey-level AUC", f"{auc:.3f} (by the mean of an image; .5 tells nothing)")
    return table


def _channels(count: int) -> str:
    return {1: "grey", 3: "RGB"}.get(count, f"{count} channels")


def _values(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


def _split(seen: Inspection, config: DataConfig) -> str:
    given = [name for name, part in seen.parts.items() if part.given]
    made = [name for name in PARTS if name not in given]
    seed = f"made with data.split_seed={config.split_seed}"
    return "; ".join(
        ([f"{', '.join(given)}: the set's own"] if given else []) + ([f"{', '.join(made)}: {seed}"] if made else [])
    )


def _counts(seen: Inspection) -> Table:
    """Return a row a class and a column a part, and the patients."""
    table = Table("class", title="images", title_justify="left")
    parts = seen.parts.values()
    for name in (*seen.parts, "all"):
        table.add_column(name, justify="right")
    for label in seen.classes[:_CLASSES]:
        table.add_row(label, *_summed([part.classes[label] for part in parts]))
    if len(seen.classes) > _CLASSES:
        table.add_row(f"... {len(seen.classes) - _CLASSES} more")
    table.add_section()
    table.add_row("all", *_summed([part.images for part in parts]))
    patients = [part.patients for part in parts if part.patients is not None]
    if patients:
        table.add_row("patients", *_summed(patients))
    return table


def _summed(counts: list[int]) -> list[str]:
    return [f"{count:,}" for count in (*counts, sum(counts))]


def _draw(found: ImageSet, splits: Splits, path: Path) -> Path:
    """Draw of every class as many images as a row has room for, evenly spread over the set."""
    parts, room = part_of(splits), columns(*found.shape[1:])
    rows = []
    for label, name in enumerate(found.classes[:_CLASSES]):
        members = np.flatnonzero(found.labels == label)
        spread = members[np.unique(np.linspace(0, len(members) - 1, min(room, len(members))).round().astype(int))]
        tiles = [Tile(found.images[[row]][0], _words(found, parts, row)) for row in spread.tolist()]
        rows.append(Row(name, f"{len(spread)} of {len(members):,} images", tuple(tiles)))
    return write_mosaic(rows, found.value_range, path)


def _words(found: ImageSet, parts: np.ndarray, row: int) -> tuple[Words, ...]:
    said = [str(parts[row])] + ([] if found.subjects is None else [str(found.subjects[row])])
    return tuple(Words(fitting(text, *found.shape[1:]), MUTED) for text in said)
