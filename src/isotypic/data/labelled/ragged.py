"""Arrays of one type and of many shapes, end to end in one flat array: in memory, or mapped from a file.

Array ``i`` is ``values[o_i : o_i + n_i]`` in the shape ``s_i``, where ``n_i = prod(s_i)`` and ``o_i`` is the sum
of the sizes before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from isotypic.data.mapped import packed, unpacked
from isotypic.errors import RequestError


class Ragged:
    """A read-only sequence of arrays of different shapes.

    Args:
        values: ``[total]``, all arrays in C order one after another; may be a ``np.memmap``.
        shapes: ``[N, d]`` the shape of each array.

    Raises:
        RequestError: the shapes do not add up to the values.

    >>> pieces = Ragged.of([np.zeros((2, 3)), np.ones((1, 4))])
    >>> len(pieces), pieces[1].tolist(), pieces.shapes.tolist()
    (2, [[1.0, 1.0, 1.0, 1.0]], [[2, 3], [1, 4]])
    """

    def __init__(self, values: np.ndarray, shapes: np.ndarray) -> None:
        self.values = values
        self.shapes = np.asarray(shapes, dtype=np.int64)
        needed = int(self._ends[-1]) if len(self.shapes) else 0
        if values.shape != (needed,):
            raise RequestError(f"expected {needed} values for {len(self.shapes)} arrays, received {list(values.shape)}")

    @classmethod
    def of(cls, arrays: Sequence[np.ndarray]) -> Ragged:
        """Join arrays of one type and one number of axes, at least one of them.

        Raises:
            RequestError: there are none, or their types or numbers of axes differ.
        """
        kinds = sorted({(str(array.dtype), array.ndim) for array in arrays})
        if len(kinds) != 1:
            raise RequestError(f"expected arrays of one type and one number of axes, received {kinds or 'none'}")
        return cls(np.concatenate([array.reshape(-1) for array in arrays]), np.array([a.shape for a in arrays]))

    @property
    def dtype(self) -> np.dtype:
        """The type of the values."""
        return self.values.dtype

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum(self.shapes.prod(axis=1))

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return one array as a view."""
        shape, end = self.shapes[index], self._ends[index]
        return self.values[end - shape.prod() : end].reshape(shape)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        """Pickle a memory map as its file's name."""
        return {"values": packed(self.values), "shapes": self.shapes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(values=unpacked(state["values"]), shapes=state["shapes"])
