"""A folder of many files that says what it is made of, and that is gone on with where writing was stopped.

``request.yaml`` and what else tells this request from others are written first, then the files, each under a hidden
name that is then renamed: what is there is whole, and only what is missing is made.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from isotypic.errors import RequestError
from isotypic.files import write_text

REQUEST = "request.yaml"

Progress = Callable[[int, int], object]
"""Called with the files that are there, and all of them."""

Contents = Callable[[np.ndarray], Iterable[bytes]]
"""Gives the contents of the files at some places of a list."""

_BLOCK = 64
"""Files that are made at once."""

_RUN_LENGTHS = 3
"""zlib's strategy Z_RLE: on photographs twice as fast as the usual one, and the files are 1 % larger."""

_FORBIDDEN = re.compile(r'[%/\\:*?"<>|\x00-\x1f]|^\.|[. ]$')


def refuse_taken(folder: Path) -> None:
    """Raise where a folder holds something that this library did not convert."""
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"expected a folder to write to at {folder}, found a file; give another --out")
    strange = sorted(path.name for path in folder.glob("[!.]*"))
    if strange and not (folder / REQUEST).is_file():
        raise RequestError(f"expected an empty folder at {folder}, found {strange[0]!r}; give another --out")


def claim(folder: Path, made_of: Mapping[str, str], texts: Mapping[str, str]) -> None:
    """Write a request and other texts, or find that they are those of an earlier start.

    Args:
        folder: where files will lie.
        made_of: what tells them from those of another request.
        texts: other files that are written first, by name.

    Raises:
        RequestError: the folder holds something else, or cannot be written.
    """
    refuse_taken(folder)
    with disk_said(folder):
        for name, text in {REQUEST: yaml.safe_dump(dict(made_of), sort_keys=False), **texts}.items():
            path = folder / name
            if not path.exists():
                write_text(path, text)
            elif path.read_bytes() != text.encode():
                raise RequestError(
                    f"{path}: the folder holds files of another request; give another --out, or delete it"
                )


def write_missing(folder: Path, files: Sequence[str], contents: Contents, progress: Progress) -> int:
    """Write the files that are not there, in their order, and return how many were there before.

    Args:
        folder: below which they lie.
        files: their relative names.
        contents: makes them, a block at a time.
        progress: told how far it has come.

    Raises:
        RequestError: a file cannot be written (disk full, no permission); what is written stays.
    """
    there = _files_below(folder)
    missing = np.array([place for place, file in enumerate(files) if file not in there], dtype=np.int64)
    before = len(files) - len(missing)
    progress(before, len(files))
    with disk_said(folder):
        for parent in {Path(files[place]).parent for place in missing}:
            (folder / parent).mkdir(parents=True, exist_ok=True)
        for start in range(0, len(missing), _BLOCK):
            places = missing[start : start + _BLOCK]
            for place, content in zip(places, contents(places), strict=True):
                _write_whole(folder / files[place], content)
            progress(before + start + len(places), len(files))
    return before


def folder_name(name: str) -> str:
    """Return a name as a file or a folder can have it: signs that a file system forbids are written as %XX.

    >>> folder_name("T-shirt/top"), folder_name("benign")
    ('T-shirt%2Ftop', 'benign')
    """
    return _FORBIDDEN.sub(lambda found: f"%{ord(found[0]):02X}", name)


def png(pixels: np.ndarray) -> bytes:
    """Return an image ``[C, y, x]`` uint8 of one channel or three as a PNG file."""
    file = BytesIO()
    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(np.moveaxis(pixels, 0, -1)))
    picture.save(file, "png", compress_type=_RUN_LENGTHS)
    return file.getvalue()


def _files_below(folder: Path) -> set[str]:
    found = ((Path(parent).relative_to(folder), names) for parent, _, names in os.walk(folder))
    return {(parent / name).as_posix() for parent, names in found for name in names}


def _write_whole(path: Path, content: bytes) -> None:
    """Write one of many small files: beside and renamed, without what makes the name beside one of its own."""
    beside = path.with_name(f".{path.name}")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


@contextmanager
def disk_said(folder: Path) -> Iterator[None]:
    """Turn what the file system answers into a line that says what to do."""
    try:
        yield
    except OSError as error:
        raise RequestError(
            f"{folder}: cannot be written ({error.strerror or error}); what is written stays: make room, or give "
            "leave to write, and the same command goes on from there"
        ) from error
