"""OME-Zarr images (OME-NGFF 0.4 and 0.5, https://ngff.openmicroscopy.org), one chunk at a time.

An image is a zarr group with ``multiscales``: the axes, the arrays of the resolutions, finest first, and the scale that
takes their indices to lengths. Needs the extra ``zarr``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from isotypic.data.readers.pixels import Opened, StoredPixels, plane_of, unreadable
from isotypic.errors import RequestError


def is_zarr(path: Path) -> bool:
    """Whether a path is the folder of a zarr group."""
    return path.is_dir() and any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zattrs"))


def open_zarr(path: Path, plane: int | None) -> Opened:
    """Open the full resolution of an OME-Zarr image.

    Args:
        path: the folder of the group.
        plane: which plane of a stack.

    Raises:
        RequestError: zarr is not installed, the folder holds no image, or a stack and no plane is chosen.
    """
    try:
        import zarr  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise RequestError(f"{path}: OME-Zarr needs the extra zarr: pip install isotypic[zarr]") from error
    try:
        group: Any = zarr.open_group(path, mode="r")
        described = _described(path, group)
        scales = described["multiscales"][0]
        array = _Chunks(path, group[scales["datasets"][0]["path"]])
        axes = "".join(axis["name"][0].upper() for axis in scales["axes"])
        spacing = _spacing(scales, axes)
    except RequestError:
        raise
    except Exception as error:  # a store may be broken in any of its files
        raise unreadable(path, error) from error
    pixels = StoredPixels(array, axes, plane_of(path, axes, array.shape, plane))
    return Opened(pixels, axes, spacing, _channels(described, pixels.shape[0]))


class _Chunks:
    """A zarr array whose errors are those of the image."""

    def __init__(self, path: Path, array: Any) -> None:
        self.path, self.array = path, array
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, window: tuple[slice | int, ...]) -> np.ndarray:
        try:
            return np.asarray(self.array[window])
        except MemoryError:  # says nothing about the store
            raise
        except Exception as error:  # codecs raise errors of every type on damaged chunks
            raise unreadable(self.path, error) from error


def _described(path: Path, group: Any) -> dict[str, Any]:
    attributes: dict[str, Any] = group.attrs.asdict()
    described = attributes.get("ome", attributes)
    if "multiscales" not in described:
        raise RequestError(
            f"{path}: expected an OME-Zarr image (a group with multiscales), received {sorted(described)}; "
            "give the folder of one image, such as its 0/"
        )
    return described


def _spacing(scales: dict[str, Any], axes: str) -> tuple[float, float, str] | None:
    """Return height, width and unit of a pixel of the first resolution."""
    size = [1.0] * len(axes)
    for holder in (scales["datasets"][0], scales):
        for step in holder.get("coordinateTransformations", ()):
            if step["type"] == "scale":
                size = [a * b for a, b in zip(size, step["scale"], strict=True)]
    y, x = axes.index("Y"), axes.index("X")
    unit = scales["axes"][x].get("unit")
    return (size[y], size[x], unit) if unit else None


def _channels(described: dict[str, Any], count: int) -> tuple[str, ...]:
    named = tuple(str(channel.get("label", "")) for channel in described.get("omero", {}).get("channels", ()))
    return named if len(named) == count and all(named) else ()
