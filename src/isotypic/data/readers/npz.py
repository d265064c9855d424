"""The NumPy archives of MedMNIST: six arrays, images or volumes and labels of three parts.

Layout (Yang et al., "MedMNIST v2", 2023, https://medmnist.com): ``train_images``, ``val_images``,
``test_images`` of uint8 ``[N, H, W]`` or ``[N, H, W, 3]``, or of volumes ``[N, z, y, x]``, and ``train_labels``,
``val_labels``, ``test_labels`` of ``[N, 1]``. An array of four axes holds colours if the last has length 1 or 3.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from isotypic.errors import RequestError, unknown

PARTS = {"train": "train", "val": "validation", "test": "test"}


def read(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the images and labels of each part of a MedMNIST archive.

    Args:
        path: the ``.npz`` file.

    Returns:
        For ``train``, ``validation`` and ``test``: images ``[N, C, H, W]``, or volumes ``[N, 1, z, y, x]``, of uint8,
        and labels ``[N]`` int64.

    Raises:
        RequestError: the file cannot be read, lacks an array, holds arrays of another layout or has several labels an
            image.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {part: _part(path, archive, key) for key, part in PARTS.items()}
    except RequestError:
        raise
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise RequestError(f"{path}: cannot be read as a NumPy archive ({error}); fetch the file again") from error


def _part(path: Path, archive: np.lib.npyio.NpzFile, key: str) -> tuple[np.ndarray, np.ndarray]:
    return (
        _images(path, f"{key}_images", _array(path, archive, f"{key}_images")),
        _labels(path, f"{key}_labels", _array(path, archive, f"{key}_labels")),
    )


def _array(path: Path, archive: np.lib.npyio.NpzFile, key: str) -> np.ndarray:
    if key not in archive.files:
        raise RequestError(f"{path}: {unknown('array', key, archive.files)}")
    return archive[key]


def _images(path: Path, key: str, images: np.ndarray) -> np.ndarray:
    if images.ndim not in (3, 4) or images.dtype != np.uint8:
        raise RequestError(
            f"{path}: expected {key} [N, H, W], [N, H, W, 3] or [N, z, y, x] of uint8, "
            f"received {list(images.shape)} of {images.dtype}"
        )
    coloured = images.ndim == 4 and images.shape[3] in (1, 3)
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)) if coloured else images[:, None]


def _labels(path: Path, key: str, labels: np.ndarray) -> np.ndarray:
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise RequestError(f"{path}: {key} {list(labels.shape)} give several labels an image: expected one, [N, 1]")
    if labels.ndim not in (1, 2) or labels.dtype.kind not in "iu":
        raise RequestError(
            f"{path}: expected {key} [N, 1] of integers, received {list(labels.shape)} of {labels.dtype}"
        )
    return labels.reshape(-1).astype(np.int64)
