"""The spectra of kernels as modules that keep the last one made, as :class:`~isotypic.nn.filters.Bank` says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isotypic.groups.finite import Floats
from isotypic.groups.so3.kernel_tables import collapsed_table, kernel_lookup, kernel_waves, s2_kernel_table
from isotypic.groups.so3.kernels import S2Kernel, SO3Kernel
from isotypic.groups.so3.spectra import Band
from isotypic.nn.fieldwise import ExactTables
from isotypic.nn.filters import Bank
from isotypic.ops.sphere.kernels import lookup_blocks, point_blocks
from isotypic.ops.sphere.sparse import SparseRows


@dataclass(frozen=True)
class SpherePoints:
    """The table of a kernel on the sphere: a picklable call without arguments."""

    kernel: S2Kernel
    degrees: int
    columns: int

    def __call__(self) -> dict[str, Floats]:
        """Return ``[(l, q), points]``."""
        return {"points": s2_kernel_table(self.kernel, self.degrees, self.columns)}


@dataclass(frozen=True)
class CollapsedPoints:
    """The table of a kernel on SO(3) that ends on the sphere: a picklable call without arguments."""

    kernel: SO3Kernel
    degrees: int
    columns: int

    def __call__(self) -> dict[str, Floats]:
        """Return ``[(l, p), points]``."""
        return {"points": collapsed_table(self.kernel, self.degrees, self.columns)}


class PointBank(Bank[list[Tensor]]):
    """Blocks of a kernel from a dense table of its points.

    Args:
        source: the table.
        band: of the blocks.
        scale: what weights are multiplied by.
    """

    def __init__(self, source: SpherePoints | CollapsedPoints, band: Band, scale: float) -> None:
        super().__init__()
        self.band, self.scale = band, scale
        self.tables = ExactTables(source)

    def forward(self, weight: Tensor) -> list[Tensor]:
        """Return for every degree ``[p C, q O]`` of a weight ``[O, C, *points]``."""
        return self.keep((), weight, None, lambda: point_blocks(weight * self.scale, self.tables("points"), self.band))


@dataclass(frozen=True)
class RotationPoints:
    """The tables of a kernel on SO(3): a picklable call without arguments."""

    kernel: SO3Kernel
    band: Band

    def __call__(self) -> dict[str, Floats]:
        """Return the waves of a ring and the non-zero entries of the lookup, by rows and by columns."""
        found = kernel_lookup(self.kernel, self.band)
        values = found.value.reshape(-1)
        return {
            "waves": kernel_waves(self.kernel),
            "values": values,
            "transposed": values[np.argsort(found.index.reshape(-1), kind="stable")],
        }


class LookupBank(Bank[list[Tensor]]):
    """Blocks of a kernel on SO(3).

    Args:
        kernel: the points.
        band: of the blocks: rows p, columns q.
        scale: what weights are multiplied by.
    """

    index: Tensor
    start: Tensor
    transposed_index: Tensor
    transposed_start: Tensor

    def __init__(self, kernel: SO3Kernel, band: Band, scale: float) -> None:
        super().__init__()
        self.band, self.scale = band, scale
        self.tables = ExactTables(RotationPoints(kernel, band))
        index = kernel_lookup(kernel, band).index
        terms, flat = index.shape[1], index.reshape(-1)
        order = np.argsort(flat, kind="stable")
        columns = kernel.rings * 2 * kernel.around * kernel.period
        self._table("index", flat)
        self._table("start", np.arange(len(index)) * terms)
        self._table("transposed_index", order // terms)
        self._table("transposed_start", np.searchsorted(flat[order], np.arange(columns)))

    def _table(self, name: str, table: np.ndarray) -> None:
        self.register_buffer(name, torch.tensor(table), persistent=False)

    def forward(self, weight: Tensor) -> list[Tensor]:
        """Return for every degree ``[p C, q O]`` of a weight ``[O, C, rings, around, turns]``."""
        return self.keep((), weight, None, lambda: self._make(weight * self.scale))

    def _make(self, weight: Tensor) -> list[Tensor]:
        rows = SparseRows(self.index, self.tables("values"), self.start)
        transposed = SparseRows(self.transposed_index, self.tables("transposed"), self.transposed_start)
        return lookup_blocks(weight, self.tables("waves"), rows, transposed, self.band)
