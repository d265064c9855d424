"""Four-momenta of particles and jets, and what the network sees of them.

A four-momentum is ``(px, py, pz, E)`` in GeV, the last axis of an array; z is the beam. Transverse momentum
``pT = sqrt(px^2 + py^2)``, pseudorapidity ``eta = asinh(pz / pT)``, azimuth ``phi`` in (-pi, pi], invariant mass
``m = sqrt(E^2 - |p|^2)``, and of two directions ``dR = sqrt(d_eta^2 + d_phi^2)``. Rows of zeros are no particles.
"""

from __future__ import annotations

import numpy as np

from isotypic.data.jets.batch import FEATURES
from isotypic.data.jets.table import JetTable

CONSTITUENT_COLUMNS = (
    *("j1_px", "j1_py", "j1_pz", "j1_e", "j1_erel", "j1_pt", "j1_ptrel", "j1_eta", "j1_etarel", "j1_etarot"),
    *("j1_phi", "j1_phirel", "j1_phirot", "j1_deltaR", "j1_costheta", "j1_costhetarel"),
)
"""What files of HLS4ML have of a particle, in their order."""

INPUT_COLUMNS = (*("j1_etarel", "j1_phirel", "j1_pt", "j1_e", "j1_ptrel", "j1_erel", "j1_deltaR", "j1_costhetarel"),)
"""Those of them that become the features of the network, in its order."""

_LOGARITHMS = [place for place, name in enumerate(FEATURES) if name.startswith("log_")]


def massless(pt: np.ndarray, eta: np.ndarray, phi: np.ndarray) -> np.ndarray:
    """Return four-momenta ``[..., 4]`` of particles without mass."""
    return np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)], -1)


def mass_of(momenta: np.ndarray) -> np.ndarray:
    """Return invariant masses ``[...]`` of ``[..., 4]``; rounding below zero gives 0."""
    squared = momenta[..., 3] ** 2 - (momenta[..., :3] ** 2).sum(-1)
    return np.sqrt(np.maximum(squared, 0))


def transverse(momenta: np.ndarray) -> np.ndarray:
    """Return transverse momenta ``[...]`` of ``[..., 4]``."""
    return np.hypot(momenta[..., 0], momenta[..., 1])


def pseudorapidity(momenta: np.ndarray) -> np.ndarray:
    """Return pseudorapidities ``[...]`` of ``[..., 4]``; 0 where there is no particle."""
    pt = transverse(momenta)
    return np.arcsinh(_ratio(momenta[..., 2], pt))


def azimuth(momenta: np.ndarray) -> np.ndarray:
    """Return azimuths ``[...]`` of ``[..., 4]``."""
    return np.arctan2(momenta[..., 1], momenta[..., 0])


def leading(momenta: np.ndarray, most: int) -> np.ndarray:
    """Return the ``most`` particles of largest transverse momentum of each jet, in falling order.

    Args:
        momenta: ``[n, p, 4]``, zeros where there is no particle.
        most: how many are kept; missing ones are zeros.

    Returns:
        ``[n, most, 4]``.
    """
    order = np.argsort(-transverse(momenta), axis=1, kind="stable")[:, :most]
    kept = np.take_along_axis(momenta, order[..., None], axis=1)
    return np.pad(kept, ((0, 0), (0, most - kept.shape[1]), (0, 0)))


def constituents(momenta: np.ndarray, jets: np.ndarray) -> np.ndarray:
    """Return what files of HLS4ML have of particles.

    ``rel`` is relative to the jet: a ratio of energies or transverse momenta, a difference of angles, and of costheta
    the cosine of the angle to the jet. ``rot`` are the relative angles turned so that the axis of largest spread,
    weighted by pT, lies along ``etarot``.

    Args:
        momenta: ``[n, P, 4]`` of the particles.
        jets: ``[n, 4]``.

    Returns:
        ``[n, P, 16]`` in the order of :data:`CONSTITUENT_COLUMNS`, zeros where there is no particle.
    """
    there, jet = momenta[..., 3:] > 0, jets[:, None]
    pt, eta, phi = transverse(momenta), pseudorapidity(momenta), azimuth(momenta)
    d_eta, d_phi = eta - pseudorapidity(jet), _wrapped(phi - azimuth(jet))
    eta_rot, phi_rot = _turned(d_eta, d_phi, pt)
    size, along = np.linalg.norm(momenta[..., :3], axis=-1), (momenta[..., :3] * jet[..., :3]).sum(-1)
    found = {
        **{f"j1_{axis}": momenta[..., place] for place, axis in enumerate(("px", "py", "pz", "e"))},
        "j1_erel": momenta[..., 3] / jet[..., 3],
        "j1_pt": pt,
        "j1_ptrel": pt / transverse(jet),
        "j1_eta": eta,
        "j1_etarel": d_eta,
        "j1_etarot": eta_rot,
        "j1_phi": phi,
        "j1_phirel": d_phi,
        "j1_phirot": phi_rot,
        "j1_deltaR": np.hypot(d_eta, d_phi),
        "j1_costheta": _ratio(momenta[..., 2], size),
        "j1_costhetarel": _ratio(along, size * np.linalg.norm(jet[..., :3], axis=-1)),
    }
    return np.where(there, np.stack([found[name] for name in CONSTITUENT_COLUMNS], -1), 0)


def network_inputs(columns: np.ndarray) -> np.ndarray:
    """Return features ``[..., 8]`` float32 of the columns ``[..., 8]`` of :data:`INPUT_COLUMNS`.

    Of transverse momenta, energies and their ratios the natural logarithm is taken; that of a number <= 0 is 0.
    """
    features = np.array(columns, np.float64)
    values = features[..., _LOGARITHMS]
    features[..., _LOGARITHMS] = np.log(values, out=np.zeros_like(values), where=values > 0)
    return features.astype(np.float32)


def table_of(momenta: np.ndarray, jets: np.ndarray, label: np.ndarray, row: np.ndarray, source: str) -> JetTable:
    """Return the table of jets of which four-momenta are known.

    Args:
        momenta: ``[n, P, 4]`` of the particles, those first and zeros after them.
        jets: ``[n, 4]``; zeros for a jet that is none.
        label: ``[n]`` int64.
        row: ``[n]`` int64.
        source: the file.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = constituents(momenta, jets)
    places = [CONSTITUENT_COLUMNS.index(name) for name in INPUT_COLUMNS]
    particles = (momenta[..., 3] > 0).sum(1)
    mass = mass_of(jets).astype(np.float32)
    return JetTable(network_inputs(columns[..., places]), particles, label, mass, row, np.full(len(row), source))


def _wrapped(angle: np.ndarray) -> np.ndarray:
    return np.pi - (np.pi - angle) % (2 * np.pi)


def _ratio(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Divide, 0 by 0 giving 0."""
    shape = np.broadcast_shapes(upper.shape, lower.shape)
    return np.divide(upper, lower, out=np.zeros(shape), where=lower != 0)


def _turned(d_eta: np.ndarray, d_phi: np.ndarray, pt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn relative angles so that the spread weighted by pT is largest along the first."""
    weight = _ratio(pt, pt.sum(-1, keepdims=True))
    eta_eta, phi_phi, eta_phi = ((weight * part).sum(-1) for part in (d_eta**2, d_phi**2, d_eta * d_phi))
    angle = 0.5 * np.arctan2(2 * eta_phi, eta_eta - phi_phi)[..., None]
    cosine, sine = np.cos(angle), np.sin(angle)
    return cosine * d_eta + sine * d_phi, cosine * d_phi - sine * d_eta
