"""``isotypic data convert``: a data set as a folder of images, or jets as Parquet shards."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from isotypic.cli.data_jets import JETS, convert_jets
from isotypic.cli.data_request import AnyDataConfig, Dataset, data_config, shown, state_of
from isotypic.cli.following import plain_console
from isotypic.cli.options import Set
from isotypic.data.catalogue import load, load_labelled
from isotypic.data.config import DataConfig
from isotypic.data.datasets.folder import in_order
from isotypic.data.image_set import ImageSet
from isotypic.data.writers import image_folder, labelled_folder
from isotypic.data.writers.output_folder import refuse_taken
from isotypic.errors import RequestError

SUMMARY = "Write a data set as a folder of images that other programs read too, or jets as Parquet shards."
EXAMPLE = "Example: isotypic data convert pcam/ --out pcam-png --set data.resize=48"

_CACHE = ".cache"


def command(
    words: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH | jets SRC... DST]",
            help="The data set: a folder or a file; none for digits and sticks. Or jets: their files, or folders of "
            "them, and the folder to write to.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder to write to; what is written there stays. Default converted, or DST."),
    ] = None,
    dataset: Dataset = None,
    set_: Set = None,
) -> None:
    """Write what is not there yet; a conversion that was stopped goes on when the same command is given again.

    Images with classes become <split>/<class>/<patient>/<number>.png and the table images.csv; images with numbered
    objects become images/NAME.png and labels/NAME.tif.

    Jets (HDF5 of HLS4ML or the LHC Olympics, or ROOT) become Parquet shards with a manifest: isotypic data convert jets
    jets/ shards --set data.classes=[w,z,t] --set data.mass=[10,200]
    """
    paths = words or []
    if len(paths) > 1 and str(paths[0]) == JETS:
        if dataset is not None:
            raise RequestError(f"expected --set data.format=... for jets, received --dataset {dataset}")
        convert_jets(paths[1:], out, set_)
    elif len(paths) > 1:
        raise RequestError(f"expected one data set, received {len(paths)} paths; jets begin with the word jets")
    else:
        convert(data_config(paths[0] if paths else None, dataset, set_), out or Path("converted"))


def convert(config: AnyDataConfig, out: Path) -> None:
    """Write the data set of a configuration to a folder, and say where it lies."""
    console = plain_console()
    _refuse_inside(config.path, out)
    refuse_taken(out)
    with _cache(out) as cache, shown(console, "writing") as progress:
        if isinstance(config, DataConfig):
            found = load(config, cache)
            count, before = len(found), image_folder.write(found, out, _made_of(config), progress)
            notes = list(_notes(found))
        else:
            labelled = load_labelled(config, cache)
            count, before = 2 * len(labelled), labelled_folder.write(labelled, out, _made_of(config), progress)
            notes = []
    for note in notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    counted = f"{count:,} files" + (f" ({before:,} written before)" if before else "")
    console.print(f"{counted}: {out.resolve()}", highlight=False, markup=False, soft_wrap=True)


def _refuse_inside(path: Path | None, out: Path) -> None:
    """Raise where what is written would lie among what is read."""
    if path is not None and path.is_dir() and out.resolve().is_relative_to(path.resolve()):
        raise RequestError(f"expected --out outside the data set {path}, received {out}")


@contextmanager
def _cache(out: Path) -> Iterator[Path]:
    """Give the folder for what is unpacked and decoded; it goes at the end, and so does an empty folder around it."""
    try:
        yield out / _CACHE
    finally:
        shutil.rmtree(out / _CACHE, ignore_errors=True)
        if out.is_dir() and not any(out.iterdir()):
            out.rmdir()


def _made_of(config: AnyDataConfig) -> dict[str, str]:
    """Return what tells the images of one request from those of another."""
    return {"data": config.model_dump_json(exclude={"path"}), "files": state_of(config)}


def _notes(image_set: ImageSet) -> Iterator[str]:
    """Yield what is lost: classes without images, and their order where it is not that of a folder."""
    used = [image_set.classes[label] for label in np.unique(image_set.labels)]
    empty = [name for name in image_set.classes if name not in used]
    if empty:
        yield f"{len(empty)} classes have no image, and are none of the folder's: {', '.join(empty[:9])}"
    if tuple(used) != in_order(used):
        yield f"a folder has its classes in this order: {', '.join(in_order(used))}"
