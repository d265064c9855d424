"""Events of the LHC Olympics' kind by Pythia 8 (an extra): hard QCD, or a heavy boson that falls apart into X and Y.

The boson is Pythia's Z', so that X and Y may be neutral; either falls apart into two light quarks. Nothing is simulated
of a detector, and no other partons of the protons interact.
"""

from __future__ import annotations

import numpy as np

from isotypic.data.antikt import AntiKt
from isotypic.data.kinematics import azimuth, leading, pseudorapidity, transverse
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
        masses: of the boson, X and Y in GeV for signal; None for background.

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
        "NewGaugeBoson:ffbar2gmZZprime = on",
        "Zprime:gmZmode = 3",
        f"32:m0 = {boson}",
        *_to_quarks(_X, x),
        *_to_quarks(_Y, y),
        f"32:oneChannel = 1 1. 100 {_X} {_Y}",
    )


def _to_quarks(number: int, mass: float) -> tuple[str, ...]:
    """Return the settings of a new neutral particle that falls apart into two light quarks."""
    width = _WIDTH * mass
    low, high = mass - 5 * width, mass + 5 * width
    return (
        f"{number}:all = X void 1 0 0 {mass} {width} {low} {high} 0.",
        f"{number}:isResonance = true",
        f"{number}:mayDecay = on",
        f"{number}:oneChannel = 1 0.5 100 1 -1",
        f"{number}:addChannel = 1 0.5 100 2 -2",
    )
