"""``isotypic segment``: find instances, or boundaries, in images."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from isotypic.cli.following import Steps, follow, memory_said, plain_console, say_results
from isotypic.cli.options import Device, PixelSide, pixel_size_of
from isotypic.data.readers.micrograph import PixelSize, open_micrograph
from isotypic.errors import RequestError, unknown
from isotypic.inference.ledger import TABLE, ImageRow, Ledger, Source, fingerprint, root, sources
from isotypic.inference.rescaling import MOST
from isotypic.inference.segmenter import Execution, Precision, Segmenter
from isotypic.inference.writers.catalogue import Format, paths, save
from isotypic.models.packaged import DEFAULT_RUN, run_on_disk

EXAMPLE = "Example: isotypic segment photos/ --run runs/cells --out found --save labels,csv,rois"

STEPS = ("tile", "objects")
"""What an image is divided into, and what comes last."""

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
    pixel_size: PixelSide = None,
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
    job = _Job(_formats(save_), channel, plane, pixel_size_of(pixel_size), rescale, scale)
    found = sources(images, out)
    with run_on_disk(run) as folder:
        segmenter = Segmenter.load(folder, Execution(tile=tile, precision=precision, device=device))
        request = {"run": fingerprint(folder), **job.request, "tile": tile, "precision": precision.value}
    ledger = Ledger(out, {"images": str(root(images).resolve()), **request}, ImageRow)
    console = plain_console()
    waiting = [source for source in found if not ledger.finished(source, job.files(ledger.stem(source)))]

    def segment(source: Source, tiles: Steps) -> str:
        with memory_said(source.path, f"in tiles of {tile} pixels; give a smaller --tile, and another --out"):
            row = job.run(source, segmenter, ledger.stem(source), tiles)
        ledger.add(row)
        return f"{_count(row.objects)}, {row.seconds:.1f} s"

    failures = follow(console, waiting, segment, STEPS, alone=found[0].path == images)
    console.print(_table(found, ledger))
    say_results(console, out, len(found) - len(waiting), failures)


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

    def files(self, stem: Path) -> dict[str, Path]:
        """What is saved of an image."""
        return {each.value: path for each, path in paths(stem, self.formats).items()}

    def run(self, source: Source, segmenter: Segmenter, stem: Path, tiles: Steps) -> ImageRow:
        """Segment an image and write what is found."""
        start, (size, modified_ns) = time.perf_counter(), source.state
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
        return ImageRow(
            file=source.name,
            height=height,
            width=width,
            objects=int(labels.image.max(initial=0)),
            seconds=round(time.perf_counter() - start, 3),
            bytes=size,
            modified_ns=modified_ns,
            saved=" ".join(each.value for each in self.formats),
        )


def _table(found: list[Source], ledger: Ledger[ImageRow]) -> Table:
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
