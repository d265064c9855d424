"""Where batches of jets come from: the interface of a training, and jets that are held in memory behind it.

An epoch is one pass in an order that depends on its number alone. It is cut into batches, and each batch into the
shares of the processes that train together, so the batches are the same however many there are; near its end a share
may be empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from isotypic.data.jets.batch import FEATURES, Jets
from isotypic.errors import RequestError

Indices = NDArray[np.int64]

J = TypeVar("J", bound=Jets)


class JetSource(Protocol):
    """Jets in epochs of batches."""

    def __len__(self) -> int:
        """Return how many jets an epoch has."""

    def batches(self, epoch: int, batch_size: int, rank: int = 0, world: int = 1, start: int = 0) -> Iterator[Jets]:
        """Yield one process's shares of the batches of an epoch; as many for every process, some maybe empty.

        Args:
            epoch: its number, from 0; the order of the jets depends on it alone.
            batch_size: jets a batch, all shares together; the last batch may have fewer.
            rank: which process.
            world: of how many.
            start: the first batch, for going on in the middle of an epoch.
        """


class MemoryJets:
    """Jets in memory as a source.

    Args:
        jets: all of them.
        seed: of the order of every epoch; None for the order in which they are.

    Raises:
        RequestError: shapes that do not belong together, a number that is not finite, a jet without particles, or one
            row twice.
    """

    def __init__(self, jets: Jets, seed: int | None = None) -> None:
        self.jets, self.seed = checked(jets), seed

    def __len__(self) -> int:
        return len(self.jets.row)

    def batches(self, epoch: int, batch_size: int, rank: int = 0, world: int = 1, start: int = 0) -> Iterator[Jets]:
        """Yield one process's shares of the batches of an epoch (see :class:`JetSource`)."""
        order = self._order(epoch)
        for first in range(start * batch_size, len(order), batch_size):
            batch = order[first : first + batch_size]
            yield rows_of(self.jets, batch[rank * len(batch) // world : (rank + 1) * len(batch) // world])

    def select(self, places: Indices, seed: int | None = None) -> MemoryJets:
        """Return some of the jets, by their places, as a source with another seed."""
        return MemoryJets(rows_of(self.jets, places), seed)

    def _order(self, epoch: int) -> Indices:
        if self.seed is None:
            return np.arange(len(self))
        return np.random.default_rng([self.seed, epoch]).permutation(len(self))


def rows_of(jets: J, places: Indices) -> J:
    """Return the jets, or events, at some places."""
    index = torch.from_numpy(np.ascontiguousarray(places))
    return type(jets)(*(getattr(jets, field.name)[index] for field in fields(jets)))


def joined(batches: Iterable[J]) -> J:
    """Return batches as one."""
    parts = list(batches)
    return type(parts[0])(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(parts[0])))


def checked(jets: Jets) -> Jets:
    """Return jets that are sound.

    Raises:
        RequestError: see :class:`MemoryJets`.
    """
    count, places = jets.mask.shape if jets.mask.dim() == 2 else (-1, -1)
    numbers = [jets.label, jets.mass, jets.row]
    if jets.features.shape != (count, places, len(FEATURES)) or any(n.shape != (count,) for n in numbers):
        raise RequestError(
            f"expected features [n, P, {len(FEATURES)}], a mask [n, P] and a label, a mass and a row [n], received "
            f"{list(jets.features.shape)}, {list(jets.mask.shape)} and {[list(n.shape) for n in numbers]}"
        )
    wrong = ~(jets.features.isfinite().all(2).all(1) & jets.mass.isfinite() & (jets.mass >= 0))
    if wrong.any():
        raise RequestError(
            f"expected jets with finite numbers and a mass of at least 0, received {int(wrong.sum())} others, the "
            f"first is row {int(jets.row[wrong][0])}; leave them out"
        )
    empty = ~jets.mask.any(1)
    if empty.any():
        raise RequestError(
            f"expected jets with particles, received {int(empty.sum())} without, the first is row "
            f"{int(jets.row[empty][0])}; leave them out"
        )
    if len(jets.row.unique()) < count:
        raise RequestError("expected a row of its own for every jet, received one of them twice")
    return jets


def permuted(jets: J, seed: int = 0) -> J:
    """Return jets with the particles of each in another order, padding among them."""
    order = torch.rand(jets.mask.shape, generator=torch.Generator().manual_seed(seed)).argsort(1)
    moved = {
        name: value.gather(1, order if value.dim() == 2 else order[..., None].expand_as(value))
        for name, value in ((field.name, getattr(jets, field.name)) for field in fields(jets))
        if name in ("features", "mask", "jet")
    }
    return replace(jets, **moved)
