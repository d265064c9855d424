"""The part of ``isotypic predict`` that takes scans: candidates in, probabilities out, in the format of LUNA16."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from isotypic.cli.following import say_failures
from isotypic.data.datasets.luna16 import scan_files
from isotypic.data.readers.scan import read_scan, scan_name
from isotypic.data.readers.tree import open_tree
from isotypic.data.scans.candidates import Points, read_points, write_points
from isotypic.errors import RequestError
from isotypic.inference.candidate_classifier import CandidateClassifier, of_scan
from isotypic.inference.writers.catalogue import saved


def predict_scans(scans: Path, candidates: Path | None, out: Path, classifier: CandidateClassifier) -> None:
    """Classify the candidates of a scan, or of all scans of a folder that have some, and write one CSV file.

    Args:
        scans: a scan, a folder of scans at any depth, or the folder of a DICOM series.
        candidates: CSV file with a row a candidate.
        out: the file to write; an older one is replaced as a whole.
        classifier: the detector.

    Raises:
        RequestError: no candidates are given, or none of them lies in a scan that is there.
        Exit: with code 1, if a scan cannot be read or a candidate lies in none that is there; the others are written.
    """
    if candidates is None:
        raise RequestError("expected --candidates FILE.csv with seriesuid,coordX,coordY,coordZ for a run of detection")
    console, points = Console(), read_points(candidates, None)
    found = _scans(scans, points)
    failures = _without_a_file(scans, found, points)
    rows, outside = [], 0
    for path in track(found, "scans", console=console, transient=True):
        try:
            mine, padded = _of_one(path, points, classifier, alone=len(found) == 1)
        except RequestError as error:
            if len(found) == 1:
                raise
            failures.append(str(error) if str(path) in str(error) else f"{path}: {error}")
            continue
        rows.append(mine)
        outside += padded
    if rows:
        saved(out, lambda path: write_points(path, _together(rows)))
    total = sum(map(len, rows))
    reached = f"; the patches of {outside} reach beyond their scan and hold air there" if outside else ""
    console.print(f"{total} candidates in {len(rows)} scans: {out.resolve()}{reached}", highlight=False, soft_wrap=True)
    say_failures(failures)


def _of_one(path: Path, points: Points, classifier: CandidateClassifier, *, alone: bool) -> tuple[Points, int]:
    """Return the candidates of a scan with their probabilities, and how many reach beyond it."""
    scan = read_scan(path)
    named = set(points.scan.tolist())
    mine = points if alone and len(named) == 1 and path.is_dir() else of_scan(points, scan.name)
    probability, outside = classifier(scan, mine.position)
    return replace(mine, value=probability), outside


def _scans(place: Path, points: Points) -> list[Path]:
    """Return the scans that have candidates: the one given, or those of a folder by their names."""
    if not place.exists():
        raise RequestError(f"expected a scan or a folder of scans at {place}, found nothing")
    if not place.is_dir():
        return [place]
    wanted = set(points.scan.tolist())
    names = open_tree(place).names
    if not any(scan_name(Path(name)) for name in names):
        return [place]  # a DICOM series, or what its reader refuses
    named = scan_files(place, names)
    found = [path for name, path in sorted(named.items()) if name in wanted]
    if not found:
        raise RequestError(
            f"{place}: none of its {len(named)} scans has a candidate in the table, whose first scan is "
            f"{min(wanted)!r}; the column seriesuid names a scan as its file is named, without the suffix"
        )
    return found


def _without_a_file(place: Path, found: Sequence[Path], points: Points) -> list[str]:
    """Return a line on the candidates of a table that lie in no scan of a folder, if there are any."""
    known = {scan_name(path) for path in found}
    lost = sorted(name for name in points.scan.tolist() if name not in known)
    if None in known or not place.is_dir() or not lost:
        return []
    scans = len(set(lost))
    return [f"{place}: no file of scan {lost[0]!r} ({len(lost)} candidates in {scans} such scans are left out)"]


def _together(rows: Sequence[Points]) -> Points:
    return Points(*(np.concatenate([getattr(part, name) for part in rows]) for name in ("scan", "position", "value")))
