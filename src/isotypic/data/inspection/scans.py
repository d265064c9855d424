"""What the headers of scans say: sizes, spacings, and how their axes lie to those of the world. No voxel is decoded.

A *copy* of a scan has its header, its length in bytes, and the same bytes in the middle of its voxels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from isotypic.data.inspection.copies import Copies, find_copies
from isotypic.data.readers.scan import ScanHeader, read_header, scan_sample, scans_in
from isotypic.errors import RequestError

Progress = Callable[[int, int], object]
"""Called with the scans whose headers are read, and all of them."""

Size = tuple[int, int, int]
Millimetres = tuple[float, float, float]


@dataclass(frozen=True)
class Headers:
    """What the headers of some scans say together.

    Attributes:
        scans: how many.
        sizes: the smallest and the largest (z, y, x), by their number of voxels.
        spacings: the least and the largest millimetres from a voxel to the next, along each array axis (z, y, x).
        extents: the least and the largest millimetres from the first voxel to behind the last, likewise.
        flipped: scans with an axis that runs against that of the world.
        exchanged: scans with an axis that is nearest to another one of the world.
        oblique: scans with an axis that is parallel to none of the world.
        value_types: how many scans have values of every type, the most frequent first.
    """

    scans: int
    sizes: tuple[Size, Size]
    spacings: tuple[Millimetres, Millimetres]
    extents: tuple[Millimetres, Millimetres]
    flipped: int
    exchanged: int
    oblique: int
    value_types: dict[str, int]

    @classmethod
    def of(cls, headers: Sequence[ScanHeader]) -> Headers:
        """Return what some headers, one at least, say together."""
        shapes = sorted((header.shape for header in headers), key=np.prod)
        spacings = np.array([np.asarray(header.geometry.spacing)[::-1] for header in headers])
        extents = spacings * [header.shape for header in headers]
        lies = [header.geometry.orientation for header in headers]
        return cls(
            scans=len(headers),
            sizes=(shapes[0], shapes[-1]),
            spacings=_range(spacings),
            extents=_range(extents),
            flipped=sum(lie.flipped for lie in lies),
            exchanged=sum(lie.exchanged for lie in lies),
            oblique=sum(lie.oblique for lie in lies),
            value_types=dict(Counter(header.value_type for header in headers).most_common()),
        )


@dataclass(frozen=True)
class ScanInspection:
    """What is known of scans without candidates.

    Attributes:
        name: of the file or the folder.
        headers: what they say.
        copies: scans that have one.
    """

    name: str
    headers: Headers
    copies: Copies

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers for a JSON record."""
        return {**asdict(self), "warnings": self.warnings}

    @property
    def warnings(self) -> list[str]:
        """What should be looked at, a sentence each."""
        count = self.copies.images
        return [f"{count:,} scans are copies of each other under several names"] if count else []


def inspect_scans(path: Path, progress: Progress | None = None) -> ScanInspection:
    """Read the headers of a scan, of all scans below a folder, or of a DICOM series.

    Args:
        path: a file or a folder.
        progress: told how far it has come.

    Raises:
        RequestError: there is no scan, or one cannot be read.
    """
    found = scans_in(path)
    if not found:
        raise RequestError(f"{path}: no scans; expected .mhd, .mha, .nii, .nii.gz or .nrrd files, or DICOM slices")
    names = [str(file.relative_to(path)) if file != path else path.name for file in found]
    headers, hashes = read_headers(dict(zip(names, found, strict=True)), progress)
    same = np.zeros(len(found))
    return ScanInspection(
        path.resolve().name, Headers.of(list(headers.values())), find_copies(hashes, same.astype(str), same, names)
    )


def read_headers(
    files: Mapping[str, Path], progress: Progress | None = None
) -> tuple[dict[str, ScanHeader], list[bytes]]:
    """Return the header of every scan, and a hash that copies share.

    Args:
        files: of the scans, by their names.
        progress: told how far it has come.

    Raises:
        RequestError: a header cannot be read, or its voxels are missing or cut short.
    """
    headers, hashes = {}, []
    for done, (name, file) in enumerate(files.items(), 1):
        headers[name] = read_header(file)
        hashes.append(_hash(headers[name], file))
        if progress is not None:
            progress(done, len(files))
    return headers, hashes


def _hash(header: ScanHeader, file: Path) -> bytes:
    geometry = header.geometry
    place = (np.asarray(numbers).tolist() for numbers in (geometry.origin, geometry.spacing, geometry.direction))
    digest = blake2b(repr((header.shape, header.value_type, *place)).encode(), digest_size=16)
    digest.update(scan_sample(file))
    return digest.digest()


def _range(values: np.ndarray) -> tuple[Millimetres, Millimetres]:
    least, most = (tuple(row) for row in (values.min(0).tolist(), values.max(0).tolist()))
    return least, most
