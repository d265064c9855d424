"""SimpleITK (extra ``volumes``): where it is found, and what it says of a file, in errors of one line."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from isotypic.data.scans.geometry import Geometry
from isotypic.errors import RequestError

_NOISE = re.compile(
    r"(Exception thrown in SimpleITK \w+|\S+\.[ch]xx:\d+|(ITK |sitk::)ERROR|\w+\(0x\w+\)): ?|Reason: .*"
)
"""Places in its sources, addresses, and the reason of an older failure that it repeats."""


def itk(path: Path) -> Any:
    """Return SimpleITK for reading a path.

    Raises:
        RequestError: it is not installed.
    """
    try:
        return import_module("SimpleITK")
    except ImportError as error:
        raise RequestError(f"{path}: scans need the extra volumes: pip install isotypic[volumes]") from error


def unreadable(path: Path, error: Exception) -> RequestError:
    """Return the error for a file that SimpleITK refuses."""
    reason = " ".join(_NOISE.sub(" ", str(error)).split())
    return RequestError(f"{path}: cannot be read as a scan ({reason}); is it whole, with all its parts beside it?")


def header(path: Path) -> Any:
    """Return the reader of a file, which knows size, geometry and metadata and has not read the voxels yet.

    Raises:
        RequestError: SimpleITK is not installed, or the file is not a volume of one number a voxel.
    """
    reader = itk(path).ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise unreadable(path, error) from error
    size, components = list(reader.GetSize()), reader.GetNumberOfComponents()
    if len(size) != 3:
        raise RequestError(f"{path}: expected a volume (x, y, z), received {len(size)} axes of {size} voxels")
    if components != 1:
        raise RequestError(f"{path}: expected one number a voxel, received {components}; save one channel of it")
    return reader


def geometry_of(image: Any) -> Geometry:
    """Return the geometry of an image, or of the reader of one."""
    return Geometry(image.GetOrigin(), image.GetSpacing(), image.GetDirection())


def value_type(path: Path, reader: Any) -> str:
    """Return the type of the values of a reader's file in words, such as ``16-bit signed integer``."""
    return str(itk(path).GetPixelIDValueAsString(reader.GetPixelID()))


def voxels_of(path: Path, reader: Any) -> np.ndarray:
    """Read the voxels ``[z, y, x]`` of a file or a series.

    Raises:
        RequestError: they cannot be read.
    """
    try:
        return itk(path).GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        raise unreadable(path, error) from error
