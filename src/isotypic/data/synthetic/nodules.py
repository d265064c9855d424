"""Synthetic scans of lung with nodules, written in the layout of LUNA16: what a pipeline for nodules can be tried on.

::

    subset0 .. subset8/<scan>.mhd, .raw    training; by convention subset8 is for validation
    subset9/<scan>.mhd, .raw               test
    annotations.csv                        seriesuid,coordX,coordY,coordZ,diameter_mm: the nodules
    annotations_excluded.csv               the same of findings that do not count; -1 where nobody measured one
    candidates_V2.csv                      seriesuid,coordX,coordY,coordZ,class: near every finding, 1 for a nodule

Positions are in the world's millimetres (x, y, z). Scan ``n`` comes from (seed, part, ``n``) alone, so a set that is
made larger keeps its scans, and the command that asks for more adds them. Voxels are written first and the tables last;
a scan is there when its ``.mhd`` is.

:mod:`isotypic.data.synthetic.findings` says what a nodule is, and what only looks like one;
:mod:`isotypic.data.synthetic.chest` how a scan looks. How hard the task is (shapes, tissue, noise) was fixed with the
plain network alone, never with one of a symmetry, and on validation scans, never on test scans: six layers of
8, 8, 16, 16, 32, 32 channels on patches of 8 x 32 x 32 voxels of 1.25 x 1 x 1 mm, 300 candidates, half of them nodules,
reach a CPM of 0.50 to 0.56 over three seeds, where chance is 0.11. Of ``oriented`` scans, where symmetry must not help,
they reach 0.97, where chance is 0.19.

Source of the layout: A. A. A. Setio et al., Validation, comparison, and combination of algorithms for automatic
detection of pulmonary nodules in computed tomography images: the LUNA16 challenge, 2017, arXiv 1612.08012.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from isotypic.data.config import NodulesConfig
from isotypic.data.synthetic.chest import Scan, name_of, plan, voxels
from isotypic.data.synthetic.findings import Kind
from isotypic.data.writers.output_folder import Progress, claim, disk_said
from isotypic.errors import RequestError
from isotypic.files import write_text

ANNOTATIONS, EXCLUDED, CANDIDATES = "annotations.csv", "annotations_excluded.csv", "candidates_V2.csv"

FORMAT = "nodules 1"
"""Changes when the same request makes other scans."""

_TRAINING_SUBSETS = 9
_TEST_SUBSET = 9


class _Place(NamedTuple):
    """Which scan, below which folder it lies, and its name."""

    part: int
    number: int
    subset: str
    name: str


class _Found(NamedTuple):
    """What the tables say of a finding."""

    scan: str
    kind: Kind
    centre: np.ndarray
    diameter: float
    candidate: np.ndarray


def write(config: NodulesConfig, folder: Path, progress: Progress) -> int:
    """Write the scans that are not there yet, and the tables; return how many scans were there before.

    Args:
        config: how many scans, what is in them, and the seed.
        folder: empty, or with scans of the same request but for their number.
        progress: told how many scans are there, and how many there will be.

    Raises:
        RequestError: SimpleITK is not installed; there is no room for so many findings in a scan; the folder holds
            something else, or more scans than are asked for; or it cannot be written (disk full, no permission): what
            is written then stays.
    """
    itk = _simple_itk()
    claim(folder, {"format": FORMAT, "nodules": config.model_dump_json(exclude={"scans", "test_scans"})}, {})
    places = list(_places(config))
    with disk_said(folder):
        missing = _missing(folder, places)
        _clear(folder, tables=bool(missing))
        done = before = len(places) - len(missing)
        progress(done, len(places))
        found: list[_Found] = []
        for place in places:
            scan = plan(config, place.part, place.number)
            if place.name in missing:
                _write_scan(itk, scan, folder / place.subset)
                done += 1
                progress(done, len(places))
            found += _found(scan)
        _write_tables(folder, found)
    return before


def _simple_itk() -> Any:
    try:
        import SimpleITK  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise RequestError("scans are written by SimpleITK: pip install isotypic[volumes]") from error
    return SimpleITK


def _places(config: NodulesConfig) -> Iterator[_Place]:
    for part, count in enumerate((config.scans, config.test_scans)):
        for number in range(count):
            subset = f"subset{_TEST_SUBSET if part else number % _TRAINING_SUBSETS}"
            yield _Place(part, number, subset, name_of(config, part, number))


def _missing(folder: Path, places: Sequence[_Place]) -> set[str]:
    """Return the names of the scans that are not there, or not whole.

    Raises:
        RequestError: scans are there that nobody asks for: the tables would not name them.
    """
    wanted = {f"{place.subset}/{place.name}": place.name for place in places}
    there = {f"{path.parent.name}/{path.stem}" for path in folder.glob("subset[0-9]/[!.]*.mhd")}
    more = there - set(wanted)
    if more:
        raise RequestError(
            f"{folder}: holds {len(more)} scans more than are asked for, {min(more)} is one; ask for as many with "
            "data.nodules.scans and data.nodules.test_scans, or give another --out"
        )
    return {name for place, name in wanted.items() if place not in there}


def _clear(folder: Path, *, tables: bool) -> None:
    """Remove what was left half-written, and tables that will not name all scans while more are written."""
    for path in folder.glob("subset[0-9]/.*"):
        shutil.rmtree(path)
    for name in (ANNOTATIONS, EXCLUDED, CANDIDATES) if tables else ():
        (folder / name).unlink(missing_ok=True)


def _write_scan(itk: Any, scan: Scan, folder: Path) -> None:
    """Write the two files of a scan beside, then move them to their place, the header last."""
    image = itk.GetImageFromArray(voxels(scan))
    image.SetSpacing(scan.grid.spacing.tolist())
    image.SetOrigin(scan.grid.origin.tolist())
    image.SetDirection(np.diag(scan.grid.sign).reshape(-1).tolist())
    beside = folder / f".{scan.name}"
    beside.mkdir(parents=True, exist_ok=True)
    try:
        itk.WriteImage(image, str(beside / f"{scan.name}.mhd"))
    except RuntimeError as error:  # how ITK says that a disk is full
        raise OSError(f"SimpleITK: {' '.join(str(error).split())}") from error
    for suffix in (".raw", ".mhd"):
        os.replace(beside / f"{scan.name}{suffix}", folder / f"{scan.name}{suffix}")
    beside.rmdir()


def _found(scan: Scan) -> Iterator[_Found]:
    for finding, candidate in zip(scan.findings, scan.candidates, strict=True):
        yield _Found(scan.name, finding.kind, finding.centre, finding.diameter, candidate)


def _write_tables(folder: Path, found: Sequence[_Found]) -> None:
    for name, kind in ((ANNOTATIONS, Kind.NODULE), (EXCLUDED, Kind.EXCLUDED)):
        rows = [(one.scan, one.centre, f"{one.diameter:.6f}") for one in found if one.kind is kind]
        write_text(folder / name, _table("diameter_mm", rows))
    candidates = [(one.scan, one.candidate, str(int(one.kind is Kind.NODULE))) for one in found]
    write_text(folder / CANDIDATES, _table("class", candidates))


def _table(last: str, rows: Iterable[tuple[str, np.ndarray, str]]) -> str:
    lines = (f"{scan},{','.join(f'{value:.6f}' for value in place)},{value}" for scan, place, value in rows)
    return "\n".join([f"seriesuid,coordX,coordY,coordZ,{last}", *lines, ""])
