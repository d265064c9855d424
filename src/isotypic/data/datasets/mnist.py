"""MNIST and its kin (Fashion-MNIST, KMNIST, EMNIST) in IDX files, as they are distributed.

Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
recognition", 1998.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from isotypic.data.config import DataConfig
from isotypic.data.image_set import ImageSet
from isotypic.data.preparation import prepare
from isotypic.data.readers import idx
from isotypic.errors import RequestError

_IMAGES = re.compile(r"(?P<part>.*)images(?P<dot>[-.])idx3-ubyte(\.gz)?")
_SPLIT = {"train-": "train", "t10k-": "test"}


def load(config: DataConfig, cache: Path) -> ImageSet:
    """Return the images ``[N, 1, H, W]`` with the classes "0", "1", ...

    A folder with both ``train-*`` and ``t10k-*`` brings its own split; a single pair of files brings none.

    Args:
        config: ``path`` is a folder with ``*images-idx3-ubyte[.gz]`` and its labels, or the file of images.
        cache: not needed here.

    Raises:
        RequestError: no path, no such files, several sets in one folder, or images and labels that disagree.
    """
    if config.path is None:
        raise RequestError("the data set 'mnist' needs a path to its IDX files: give --data PATH")
    pairs = _pairs(config.path)
    parts = [_read(images, labels) for images, labels in pairs.values()]
    labels = np.concatenate([part[1] for part in parts])
    split = np.repeat([_SPLIT[name] for name in pairs], [len(part[1]) for part in parts]) if parts[1:] else None
    return ImageSet(
        name="mnist",
        images=prepare(_joined(config.path, [part[0] for part in parts]), config),
        labels=labels,
        classes=tuple(str(label) for label in range(int(labels.max(initial=0)) + 1)),
        split=split,
    )


def image_files(folder: Path) -> list[Path]:
    """Return the IDX files of images that lie in a folder."""
    return sorted(path for path in folder.iterdir() if _IMAGES.fullmatch(path.name))


def recognises(names: Iterable[str]) -> bool:
    """Return whether one of some file names is of MNIST's images."""
    return any(_IMAGES.fullmatch(name) for name in names)


def _pairs(path: Path) -> dict[str, tuple[Path, Path]]:
    """Return the files of images and labels by the prefix of their names: one pair, or train and t10k."""
    if not path.exists():
        raise RequestError(f"{path}: no such file or folder; give --data PATH")
    files = image_files(path) if path.is_dir() else [path] if recognises([path.name]) else []
    if not files:
        raise RequestError(f"{path}: no MNIST files: expected *images-idx3-ubyte or *images-idx3-ubyte.gz")
    pairs = {_prefix(file): (file, _labels_of(file)) for file in reversed(files)}
    if len(pairs) > 1 and set(pairs) != set(_SPLIT):
        names = ", ".join(file.name for file in files)
        raise RequestError(f"{path}: several sets in one folder ({names}); give the file of images of one")
    return dict(sorted(pairs.items(), reverse=True))


def _prefix(images: Path) -> str:
    found = _IMAGES.fullmatch(images.name)
    return found["part"] if found else ""


def _labels_of(images: Path) -> Path:
    plain = images.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    for name in (plain, f"{plain}.gz"):
        if (images.parent / name).is_file():
            return images.parent / name
    raise RequestError(f"{images}: its labels are missing: expected {plain} or {plain}.gz beside it")


def _read(images: Path, labels: Path) -> tuple[np.ndarray, np.ndarray]:
    pixels, numbers = idx.read(images, dimensions=3), idx.read(labels, dimensions=1)
    if pixels.dtype != np.uint8 or numbers.dtype != np.uint8:
        raise RequestError(
            f"{images}: expected images and labels of uint8, received {pixels.dtype} and {numbers.dtype}"
        )
    if len(pixels) != len(numbers):
        raise RequestError(f"{images} holds {len(pixels)} images and {labels} holds {len(numbers)} labels")
    return pixels[:, None], numbers.astype(np.int64)


def _joined(path: Path, parts: list[np.ndarray]) -> np.ndarray:
    sizes = {part.shape[1:] for part in parts}
    if len(sizes) > 1:
        raise RequestError(f"{path}: images of different sizes: {' and '.join(map(str, sorted(sizes)))}")
    return np.concatenate(parts) if parts[1:] else parts[0]
