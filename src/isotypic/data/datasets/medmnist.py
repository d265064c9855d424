"""The single-label sets of MedMNIST, of images and of volumes: one NumPy archive each, with their own split.

Source: J. Yang et al., "MedMNIST v2: a large-scale lightweight benchmark for 2D and 3D biomedical image
classification", Scientific Data, 2023, https://medmnist.com.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from isotypic.data.config import DataConfig
from isotypic.data.image_set import ImageSet
from isotypic.data.preparation import prepare
from isotypic.data.readers import npz
from isotypic.errors import RequestError


def load(config: DataConfig, cache: Path) -> ImageSet:
    """Return the images ``[N, C, H, W]``, or the volumes ``[N, 1, z, y, x]``, of all three parts with their split.

    Classes are "0", "1", ... The archive does not name its classes; the numbers are those of the set's own description.

    Args:
        config: ``path`` is the ``.npz`` file.
        cache: not needed here.

    Raises:
        RequestError: no path, no such file, or an archive of another layout.
    """
    if config.path is None:
        raise RequestError("the data set 'medmnist' needs a path to its .npz file: give --data PATH")
    if not config.path.is_file():
        raise RequestError(f"{config.path}: no such file; expected a MedMNIST .npz file")
    parts = npz.read(config.path)
    _check_sizes(config.path, {images.shape[1:] for images, _ in parts.values()})
    labels = np.concatenate([labels for _, labels in parts.values()])
    return ImageSet(
        name=config.path.stem,
        images=np.concatenate([prepare(images, config) for images, _ in parts.values()]),
        labels=labels,
        classes=tuple(str(label) for label in range(int(labels.max(initial=0)) + 1)),
        split=np.repeat(list(parts), [len(images) for images, _ in parts.values()]),
    )


def _check_sizes(path: Path, sizes: set[tuple[int, ...]]) -> None:
    if len(sizes) > 1:
        raise RequestError(f"{path}: images of different sizes: {' and '.join(map(str, sorted(sizes)))}")
