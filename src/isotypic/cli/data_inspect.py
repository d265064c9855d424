"""``isotypic data inspect``: what isotypic sees in a data set, and what is suspicious about it."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

from isotypic.cli.data_jets import inspect_jets
from isotypic.cli.data_pictures import draw, draw_labelled
from isotypic.cli.data_request import AnyDataConfig, DataPath, Dataset, Progress, data_config, shown
from isotypic.cli.data_tables import say
from isotypic.cli.following import plain_console
from isotypic.cli.options import Set
from isotypic.data.catalogue import load, load_labelled
from isotypic.data.config import DataConfig
from isotypic.data.inspection.classified import Inspection, inspect
from isotypic.data.inspection.labelled import LabelledInspection, inspect_labelled
from isotypic.data.splits import split, split_labelled
from isotypic.distributed.manifest import has_manifest
from isotypic.errors import RequestError
from isotypic.studies.systems.png import can_draw

SUMMARY = "Say what isotypic sees in a data set: classes, patients, split, statistics, copies."
EXAMPLE = "Example: isotypic data inspect photos/ --picture photos.png"


def command(
    path: DataPath = None,
    dataset: Dataset = None,
    set_: Set = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE.png", help="Draw some images of every class or part.")
    ] = None,
) -> None:
    """Read every image once; nothing is left but the picture."""
    if path is not None and dataset is None and has_manifest(path):
        if picture is not None or set_:
            raise RequestError(f"{path}: holds shards of jets, of which there is no picture and nothing to set")
        inspect_jets(path, as_json=json_)
        return
    console, config = plain_console(), data_config(path, dataset, set_)
    if picture is not None and not can_draw():
        raise RequestError("--picture needs matplotlib; install isotypic[report]")
    with TemporaryDirectory(prefix="isotypic-") as cache, shown(Console(stderr=True), "reading") as progress:
        seen = _inspected(config, Path(cache), picture, progress)
    if json_:
        console.print_json(json.dumps({"dataset": config.dataset, "split_seed": config.split_seed, **seen.to_dict()}))
        return
    say(console, seen, config)
    if picture is not None:
        console.print(f"picture: {picture.resolve()}", highlight=False, markup=False, soft_wrap=True)


def _inspected(
    config: AnyDataConfig, cache: Path, picture: Path | None, progress: Progress
) -> Inspection | LabelledInspection:
    """Return what is in a set, and draw it."""
    if isinstance(config, DataConfig):
        found = load(config, cache)
        splits = split(found, config)
        seen = inspect(found, splits, progress)
        if picture is not None:
            draw(found, splits, picture)
        return seen
    labelled = load_labelled(config, cache)
    parts = split_labelled(labelled, config)
    counted = inspect_labelled(labelled, parts, progress)
    if picture is not None:
        draw_labelled(labelled, parts, picture)
    return counted
