"""Events of the LHC Olympics' kind by Pythia 8 (an extra): hard QCD, or W' -> X Y.

X has the charge of the W' and Y none; either falls apart into two light quarks. Nothing is simulated
of a detector, and no other partons of the protons interact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from isotypic.data.jets.antikt import AntiKt
from isotypic.data.jets.kinematics import azimuth, leading, pseudorapidity, transverse
from isotypic.data.synthetic.pythia import pythia, visible
from isotypic.data.writers.jet_files import LHCO_PARTICLES

TRIGGER = 1200.0
"""GeV of transverse momentum that the first jet, anti-kT with R = 1, has at least, as in the Olympics."""

_RADIUS, _ETA = 1.0, 2.5
_X, _Y = 9900001, 9900002
_WIDTH = 0.01
_BACKGROUND = ("HardQCD:all = on", f"PhaseSpace:pTHatMin = {0.9 * TRIGGER}")


def draw(count: int, seed: int, masses: tuple[float, float, float] | None) -> np.ndarray:
    """Return events that pass the trigger.

    Args:
        count: how many.
        seed: of Pythia.
        masses: of W', X and Y in GeV for signal; None for background.

    Returns:
        ``[count, 700, 3]``, (pT, eta, phi) of their particles in falling order of pT, zeros after the last.

    Raises:
        RequestError: Pythia or FastJet is not installed.
    """
    find = AntiKt(_RADIUS, TRIGGER)
    generator = pythia(_BACKGROUND if masses is None else _signal(masses), seed, underlying=False)
    found = np.zeros((count, LHCO_PARTICLES, 3))
    done = 0
    while done < count:
        if not generator.next():
            continue
        momenta = visible(generator.event)
        momenta = momenta[np.abs(pseudorapidity(momenta)) < _ETA]
        if find(momenta, 1):
            kept = leading(momenta[None], LHCO_PARTICLES)[0]
            found[done] = np.stack([transverse(kept), pseudorapidity(kept), azimuth(kept)], -1)
            done += 1
    return found


def _signal(masses: tuple[float, float, float]) -> tuple[str, ...]:
    boson, x, y = masses
    return (
        "NewGaugeBoson:ffbar2Wprime = on",
        f"34:m0 = {boson}",
        *_to_quarks(f"{_X}:all = X Xbar 1 3 0", x, ("2 -1",)),
        *_to_quarks(f"{_Y}:all = Y void 1 0 0", y, ("1 -1", "2 -2")),
        f"34:oneChannel = 1 1. 100 {_X} {_Y}",
    )


def _to_quarks(new: str, mass: float, quarks: Sequence[str]) -> Iterator[str]:
    """Yield the settings of a new particle that falls apart into two light quarks."""
    width, number = _WIDTH * mass, new.partition(":")[0]
    yield f"{new} {mass} {width} {mass - 5 * width} {mass + 5 * width} 0."
    yield f"{number}:isResonance = true"
    yield f"{number}:mayDecay = on"
    for place, pair in enumerate(quarks):
        yield f"{number}:{'addChannel' if place else 'oneChannel'} = 1 {1 / len(quarks)} 100 {pair}"
