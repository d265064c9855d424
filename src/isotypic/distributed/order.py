"""In which order the rows of an epoch come, and which of them a process reads: the same for any number of processes.

The row groups are permuted and laid end to end, and cut into L *lanes* of equal length (to one row). A lane is cut at
the ends of row groups into windows, and the rows of a window are permuted. Row t of the epoch is row ``t // L`` of lane
``t mod L``, and batch b of size B is the rows ``[b B, (b + 1) B)``, listed lane by lane. All of that depends on the
seed, the epoch, L and the size of a window, never on the number of processes W; process r has the rows
``[r n / W, (r + 1) n / W)`` of a batch of n.

So where W divides L, and L divides B, a process has lanes of its own, and holds and reads one W-th of what one alone
would. Read twice is only: a row group at the border of two lanes (L - 1 of them at most); for the last batch, which is
smaller, a window of a neighbour's lane; and where L is no multiple of W, or B none of L, the lanes that two processes
share.

Everything is counted in units: rows, or the rows that belong together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

_GROUPS, _ROWS = 0, 1
"""What is drawn: the order of row groups, or of the rows of a window."""


@dataclass(frozen=True)
class Piece:
    """Units ``begin`` to ``end`` of row group ``group``."""

    group: int
    begin: int
    end: int


@dataclass(frozen=True, eq=False)
class Window:
    """What is permuted at once: the units of a lane from ``begin`` on.

    Attributes:
        begin: place in the lane of its first unit.
        pieces: what it is made of.
        order: ``[n]`` int64, which unit of the pieces, end to end, comes at each place.
    """

    begin: int
    pieces: tuple[Piece, ...]
    order: np.ndarray

    @property
    def end(self) -> int:
        """The place in the lane after its last unit."""
        return self.begin + len(self.order)


@dataclass(frozen=True)
class Slice:
    """Units ``begin`` to ``end`` of a lane."""

    lane: int
    begin: int
    end: int


class EpochOrder:
    """The order of one epoch.

    Args:
        groups: the units of every row group.
        epoch: its number.
        seed: of the order of all epochs.
        lanes: L.
        window: units of all lanes' windows together; a window has at least its L-th part, and at most a row group more.

    >>> order = EpochOrder([4, 4, 2], epoch=0, seed=0, lanes=2, window=4)
    >>> [[(part.lane, part.end - part.begin) for part in order.share(batch, 4, 0, 1)] for batch in range(3)]
    [[(0, 2), (1, 2)], [(0, 2), (1, 2)], [(0, 1), (1, 1)]]
    """

    def __init__(self, groups: Sequence[int], *, epoch: int, seed: int, lanes: int, window: int) -> None:
        self.units, self.lanes = sum(groups), lanes
        self._key, self._least = (seed, epoch), max(1, -(-window // lanes))
        self._permuted = np.random.default_rng([*self._key, _GROUPS]).permutation(len(groups))
        self._ends = np.cumsum(np.asarray(groups, np.int64)[self._permuted])

    def batches(self, size: int) -> int:
        """Return how many batches of so many units there are; the last may be smaller."""
        return -(-self.units // size)

    def share(self, batch: int, size: int, rank: int, world: int) -> list[Slice]:
        """Return the units of a batch that process ``rank`` of ``world`` has, in their order."""
        first, last = batch * size, min((batch + 1) * size, self.units)
        low, high = (number * (last - first) // world for number in (rank, rank + 1))
        found, offset = [], 0
        for lane in range(self.lanes):
            begin, end = self._consumed(lane, first), self._consumed(lane, last)
            from_, to = max(low - offset, 0), min(high - offset, end - begin)
            if from_ < to:
                found.append(Slice(lane, begin + from_, begin + to))
            offset += end - begin
        return found

    def windows(self, lane: int) -> Iterator[Window]:
        """Yield the windows of a lane, in their order."""
        begin, number, pieces = 0, 0, list[Piece]()
        for piece, last in self._pieces(lane):
            pieces.append(piece)
            count = sum(part.end - part.begin for part in pieces)
            if count >= self._least or last:
                generator = np.random.default_rng([*self._key, _ROWS, lane, number])
                yield Window(begin, tuple(pieces), generator.permutation(count))
                begin, number, pieces = begin + count, number + 1, []

    def _consumed(self, lane: int, units: int) -> int:
        """Return how many of the first units of the epoch are of a lane."""
        return (units - lane + self.lanes - 1) // self.lanes

    def _pieces(self, lane: int) -> Iterator[tuple[Piece, bool]]:
        """Yield the parts of row groups that make up a lane, and whether it is the last."""
        start = sum(self._consumed(other, self.units) for other in range(lane))
        stop = start + self._consumed(lane, self.units)
        place = int(np.searchsorted(self._ends, start, side="right"))
        while start < stop:
            end = min(int(self._ends[place]), stop)
            offset = int(self._ends[place - 1]) if place else 0
            yield Piece(int(self._permuted[place]), start - offset, end - offset), end == stop
            start, place = end, place + 1
