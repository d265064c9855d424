"""Sparse matrices by their rows, with products that are bags of embeddings."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class SparseRows:
    """A sparse matrix by its rows.

    Attributes:
        index: columns, ``[nonzero]``, or ``[rows, terms]`` where all rows have as many.
        value: of the same shape.
        start: the first non-zero entry of every row; None where all rows have as many.
    """

    index: Tensor
    value: Tensor
    start: Tensor | None = None

    def times(self, dense: Tensor) -> Tensor:
        """Return the product with ``[columns, width]``, ``[rows, width]``."""
        return functional.embedding_bag(
            self.index, dense.contiguous(), self.start, mode="sum", per_sample_weights=self.value
        )
