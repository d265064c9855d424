"""The options that mean the same in every command."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from isotypic.data.readers.micrograph import PixelSize
from isotypic.errors import RequestError

Recipe = Annotated[str, typer.Argument(help="A recipe of the package, or the path of a YAML file.", show_default=False)]
Data = Annotated[
    Path | None,
    typer.Option("--data", help="Images: a folder (classes as folders, or a CSV), an .npz file, or MNIST's IDX files."),
]
Out = Annotated[Path | None, typer.Option("--out", help="Folder to write to; default runs/ and the recipe's name.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, such as training.steps=500; may be repeated."),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of initialisation, order and augmentation.")]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Parallel processes; default one a core.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda or auto.")]
Run = Annotated[Path, typer.Option("--run", help="Folder of a trained run.", show_default=False)]
PixelSide = Annotated[
    str | None,
    typer.Option("--pixel-size", help="Side of a pixel in nm, µm or mm: 325nm, or 0.5 for µm; default the file's."),
]


def pixel_size_of(words: str | None) -> PixelSize | None:
    """Return a pixel size such as ``0.5`` (in micrometres) or ``325nm``.

    Raises:
        RequestError: the words are none.
    """
    if words is None:
        return None
    parts = re.fullmatch(r"(\d*\.?\d+(?:e[+-]?\d+)?)\s*(\D*)", words.strip())
    if parts is None:
        raise RequestError(f"expected --pixel-size such as 0.5 (µm) or 325nm, received {words!r}")
    return PixelSize(float(parts[1]), parts[2] or "µm")
