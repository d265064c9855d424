"""Jets of a folder of shards as shuffled batches, for one process of several, in bounded memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isotypic.data.jets.batch import FEATURES, Jets
from isotypic.data.jets.table import JetTable
from isotypic.distributed.manifest import MANIFEST, Manifest, Shard, problem_of, read_manifest
from isotypic.distributed.order import EpochOrder, Piece, Slice, Window
from isotypic.distributed.shards import ShardFile
from isotypic.errors import RequestError

LANES = 16
WINDOW = 32_768
_EVERYTHING = (0.0, 1.0)


class _Group(NamedTuple):
    """Row group ``place`` of a file."""

    file: ShardFile
    place: int
    rows: int


class ShardedJets:
    """The jets of a folder that ``isotypic data convert jets`` made.

    Args:
        folder: with the shards and their manifest.
        particles: how many of a jet are given, the first; none: all.
        seed: of the order of all epochs.
        share: which part of the row groups, in a random order that ``seed`` does not change: (0, 0.8) is for training
            what (0.8, 1) is for the test.
        lanes: into how many pieces an epoch is cut (:mod:`isotypic.distributed.order`); a multiple of the number of
            processes.
        window: jets that are held and shuffled at once, by all processes together.
        verify: whether the hash of every file is compared first, which reads it once. Sizes and what the files say of
            themselves always are, and so is the checksum of whatever is read.

    Raises:
        RequestError: there are no shards; a file is missing, truncated, not the one that was written, or disagrees with
            the manifest: it is named; the share holds no row group; or pyarrow is not installed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        particles: int | None = None,
        seed: int = 0,
        share: tuple[float, float] = _EVERYTHING,
        lanes: int = LANES,
        window: int = WINDOW,
        verify: bool = True,
    ) -> None:
        for name, value in (("lanes", lanes), ("window", window), ("particles", particles or 1)):
            if value < 1:
                raise RequestError(f"expected {name} of at least 1, received {value}")
        self.folder, self.seed, self.lanes, self.window = folder, seed, lanes, window
        self.manifest = read_manifest(folder)
        self.particles = min(particles or self.manifest.particles, self.manifest.particles)
        self.classes = self.manifest.classes
        _refuse_features(folder, self.manifest)
        shards = [_opened(folder, shard, self.manifest, verify) for shard in self.manifest.shards if shard.rows]
        groups = [_Group(file, place, rows) for file in shards for place, rows in enumerate(file.groups)]
        self._groups = _shared(groups, share)
        self._share = share

    def __len__(self) -> int:
        """How many jets an epoch has."""
        return sum(group.rows for group in self._groups)

    @property
    def fingerprint(self) -> str:
        """A hash that two processes share if they see the same jets in the same order."""
        order = [self.manifest.digest(), self.seed, self.lanes, self.window, self.particles, self._share]
        return hashlib.sha256(json.dumps(order).encode()).hexdigest()

    def steps(self, batch_size: int) -> int:
        """Return how many batches an epoch has; the last may be smaller."""
        return self._order(0).batches(self._units(batch_size))

    def batches(self, epoch: int, batch_size: int, rank: int = 0, world: int = 1, start: int = 0) -> Iterator[Jets]:
        """Yield what one process has of every batch of an epoch.

        The shares of the processes, one after the other, are the batch, which is the same for any number of them; no
        jet comes twice in an epoch, and none is lost. A share may have no jets where the last batch has fewer than
        there are processes.

        Args:
            epoch: which order.
            batch_size: jets of all processes together.
            rank: which process, from 0.
            world: how many.
            start: the first batch, for going on in the middle of an epoch; also with another ``world`` than before.

        Raises:
            RequestError: a number is out of range, or the size splits what belongs together; or a file cannot be read
                or has been changed.
        """
        order, size = self._order(epoch), self._units(batch_size)
        if not 0 <= rank < world:
            raise RequestError(f"expected a rank from 0 to {world - 1} of {world} processes, received {rank}")
        if not 0 <= start <= order.batches(size):
            raise RequestError(f"expected to start at a batch from 0 to {order.batches(size)}, received {start}")
        lanes: dict[int, _Lane] = {}
        for batch in range(start, order.batches(size)):
            found = [self._empty()]
            for part in order.share(batch, size, rank, world):
                lane = lanes.setdefault(part.lane, _Lane(self, order, part.lane))
                found += lane.take(part)
            yield JetTable.joined(found).as_batch()

    def piece(self, piece: Piece) -> JetTable:
        """Return a part of a row group; ``piece`` counts what belongs together."""
        group, together = self._groups[piece.group], self.manifest.together
        rows = slice(piece.begin * together, piece.end * together)
        return group.file.table(group.place, self.particles).take(rows)

    def _order(self, epoch: int) -> EpochOrder:
        together = self.manifest.together
        units = [group.rows // together for group in self._groups]
        return EpochOrder(units, epoch=epoch, seed=self.seed, lanes=self.lanes, window=max(1, self.window // together))

    def _units(self, batch_size: int) -> int:
        together = self.manifest.together
        if batch_size < together or batch_size % together:
            raise RequestError(f"expected a batch size that is a multiple of {together}, received {batch_size}")
        return batch_size // together

    def _empty(self) -> JetTable:
        none = np.zeros(0, np.int64)
        features = np.zeros((0, self.particles, len(FEATURES)), np.float32)
        return JetTable(features, none, none, none.astype(np.float32), none, none.astype(str))


class _Lane:
    """Reads the rows of a lane in their order, a window at a time."""

    def __init__(self, jets: ShardedJets, order: EpochOrder, lane: int) -> None:
        self.jets, self.together = jets, jets.manifest.together
        self._windows = order.windows(lane)
        self._window: Window | None = None
        self._table: JetTable | None = None

    def take(self, part: Slice) -> Iterator[JetTable]:
        """Yield the rows of a slice; slices come in rising order."""
        begin = part.begin
        while begin < part.end:
            window = self._at(begin)
            end = min(part.end, window.end)
            units = window.order[begin - window.begin : end - window.begin]
            rows = (units[:, None] * self.together + np.arange(self.together)).reshape(-1)
            if self._table is None:
                self._table = JetTable.joined([self.jets.piece(piece) for piece in window.pieces])
            yield self._table.take(rows)
            begin = end

    def _at(self, place: int) -> Window:
        """Return the window with a place in the lane; those before it are let go, or never read."""
        while self._window is None or self._window.end <= place:
            self._window, self._table = next(self._windows), None
        return self._window


def _refuse_features(folder: Path, manifest: Manifest) -> None:
    if manifest.features != FEATURES:
        raise RequestError(
            f"{folder / MANIFEST}: expected the features {', '.join(FEATURES)}, received "
            f"{', '.join(manifest.features)}; convert the jets again"
        )


def _opened(folder: Path, shard: Shard, manifest: Manifest, hashed: bool) -> ShardFile:
    """Return a file that is what the manifest says."""
    problem = problem_of(folder, shard, hashed=hashed)
    if problem is not None:
        raise RequestError(f"{folder / shard.file}: {problem}; the command that converted the jets makes it again")
    file = ShardFile(folder / shard.file, manifest.particles)
    if len(file) != shard.rows or any(rows % manifest.together for rows in file.groups):
        raise RequestError(
            f"{folder / shard.file}: has {len(file):,} jets where the manifest says {shard.rows:,}; convert them again"
        )
    return file


def _shared(groups: list[_Group], share: tuple[float, float]) -> list[_Group]:
    low, high = share
    if not 0 <= low < high <= 1:
        raise RequestError(f"expected a share such as (0, 0.8) within 0 and 1, received {list(share)}")
    order = np.random.default_rng(len(groups)).permutation(len(groups))
    first, last = ends = [round(edge * len(groups)) for edge in share]
    if first == last:
        raise RequestError(f"no row group is in the share {list(share)} of {len(groups)}; give a larger one")
    return [groups[place] for place in sorted(order[slice(*ends)])]
