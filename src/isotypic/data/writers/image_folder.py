"""A set of images as the folder that the data set ``folder`` reads: PNG files, and the table that lists them.

``<split>/<class>/<patient>/<number>.png``, without the levels of which the set knows nothing; the number is that of the
image in the set, from 0. ``images.csv`` has the columns ``file,label[,patient][,split]`` in the order of the set, so
that what is read back is the same set. Signs that a file system forbids are written as %XX in the names of folders; the
table has the names as they are.

``request.yaml`` says what the folder is made of. It and the table are written first: a folder that is not finished is
refused when it is read, for an image of its table is missing, and the same request goes on with what is missing. An
image is written under a hidden name and then renamed, so what is there is whole.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from isotypic.data.image_set import ImageSet
from isotypic.errors import RequestError
from isotypic.files import write_text

TABLE, REQUEST = "images.csv", "request.yaml"

Progress = Callable[[int, int], object]
"""Called with the images that are there, and all of them."""

_BLOCK = 64
"""Images that are read at once."""

_RUN_LENGTHS = 3
"""zlib's strategy Z_RLE: on photographs twice as fast as the usual one, and the files are 1 % larger."""

_FORBIDDEN = re.compile(r'[%/\\:*?"<>|\x00-\x1f]|^\.|[. ]$')


def write(image_set: ImageSet, folder: Path, made_of: Mapping[str, str], progress: Progress) -> int:
    """Write the images that are not there yet, and return how many were there before.

    Args:
        image_set: the images; lazy ones are read block by block.
        folder: empty, or with a part of the same images.
        made_of: what tells these images from others.
        progress: told how far it has come.

    Raises:
        RequestError: the images are no PNG files, the folder holds other files or images of another request, or it
            cannot be written (disk full, no permission): what is written then stays.
    """
    _check_pixels(image_set)
    table = listing(image_set)
    try:
        _claim(folder, table, made_of)
        return _write_missing(image_set, folder, table["file"].tolist(), progress)
    except OSError as error:
        raise RequestError(
            f"{folder}: cannot be written ({error.strerror or error}); what is written stays: make room, or give the "
            "folder free, and the same command goes on from there"
        ) from error


def listing(image_set: ImageSet) -> pd.DataFrame:
    """Return the table of a set: ``file, label`` and, where known, ``patient`` and ``split``."""
    columns = {"split": image_set.split, "label": np.array(image_set.classes)[image_set.labels]}
    columns["patient"] = image_set.subjects
    known = {name: values for name, values in columns.items() if values is not None}
    folders = zip(*(map(folder_name, values.tolist()) for values in known.values()), strict=True)
    digits = len(str(len(image_set) - 1))
    files = ["/".join((*parts, f"{number:0{digits}}.png")) for number, parts in enumerate(folders)]
    return pd.DataFrame(
        {"file": files, **{name: known[name] for name in ("label", "patient", "split") if name in known}}
    )


def folder_name(name: str) -> str:
    """Return a name as a folder can have it.

    >>> folder_name("T-shirt/top"), folder_name("benign")
    ('T-shirt%2Ftop', 'benign')
    """
    return _FORBIDDEN.sub(lambda found: f"%{ord(found[0]):02X}", name)


def refuse_taken(folder: Path) -> None:
    """Raise where a folder holds something that is no part of a conversion."""
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"expected a folder to write to at {folder}, found a file; give another --out")
    strange = sorted(path.name for path in folder.glob("[!.]*"))
    if strange and not (folder / REQUEST).is_file():
        raise RequestError(f"expected an empty folder at {folder}, found {strange[0]!r}; give another --out")


def png(pixels: np.ndarray) -> bytes:
    """Return an image ``[C, y, x]`` uint8 of one channel or three as a PNG file."""
    file = BytesIO()
    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(np.moveaxis(pixels, 0, -1)))
    picture.save(file, "png", compress_type=_RUN_LENGTHS)
    return file.getvalue()


def _check_pixels(image_set: ImageSet) -> None:
    channels, dtype = image_set.shape[0], image_set.images.dtype
    if channels not in (1, 3) or dtype != np.uint8:
        raise RequestError(
            f"{image_set.name}: expected images of 1 or 3 channels of uint8 to write them as PNG, "
            f"received {channels} channels of {dtype}"
        )


def _claim(folder: Path, table: pd.DataFrame, made_of: Mapping[str, str]) -> None:
    """Write request and table, or find that they are those of an earlier start."""
    refuse_taken(folder)
    texts = {REQUEST: yaml.safe_dump(dict(made_of), sort_keys=False), TABLE: table.to_csv(index=False)}
    for name, text in texts.items():
        path = folder / name
        if not path.exists():
            write_text(path, text)
        elif path.read_bytes() != text.encode():
            raise RequestError(f"{path}: the folder holds images of another request; give another --out, or delete it")


def _write_missing(image_set: ImageSet, folder: Path, files: list[str], progress: Progress) -> int:
    there = _files_below(folder)
    missing = np.array([row for row, file in enumerate(files) if file not in there], dtype=np.int64)
    for parent in {Path(files[row]).parent for row in missing}:
        (folder / parent).mkdir(parents=True, exist_ok=True)
    before = len(files) - len(missing)
    progress(before, len(files))
    for start in range(0, len(missing), _BLOCK):
        rows = missing[start : start + _BLOCK]
        for row, pixels in zip(rows.tolist(), image_set.images[rows], strict=True):
            _write_image(folder / files[row], png(pixels))
        progress(before + start + len(rows), len(files))
    return before


def _files_below(folder: Path) -> set[str]:
    """Return the names of the files below a folder as the table has them."""
    found = ((Path(parent).relative_to(folder).as_posix(), names) for parent, _, names in os.walk(folder))
    return {f"{parent}/{name}" for parent, names in found for name in names}


def _write_image(path: Path, content: bytes) -> None:
    """Write one of many files: a fifth of the time of :func:`isotypic.files.write_atomically`."""
    beside = path.with_name(f".{path.name}")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
