"""Jets as a table of NumPy arrays: what readers of every format give, and what shards hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from isotypic.data.jets.batch import Jets


@dataclass(frozen=True, eq=False)
class JetTable:
    """Rows of jets, with their particles first and zeros after them.

    Attributes:
        features: ``[n, P, 8]`` float32, in the order of :data:`~isotypic.data.jets.batch.FEATURES`.
        particles: ``[n]`` int64, how many of the P rows are particles.
        label: ``[n]`` int64, an index into the classes of the source; -1 for none of them.
        mass: ``[n]`` float32, of the jet in GeV.
        row: ``[n]`` int64, the number of the jet among all of its source.
        source: ``[n]`` str, the name of the file it comes from.
    """

    features: np.ndarray
    particles: np.ndarray
    label: np.ndarray
    mass: np.ndarray
    row: np.ndarray
    source: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    def take(self, rows: np.ndarray | slice) -> JetTable:
        """Return some rows, by index, mask or slice."""
        return JetTable(*(column[rows] for column in self._columns))

    @classmethod
    def joined(cls, tables: Sequence[JetTable]) -> JetTable:
        """Return the rows of several tables, one after another; at least one table."""
        return cls(*map(np.concatenate, zip(*(table._columns for table in tables), strict=True)))

    def as_batch(self) -> Jets:
        """Return the rows as a batch of tensors."""
        mask = np.arange(self.features.shape[1]) < self.particles[:, None]
        arrays = self.features, mask, self.label, self.mass, self.row
        return Jets(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))

    @property
    def _columns(self) -> tuple[np.ndarray, ...]:
        return self.features, self.particles, self.label, self.mass, self.row, self.source
