"""A DICOM series: the slices of one scan, a file each, in one folder.

The slices lie where their headers say (Image Position and Orientation (Patient)), and the geometry is made from these
positions: the step from a slice to the next is (p_last - p_first) / (n - 1), so that a tilted gantry, whose steps are
not perpendicular to the slices, is kept. (ITK's own reader gives that step's length and a perpendicular direction.)
Every slice must lie within a tenth of a step of the place that this gives it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isotypic.data.readers.itk import geometry_of, header, itk, voxels_of
from isotypic.data.scans.geometry import Geometry
from isotypic.errors import RequestError, unknown

_MAGIC, _MAGIC_END = b"DICM", 132

_OFF = 0.1
"""Share of a step by which a slice may lie beside its place."""

_SAME = 1e-3
"""Millimetres, or parts of a unit vector, by which the slices' own spacing and directions may differ."""


@dataclass(frozen=True, eq=False)
class Series:
    """The slices of a scan.

    Attributes:
        uid: of the series.
        voxels: ``[z, y, x]``, rescaled as the files say (Hounsfield units in CT).
        geometry: where they lie.
    """

    uid: str
    voxels: np.ndarray
    geometry: Geometry


def read_series(folder: Path, uid: str | None = None) -> Series:
    """Read a DICOM series.

    Args:
        folder: with the slices.
        uid: which series; None where there is one only.

    Raises:
        RequestError: SimpleITK is not installed; there is no series, more than one, or none of that name; a slice
            cannot be read, lies at the place of another or differs from the others in size; slices are missing or
            unevenly far apart.
    """
    found = series_slices(folder, uid)
    if len(found.files) == 1:
        return Series(found.uid, voxels_of(found.files[0], found.readers[0]), found.geometry)
    reader = itk(folder).ImageSeriesReader()
    reader.SetFileNames([str(file) for file in found.files])
    return Series(found.uid, voxels_of(folder, reader), found.geometry)


@dataclass(frozen=True, eq=False)
class Slices:
    """What the headers of a series say.

    Attributes:
        uid: of the series.
        files: of the slices, in their order.
        readers: of their headers.
        geometry: where they lie.
    """

    uid: str
    files: Sequence[Path]
    readers: Sequence[Any]
    geometry: Geometry

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) voxels; one file may hold all slices."""
        x, y, z = self.readers[0].GetSize()
        return len(self.files) if len(self.files) > 1 else z, y, x


def series_slices(folder: Path, uid: str | None = None) -> Slices:
    """Read the headers of a DICOM series; arguments and errors as of :func:`read_series`."""
    by_uid = _files(folder, itk(folder).ImageSeriesReader())
    uid = _chosen(folder, list(by_uid), uid)
    files = by_uid[uid]
    readers = [header(file) for file in files]
    return Slices(uid, files, readers, geometry_of(readers[0]) if len(files) == 1 else _stacked(folder, files, readers))


def holds_slices(folder: Path) -> bool:
    """Return whether a file that lies directly in a folder is DICOM: it says so after 128 bytes."""
    return any(_is_dicom(path) for path in sorted(folder.iterdir()) if path.is_file())


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(_MAGIC_END)[-len(_MAGIC) :] == _MAGIC
    except OSError:
        return False


def _files(folder: Path, reader: Any) -> dict[str, list[Path]]:
    """Return the slices of every series in their order; a file that calls itself DICOM and is in none is damaged."""
    there = [path for path in folder.iterdir() if path.is_file()]
    uids = reader.GetGDCMSeriesIDs(str(folder)) if there else ()
    found = {uid: [Path(name) for name in reader.GetGDCMSeriesFileNames(str(folder), uid)] for uid in uids}
    names = {file.name for files in found.values() for file in files}
    damaged = sorted(path.name for path in there if path.suffix.lower() == ".dcm" and path.name not in names)
    if damaged:
        raise RequestError(f"{folder}: {damaged[0]} cannot be read as DICOM ({len(damaged)} such); fetch it again")
    return found


def _chosen(folder: Path, uids: list[str], wanted: str | None) -> str:
    if not uids:
        raise RequestError(f"{folder}: no DICOM series in this folder; give the folder of its slices, or a file")
    if wanted is None and len(uids) > 1:
        raise RequestError(f"{folder}: {len(uids)} DICOM series; name one with series=: {', '.join(sorted(uids))}")
    if wanted is not None and wanted not in uids:
        raise RequestError(f"{folder}: {unknown('series', wanted, uids)}")
    return uids[0] if wanted is None else wanted


def _stacked(folder: Path, files: Sequence[Path], slices: Sequence[Any]) -> Geometry:
    first = geometry_of(slices[0])
    for file, other in zip(files, slices, strict=True):
        _refuse_different(files[0], slices[0], file, other)
    places = np.array([one.GetOrigin() for one in slices])
    step = (places[-1] - places[0]) / (len(places) - 1)
    even = places[0] + np.arange(len(places))[:, None] * step
    if (np.linalg.norm(places - even, axis=1) > _OFF * np.linalg.norm(step)).any() or not step.any():
        raise _uneven(folder, files, np.linalg.norm(np.diff(places, axis=0), axis=1))
    length = np.linalg.norm(step)
    direction = np.column_stack([np.asarray(first.direction)[:, :2], step / length])
    return Geometry(places[0], [*np.asarray(first.spacing)[:2], length], direction)


def _refuse_different(one: Path, its: Any, other: Path, received: Any) -> None:
    if received.GetSize() != its.GetSize():
        sizes = [f"{reader.GetSize()[1]}x{reader.GetSize()[0]}" for reader in (its, received)]
        raise RequestError(f"slices of different sizes: {one} is {sizes[0]} and {other} is {sizes[1]}")
    for what, mine, others in (
        ("spacing", its.GetSpacing()[:2], received.GetSpacing()[:2]),
        ("orientation", its.GetDirection(), received.GetDirection()),
    ):
        if not np.allclose(mine, others, atol=_SAME):
            raise RequestError(f"slices of different {what}: {one} has {list(mine)} and {other} has {list(others)}")


def _uneven(folder: Path, files: Sequence[Path], gaps: np.ndarray) -> RequestError:
    """Return the error that names the gap which differs most from the usual one."""
    usual = float(np.median(gaps))
    worst = int(np.argmax(abs(gaps - usual)))
    between = f"between {files[worst].name} and {files[worst + 1].name}"
    if gaps[worst] < _OFF * usual or usual == 0:
        return RequestError(f"{folder}: two slices at one place, {between}; keep one of them")
    what = "slices are missing" if gaps[worst] > 1.5 * usual else "the slices are unevenly far apart"
    return RequestError(f"{folder}: {what}: {gaps[worst]:.4g} mm {between}, {usual:.4g} mm elsewhere")
