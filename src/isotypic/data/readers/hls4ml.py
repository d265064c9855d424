"""Files of HLS4ML's LHC jets: particles and jets by the names of their columns, a run of rows at a time.

``jetConstituentList [N, 100, 16]`` has a column for each of ``particleFeatureNames`` but the last, ``j1_pdgid``, which
has none; ``jets [N, 59]`` has one for each of ``jetFeatureNames``. The particles of a jet are the rows with j1_pt > 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import h5py
import numpy as np

from isotypic.data.jets.kinematics import INPUT_COLUMNS, network_inputs
from isotypic.data.jets.table import JetTable
from isotypic.data.readers.hdf5 import opened
from isotypic.data.writers.jet_files import CLASSES, JET_NAMES, JETS, PARTICLE_NAMES, PARTICLES
from isotypic.errors import RequestError

_PT = INPUT_COLUMNS.index("j1_pt")


class Hls4mlFile:
    """A file of jets, which is opened when rows are asked for.

    Args:
        path: the file.

    Raises:
        RequestError: it cannot be read, or lacks a dataset or a column (which, and the nearest name).
    """

    classes = CLASSES
    together = 1

    def __init__(self, path: Path) -> None:
        self.path = path
        with opened(path) as file:
            for name, axes in ((PARTICLES, 3), (JETS, 2), (PARTICLE_NAMES, 1), (JET_NAMES, 1)):
                _refuse_other(path, file, name, axes)
            particles, jets = file[PARTICLES], file[JETS]
            if len(particles) != len(jets):
                raise RequestError(f"{path}: {len(particles):,} rows of {PARTICLES}, and {len(jets):,} of {JETS}")
            self._inputs = _places(path, file[PARTICLE_NAMES], particles.shape[2], INPUT_COLUMNS)
            self._jet = _places(path, file[JET_NAMES], jets.shape[1], ["j_mass", *(f"j_{name}" for name in CLASSES)])
            self._rows = len(jets)

    def __len__(self) -> int:
        return self._rows

    def read(self, begin: int, end: int, most: int) -> JetTable:
        """Return the jets of rows ``begin`` to ``end``, of each at most ``most`` particles.

        Raises:
            RequestError: the file cannot be read there, or a row has a number that is none, or two classes.
        """
        with opened(self.path) as file:
            particles = np.asarray(file[PARTICLES][begin:end], np.float32)[..., self._inputs]
            jets = np.asarray(file[JETS][begin:end], np.float64)[:, self._jet]
        self._refuse_unknown(particles.reshape(len(particles), -1, len(self._inputs)), INPUT_COLUMNS, begin)
        self._refuse_unknown(jets[:, None, :], ("j_mass", *(f"j_{name}" for name in CLASSES)), begin)
        there = particles[..., _PT] > 0
        order = np.argsort(~there, axis=1, kind="stable")[:, :most]
        kept = np.take_along_axis(np.where(there[..., None], particles, 0), order[..., None], axis=1)
        kept = np.pad(kept, ((0, 0), (0, most - kept.shape[1]), (0, 0)))
        return JetTable(
            features=network_inputs(kept),
            particles=np.minimum(there.sum(1), most),
            label=self._labels(jets[:, 1:], begin),
            mass=jets[:, 0].astype(np.float32),
            row=np.arange(begin, begin + len(jets)),
            source=np.full(len(jets), self.path.name),
        )

    def _labels(self, chosen: np.ndarray, begin: int) -> np.ndarray:
        marks = chosen > 0.5
        several = np.flatnonzero(marks.sum(1) > 1)
        if len(several):
            names = " and ".join(f"j_{CLASSES[place]}" for place in np.flatnonzero(marks[several[0]]))
            raise RequestError(f"{self.path}: row {begin + several[0]} is of {names}; expected one class a jet")
        return np.where(marks.any(1), marks.argmax(1), -1)

    def _refuse_unknown(self, values: np.ndarray, names: Sequence[str], begin: int) -> None:
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            row, _, column = bad[0]
            raise RequestError(
                f"{self.path}: row {begin + row} has {values[tuple(bad[0])]} in {names[column]}; expected numbers: "
                "leave the row out of the file"
            )


def recognises(path: Path) -> bool:
    """Say whether an HDF5 file has jets in this layout."""
    with opened(path) as file:
        return PARTICLES in file or JETS in file


def _refuse_other(path: Path, file: h5py.File, name: str, axes: int) -> None:
    found = file.get(name)
    if not isinstance(found, h5py.Dataset) or found.ndim != axes:
        near = get_close_matches(name, list(file), n=1)
        hint = f"; the nearest is {near[0]!r}" if near and near[0] != name else ""
        received = f"{list(found.shape)}" if isinstance(found, h5py.Dataset) else "none"
        raise RequestError(f"{path}: expected the dataset {name} of {axes} axes, received {received}{hint}")


def _places(path: Path, names: h5py.Dataset, columns: int, wanted: Sequence[str]) -> list[int]:
    """Return where columns lie, by their names."""
    known = [name.decode("ascii", "replace") if isinstance(name, bytes) else str(name) for name in names[:]][:columns]
    for name in wanted:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"the nearest is {near[0]!r}" if near else f"there are {', '.join(known)}"
            raise RequestError(f"{path}: no column {name!r}; {hint}; rename it in the file's list of names")
    return [known.index(name) for name in wanted]
