"""LUNA16: 888 chest CT scans with nodules, and the candidates that detectors found in them.

``subset0 .. subset9`` with ``<seriesuid>.mhd`` and its ``.raw``, ``annotations.csv`` (the nodules),
``candidates_V2.csv`` (or ``candidates.csv``), and ``annotations_excluded.csv`` where it is there (findings that neither
count nor cost), at any depth below one folder. Where there are folders ``subset<n>`` only scans in them are taken: the
masks of the lungs (``seg-lungs-LUNA16``) have the same names.

Source: A. A. A. Setio et al., Validation, comparison, and combination of algorithms for automatic detection of
pulmonary nodules in computed tomography images: the LUNA16 challenge, Medical Image Analysis 42 (2017),
arXiv 1612.08012, https://luna16.grand-challenge.org; scans of LIDC-IDRI, CC BY 3.0.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from isotypic.data.config import CandidateDataConfig
from isotypic.data.image_set import ImageSet, check_labels
from isotypic.data.readers.scan import scan_name
from isotypic.data.readers.tree import open_tree
from isotypic.data.scans.candidates import CLASS, CLASSES, DIAMETER, CandidateSet, Points, places, read_points
from isotypic.data.scans.extraction import Extraction, Progress, extracted
from isotypic.data.scans.listing import ScanListing
from isotypic.data.scans.patches import Lattice
from isotypic.errors import RequestError

_CANDIDATES = ("candidates_V2.csv", "candidates.csv")
_NODULES = ("annotations.csv",)
_EXCLUDED = ("annotations_excluded.csv",)
_SUBSET = re.compile(r"subset(\d+)")


@dataclass(frozen=True)
class _File:
    """A scan's file, and the number of the subset that it is in, or None."""

    path: Path
    subset: int | None


def recognises(names: Iterable[str]) -> bool:
    """Return whether some relative file names are of this set: scans, and candidates in them."""
    paths = [PurePosixPath(name) for name in names]
    return any(path.name in _CANDIDATES for path in paths) and any(scan_name(Path(path)) for path in paths)


def load(config: CandidateDataConfig, cache: Path, progress: Progress | None = None) -> CandidateSet:
    """Return the candidates of all scans with their patches, which stay on disk.

    Args:
        config: ``path`` is the folder.
        cache: where the patches are kept (:mod:`isotypic.data.scans.extraction`).
        progress: told of how many scans the patches are cut out.

    Raises:
        RequestError: what :func:`listed` refuses, a point lies in a scan that has no file, or a scan cannot be read.
    """
    found = listed(config)
    if config.missing == "refuse":
        found.refuse_absent(config.path)
    candidates = found.candidates
    what = Extraction(
        found.files, candidates.scan, candidates.position, Lattice(config.size, config.spacing), config.window
    )
    images, outside = extracted(what, cache, progress)
    patches = ImageSet(
        name=found.name,
        images=images,
        labels=found.labels,
        classes=CLASSES,
        subjects=candidates.scan,
        split=found.split,
    )
    position = candidates.position
    return CandidateSet(patches, position, found.nodules, found.excluded, found.scans, outside, found.scan_split)


def listed(config: CandidateDataConfig) -> ScanListing:
    """Return what the folder says of its scans; none is opened.

    Args:
        config: ``path`` is the folder; ``missing`` is left to the caller.

    Raises:
        RequestError: no path, no scans, a table is missing, damaged or of another layout, two files are of one scan, no
            point lies in a scan that has a file, a class is neither 0 nor 1, or a subset is not there.
    """
    if config.path is None:
        raise RequestError("the data set 'luna16' needs a path to its folder: give --data PATH")
    if not config.path.is_dir():
        raise RequestError(f"{config.path}: no such folder; expected that of LUNA16, unpacked")
    names = open_tree(config.path).names
    files = _files(config.path, names)
    scans = sorted(files)
    parts = _parts(config, files)
    read = _candidates(config.path, names), read_points(_table(config.path, names, _NODULES), DIAMETER)
    candidates, nodules = (_present(config.path, scans, points) for points in read)
    candidates = candidates[_kept(candidates, config, scans, parts)]
    check_labels("luna16", candidates.value.astype(np.int64), CLASSES)  # before hours of cutting, not after
    return ScanListing(
        "luna16",
        {name: files[name].path for name in scans},
        candidates,
        nodules,
        _excluded(config.path, names, scans),
        None if parts is None else np.array([parts[name] for name in scans]),
        _absent(scans, *read),
    )


def scan_files(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Return the file of every scan of a folder by its name.

    Where some lie in ``subset0`` and the like, others are no scans: lung masks have the names of the scans.

    Raises:
        RequestError: there is none, or two files are of one scan.
    """
    return {name: file.path for name, file in _files(folder, names).items()}


def _files(folder: Path, names: Iterable[str]) -> dict[str, _File]:
    """Return the file of every scan."""
    found: dict[str, _File] = {}
    every = [(folder / name, _subset(name)) for name in names]
    some_in_subsets = any(subset is not None for path, subset in every if scan_name(path))
    for path, subset in every:
        name = scan_name(path)
        if name is None or (some_in_subsets and subset is None):
            continue
        if name in found:
            raise RequestError(f"two files of one scan: {found[name].path} and {path}; keep one of them")
        found[name] = _File(path, subset)
    if not found:
        raise RequestError(f"{folder}: no scans; expected subset0/<seriesuid>.mhd and the like")
    return found


def _subset(name: str) -> int | None:
    """Return the number of the subset that a file is in.

    >>> _subset("luna/subset7/1.3.6.mhd"), _subset("seg-lungs-LUNA16/1.3.6.mhd")
    (7, None)
    """
    numbers = [found[1] for folder in PurePosixPath(name).parts[:-1] if (found := _SUBSET.fullmatch(folder))]
    return int(numbers[-1]) if numbers else None


def _table(folder: Path, names: Iterable[str], wanted: tuple[str, ...]) -> Path:
    """Return the table of the first name that is there, the one that lies least deep."""
    for table in wanted:
        found = sorted((name.count("/"), name) for name in names if PurePosixPath(name).name == table)
        if len(found) > 1 and found[0][0] == found[1][0]:
            raise RequestError(f"{folder}: two tables, {found[0][1]} and {found[1][1]}; keep one of them")
        if found:
            return folder / found[0][1]
    raise RequestError(f"{folder}: no {' or '.join(wanted)}; expected it in the folder or below")


def _candidates(folder: Path, names: Iterable[str]) -> Points:
    path = _table(folder, names, _CANDIDATES)
    candidates = read_points(path, CLASS)
    strange = np.flatnonzero(~np.isin(candidates.value, (0, 1)))
    if len(strange):
        raise RequestError(
            f"{path}: line {strange[0] + 2}: expected the class 0 or 1, received {candidates.value[strange[0]]:g}"
        )
    return candidates


def _excluded(folder: Path, names: tuple[str, ...], scans: Sequence[str]) -> Points:
    """Return what is excluded in these scans; the table may be absent, or without rows."""
    if not any(PurePosixPath(name).name in _EXCLUDED for name in names):
        return Points.none()
    excluded = read_points(_table(folder, names, _EXCLUDED), DIAMETER, least=0)
    return excluded[places(excluded.scan, scans) >= 0]


def _present(folder: Path, scans: Sequence[str], points: Points) -> Points:
    """Return the points in scans that have a file.

    Raises:
        RequestError: none has one.
    """
    there = places(points.scan, scans) >= 0
    if not there.any():
        raise RequestError(
            f"{folder}: none of the {len(points)} points lies in one of the {len(scans)} scans; the first is of "
            f"{str(points.scan[0])!r}, and no file is named so"
        )
    return points[there]


def _absent(scans: Sequence[str], *tables: Points) -> dict[str, int]:
    """Return how many points lie in every scan that has no file."""
    names = [name for points in tables for name in points.scan[places(points.scan, scans) < 0].tolist()]
    return dict(sorted(Counter(names).items()))


def _kept(
    candidates: Points, config: CandidateDataConfig, scans: Sequence[str], parts: Mapping[str, str] | None
) -> NDArray[np.bool_]:
    """Return which candidates are kept: all nodules, and of every scan that is not of the test some of the others."""
    kept = np.ones(len(candidates), dtype=bool)
    if config.negatives is None:
        return kept
    if parts is None:
        raise RequestError(
            f"{config.path}: data.negatives={config.negatives} keeps all candidates of test scans alone, and none are "
            "named: set data.test_subsets, or data.negatives=null"
        )
    owner, others = places(candidates.scan, scans), np.flatnonzero(candidates.value == 0)
    others = others[np.argsort(owner[others], kind="stable")]
    ends = np.searchsorted(owner[others], np.arange(len(scans) + 1))
    for name, start, end in zip(scans, ends[:-1], ends[1:], strict=True):
        if end - start > config.negatives and parts[name] != "test":
            digest = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
            generator = np.random.default_rng([config.negatives_seed, digest])
            kept[generator.permutation(others[start:end])[config.negatives :]] = False
    return kept


def _parts(config: CandidateDataConfig, files: Mapping[str, _File]) -> dict[str, str] | None:
    """Return the part of every scan, or None where the subsets do not say."""
    asked = dict.fromkeys(config.test_subsets, "test")
    asked |= dict.fromkeys(config.validation_subsets, "validation")
    if not asked:
        return None
    there = {file.subset for file in files.values() if file.subset is not None}
    absent = sorted(set(asked) - there)
    if absent:
        known = ", ".join(f"subset{subset}" for subset in sorted(there)) or "none"
        raise RequestError(f"{config.path}: no scans in a folder subset{absent[0]}; there are {known}")
    return {name: asked.get(-1 if file.subset is None else file.subset, "train") for name, file in files.items()}
