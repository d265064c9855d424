"""ROOT files of jets by uproot (an extra): a tree with a row a jet, and lists of the momenta of its particles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from isotypic.data.jets.config import RootConfig
from isotypic.data.jets.kinematics import leading, table_of
from isotypic.data.jets.table import JetTable
from isotypic.errors import RequestError, unknown

SUFFIX = ".root"


class RootFile:
    """A ROOT file, which is opened when rows are asked for.

    The momentum of a jet is the sum of its particles', all of them; of features so many are kept as are asked for.

    Args:
        path: the file.
        config: names the tree and the branches.

    Raises:
        RequestError: uproot is not installed, or the file cannot be read, or lacks a branch (the nearest is named).
    """

    together = 1

    def __init__(self, path: Path, config: RootConfig) -> None:
        self.path, self.config = path, config
        self._uproot = _uproot()
        with self._tree() as tree:
            names = list(tree.keys())
            for name in self._momenta:
                if name not in names:
                    near = get_close_matches(name, names, n=1)
                    hint = f"the nearest is {near[0]!r}" if near else f"there are {', '.join(names[:20])}"
                    raise RequestError(
                        f"{path}: no branch {name!r}; {hint}; name it with data.root.px, .py, .pz and .e"
                    )
            self._marks = [name for name in names if name.startswith(config.label)]
            if not self._marks:
                raise RequestError(f"{path}: no branch begins with {config.label!r}; say how with data.root.label")
            self.classes = tuple(name.removeprefix(config.label) for name in self._marks)
            self._rows = int(tree.num_entries)

    def __len__(self) -> int:
        return self._rows

    def read(self, begin: int, end: int, most: int) -> JetTable:
        """Return the jets of rows ``begin`` to ``end``, of each at most ``most`` particles, those of largest pT.

        Raises:
            RequestError: the file cannot be read there, or a row has a number that is none, or lists of two lengths.
        """
        with self._tree() as tree, _said(self.path):
            found = tree.arrays([*self._momenta, *self._marks], entry_start=begin, entry_stop=end, library="np")
        momenta = self._padded([found[name] for name in self._momenta], begin)
        marks = np.stack([found[name].astype(np.float64) for name in self._marks], 1) > 0.5
        label = np.where(marks.any(1), marks.argmax(1), -1)
        rows = np.arange(begin, begin + len(label))
        return table_of(leading(momenta, most), momenta.sum(1), label, rows, self.path.name)

    @property
    def _momenta(self) -> tuple[str, ...]:
        return self.config.px, self.config.py, self.config.pz, self.config.e

    def _padded(self, branches: list[np.ndarray], begin: int) -> np.ndarray:
        sizes = np.array([[len(one) for one in branch] for branch in branches])
        odd = np.flatnonzero((sizes != sizes[0]).any(0))
        if len(odd):
            names, found = ", ".join(self._momenta), sizes[:, odd[0]].tolist()
            raise RequestError(
                f"{self.path}: row {begin + odd[0]} has {found} values of {names}; expected as many of each"
            )
        momenta = np.zeros((sizes.shape[1], int(sizes.max(initial=1)), 4))
        there = np.arange(momenta.shape[1]) < sizes[0][:, None]
        for axis, branch in enumerate(branches):
            momenta[there, axis] = np.concatenate([*branch, []])
        bad = np.argwhere(~np.isfinite(momenta))
        if len(bad):
            row, _, axis = bad[0]
            value, name = momenta[tuple(bad[0])], self._momenta[axis]
            raise RequestError(f"{self.path}: row {begin + row} has {value} in {name}; expected numbers")
        return momenta

    @contextmanager
    def _tree(self) -> Iterator[Any]:
        with _said(self.path), self._uproot.open(self.path) as file:
            trees = sorted({key.split(";")[0] for key, kind in file.classnames().items() if kind in _TREES})
            name = self.config.tree or (trees[0] if len(trees) == 1 else "")
            if name not in trees:
                if self.config.tree is not None:
                    raise RequestError(f"{self.path}: {unknown('tree', name, trees)}")
                raise RequestError(f"{self.path}: expected one tree, found {trees}; name it with data.root.tree")
            yield file[name]


_TREES = ("TTree", "ROOT::RNTuple")


@contextmanager
def _said(path: Path) -> Iterator[None]:
    try:
        yield
    except RequestError:
        raise
    except Exception as error:  # uproot raises what its parsers stumble over
        raise RequestError(f"{path}: cannot be read as a ROOT file ({' '.join(str(error).split())[:200]})") from error


def _uproot() -> Any:
    try:
        import uproot  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise RequestError("ROOT files are read by uproot: pip install isotypic[jets]") from error
    return uproot
