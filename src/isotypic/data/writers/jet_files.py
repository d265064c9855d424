"""Files of jets in the layout of HLS4ML, and of events in that of the LHC Olympics.

Source of the first: M. Pierini, J. Duarte, N. Tran, M. Freytsis, HLS4ML LHC jet dataset (100 particles), 2020,
https://doi.org/10.5281/zenodo.3602254; of the second: G. Kasieczka, B. Nachman, D. Shih, R&D dataset for LHC Olympics
2020, https://doi.org/10.5281/zenodo.6466204.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from isotypic.data.jets.kinematics import CONSTITUENT_COLUMNS, constituents, mass_of, pseudorapidity, transverse
from isotypic.files import write_atomically

JETS, JET_NAMES = "jets", "jetFeatureNames"
PARTICLES, PARTICLE_NAMES = "jetConstituentList", "particleFeatureNames"
CLASSES = ("g", "q", "w", "z", "t")

_TAU = tuple(f"j_tau{number}_b{beta}" for beta in (1, 2) for number in (1, 2, 3))
_RATIOS = ("j_tau32_b1", "j_tau32_b2")
_CORRELATIONS = (
    *("j_c1_b0", "j_c1_b1", "j_c1_b2", "j_c2_b1", "j_c2_b2", "j_d2_b1", "j_d2_b2"),
    *("j_d2_a1_b1", "j_d2_a1_b2", "j_m2_b1", "j_m2_b2", "j_n2_b1", "j_n2_b2"),
)
JET_COLUMNS = (
    *("j_ptfrac", "j_pt", "j_eta", "j_mass"),
    *(*_TAU, *_RATIOS, "j_zlogz", *_CORRELATIONS),
    *(f"{name}_mmdt" for name in (*_TAU, *_RATIOS, *_CORRELATIONS)),
    *("j_mass_trim", "j_mass_mmdt", "j_mass_prun", "j_mass_sdb2", "j_mass_sdm1", "j_multiplicity"),
    *(f"j_{name}" for name in (*CLASSES, "undef")),
)
"""What such files have of a jet; what is not known of a jet that is made is zero."""

LHCO_PARTICLES = 700
LHCO_GROUP, LHCO_VALUES = "df", "block0_values"


def write_hls4ml(path: Path, momenta: np.ndarray, jets: np.ndarray, label: np.ndarray) -> Path:
    """Write a file of jets.

    Args:
        path: the file.
        momenta: ``[n, P, 4]`` of their particles in GeV, zeros after the last.
        jets: ``[n, 4]``.
        label: ``[n]`` int64, an index into :data:`CLASSES`.

    Raises:
        OSError: what the file system answers.
    """
    known = {
        "j_pt": transverse(jets),
        "j_eta": pseudorapidity(jets),
        "j_mass": mass_of(jets),
        "j_multiplicity": (momenta[..., 3] > 0).sum(1),
        **{f"j_{name}": label == place for place, name in enumerate(CLASSES)},
    }
    table = np.zeros((len(jets), len(JET_COLUMNS)))
    for name, values in known.items():
        table[:, JET_COLUMNS.index(name)] = values

    def write(beside: Path) -> None:
        with h5py.File(beside, "w") as file:
            file[JETS], file[JET_NAMES] = table, np.array(JET_COLUMNS, dtype=bytes)
            file[PARTICLE_NAMES] = np.array([*CONSTITUENT_COLUMNS, "j1_pdgid"], dtype=bytes)
            values = constituents(momenta, jets).astype(np.float32)
            chunks = (min(100, len(values)), *values.shape[1:])
            file.create_dataset(PARTICLES, data=values, chunks=chunks, compression="lzf", shuffle=True)

    return write_atomically(path, write)


def write_lhco(path: Path, particles: np.ndarray, label: np.ndarray) -> Path:
    """Write a file of events as pandas does in its fixed layout: 700 times (pT, eta, phi), then the label.

    Args:
        path: the file.
        particles: ``[n, p, 3]``, p <= 700, zeros after the last.
        label: ``[n]``, 1 for signal.

    Raises:
        OSError: what the file system answers.
    """
    values = np.zeros((len(label), 3 * LHCO_PARTICLES + 1))
    values[:, : 3 * particles.shape[1]] = particles.reshape(len(label), -1)
    values[:, -1] = label

    def write(beside: Path) -> None:
        with h5py.File(beside, "w") as file:
            group = file.create_group(LHCO_GROUP)
            group.attrs.update({"pandas_type": "frame", "pandas_version": "0.15.2", "nblocks": 1, "ndim": 2})
            chunks = (min(16, len(values)), values.shape[1])
            group.create_dataset(LHCO_VALUES, data=values, chunks=chunks, compression="gzip", compression_opts=1)
            columns = np.arange(values.shape[1])
            group["axis0"], group["block0_items"], group["axis1"] = columns, columns, np.arange(len(values))

    return write_atomically(path, write)
