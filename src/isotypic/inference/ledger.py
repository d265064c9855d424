"""What a run has made of images in a folder: which are to be done, which are done, and by what request.

A table (``images.csv`` of a segmenter, ``slides.csv`` of a classifier of slides) has one row a finished image, also
where nothing was found in it; ``request.yaml`` says by which run and which options, for the images of which folder. An
image is finished if it has a row, has not been changed since, and all files that are asked for were made of it and are
there. Both files are replaced as a whole, so an interrupted run leaves finished images and nothing else.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Generic, TypeVar, get_type_hints

import yaml

from isotypic.data.readers.micrograph import SUFFIXES
from isotypic.data.readers.ome_zarr import is_zarr
from isotypic.errors import RequestError
from isotypic.files import write_atomically, write_text
from isotypic.models.packaged import DESCRIPTION, WEIGHTS

TABLE = "images.csv"
REQUEST = "request.yaml"

Request = Mapping[str, str | int | float | bool | None]


@dataclass(frozen=True)
class Source:
    """An image to segment.

    Attributes:
        path: the file, or the folder of an OME-Zarr image.
        name: of the image below the folder that was given, with its suffix.
        stem: the beginning of the names of its results.
    """

    path: Path
    name: str
    stem: str

    @classmethod
    def below(cls, path: Path, folder: Path) -> Source:
        """Return an image below a folder.

        >>> Source.below(Path("plates/a/well.ome.tif"), Path("plates")).stem
        'a/well'
        """
        name = path.relative_to(folder)
        return cls(path, name.as_posix(), name.with_name(name.stem.removesuffix(".ome")).as_posix())

    @property
    def title(self) -> str:
        """The name as it can be written anywhere: bytes that are no UTF-8 are escaped."""
        return self.name.encode("utf-8", "backslashreplace").decode("utf-8")

    @property
    def state(self) -> tuple[int, int]:
        """Size in bytes and time of the last change in nanoseconds; of a folder, those of all files in it.

        Raises:
            RequestError: the image has gone.
        """
        try:
            files = [each for each in self.path.rglob("*") if each.is_file()] if self.path.is_dir() else [self.path]
            found = [each.stat() for each in files]
        except OSError as error:
            raise RequestError(f"{self.path}: cannot be read ({error.strerror})") from error
        return sum(each.st_size for each in found), max((each.st_mtime_ns for each in found), default=0)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A finished image: how long it took, the state of the file, and what was saved; abstract."""

    file: str
    seconds: float
    bytes: int
    modified_ns: int
    saved: str

    @property
    def state(self) -> tuple[int, int]:
        """As that of the source."""
        return self.bytes, self.modified_ns

    @property
    def names(self) -> set[str]:
        """The names of what was saved of this state."""
        return set(self.saved.split())


R = TypeVar("R", bound=Row)


@dataclass(frozen=True, kw_only=True)
class ImageRow(Row):
    """A segmented image: its size, and how many objects were found."""

    height: int
    width: int
    objects: int


@dataclass(frozen=True, kw_only=True)
class SlideRow(Row):
    """A classified slide: its size, micrometres a pixel or NaN, the share that is tissue, and how many patches."""

    height: int
    width: int
    microns: float
    tissue: float
    patches: int


def root(images: Path) -> Path:
    """Return the folder below which images at a path have their names: it, or the one that a single image is in."""
    return images if images.is_dir() and not is_zarr(images) else images.parent


def sources(images: Path, out: Path, suffixes: Collection[str] = SUFFIXES) -> list[Source]:
    """Return the images at a path in the order of their names: one, or those at any depth below a folder.

    Args:
        images: an image, or a folder of images.
        out: where results go; what lies there is none of the images.
        suffixes: of the files below a folder that are images; OME-Zarr images always are.

    Raises:
        RequestError: nothing is there, or results would lie among the images, or two images have one name.
    """
    if not images.exists():
        raise RequestError(f"expected an image or a folder of images at {images}, found nothing")
    if not images.is_dir() or is_zarr(images):
        return [Source.below(images, root(images))]
    if images.resolve() == out.resolve():
        raise RequestError(f"expected --out beside the images or in a folder of its own, received {out} for both")
    found = [Source.below(path, images) for path in _below(images, out.resolve(), suffixes)]
    if not found:
        raise RequestError(f"expected images in {images} ({', '.join(sorted(suffixes))} or OME-Zarr), found none")
    first: dict[str, str] = {}
    for source in found:
        if source.stem in first:
            raise RequestError(
                f"{images}: {first[source.stem]} and {source.name} would have results of one name; rename one of them"
            )
        first[source.stem] = source.name
    return found


class Ledger(Generic[R]):
    """The finished images of a folder.

    Args:
        out: the folder of the results.
        request: what they are made by.
        kind: of its rows.
        table: the name of the table.

    Raises:
        RequestError: the folder holds results of another request, or its table cannot be read.
    """

    def __init__(self, out: Path, request: Request, kind: type[R], table: str = TABLE) -> None:
        self.out, self.request, self.kind, self.table = out, dict(request), kind, out / table
        self.rows = {row.file: row for row in self._stored()}

    def stem(self, source: Source) -> Path:
        """Return folder and beginning of the names of an image's results."""
        return self.out / source.stem

    def finished(self, source: Source, files: Mapping[str, Path]) -> bool:
        """Whether an image needs nothing more.

        Args:
            source: the image.
            files: what is asked for, by the names that rows have for it.
        """
        row = self.rows.get(source.name)
        if row is None or row.state != source.state or not set(files) <= row.names:
            return False
        return all(path.is_file() for path in files.values())

    def add(self, row: R) -> None:
        """Record a finished image; what was saved of the same state before counts too.

        Raises:
            RequestError: the disk is full, or the folder not writable.
        """
        before = self.rows.get(row.file)
        if before is not None and before.state == row.state:
            row = replace(row, saved=" ".join(sorted(before.names | row.names)))
        try:
            if not self.rows:
                write_text(self.out / REQUEST, yaml.safe_dump(self.request, sort_keys=False))
            self.rows[row.file] = row
            write_atomically(self.table, self._write)
        except OSError as error:
            raise RequestError(f"{self.table}: cannot be written ({error.strerror})") from error

    def _write(self, path: Path) -> None:
        with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            every, own = (field.name for field in fields(Row)), (field.name for field in fields(self.kind))
            first, *last = every
            table = csv.DictWriter(file, [first, *(name for name in own if name not in (first, *last)), *last])
            table.writeheader()
            table.writerows(asdict(self.rows[name]) for name in sorted(self.rows))

    def _stored(self) -> list[R]:
        request, table = self.out / REQUEST, self.table
        if not (request.is_file() and table.is_file()):
            return []
        try:
            with table.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
                rows = [_row(self.kind, stored) for stored in csv.DictReader(file)]
            before = dict(yaml.safe_load(request.read_text(encoding="utf-8"))) if rows else self.request
        except (yaml.YAMLError, ValueError, TypeError, KeyError) as error:
            raise RequestError(f"{self.out}: {REQUEST} or {table.name} cannot be read; give another --out") from error
        changed = [key for key in self.request if before.get(key) != self.request[key]]
        if changed:
            there = ", ".join(f"{key} {before.get(key)} there, {self.request[key]} here" for key in changed)
            raise RequestError(f"{self.out}: holds results of another request ({there}); give another --out")
        return rows


def fingerprint(run: Path) -> str:
    """Return a text that is the same for the same run, wherever it lies."""
    digest = hashlib.sha256()
    for name in (DESCRIPTION, WEIGHTS):
        digest.update((run / name).read_bytes())
    return digest.hexdigest()[:12]


def _below(folder: Path, out: Path, suffixes: Collection[str]) -> Iterator[Path]:
    """Yield the images at any depth below a folder, without hidden ones and what lies in ``out``."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.resolve() == out:
            continue
        if is_zarr(path) or (path.is_file() and path.suffix.lower() in suffixes):
            yield path
        elif path.is_dir() and not path.is_symlink():
            yield from _below(path, out, suffixes)


def _row(kind: type[R], stored: Mapping[str, str]) -> R:
    kinds = get_type_hints(kind)
    return kind(**{field.name: kinds[field.name](stored[field.name]) for field in fields(kind)})
