"""What is known of a set of candidates in scans before a scan is opened: its tables, its files and their parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isotypic.data.scans.candidates import Points, places
from isotypic.errors import RequestError


@dataclass(frozen=True, eq=False)
class ScanListing:
    """The scans of a set by name, and the points in them.

    Attributes:
        name: of the set.
        files: of every scan, sorted by their names.
        candidates: those that are kept, with their class.
        nodules: what there is to find, with diameters in millimetres.
        excluded: findings that neither count nor cost, likewise.
        scan_split: ``[scans]`` str, the part of each scan where the set says it, or None.
        absent: how many candidates and nodules lie in every scan that has no file; they are in no table above.
    """

    name: str
    files: Mapping[str, Path]
    candidates: Points
    nodules: Points
    excluded: Points
    scan_split: NDArray[np.str_] | None
    absent: Mapping[str, int]

    @property
    def scans(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.files)

    @cached_property
    def subjects(self) -> NDArray[np.int64]:
        """``[candidates]``, the place of the scan of each."""
        return places(self.candidates.scan, self.scans)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """``[candidates]``, the class of each."""
        return self.candidates.value.astype(np.int64)

    @property
    def split(self) -> NDArray[np.str_] | None:
        """``[candidates]`` str, the part of each where the set says it, or None."""
        return None if self.scan_split is None else self.scan_split[self.subjects]

    def refuse_absent(self, where: Path | None) -> None:
        """Raise where points lie in scans without a file, naming the first of them."""
        if self.absent:
            name, count = min(self.absent.items())
            raise RequestError(
                f"{where}: no file of scan {name!r}, in which {count} points lie ({len(self.absent)} such "
                "scans); add it, or leave them out with --set data.missing=skip"
            )
