"""The data sets by name, and what a path is most likely to hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from isotypic.data.config import DataConfig
from isotypic.data.datasets import digits, folder, medmnist, mnist
from isotypic.data.image_set import ImageSet
from isotypic.errors import RequestError, unknown

Loader = Callable[[DataConfig, Path], ImageSet]

DATASETS: Mapping[str, Loader] = MappingProxyType(
    {"digits": digits.load, "mnist": mnist.load, "medmnist": medmnist.load, "folder": folder.load}
)


def load(config: DataConfig, cache: Path) -> ImageSet:
    """Load the data set that ``config`` names.

    Args:
        config: the data section of a recipe.
        cache: folder for decoded images; may be removed at any time between runs.

    Raises:
        RequestError: the name is unknown, or the data set refuses what it finds.
    """
    if config.dataset not in DATASETS:
        raise unknown("data set", config.dataset, DATASETS)
    return DATASETS[config.dataset](config, cache)


def recognise(path: Path) -> str:
    """Return the name of the data set that reads a path.

    Args:
        path: an ``.npz`` file (medmnist), an IDX file or a folder with one (mnist), or another folder
            (folder).

    Raises:
        RequestError: nothing is there, or it is a file of another kind.
    """
    if not path.exists():
        raise RequestError(f"{path}: no such file or folder; give --data PATH with one that exists")
    if path.is_dir():
        return "mnist" if mnist.image_files(path) else "folder"
    if path.suffix.lower() == ".npz":
        return "medmnist"
    if mnist.is_image_file(path):
        return "mnist"
    raise RequestError(f"{path}: not a data set: expected an .npz file, MNIST's IDX images or a folder of images")
