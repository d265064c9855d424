"""The formats in which labels are saved, and how a file replaces the one before: whole, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path

from isotypic.errors import RequestError
from isotypic.files import write_atomically
from isotypic.inference.labels import Labels
from isotypic.inference.writers import geojson, label_image, overlay, rois, table


class Format(str, Enum):
    """What can be saved."""

    LABELS = "labels"
    OVERLAY = "overlay"
    CSV = "csv"
    ROIS = "rois"
    GEOJSON = "geojson"


@dataclass(frozen=True)
class Writer:
    """How a format is written.

    Attributes:
        ending: what follows the name of the image in that of the file.
        write: writes a file.
    """

    ending: str
    write: Callable[[Labels, Path], None]


WRITERS = {
    Format.LABELS: Writer("_labels.ome.tif", label_image.write),
    Format.OVERLAY: Writer("_overlay.png", overlay.write),
    Format.CSV: Writer("_regions.csv", table.write),
    Format.ROIS: Writer("_rois.zip", rois.write),
    Format.GEOJSON: Writer(".geojson", geojson.write),
}


def paths(stem: Path, formats: Iterable[Format]) -> dict[Format, Path]:
    """Return the files that :func:`save` writes.

    >>> paths(Path("out/slide"), [Format.CSV])[Format.CSV].as_posix()
    'out/slide_regions.csv'
    """
    return {each: stem.with_name(stem.name + WRITERS[each].ending) for each in formats}


def save(labels: Labels, stem: Path, formats: Iterable[Format]) -> list[Path]:
    """Write labels in several formats; regions are measured and traced once.

    Args:
        labels: what was found, nothing included.
        stem: folder and beginning of the files' names.
        formats: what to write.

    Returns:
        The files.

    Raises:
        RequestError: a file cannot be written (disk full, no permission): the one before stays as it was.
    """
    return [saved(path, partial(WRITERS[each].write, labels)) for each, path in paths(stem, formats).items()]


def saved(path: Path, write: Callable[[Path], object]) -> Path:
    """Write a file as a whole: it is called with a path beside.

    Raises:
        RequestError: it cannot be written: the one before stays as it was.
    """
    try:
        return write_atomically(path, write)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise RequestError(f"{path}: cannot be written ({reason}); a file of that name stays as it was") from error
