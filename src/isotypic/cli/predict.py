"""``isotypic predict``: classify images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.console import Console
from rich.progress import track

from isotypic.cli.options import Run
from isotypic.data.preparation import prepare
from isotypic.data.readers.image import list_images, read
from isotypic.errors import RequestError
from isotypic.files import write_atomically
from isotypic.inference.run import Run as TrainedRun
from isotypic.inference.run import load_run

EXAMPLE = "Example: isotypic predict photos/ --run runs/one --out predictions.csv"


def command(
    images: Annotated[Path, typer.Argument(help="An image, or a folder of images.", show_default=False)],
    run: Run,
    out: Annotated[Path, typer.Option("--out", help="CSV file to write.")] = Path("predictions.csv"),
) -> None:
    """Write one row an image: file, class, and the probability of every class."""
    console = Console()
    trained, paths = load_run(run), _paths(images)
    rows = [_row(trained, path, images) for path in track(paths, "classifying", console=console, transient=True)]
    write_atomically(out, lambda path: pd.DataFrame(rows).to_csv(path, index=False, float_format="%.6g"))
    console.print(f"{len(rows)} images: {out.resolve()}", highlight=False, soft_wrap=True)


def _paths(images: Path) -> list[Path]:
    if not images.exists():
        raise RequestError(f"expected an image or a folder of images at {images}, found nothing")
    paths = list_images(images) if images.is_dir() else [images]
    if not paths:
        raise RequestError(f"expected images in {images}, found none")
    return paths


def _row(run: TrainedRun, path: Path, root: Path) -> dict[str, object]:
    image = prepare(read(path)[None], run.recipe.data)
    probabilities = run.probabilities(np.asarray(image))[0].tolist()
    name = path.relative_to(root) if root.is_dir() else path
    best = run.classes[int(np.argmax(probabilities))]
    return {"file": str(name), "class": best, **dict(zip(run.classes, probabilities, strict=True))}
