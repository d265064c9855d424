"""Candidates for a finding in scans: points of the world, and a patch around each.

The CSV files are those of LUNA16 (https://luna16.grand-challenge.org): a row a point, ``seriesuid``, the name of the
scan, ``coordX, coordY, coordZ`` in millimetres of the world, and one number: ``diameter_mm`` of a nodule, ``class`` of
a candidate (1 where it is a nodule), or the ``probability`` that is submitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isotypic.data.config import Fractions
from isotypic.data.image_set import PARTS, ImageSet, check_length, check_split
from isotypic.data.readers.table import text_column, text_frame
from isotypic.data.scans.geometry import Floats
from isotypic.data.splits import Splits
from isotypic.errors import RequestError
from isotypic.files import write_atomically

CLASSES = ("other", "nodule")

SCAN = "seriesuid"
COORDINATES = ("coordX", "coordY", "coordZ")
DIAMETER, CLASS, PROBABILITY = "diameter_mm", "class", "probability"


@dataclass(frozen=True, eq=False)
class Points:
    """Points in scans, each with a number.

    Attributes:
        scan: ``[n]`` str, the name of the scan that each lies in.
        position: ``[n, 3]`` (x, y, z) in millimetres of the world.
        value: ``[n]``: a diameter in millimetres, a class, or a probability.

    Raises:
        RequestError: the lengths differ, or a number is not finite.
    """

    scan: NDArray[np.str_]
    position: Floats
    value: Floats

    def __post_init__(self) -> None:
        count = len(self.scan)
        if self.scan.shape != (count,) or self.position.shape != (count, 3) or self.value.shape != (count,):
            raise RequestError(
                f"expected points with a scan [n], a position [n, 3] and a value [n] each, received "
                f"{list(self.scan.shape)}, {list(self.position.shape)} and {list(self.value.shape)}"
            )
        if not (np.isfinite(self.position).all() and np.isfinite(self.value).all()):
            raise RequestError("expected points with finite numbers, received NaN or infinity")

    @classmethod
    def none(cls) -> Points:
        """Return no points."""
        return cls(np.array([], str), np.zeros((0, 3)), np.zeros(0))

    def __len__(self) -> int:
        return len(self.scan)

    def __getitem__(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Points:
        """Return some of the points."""
        return Points(self.scan[rows], self.position[rows], self.value[rows])


def read_points(path: Path, value: str | None, *, least: int = 1) -> Points:
    """Read a CSV file of points, in the order of its rows.

    Args:
        path: the file.
        value: the column with the number of each point; None for where they are alone, their numbers being zero.
        least: how many rows it has at least.

    Raises:
        RequestError: the file cannot be read, lacks a column (the nearest is named), has too few rows, an empty cell or
            one that is no finite number.
    """
    frame = text_frame(path, "a point", least=least)
    position = np.stack([_numbers(path, frame, name) for name in COORDINATES], axis=1)
    numbers = np.zeros(len(frame)) if value is None else _numbers(path, frame, value)
    return Points(text_column(path, frame, SCAN), position, numbers)


def write_points(path: Path, points: Points, value: str = PROBABILITY) -> Path:
    """Write points as the challenge takes them: ``seriesuid,coordX,coordY,coordZ`` and a number, to the last digit.

    Args:
        path: the file; an older one is replaced as a whole.
        points: the points.
        value: what the column of their numbers is called.
    """
    columns = dict(zip(COORDINATES, points.position.T, strict=True))
    frame = pd.DataFrame({SCAN: points.scan, **columns, value: points.value})
    return write_atomically(path, lambda beside: frame.to_csv(beside, index=False))


def places(scan: NDArray[np.str_], scans: Sequence[str]) -> NDArray[np.int64]:
    """Return the place of every scan's name among some names, or -1.

    >>> places(np.array(["b", "c", "a"]), ["a", "b"]).tolist()
    [1, -1, 0]
    """
    return pd.Index(list(scans), dtype=object).get_indexer(pd.Index(scan.tolist(), dtype=object)).astype(np.int64)


def scans_of(
    rows: NDArray[np.int64],
    owner: NDArray[np.int64],
    scans: int,
    split: NDArray[np.str_] | None,
    scan_split: NDArray[np.str_] | None,
) -> NDArray[np.int64]:
    """Return the scans that some candidates lie in, and those of their part of a given split that have none at all.

    Args:
        rows: which candidates.
        owner: ``[N]``, the place of the scan of every candidate.
        scans: how many there are.
        split: ``[N]`` str, the given part of every candidate, or None.
        scan_split: ``[scans]`` str, that of every scan, or None.

    >>> parts = np.array(["train", "test", "test"])
    >>> scans_of(np.array([1]), np.array([0, 1]), 3, parts[:2], parts).tolist()
    [1, 2]
    """
    there = np.bincount(owner[rows], minlength=scans) > 0
    if scan_split is not None and split is not None:
        empty = np.bincount(owner, minlength=scans) == 0
        there |= empty & np.isin(scan_split, sorted(set(split[rows].tolist())))
    return np.flatnonzero(there)


def parts_of_scans(
    splits: Splits,
    owner: NDArray[np.int64],
    scans: Sequence[str],
    config: Fractions,
    given: NDArray[np.str_] | None = None,
) -> NDArray[np.str_]:
    """Return the part of every scan, ``[scans]`` str, after its candidates were split.

    A scan without candidates is in no candidate's part, and what there is to find in it would count nowhere. It has the
    part that is given, or is dealt to one by its name, with the fractions as odds.

    Args:
        splits: of the candidates.
        owner: ``[N]``, the place of the scan of every candidate.
        scans: their names.
        config: the fractions and the seed.
        given: ``[scans]`` str, the part of each where the set says it, or None.
    """
    known = [_drawn_part(name, config) for name in scans] if given is None else given
    parts = np.array(known, dtype=f"<U{max(map(len, PARTS))}")
    for part in PARTS:
        parts[owner[getattr(splits, part)]] = part
    return parts


def _drawn_part(name: str, config: Fractions) -> str:
    digest = int.from_bytes(sha256(name.encode()).digest()[:8], "big")
    test, validation = np.random.default_rng([config.split_seed, digest]).random(2)
    if test < config.test_fraction:
        return "test"
    return "validation" if validation < config.validation_fraction else "train"


@dataclass(frozen=True, eq=False)
class CandidateSet:
    """Candidates with their patches, and what there is to find.

    Args:
        patches: ``[N, 1, z, y, x]`` float16, a patch a candidate, of the classes :data:`CLASSES`; its subjects are the
            scans.
        position: ``[N, 3]`` the candidates' centres (x, y, z) in millimetres of the world.
        nodules: what there is to find, with diameters in millimetres, in these scans.
        excluded: findings that neither count nor cost, likewise.
        scans: names of all scans, also of those without a candidate.
        outside: how many patches reach outside their scan and hold air there.
        scan_split: ``[scans]`` str, the part of each scan where the patches came with a split, or None.

    Raises:
        RequestError: the lengths differ, a scan is named twice, or a candidate or finding lies in another scan.
    """

    patches: ImageSet
    position: Floats
    nodules: Points
    excluded: Points
    scans: tuple[str, ...]
    outside: int
    scan_split: np.ndarray | None = None

    def __post_init__(self) -> None:
        name, known = self.patches.name, set(self.scans)
        if self.position.shape != (len(self.patches), 3):
            raise RequestError(
                f"{name}: expected a position (x, y, z) [{len(self.patches)}, 3] a patch, "
                f"received {list(self.position.shape)}"
            )
        if len(known) < len(self.scans):
            raise RequestError(f"{name}: expected the names of different scans, received one of them twice")
        check_length(name, "a part a scan", self.scan_split, len(self.scans))
        if self.scan_split is not None:
            check_split(name, self.scan_split)
        if self.patches.subjects is None:
            raise RequestError(f"{name}: expected the scan of every patch as its subject, received none")
        for scans in (self.patches.subjects, self.nodules.scan, self.excluded.scan):
            strange = set(np.unique(scans).tolist()) - known
            if strange:
                raise RequestError(f"{name}: {min(strange)!r} is not among its {len(known)} scans")

    def __len__(self) -> int:
        return len(self.patches)

    def scans_of(self, rows: NDArray[np.int64]) -> tuple[str, ...]:
        """Return the scans of some candidates, as :func:`scans_of`, by name."""
        owner = places(np.asarray(self.patches.subjects), self.scans)
        there = scans_of(rows, owner, len(self.scans), self.patches.split, self.scan_split)
        return tuple(self.scans[place] for place in there.tolist())

    def with_parts(self, splits: Splits, config: Fractions) -> CandidateSet:
        """Return the set with the part of every scan, as :func:`parts_of_scans`, after its candidates were split."""
        owner = places(np.asarray(self.patches.subjects), self.scans)
        parts = parts_of_scans(splits, owner, self.scans, config, self.scan_split)
        return replace(self, patches=replace(self.patches, split=parts[owner]), scan_split=parts)


def _numbers(path: Path, frame: pd.DataFrame, name: str) -> Floats:
    cells = text_column(path, frame, name)
    numbers = pd.to_numeric(pd.Series(cells), errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        row = int(wrong[0])
        raise RequestError(
            f"{path}: line {row + 2}: expected a number in column {name!r}, received {str(cells[row])!r} "
            f"({len(wrong)} such)"
        )
    return numbers
