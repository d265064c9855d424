"""Scans: volumes with their place in the world, read by SimpleITK (extra ``volumes``).

============================  ===================================================================================
format                        what is checked beside what ITK checks
============================  ===================================================================================
MetaImage (.mhd, .mha)        the file of the voxels that a header names is there, and not too short
NIfTI (.nii, .nii.gz)         the file is as long as its header says: ITK reads zeros where it ends too early
NRRD (.nrrd)
folder with a DICOM series    see :mod:`isotypic.data.readers.dicom`
============================  ===================================================================================

Values stay as they are stored and rescaled by the file's own slope and intercept: Hounsfield units in CT.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from isotypic.data.readers.dicom import holds_slices, read_series, series_slices
from isotypic.data.readers.itk import geometry_of, header, unreadable, value_type, voxels_of
from isotypic.data.readers.tree import open_tree
from isotypic.data.scans.geometry import Geometry
from isotypic.errors import RequestError
from isotypic.files import file_state

SUFFIXES = (".mhd", ".mha", ".nii", ".nii.gz", ".nrrd")

_CHUNK = 1 << 22
_HEADER_BYTES = 1 << 16
_SAMPLE = 1 << 18


@dataclass(frozen=True, eq=False)
class Scan:
    """A volume and where it lies.

    Attributes:
        name: of the scan: that of its file without the suffix, or the UID of its series.
        voxels: ``[z, y, x]``, at least two along every axis.
        geometry: takes indices (z, y, x) to world points (x, y, z) in millimetres and back.
    """

    name: str
    voxels: np.ndarray
    geometry: Geometry


@dataclass(frozen=True, eq=False)
class ScanHeader:
    """What is known of a scan without its voxels.

    Attributes:
        name: as of the scan.
        shape: (z, y, x) voxels.
        value_type: of the voxels in words, such as ``16-bit signed integer``.
        geometry: as of the scan.
    """

    name: str
    shape: tuple[int, int, int]
    value_type: str
    geometry: Geometry


def read_header(path: Path) -> ScanHeader:
    """Read the header of a scan, of a DICOM series those of all slices; what is packed is not unpacked.

    Args:
        path: a file, or the folder of a DICOM series.

    Raises:
        RequestError: as :func:`read_scan`, but for what only the voxels show.
    """
    path = Path(path)
    if path.is_dir():
        found = series_slices(path)
        said = ScanHeader(found.uid, found.shape, value_type(path, found.readers[0]), found.geometry)
    else:
        name, reader = _opened(path, unpack=False)
        x, y, z = reader.GetSize()
        said = ScanHeader(name, (z, y, x), value_type(path, reader), geometry_of(reader))
    _refuse_flat(path, said.shape)
    return said


def scans_in(path: Path) -> list[Path]:
    """Return the scans at a path: the file; all files of scans below a folder; or the folders with DICOM slices."""
    if path.is_file():
        return [path]
    files = [path / name for name in open_tree(path).names if scan_name(Path(name)) is not None]
    folders = [path, *sorted(folder for folder in path.rglob("*") if folder.is_dir())]
    return files or [folder for folder in folders if holds_slices(folder)]


def scan_sample(path: Path) -> bytes:
    """Return a piece of the middle of the file that has a scan's voxels, and its length: what a copy has, too.

    Args:
        path: the file of the scan; of the folder of a series its place is returned, as slices name their series.

    Raises:
        RequestError: it cannot be read.
    """
    if path.is_dir():
        return str(path.resolve()).encode()
    part = (path, *_data_files(path))[-1]
    try:
        length = part.stat().st_size
        with part.open("rb") as file:
            file.seek(max(0, length // 2 - _SAMPLE // 2))
            return length.to_bytes(8, "big") + file.read(_SAMPLE)
    except OSError as error:
        raise unreadable(path, error) from error


def read_scan(path: Path, *, series: str | None = None) -> Scan:
    """Read a scan.

    Args:
        path: a file, or the folder of a DICOM series.
        series: UID of the series, where the folder has several.

    Raises:
        RequestError: SimpleITK is not installed; the file is missing, of another format, damaged or cut short, or a
            part of it is missing; it is no volume of one number a voxel; a voxel is NaN or infinite, or all are the
            same; or the series is not whole (:func:`isotypic.data.readers.dicom.read_series`).
    """
    path = Path(path)
    if path.is_dir():
        found = read_series(path, series)
        scan = Scan(found.uid, found.voxels, found.geometry)
    else:
        scan = _of_file(path)
    _refuse_senseless(path, scan.voxels)
    return scan


def scan_name(file: Path) -> str | None:
    """Return the name of the scan in a file, or None where it is of another format.

    >>> scan_name(Path("a/1.3.6.nii.gz"))
    '1.3.6'
    """
    ends = [suffix for suffix in SUFFIXES if file.name.lower().endswith(suffix)]
    return file.name[: -len(ends[0])] if ends else None


def scan_state(file: Path) -> str:
    """Return what changes when the file of a scan does, or the one that has its voxels.

    Raises:
        RequestError: a file is missing.
    """
    digest = sha256()
    for part in (file, *_data_files(file)):
        if not part.is_file():
            raise _missing(file, part)
        digest.update(f"{file_state(part)}\0".encode())
    return digest.hexdigest()


def _of_file(path: Path) -> Scan:
    name, reader = _opened(path, unpack=True)
    return Scan(name, voxels_of(path, reader), geometry_of(reader))


def _opened(path: Path, *, unpack: bool) -> tuple[str, Any]:
    """Return the name of a scan and the reader of its file, which is as long as its header says."""
    name = scan_name(path)
    if name is None:
        raise RequestError(f"{path}: expected a scan: one of {', '.join(SUFFIXES)}, or the folder of a DICOM series")
    for part in (path, *_data_files(path)):
        if not part.is_file():
            raise _missing(path, part)
    reader = header(path)
    if unpack or path.suffix.lower() != ".gz":
        _refuse_short(path, reader)
    return name, reader


def _data_files(path: Path) -> list[Path]:
    """Return the file in which a MetaImage header says that its voxels are."""
    name = _fields(path).get("ElementDataFile", "")
    return [path.parent / name] if name and not _of_several(name) else []


def _fields(path: Path) -> dict[str, str]:
    """Return what a MetaImage header says."""
    if path.suffix.lower() != ".mhd" or not path.is_file():
        return {}
    try:
        with path.open("rb") as file:
            lines = file.read(_HEADER_BYTES).decode(errors="replace").splitlines()
    except OSError as error:
        raise unreadable(path, error) from error
    return {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}


def _of_several(name: str) -> bool:
    """Whether a header says, in place of a name, that the voxels follow it, or are in a file a slice."""
    return name.upper().startswith(("LOCAL", "LIST")) or "%" in name


def _missing(path: Path, part: Path) -> RequestError:
    if part == path:
        return RequestError(f"{path}: no such file; expected a scan, or the folder of a DICOM series")
    return RequestError(f"{path}: the file of its voxels, {part.name}, is missing; put it beside the header")


def _refuse_short(path: Path, reader: Any) -> None:
    """Refuse a NIfTI or MetaImage file that ends before its voxels do."""
    start, bits, part = 0.0, float(value_type(path, reader).partition("-")[0]), path
    if path.name.lower().endswith((".nii", ".nii.gz")):
        bits, start = (float(reader.GetMetaData(key)) for key in ("bitpix", "vox_offset"))
    elif _fields(path).get("CompressedData", "").lower() == "true" or not _data_files(path):
        return
    else:
        (part,) = _data_files(path)
    needed, found = int(start + np.prod(reader.GetSize(), dtype=np.int64) * bits / 8), _length(part)
    if found < needed:
        raise RequestError(f"{path}: cut short: its header says {needed} bytes, received {found}; fetch the file again")


def _length(path: Path) -> int:
    """Return the length of a file, unpacked."""
    if path.suffix.lower() != ".gz":
        return path.stat().st_size
    try:
        with gzip.open(path) as packed:
            return sum(map(len, iter(lambda: packed.read(_CHUNK), b"")))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RequestError(f"{path}: cut short or damaged ({error}); fetch the file again") from error


def _refuse_flat(path: Path, shape: Sequence[int]) -> None:
    if min(shape) < 2:
        raise RequestError(f"{path}: expected a volume of two voxels at least along z, y and x, received {list(shape)}")


def _refuse_senseless(path: Path, voxels: np.ndarray) -> None:
    _refuse_flat(path, voxels.shape)
    strange = 0 if voxels.dtype.kind != "f" else int(voxels.size - np.isfinite(voxels).sum())
    if strange:
        raise RequestError(f"{path}: {strange} of {voxels.size} voxels are NaN or infinite; repair the scan")
    low = voxels.min()
    if low == voxels.max():
        raise RequestError(f"{path}: all voxels are {low:g}: the scan is empty")
