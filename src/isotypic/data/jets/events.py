"""A batch of events: the particles of several jets, each of which has a mass of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from isotypic.data.jets.batch import Jets
from isotypic.data.jets.source import JetSource
from isotypic.errors import RequestError


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


class PairedJets:
    """Events as a source, from a source of jets in which the two of an event come one after the other.

    Args:
        jets: gives them so in every batch and in every share of one.
    """

    def __init__(self, jets: JetSource) -> None:
        self.jets = jets

    def __len__(self) -> int:
        return len(self.jets) // 2

    def batches(self, epoch: int, batch_size: int, rank: int = 0, world: int = 1, start: int = 0) -> Iterator[Events]:
        """Yield one process's shares of the batches of an epoch (see :class:`~isotypic.data.jets.source.JetSource`)."""
        yield from map(paired, self.jets.batches(epoch, 2 * batch_size, rank, world, start))


def paired(jets: Jets) -> Events:
    """Return events of two jets each, from jets of which every two belong together.

    Raises:
        RequestError: an odd number of jets, or two of an event that do not have one label.
    """
    if len(jets.row) % 2 or not torch.equal(jets.label[::2], jets.label[1::2]):
        raise RequestError(
            f"expected jets two by two, those of an event one after the other with its label, received "
            f"{len(jets.row)} jets with other labels"
        )
    count, places = len(jets.row) // 2, jets.mask.shape[1]
    jet = torch.arange(2, device=jets.mask.device).repeat_interleave(places).expand(count, 2 * places)
    return Events(
        jets.features.reshape(count, 2 * places, -1),
        jets.mask.reshape(count, 2 * places),
        jets.label[::2],
        jets.mass[::2],
        jets.row[::2],
        jet.contiguous(),
        jets.mass.reshape(count, 2),
    )
