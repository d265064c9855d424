"""A batch of events: the particles of several jets, each of which has a mass of its own."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from isotypic.data.jets import Jets


@dataclass(frozen=True)
class Events(Jets):
    """A batch of B events of up to P particles in J jets; what a jet has of its own is that of the first one.

    Attributes:
        jet: ``[B, P]`` int64, which jet of the event each particle is in.
        masses: ``[B, J]`` float32, the masses of the jets in GeV.
    """

    jet: Tensor
    masses: Tensor

    @property
    def mass_of_each(self) -> Tensor:
        """The mass of the jet that each particle is in, ``[B, P]``."""
        return self.masses.gather(1, self.jet)
