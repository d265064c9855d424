"""Jets by the anti-kT algorithm, through FastJet (an extra).

FastJet prints once by whom it is and how it is to be cited.

Source: M. Cacciari, G. P. Salam, G. Soyez, The anti-kT jet clustering algorithm, 2008, arXiv 0802.1189.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from isotypic.errors import RequestError


@dataclass(frozen=True, eq=False)
class Jet:
    """A jet that was found.

    Attributes:
        momentum: ``[4]``, in GeV.
        members: ``[m]`` int64, which of the particles are in it.
    """

    momentum: np.ndarray
    members: np.ndarray


class AntiKt:
    """Finds jets.

    Args:
        radius: R of the algorithm.
        least: GeV of transverse momentum that a jet has at least.

    Raises:
        RequestError: FastJet is not installed.
    """

    def __init__(self, radius: float, least: float = 1.0) -> None:
        self.least = least
        self._fastjet = _fastjet()
        self._definition = self._fastjet.JetDefinition(self._fastjet.antikt_algorithm, radius)

    def __call__(self, momenta: np.ndarray, most: int) -> list[Jet]:
        """Return at most ``most`` jets of particles ``[n, 4]``, those of largest transverse momentum first."""
        particles = []
        for place, momentum in enumerate(momenta.tolist()):
            particle = self._fastjet.PseudoJet(*momentum)
            particle.set_user_index(place)
            particles.append(particle)
        sequence = self._fastjet.ClusterSequence(particles, self._definition)
        found = self._fastjet.sorted_by_pt(sequence.inclusive_jets(self.least))[:most]
        return [_jet(jet) for jet in found]


def _jet(jet: Any) -> Jet:
    members = np.array([particle.user_index() for particle in jet.constituents()], dtype=np.int64)
    return Jet(np.array([jet.px(), jet.py(), jet.pz(), jet.e()]), members)


def _fastjet() -> Any:
    try:
        import fastjet  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise RequestError("jets are found in events by FastJet: pip install isotypic[pythia]") from error
    return fastjet
