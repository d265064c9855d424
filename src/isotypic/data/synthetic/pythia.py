"""Jets of proton collisions at 13 TeV by Pythia 8 and FastJet (an extra; both are under the GPL).

W and Z come in pairs (``f fbar -> WW, ZZ``) and fall apart into quarks, tops in pairs into ``b W`` with W into quarks,
quarks and gluons from hard QCD. Of the particles that end up in a detector, without neutrinos and within |eta| < 5,
anti-kT jets of R = 0.8 are made; one is kept if its transverse momentum is in a range, |eta| < 2.5, and the nearest
body of the hard process is within 0.4: that body is its label. Nothing is simulated of a detector, and the underlying
event only if it is asked for: with it masses lie some 15 GeV above those of what fell apart.

Source: C. Bierlich et al., A comprehensive guide to the physics and usage of PYTHIA 8.3, 2022, arXiv 2203.11601.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from isotypic.data.jets.antikt import AntiKt
from isotypic.data.jets.config import MadeJetsConfig
from isotypic.data.jets.kinematics import azimuth, leading, pseudorapidity, transverse
from isotypic.errors import RequestError

RADIUS = 0.8
_ETA, _SEEN, _NEAR = 2.5, 5.0, 0.4
_MARGIN = 0.9
"""Hard processes begin at this share of the least transverse momentum: showers move it."""

_TO_QUARKS = ("{id}:onMode = off", "{id}:onIfAny = 1 2 3 4 5")
_W, _Z = (tuple(line.format(id=number) for line in _TO_QUARKS) for number in (24, 23))
_BEAMS = ("Beams:eCM = 13000.", "Print:quiet = on", "Random:setSeed = on", "PartonLevel:MPI = {mpi}")

PROCESSES = {
    "w": ("WeakDoubleBoson:ffbar2WW = on", *_W),
    "z": ("WeakDoubleBoson:ffbar2gmZgmZ = on", "WeakZ0:gmZmode = 2", *_Z),
    "t": ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on", *_W),
    "q": ("HardQCD:qq2qq = on", "HardQCD:qqbar2qqbarNew = on"),
    "g": ("HardQCD:gg2gg = on", "HardQCD:qqbar2gg = on"),
}
"""What Pythia is told, by what jets come from."""

_IDENTITIES = {"w": {24}, "z": {23}, "t": {6}, "q": {1, 2, 3, 4, 5}, "g": {21}}


def pythia(settings: Sequence[str], seed: int, *, underlying: bool) -> Any:
    """Return a generator that is ready.

    Args:
        settings: lines as in Pythia's own files.
        seed: from 0 to 899,999,998.
        underlying: whether other partons of the protons interact too.

    Raises:
        RequestError: Pythia is not installed, or refuses a setting.
    """
    try:
        import pythia8mc  # noqa: PLC0415 (an extra, under the GPL)
    except ImportError as error:
        raise RequestError("jets are made by Pythia 8: pip install isotypic[pythia]") from error
    generator = pythia8mc.Pythia("", False)
    beams = (line.format(mpi="on" if underlying else "off") for line in _BEAMS)
    for line in (*beams, *settings, f"Random:seed = {seed + 1}"):
        if not generator.readString(line):
            raise RequestError(f"Pythia refuses the setting {line!r}")
    if not generator.init():
        raise RequestError("Pythia cannot begin with what it was told")
    return generator


def draw(kind: str, count: int, seed: int, config: MadeJetsConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return jets of one kind.

    Args:
        kind: w, z, t, q or g.
        count: how many.
        seed: of Pythia.
        config: gives the range of their transverse momentum, how many of their particles are kept, and whether there is
            an underlying event.

    Returns:
        four-momenta ``[count, most, 4]`` of the particles and ``[count, 4]`` of the jets, in GeV.

    Raises:
        RequestError: Pythia or FastJet is not installed.
    """
    pt, most = config.pt, config.particles
    find = AntiKt(RADIUS, pt[0])
    hard = (f"PhaseSpace:pTHatMin = {_MARGIN * pt[0]}", f"PhaseSpace:pTHatMax = {pt[1] / _MARGIN}")
    generator = pythia((*PROCESSES[kind], *hard), seed, underlying=config.underlying)
    particles, jets = np.zeros((count, most, 4)), np.zeros((count, 4))
    done = 0
    while done < count:
        if not generator.next():
            continue
        for members, jet in _jets(generator.event, kind, pt, find):
            if done < count:
                particles[done], jets[done] = leading(members[None], most)[0], jet
                done += 1
    return particles, jets


def visible(event: Any) -> np.ndarray:
    """Return the four-momenta ``[n, 4]`` of the particles of an event that a detector could see."""
    found = np.array([(p.px(), p.py(), p.pz(), p.e()) for p in event if p.isFinal() and p.isVisible()]).reshape(-1, 4)
    return found[(transverse(found) > 0) & (np.abs(pseudorapidity(found)) < _SEEN)]


def _jets(event: Any, kind: str, pt: tuple[float, float], find: AntiKt) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the particles and the momentum of every jet of an event that is kept."""
    particles, bodies = visible(event), _bodies(event, kind)
    for jet in find(particles, 2):
        if not pt[0] < transverse(jet.momentum) < pt[1] or abs(pseudorapidity(jet.momentum)) > _ETA:
            continue
        d_eta = pseudorapidity(bodies) - pseudorapidity(jet.momentum)
        d_phi = np.abs(azimuth(bodies) - azimuth(jet.momentum))
        if np.hypot(d_eta, np.minimum(d_phi, 2 * np.pi - d_phi)).min(initial=np.inf) < _NEAR:
            yield particles[jet.members], jet.momentum


def _bodies(event: Any, kind: str) -> np.ndarray:
    """Return the four-momenta ``[n, 4]`` of what a hard process made, as it was before it fell apart."""
    found = [p for p in event if p.status() in (-22, -23) and p.idAbs() in _IDENTITIES[kind] and p.mother1() <= 4]
    last = [event[p.iBotCopyId()] if kind in "wzt" else p for p in found]
    return np.array([(p.px(), p.py(), p.pz(), p.e()) for p in last]).reshape(-1, 4)
