"""How spectra lie in memory: degree behind degree, each a matrix in the real basis, rows m and columns n."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from isotypic.errors import RequestError


@dataclass(frozen=True)
class Band:
    """Degrees ``l < degrees`` and orders ``|m| <= rows``, ``|n| <= columns``; n = 0 alone on the sphere.

    The spectrum of a signal is ``[entries, ...]``, entry ``(l, r, p)`` at ``offsets[l] + r (columns of l) + p``.

    >>> Band(3, rows=2, columns=0).shapes
    ((1, 1), (3, 1), (5, 1))
    """

    degrees: int
    rows: int
    columns: int

    def __post_init__(self) -> None:
        if self.degrees < 1 or min(self.rows, self.columns) < 0:
            raise RequestError(f"expected at least one degree and orders from 0, received {self}")

    @cached_property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of every degree, ``2 min(l, limit) + 1``."""
        return tuple((2 * min(l, self.rows) + 1, 2 * min(l, self.columns) + 1) for l in range(self.degrees))  # noqa: E741

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Entries of every degree."""
        return tuple(rows * columns for rows, columns in self.shapes)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """The first entry of every degree."""
        return tuple(int(start) for start in np.cumsum((0, *self.sizes[:-1])))

    @property
    def entries(self) -> int:
        """Numbers that the spectrum of one real signal has."""
        return sum(self.sizes)
