"""The options that mean the same in every command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
