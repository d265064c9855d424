"""Batch norm of particles and of edges.

Rows hold particles alone (:mod:`isotypic.ops.clouds`), and edges are those between particles, so the statistics are
over real particles and real edges: padding has no part in them. A batch with fewer than two rows has no variance and is
normalised by the running statistics.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from isotypic.ops.edges import edge_moments
from isotypic.ops.neighbours import Neighbours


class RowNorm(nn.BatchNorm1d):
    """Batch norm ``[M, C] -> [M, C]`` over the rows."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the rows."""
        if self.training and len(x) > 1:
            return super().forward(x)
        running = (self.running_mean, self.running_var)
        return functional.batch_norm(x, *running, self.weight, self.bias, training=False, eps=self.eps)


class EdgeNorm(RowNorm):
    """Batch norm of the edges ``u_ij = a_i - a_j + offset``, given as what it does to each: ``scale u_ij + shift``."""

    def scale_and_shift(self, a: Tensor, neighbours: Neighbours, offset: Tensor) -> tuple[Tensor, Tensor]:
        """Return scale and shift, ``[C]`` each, such that the normed edge is ``scale (a_i - a_j) + shift``.

        In training they follow from the edges at hand, and the running statistics move towards these.

        Args:
            a: ``[M, C]``.
            neighbours: of the M rows.
            offset: ``[C]``.
        """
        edges = int(neighbours.found.sum())
        if self.training and edges > 1:
            between, var = edge_moments(a, neighbours)
            mean = between + offset
            self._move(mean.detach(), var.detach() * (edges / (edges - 1)))
        else:
            mean, var = self.running_mean, self.running_var
        scale = self.weight * (var + self.eps).rsqrt()
        return scale, self.bias + scale * (offset - mean)

    @torch.no_grad()
    def _move(self, mean: Tensor, var: Tensor) -> None:
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(var.to(self.running_var.dtype), self.momentum)
        self.num_batches_tracked += 1
