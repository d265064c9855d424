"""``isotypic data make``: images that are made from a seed, as a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isotypic.cli.data_convert import convert
from isotypic.cli.data_request import data_config
from isotypic.cli.options import Set
from isotypic.errors import unknown

SUMMARY = "Make images from a seed, with their labels, as a folder."
EXAMPLE = "Example: isotypic data make sticks --out sticks --set data.sticks.count=8"

GENERATORS = ("sticks",)


def command(
    name: Annotated[str, typer.Argument(help=f"What is made: {', '.join(GENERATORS)}.", show_default=False)],
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write to; default the name.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the images.")] = 0,
    set_: Set = None,
) -> None:
    """Write images/NAME.png and labels/NAME.tif of every part; the same seed makes the same files."""
    if name not in GENERATORS:
        raise unknown("generator", name, GENERATORS)
    convert(data_config(None, name, [f"data.{name}.seed={seed}", *(set_ or [])]), out or Path(name))
