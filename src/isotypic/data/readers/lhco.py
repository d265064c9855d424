"""Files of the LHC Olympics: events of up to 700 particles (pT, eta, phi) with a label, of which jets are made.

pandas's fixed layout: ``df/block0_values [N, 2101]``, packed by Blosc. The jets of an event are its two anti-kT jets of
largest transverse momentum; they are rows 2i and 2i + 1 of event i and stay together. The class of a jet is that of its
event.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from isotypic.data.jets.antikt import AntiKt, Jet
from isotypic.data.jets.kinematics import leading, massless, table_of
from isotypic.data.jets.table import JetTable
from isotypic.data.readers.hdf5 import opened
from isotypic.data.writers.jet_files import LHCO_GROUP, LHCO_PARTICLES, LHCO_VALUES
from isotypic.errors import RequestError

JETS_AN_EVENT = 2

_VALUES = f"{LHCO_GROUP}/{LHCO_VALUES}"
_COLUMNS = 3 * LHCO_PARTICLES + 1


class LhcoFile:
    """A file of events, which is opened when rows are asked for.

    Args:
        path: the file.
        radius: R of the anti-kT algorithm.

    Raises:
        RequestError: it cannot be read, or is laid out in another way; FastJet or hdf5plugin is not installed.
    """

    classes = ("background", "signal")
    together = JETS_AN_EVENT

    def __init__(self, path: Path, radius: float) -> None:
        self.path, self._jets = path, AntiKt(radius)
        with opened(path) as file:
            found = file.get(_VALUES)
            if not isinstance(found, h5py.Dataset) or found.ndim != 2 or found.shape[1] != _COLUMNS:
                received = list(found.shape) if isinstance(found, h5py.Dataset) else f"none; it has {', '.join(file)}"
                raise RequestError(f"{path}: expected {_VALUES} [N, {_COLUMNS}], received {received}")
            self._events, self._packed = len(found), _is_packed(found)
        if self._packed:
            _load_filters(path)

    def __len__(self) -> int:
        return JETS_AN_EVENT * self._events

    def read(self, begin: int, end: int, most: int) -> JetTable:
        """Return the jets of rows ``begin`` to ``end``, both even numbers, of each at most ``most`` particles.

        Raises:
            RequestError: the file cannot be read there, or an event has a number that is none, or another label.
        """
        first, last = begin // JETS_AN_EVENT, end // JETS_AN_EVENT
        with opened(self.path) as file:
            values = np.asarray(file[_VALUES][first:last], np.float64)
        self._refuse_unknown(values, first)
        pt, eta, phi = np.moveaxis(values[:, :-1].reshape(len(values), LHCO_PARTICLES, 3), 2, 0)
        momenta, jets = self._clustered(massless(pt, eta, phi), most)
        label = np.repeat(values[:, -1].astype(np.int64), JETS_AN_EVENT)
        return table_of(momenta, jets, label, np.arange(begin, end), self.path.name)

    def _clustered(self, events: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the particles ``[2n, most, 4]`` and jets ``[2n, 4]`` of events; zeros for a jet that there is not."""
        particles = np.zeros((len(events), JETS_AN_EVENT, most, 4))
        jets = np.zeros((len(events), JETS_AN_EVENT, 4))
        for number, event in enumerate(events):
            there = event[event[:, 3] > 0]
            for place, jet in enumerate(self._jets(there, JETS_AN_EVENT)):
                jets[number, place] = jet.momentum
                particles[number, place] = _members(there, jet, most)
        return particles.reshape(-1, most, 4), jets.reshape(-1, 4)

    def _refuse_unknown(self, values: np.ndarray, first: int) -> None:
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            row, column = bad[0]
            what = "the label" if column == _COLUMNS - 1 else ("pT", "eta", "phi")[column % 3]
            raise RequestError(
                f"{self.path}: event {first + row} has {values[row, column]} in {what}; expected numbers: leave the "
                "event out of the file"
            )
        strange = np.flatnonzero(~np.isin(values[:, -1], (0, 1)))
        if len(strange):
            raise RequestError(
                f"{self.path}: event {first + strange[0]} has the label {values[strange[0], -1]:g}; expected 0 or 1"
            )


def recognises(path: Path) -> bool:
    """Say whether an HDF5 file has events in this layout."""
    with opened(path) as file:
        return LHCO_GROUP in file


def _members(particles: np.ndarray, jet: Jet, most: int) -> np.ndarray:
    return leading(particles[jet.members][None], most)[0]


def _is_packed(values: h5py.Dataset) -> bool:
    """Say whether a filter is needed that HDF5 does not come with."""
    properties = values.id.get_create_plist()
    filters = [properties.get_filter(place)[0] for place in range(properties.get_nfilters())]
    return any(number >= h5py.h5z.FILTER_RESERVED for number in filters)


def _load_filters(path: Path) -> None:
    try:
        import hdf5plugin  # noqa: F401, PLC0415 (an extra)
    except ImportError as error:
        raise RequestError(
            f"{path}: packed by a filter of HDF5 that is an extra: pip install isotypic[jets]"
        ) from error
