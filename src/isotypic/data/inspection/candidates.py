"""What is in a set of candidates in scans, by its tables and the headers of its scans: no patch is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isotypic.data.config import CandidateDataConfig
from isotypic.data.image_set import PARTS
from isotypic.data.inspection.copies import Copies, find_copies
from isotypic.data.inspection.scans import Headers, Progress, read_headers
from isotypic.data.readers.scan import ScanHeader
from isotypic.data.scans.candidates import Points, parts_of_scans, places
from isotypic.data.scans.geometry import outside
from isotypic.data.scans.listing import ScanListing
from isotypic.data.scans.patches import Lattice, cell_of
from isotypic.data.splits import Splits

COARSE = 2.0
"""A scan is coarse whose voxels are more than so many points of a patch apart along some axis."""

_NAMED = 3
"""Scans that a warning names."""

Hit = Callable[[Points, Points], NDArray[np.bool_]]
"""Given candidates and ``n`` nodules, returns which ``[n]`` of these some candidate hits."""


@dataclass(frozen=True)
class CandidatePart:
    """One part of the split.

    Attributes:
        scans: how many, with those of a given part in which no candidate lies.
        without_nodule: those of them that have no nodule.
        nodules: what there is to find in them.
        missed: nodules that no candidate hits.
        positive: candidates of the class nodule.
        others: the other candidates.
        excluded: findings that neither count nor cost.
        given: whether the set's own folders say the part; otherwise it is made from the fractions and the seed.
    """

    scans: int
    without_nodule: int
    nodules: int
    missed: int
    positive: int
    others: int
    excluded: int
    given: bool

    @property
    def ceiling(self) -> float | None:
        """The highest sensitivity that a classifier of the candidates can have; None without nodules."""
        return 1 - self.missed / self.nodules if self.nodules else None


@dataclass(frozen=True)
class CandidateInspection:
    """What is in a set.

    Attributes:
        name: of the set.
        headers: what those of the scans say.
        lattice: the points of a patch.
        parts: of the split, by name.
        diameters: the least, the median and the largest of the nodules in millimetres, or None where none is measured.
        unmeasured: nodules without a diameter.
        reaching: candidates whose patch reaches outside their scan, with those that lie outside.
        outside: how many candidates and nodules lie outside, of every scan that has any.
        coarse: scans that are coarse for the patch.
        absent: how many points lie in every scan that has no file.
        empty: scans in which neither candidate nor nodule lies.
        without_candidate: scans in which a nodule, and no candidate lies.
        copies: scans that have one.
    """

    name: str
    headers: Headers
    lattice: Lattice
    parts: dict[str, CandidatePart]
    diameters: tuple[float, float, float] | None
    unmeasured: int
    reaching: int
    outside: dict[str, int]
    coarse: list[str]
    absent: dict[str, int]
    empty: list[str]
    without_candidate: list[str]
    copies: Copies

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers for a JSON record."""
        parts = {name: {**asdict(part), "ceiling": part.ceiling} for name, part in self.parts.items()}
        return {**asdict(self), "parts": parts, "warnings": self.warnings}

    @property
    def warnings(self) -> list[str]:
        """What should be looked at before anything is trained, a sentence each."""
        return [*self._of_files(), *self._of_geometry(), *self._of_nodules(), *self.copies.said("scan")]

    def _of_files(self) -> Iterable[str]:
        if self.absent:
            yield (
                f"{_points(self.absent)} in {_scans(self.absent)} without a file: add the files, as training "
                "refuses such points unless --set data.missing=skip leaves them out"
            )
        if self.empty:
            yield (
                f"neither candidate nor nodule lies in {_scans(self.empty)}: is the table whole, and are the scans "
                "named as in it?"
            )

    def _of_geometry(self) -> Iterable[str]:
        if self.outside:
            yield (
                f"{_points(self.outside)} outside {_scans(self.outside)}: are coordinates in millimetres of the world "
                "(x, y, z), and is the header of the scan right?"
            )
        if self.coarse:
            yield (
                f"voxels are more than {COARSE:g} points of a patch apart in {_scans(self.coarse)}: a coarser "
                "data.spacing loses nothing there"
            )

    def _of_nodules(self) -> Iterable[str]:
        yield from (f"the {name} part has no nodule" for name, part in self.parts.items() if not part.nodules)
        missed, test = sum(part.missed for part in self.parts.values()), self.parts["test"]
        if missed:
            yield (
                f"no candidate hits {missed:,} nodules, {test.missed:,} of them in the test: whatever is trained, its "
                f"sensitivity there is {1.0 if test.ceiling is None else test.ceiling:.1%} at most"
            )


def inspect_candidates(
    listing: ScanListing,
    splits: Splits,
    config: CandidateDataConfig,
    hit: Hit,
    progress: Progress | None = None,
) -> CandidateInspection:
    """Read the headers of all scans, and return what is in a set.

    Args:
        listing: files, candidates and nodules.
        splits: the parts of the candidates.
        config: the points of a patch, and the fractions of the split.
        hit: which nodules some candidate hits: the rule of the scorer.
        progress: told how far it has come.

    Raises:
        RequestError: a header cannot be read, or its voxels are missing or cut short.
    """
    headers, hashes = read_headers(listing.files, progress)
    lattice = Lattice(config.size, config.spacing)
    of_scans = parts_of_scans(splits, listing.subjects, listing.scans, config, listing.scan_split)
    of_parts = {part: np.flatnonzero(of_scans == part) for part in PARTS}
    has = [np.bincount(places(points.scan, listing.scans), minlength=len(headers)) > 0 for points in _tables(listing)]
    beyond, reaching = _outside(listing, headers, lattice)
    diameter = listing.nodules.value[listing.nodules.value >= 0]
    return CandidateInspection(
        name=listing.name,
        headers=Headers.of(list(headers.values())),
        lattice=lattice,
        parts=_parts(listing, splits, of_parts, hit(listing.candidates, listing.nodules)),
        diameters=(diameter.min(), float(np.median(diameter)), diameter.max()) if len(diameter) else None,
        unmeasured=len(listing.nodules) - len(diameter),
        reaching=reaching,
        outside=beyond,
        coarse=[name for name, one in headers.items() if (cell_of(one.geometry, lattice) * COARSE < 1).any()],
        absent=dict(listing.absent),
        empty=_named(listing, ~has[0] & ~has[1]),
        without_candidate=_named(listing, ~has[0] & has[1]),
        copies=find_copies(hashes, _part_of(of_parts, len(headers)), np.zeros(len(headers)), listing.scans),
    )


def _tables(listing: ScanListing) -> tuple[Points, Points]:
    return listing.candidates, listing.nodules


def _parts(
    listing: ScanListing, splits: Splits, of_parts: Mapping[str, NDArray[np.int64]], hit: NDArray[np.bool_]
) -> dict[str, CandidatePart]:
    given = set() if listing.scan_split is None else set(listing.scan_split.tolist())
    owner, excluded = (places(points.scan, listing.scans) for points in (listing.nodules, listing.excluded))
    found = {}
    for name, scans in of_parts.items():
        positive, there = int(listing.labels[getattr(splits, name)].sum()), np.isin(owner, scans)
        found[name] = CandidatePart(
            scans=len(scans),
            without_nodule=len(scans) - len(np.unique(owner[there])),
            nodules=int(there.sum()),
            missed=int((there & ~hit).sum()),
            positive=positive,
            others=len(getattr(splits, name)) - positive,
            excluded=int(np.isin(excluded, scans).sum()),
            given=name in given,
        )
    return found


def _outside(listing: ScanListing, headers: Mapping[str, ScanHeader], lattice: Lattice) -> tuple[dict[str, int], int]:
    """Return how many points lie outside, of every scan that has any, and how many candidates' patches reach there."""
    found, reaching = dict.fromkeys(headers, 0), 0
    for points in _tables(listing):
        owner = places(points.scan, listing.scans)
        order = np.argsort(owner, kind="stable")
        ends = np.searchsorted(owner[order], np.arange(len(headers) + 1)).tolist()
        for number, (name, header) in enumerate(headers.items()):
            position = points.position[order[ends[number] : ends[number + 1]]]
            found[name] += int(outside(header.geometry, header.shape, position).sum())
            if points is listing.candidates:
                reaching += int(outside(header.geometry, header.shape, position, lattice.reach).sum())
    return {name: count for name, count in found.items() if count}, reaching


def _part_of(of_parts: Mapping[str, NDArray[np.int64]], scans: int) -> NDArray[np.str_]:
    """Return the part ``[scans]`` of every scan."""
    found = np.full(scans, "in no part", dtype=object)
    for name, rows in of_parts.items():
        found[rows] = name
    return found.astype(str)


def _named(listing: ScanListing, which: NDArray[np.bool_]) -> list[str]:
    return [name for name, wanted in zip(listing.scans, which.tolist(), strict=True) if wanted]


def _points(counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    return "1 point lies" if total == 1 else f"{total:,} points lie"


def _scans(names: Iterable[str]) -> str:
    """Return how many scans there are, and some of their names."""
    every = list(names)
    some = ", ".join(every[:_NAMED]) + (", ..." if len(every) > _NAMED else "")
    return f"{len(every):,} scan{'' if len(every) == 1 else 's'} ({some})"
