"""CIFAR-10 and CIFAR-100: 60,000 colour images of 32 pixels a side, as pickled Python batches or as binary ones.

A folder as it is unpacked: ``data_batch_1`` ... ``data_batch_5`` and ``test_batch`` (``.bin`` in the binary form), or
``train`` and ``test`` of CIFAR-100, whose fine labels are taken; and the names of the classes in
``batches.meta[.txt]``, ``meta`` or ``fine_label_names.txt``. A binary image is its label (coarse and fine in CIFAR-100)
and 3,072 bytes, red, green and blue. Of the pickles nothing is run: only arrays, numbers and text are taken from them.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009, https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isotypic.data.config import DataConfig
from isotypic.data.image_set import ImageSet
from isotypic.data.preparation import prepare
from isotypic.errors import RequestError

_SHAPE = (3, 32, 32)
_VALUES = 3 * 32 * 32
_HARMLESS = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
}
"""What a pickled array is made by."""


@dataclass(frozen=True)
class _Form:
    """One way in which the set is distributed.

    Attributes:
        train: files of the training part; the test part is ``test``.
        test: file of the test part.
        names: file of the class names.
        labels: key of the labels in a pickle, or the byte of a row that is the label.
        header: bytes of a row before the pixels; 0 for pickles.
    """

    train: tuple[str, ...]
    test: str
    names: str
    labels: str | int
    header: int = 0


_TEN = tuple(f"data_batch_{number}" for number in range(1, 6))
FORMS = {
    "cifar-10": _Form(_TEN, "test_batch", "batches.meta", "labels"),
    "cifar-10, binary": _Form(tuple(f"{name}.bin" for name in _TEN), "test_batch.bin", "batches.meta.txt", 0, 1),
    "cifar-100": _Form(("train",), "test", "meta", "fine_labels"),
    "cifar-100, binary": _Form(("train.bin",), "test.bin", "fine_label_names.txt", 1, 2),
}


def recognises(names: Iterable[str]) -> bool:
    """Return whether some file names are of this set."""
    return _form(set(names)) is not None


def load(config: DataConfig, cache: Path) -> ImageSet:
    """Return the images ``[N, 3, 32, 32]`` with their split into training and test.

    Args:
        config: ``path`` is the folder with the batches.
        cache: not needed here.

    Raises:
        RequestError: no path, a batch is missing, damaged or of another layout, or a label is out of range.
    """
    if config.path is None or not config.path.is_dir():
        raise RequestError(
            f"the data set 'cifar' needs the folder with its batches: give --data PATH, not {config.path}"
        )
    found = _form({path.name for path in config.path.iterdir()})
    if found is None:
        raise RequestError(f"{config.path}: no batches of CIFAR: expected data_batch_1 to 5 and test_batch, or train")
    name, form = found
    batches = [_batch(config.path / file, form) for file in (*form.train, form.test)]
    counts = [len(labels) for _, labels in batches]
    return ImageSet(
        name=name.partition(",")[0],
        images=prepare(np.concatenate([images for images, _ in batches]), config),
        labels=np.concatenate([labels for _, labels in batches]),
        classes=_names(config.path / form.names, form),
        split=np.repeat(["train", "test"], [sum(counts[:-1]), counts[-1]]),
    )


def _form(names: set[str]) -> tuple[str, _Form] | None:
    """Return the form whose first training file is there; CIFAR-100's plain names need its list of classes too."""
    for name, form in FORMS.items():
        if form.train[0] in names and (len(form.train) > 1 or form.names in names):
            return name, form
    return None


def _batch(path: Path, form: _Form) -> tuple[np.ndarray, np.ndarray]:
    """Return images ``[n, 3, 32, 32]`` and labels ``[n]`` of one file."""
    if not path.is_file():
        raise RequestError(f"{path}: no such batch; is the archive unpacked completely?")
    pixels, labels = _binary(path, form) if form.header else _pickled(path, form)
    return pixels.reshape(-1, *_SHAPE), labels.astype(np.int64)


def _binary(path: Path, form: _Form) -> tuple[np.ndarray, np.ndarray]:
    content = np.fromfile(path, np.uint8)
    row = form.header + _VALUES
    if not len(content) or len(content) % row:
        raise RequestError(f"{path}: expected rows of {row} bytes, received {len(content)} bytes")
    rows = content.reshape(-1, row)
    return rows[:, form.header :], rows[:, int(form.labels)]


def _pickled(path: Path, form: _Form) -> tuple[np.ndarray, np.ndarray]:
    content = _unpickled(path)
    pixels, labels = content.get(b"data"), np.asarray(content.get(str(form.labels).encode(), []))
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape != (len(labels), _VALUES):
        raise RequestError(f"{path}: expected data [n, {_VALUES}] of uint8 and n {form.labels}, received others")
    return pixels, labels


def _names(path: Path, form: _Form) -> tuple[str, ...]:
    if not path.is_file():
        raise RequestError(f"{path}: no such file; it names the classes")
    if form.header:
        return tuple(path.read_text(encoding="utf-8").split())
    key = b"label_names" if form.labels == "labels" else b"fine_label_names"
    return tuple(name.decode() for name in _unpickled(path).get(key, []))


class _Plain(pickle.Unpickler):
    """Takes arrays, numbers and text from a pickle, and refuses all else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def _unpickled(path: Path) -> dict[bytes, Any]:
    try:
        content = _Plain(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        raise RequestError(f"{path}: cannot be read as a batch of CIFAR ({error})") from error
    if not isinstance(content, dict):
        raise RequestError(f"{path}: expected a dictionary, received {type(content).__name__}")
    return content
