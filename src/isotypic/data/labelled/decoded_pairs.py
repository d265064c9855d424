"""Images and label images of any size, decoded once into two flat files that later processes map.

The files are keyed by what they were made from: ``images-<key>.raw`` (uint8, or float32 where an image has more than
8 bits), ``labels-<key>.raw`` (int32) and ``index-<key>.json`` (the type, the shapes and names), which is written last.
Decoding runs in threads, a block at a time, so memory stays bounded however many images there are.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from isotypic.data.labelled.ragged import Ragged
from isotypic.errors import RequestError
from isotypic.files import write_atomically, write_text

Source = TypeVar("Source")

_FORMAT = "decoded pairs 1"
_BLOCK = 32


@dataclass(frozen=True, eq=False)
class Pair:
    """One decoded image.

    Args:
        name: what it is called in records and errors.
        image: ``[C, y, x]`` uint8, or float32 in shares of full white.
        labels: ``[y, x]`` int32.
        kind: a kind of image, or None.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray
    kind: str | None = None


@dataclass(frozen=True, eq=False)
class DecodedPairs:
    """All decoded images of a set.

    Args:
        images: ``[C, y, x]`` each: uint8, or float32 if one of them is; 8 bits are then divided by 255.
        labels: ``[y, x]`` int32 each.
        names: ``[N]`` str.
        kinds: ``[N]`` str, or None.
    """

    images: Ragged
    labels: Ragged
    names: np.ndarray
    kinds: np.ndarray | None


def decoded_pairs(
    sources: Sequence[Source], decode: Callable[[Source], Pair], origin: Sequence[str], cache: Path
) -> DecodedPairs:
    """Return the decoded images of some sources, in their order, from the cache where it has them.

    Args:
        sources: what to decode, at least one.
        decode: makes an image of a source; called in threads.
        origin: texts that tell these images from all others: the data set, the state of its files, the options.
        cache: folder for the files; made where missing.

    Raises:
        RequestError: what ``decode`` raises, images of different channels, or files that cannot be written.
    """
    key = hashlib.sha256("\0".join((_FORMAT, *origin)).encode()).hexdigest()[:24]
    index, images, labels = (cache / name for name in (f"index-{key}.json", f"images-{key}.raw", f"labels-{key}.raw"))
    found = _stored(index, images, labels)
    if found is None:
        _write(index, images, labels, _in_threads(sources, decode))
        found = _stored(index, images, labels)
    if found is None:
        raise RequestError(f"{cache}: the decoded images were removed while they were read; try again")
    return found


def _stored(index: Path, images: Path, labels: Path) -> DecodedPairs | None:
    """Map what is stored; None where a file is missing or of another length than the index says."""
    if not index.is_file():
        return None
    record = json.loads(index.read_text(encoding="utf-8"))
    shapes, kinds = np.array(record["shapes"], dtype=np.int64), record["kinds"]
    pixels, places = int(shapes.prod(axis=1).sum()), int(shapes[:, 1:].prod(axis=1).sum())
    dtype = np.dtype(record.get("type", "uint8"))
    if not (_holds(images, dtype.itemsize * pixels) and _holds(labels, 4 * places)):
        return None
    return DecodedPairs(
        Ragged(np.memmap(images, dtype=dtype, mode="r", shape=(pixels,)), shapes),
        Ragged(np.memmap(labels, dtype=np.int32, mode="r", shape=(places,)), shapes[:, 1:]),
        np.array(record["names"]),
        None if kinds[0] is None else np.array(kinds),
    )


def _holds(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _in_threads(sources: Sequence[Source], decode: Callable[[Source], Pair]) -> Iterator[Pair]:
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(0, len(sources), _BLOCK):
            yield from threads.map(decode, sources[start : start + _BLOCK])


def _write(index: Path, images: Path, labels: Path, pairs: Iterable[Pair]) -> None:
    record: dict[str, list[Any]] = {"shapes": [], "names": [], "kinds": []}
    types: list[np.dtype] = []

    def fill(image_path: Path, label_path: Path) -> None:
        with image_path.open("wb") as image_file, label_path.open("wb") as label_file:
            for pair in pairs:
                _check(pair, record)
                _append(image_file, images, pair.image)
                _append(label_file, labels, pair.labels)
                types.append(pair.image.dtype)
                for column, value in (("shapes", pair.image.shape), ("names", pair.name), ("kinds", pair.kind)):
                    record[column].append(value)
        if len(set(types)) > 1:
            _widen(image_path, images, types, record["shapes"])

    write_atomically(images, lambda one: write_atomically(labels, lambda other: fill(one, other)))
    write_text(index, json.dumps({**record, "type": np.result_type(*set(types)).name}))


def _widen(path: Path, images: Path, types: Sequence[np.dtype], shapes: Sequence[tuple[int, ...]]) -> None:
    """Make a file of images of both types one of float32."""

    def fill(beside: Path) -> None:
        with path.open("rb") as stored, beside.open("wb") as wide:
            for dtype, shape in zip(types, shapes, strict=True):
                image = np.fromfile(stored, dtype, math.prod(shape))
                _append(wide, images, image if dtype == np.float32 else image / np.float32(255))

    write_atomically(path, fill)


def _append(file: BinaryIO, path: Path, array: np.ndarray) -> None:
    try:
        np.ascontiguousarray(array).tofile(file)
    except OSError as error:
        raise RequestError(
            f"{path}: cannot be written ({error.strerror or error}); free some space or use another cache folder"
        ) from error


def _check(pair: Pair, record: dict[str, list[Any]]) -> None:
    """Refuse at once what the set would refuse at the end, since decoding may take minutes."""
    if pair.image.shape[1:] != pair.labels.shape:
        sizes = [f"{height}x{width}" for height, width in (pair.image.shape[1:], pair.labels.shape)]
        raise RequestError(
            f"{pair.name}: the image is {sizes[0]} pixels and its labels are {sizes[1]}; give labels of the same size"
        )
    first = record["shapes"][0][0] if record["shapes"] else len(pair.image)
    if first != len(pair.image):
        raise RequestError(
            f"images of different channels: {record['names'][0]} has {first} and {pair.name} has {len(pair.image)}; "
            "use --set data.colour=grey or --set data.colour=rgb"
        )
