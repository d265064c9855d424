"""Files of jets as one long table that is read a run of rows at a time, and which of its rows are kept."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Protocol

import numpy as np

from isotypic.data.jets.config import JetDataConfig, JetSources
from isotypic.data.jets.table import JetTable
from isotypic.data.readers import hls4ml, lhco, root
from isotypic.data.readers.hdf5 import SUFFIXES
from isotypic.errors import RequestError, unknown

BLOCK = 1024
"""Rows that are read at once; an even number."""

REASONS = ("empty", "class", "mass")
"""Why a jet is left out, in the order in which it is asked."""


class JetFile(Protocol):
    """A file of jets that reads a run of its rows.

    Attributes:
        path: the file.
    """

    path: Path

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its classes."""

    @property
    def together(self) -> int:
        """How many rows in a run belong together, such as the two jets of an event."""

    def __len__(self) -> int: ...

    def read(self, begin: int, end: int, most: int) -> JetTable:
        """Return the jets of rows ``begin`` to ``end``, of each at most ``most`` particles."""


@dataclass(frozen=True, eq=False)
class Selected:
    """The jets of some rows that are kept.

    Attributes:
        table: the jets; their labels are indices into the classes that are kept.
        dropped: how many are left out, by the first reason for each.
    """

    table: JetTable
    dropped: dict[str, int]


class JetFiles:
    """Several files one after another.

    Args:
        sources: the files, and what is kept of them.

    Raises:
        RequestError: there is no file of jets, a file cannot be read, files are of different kinds, or a class that is
            asked for is none of theirs.
    """

    def __init__(self, sources: JetSources) -> None:
        self.config = sources.data
        paths = list(_files(sources.paths, self.config))
        if not paths:
            raise RequestError(
                f"{', '.join(map(str, sources.paths))}: no files of jets; expected .h5, .hdf5 or .root files"
            )
        self.files = [_opened(path, self.config) for path in paths]
        first = self.files[0]
        for file in self.files:
            if file.classes != first.classes or file.together != first.together:
                raise RequestError(f"{file.path}: of another kind than {first.path}; convert them one after the other")
        self.together = first.together
        self.classes = first.classes if self.config.classes is None else self.config.classes
        for name in self.classes:
            if name not in first.classes:
                raise unknown("class", name, first.classes)
        self._of = np.array([self.classes.index(n) if n in self.classes else -1 for n in first.classes] + [-1])
        self._ends = list(accumulate(map(len, self.files)))

    def __len__(self) -> int:
        return self._ends[-1]

    def read(self, begin: int, end: int) -> Iterator[Selected]:
        """Yield the jets of rows ``begin`` to ``end`` that are kept, block by block.

        Raises:
            RequestError: what a file of its kind refuses; or a jet has no particles, and such are refused.
        """
        while begin < end:
            number = bisect_right(self._ends, begin)
            start = self._ends[number - 1] if number else 0
            last = min(begin + BLOCK, end, self._ends[number])
            file = self.files[number]
            table = file.read(begin - start, last - start, self.config.particles)
            yield self._selected(replace(table, row=table.row + start), file.path, start)
            begin = last

    def _selected(self, table: JetTable, path: Path, start: int) -> Selected:
        empty = table.particles == 0
        if self.config.empty == "refuse" and empty.any():
            row = int(table.row[empty.argmax()]) - start
            raise RequestError(f"{path}: row {row} has no particles; data.empty=drop leaves such jets out")
        label = self._of[table.label]
        low, high = self.config.mass or (-np.inf, np.inf)
        wrong = np.stack([empty, label < 0, ~((table.mass > low) & (table.mass < high))])
        wrong = wrong.reshape(len(REASONS), -1, self.together).any(2).repeat(self.together, 1)
        first = wrong & (np.cumsum(wrong, 0) == 1)
        kept = np.logical_not(wrong.any(axis=0))
        counts = dict(zip(REASONS, first.sum(1).tolist(), strict=True))
        return Selected(replace(table, label=label).take(np.flatnonzero(kept)), counts)


def _files(paths: Iterable[Path], config: JetDataConfig) -> Iterator[Path]:
    for path in paths:
        if not path.exists():
            raise RequestError(f"{path}: no such file or folder; give files of jets, or a folder of them")
        if path.is_dir():
            suffixes = {root.SUFFIX} if config.format == "root" else SUFFIXES if config.format else _ANY
            yield from sorted(file for file in path.iterdir() if _is_file(file, suffixes))
        else:
            yield path


_ANY = SUFFIXES | {root.SUFFIX}


def _is_file(path: Path, suffixes: Iterable[str]) -> bool:
    return path.suffix.lower() in suffixes and not path.name.startswith(".")


def recognises(path: Path) -> bool:
    """Say whether a file, or the first HDF5 or ROOT file of a folder, holds jets or events."""
    files = sorted(file for file in path.iterdir() if _is_file(file, _ANY)) if path.is_dir() else [path]
    if not files or files[0].suffix.lower() not in _ANY:
        return False
    if files[0].suffix.lower() == root.SUFFIX:
        return True
    try:
        return lhco.recognises(files[0]) or hls4ml.recognises(files[0])
    except RequestError:
        return False


def _opened(path: Path, config: JetDataConfig) -> JetFile:
    kind = config.format or _recognised(path)
    if kind == "root":
        return root.RootFile(path, config.root)
    if kind == "lhco":
        return lhco.LhcoFile(path, config.lhco.radius)
    return hls4ml.Hls4mlFile(path)


def _recognised(path: Path) -> str:
    if path.suffix.lower() == root.SUFFIX:
        return "root"
    return "lhco" if lhco.recognises(path) else "hls4ml"


def total(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    """Return the sums of what was left out, by reason."""
    return {reason: sum(count[reason] for count in counts) for reason in REASONS}
