"""``isotypic segment``: find instances, or boundaries, in images."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from isotypic.cli.options import Device
from isotypic.data.readers.micrograph import PixelSize, open_micrograph
from isotypic.errors import RequestError, unknown
from isotypic.inference.ledger import TABLE, Ledger, Row, Source, fingerprint, root, sources
from isotypic.inference.rescaling import MOST
from isotypic.inference.run import DEFAULT_RUN, run_on_disk
from isotypic.inference.segmenter import Execution, Precision, Segmenter
from isotypic.inference.writers.catalogue import Format, save

EXAMPLE = "Example: isotypic segment photos/ --run runs/cells --out found --save labels,csv,rois"

_SHOWN = 20
"""Rows of the table at the end; all are in the table on disk."""


def command(
    images: Annotated[
        Path, typer.Argument(help="An image (PNG, TIFF, OME-TIFF, OME-Zarr ...), or a folder.", show_default=False)
    ],
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="NAME|FOLDER",
            help=f"A trained run: the name of one in the package, or a folder; default the package's {DEFAULT_RUN}.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder to write to; what is finished there stays.")] = Path(
        "segmentation"
    ),
    save_: Annotated[
        str, typer.Option("--save", help=f"What to write: {', '.join(each.value for each in Format)}.")
    ] = "labels,overlay,csv",
    channel: Annotated[
        str | None, typer.Option("--channel", help="Channel to use, by its name or its number from 0.")
    ] = None,
    plane: Annotated[int | None, typer.Option("--plane", min=0, help="Plane of a stack, its number from 0.")] = None,
    pixel_size: Annotated[
        str | None,
        typer.Option("--pixel-size", help="Side of a pixel in nm, µm or mm: 325nm, or 0.5 for µm; default the file's."),
    ] = None,
    rescale: Annotated[
        bool, typer.Option("--rescale/--no-rescale", help="To the training images' pixel size, where both are known.")
    ] = True,
    scale: Annotated[
        float | None,
        typer.Option(
            "--scale",
            min=1 / MOST,
            max=MOST,
            help="Enlarge by this factor instead: 0.5 where objects are twice as large, in pixels, as in training.",
        ),
    ] = None,
    tile: Annotated[int, typer.Option("--tile", min=1, help="Most pixels of a tile along an axis.")] = 512,
    precision: Annotated[Precision, typer.Option("--precision", help="Of the arithmetic.")] = Precision.FLOAT32,
    device: Device = "cpu",
) -> None:
    """Segment every image that is not finished, and write its results and a row of a table of all images."""
    job = _Job(_formats(save_), channel, plane, _pixel_size(pixel_size), rescale, scale)
    found = sources(images, out)
    with run_on_disk(run) as folder:
        segmenter = Segmenter.load(folder, Execution(tile=tile, precision=precision, device=device))
        request = {"run": fingerprint(folder), **job.request, "tile": tile, "precision": precision.value}
    ledger = Ledger(out, {"images": str(root(images).resolve()), **request})
    console, errors = _console(), Console(stderr=True, soft_wrap=True, highlight=False)
    waiting = [source for source in found if not ledger.finished(source, job.formats)]
    failures = _follow(console, job, segmenter, ledger, waiting, alone=found[0].path == images)
    console.print(_table(found, ledger))
    skipped = f" ({len(found) - len(waiting)} finished before)" if len(waiting) < len(found) else ""
    console.print(f"results{skipped}: {out.resolve()}", highlight=False, soft_wrap=True)
    for failure in failures:
        errors.print(f"[bold red]failed:[/] {escape(failure)}")
    if failures:
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Job:
    """What is asked for every image."""

    formats: list[Format]
    channel: str | None
    plane: int | None
    pixel_size: PixelSize | None
    rescale: bool
    scale: float | None

    @property
    def request(self) -> dict[str, str | int | float | bool | None]:
        """What the results depend on."""
        size = None if self.pixel_size is None else f"{self.pixel_size.value:g} {self.pixel_size.unit}"
        sizes = {"pixel_size": size, "rescale": self.rescale, "scale": self.scale}
        return {"channel": self.channel, "plane": self.plane, **sizes}

    def run(self, source: Source, segmenter: Segmenter, stem: Path, tiles: Callable[[int, int], object]) -> Row:
        """Segment an image and write what is found."""
        start, state = time.perf_counter(), source.state
        micrograph = open_micrograph(source.path, plane=self.plane, pixel_size=self.pixel_size)
        labels = segmenter(
            replace(micrograph, source=source.title),
            channel=self.channel,
            rescale=self.rescale,
            scale=self.scale,
            progress=tiles,
        )
        save(labels, stem, self.formats)
        height, width = labels.image.shape
        seconds = round(time.perf_counter() - start, 3)
        saved = " ".join(each.value for each in self.formats)
        return Row(source.name, height, width, int(labels.image.max(initial=0)), seconds, *state, saved)


def _follow(
    console: Console, job: _Job, segmenter: Segmenter, ledger: Ledger, waiting: list[Source], *, alone: bool
) -> list[str]:
    """Do what is waiting below a bar, and return what failed; without a terminal print a line an image."""
    failures = []
    start = time.monotonic()
    with _bar(console) as bar:
        task = bar.add_task("", total=len(waiting))
        for number, source in enumerate(waiting):
            tiles = partial(_advance, bar, task, source.title, number)
            tiles(0, 1)
            try:
                with _memory(source, segmenter.execution.tile):
                    row = job.run(source, segmenter, ledger.stem(source), tiles)
                ledger.add(row)
                said = f"{_count(row.objects)}, {row.seconds:.1f} s"
            except RequestError as error:
                if alone:
                    raise
                failures.append(str(error))
                said = f"FAILED, {error}"
            bar.update(task, completed=number + 1)
            if not console.is_terminal:
                left = (time.monotonic() - start) / (number + 1) * (len(waiting) - number - 1)
                line = f"[{number + 1}/{len(waiting)}] {source.name}: {said}; {timedelta(seconds=round(left))} left"
                console.print(line, markup=False, highlight=False, soft_wrap=True)
    return failures


@contextmanager
def _memory(source: Source, tile: int) -> Iterator[None]:
    """Turn what numpy and torch raise where memory runs out into a line about the image."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # torch has an error of its own for a GPU's memory, and none for the computer's
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error):
            reason = f"memory ran out in tiles of {tile} pixels; give a smaller --tile, and another --out"
            raise RequestError(f"{source.path}: {reason}") from error
        raise


def _console() -> Console:
    """Return the console; as in errors, bytes of a file's name that are no UTF-8 are shown escaped."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    return Console()


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _advance(bar: Progress, task: TaskID, name: str, before: int, done: int, total: int) -> None:
    """Show how many tiles of an image are done; the last step is grouping and writing."""
    doing = f"tile {done + 1} of {total}" if done < total else "objects"
    bar.update(task, description=f"{name}: {doing}", completed=before + done / (total + 1))


def _table(found: list[Source], ledger: Ledger) -> Table:
    """Return the images that are finished, and their sums."""
    rows = [ledger.rows[source.name] for source in found if source.name in ledger.rows]
    table = Table("image", title_justify="left")
    for column in ("pixels", "objects", "seconds"):
        table.add_column(column, justify="right")
    for row in rows[:_SHOWN]:
        table.add_row(escape(row.file), f"{row.height} x {row.width}", str(row.objects), f"{row.seconds:.1f}")
    if len(rows) > _SHOWN:
        table.add_row(f"... {len(rows) - _SHOWN} more in {TABLE}")
    table.add_section()
    objects, seconds = sum(row.objects for row in rows), sum(row.seconds for row in rows)
    table.add_row(f"{len(rows)} of {len(found)} images", "", str(objects), f"{seconds:.1f}")
    return table


def _count(objects: int) -> str:
    return "1 object" if objects == 1 else f"{objects} objects"


def _formats(words: str) -> list[Format]:
    known = [each.value for each in Format]
    names = [word.strip() for word in words.split(",") if word.strip()]
    for name in names:
        if name not in known:
            raise unknown("format", name, known)
    if not names:
        raise RequestError(f"expected --save with some of {', '.join(known)}, received none")
    return [Format(name) for name in dict.fromkeys(names)]


def _pixel_size(words: str | None) -> PixelSize | None:
    """Return a pixel size such as ``0.5`` (in micrometres) or ``325nm``."""
    if words is None:
        return None
    parts = re.fullmatch(r"(\d*\.?\d+(?:e[+-]?\d+)?)\s*(\D*)", words.strip())
    if parts is None:
        raise RequestError(f"expected --pixel-size such as 0.5 (µm) or 325nm, received {words!r}")
    return PixelSize(float(parts[1]), parts[2] or "µm")
