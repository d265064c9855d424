"""Graph attention pooling: what a point gathers from its neighbours, weighted by attention.

With ``a = W x`` and neighbours N(i), i among them::

    e_ij  = relu(norm(a_i - a_j + b))
    s_ij  = leaky_relu(norm(u . relu(norm(V x_i)) + u0) + norm(w . e_ij + w0))
    out_i = relu(sum_j softmax_j(s_ij) e_ij + c)        max_i = max_j e_ij

The network of an edge is linear before its norm, so W is applied once a point: k times fewer multiplications than on
the differences ``x_i - x_j``, which are never formed.

Source:
    V. Mikuni, F. Canelli, ABCNet: an attention-based method for particle tagging, Eur. Phys. J. Plus 135 (2020),
    arXiv 2001.05311.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from isotypic.nn.points.norm import EdgeNorm, RowNorm
from isotypic.ops.edges import edges
from isotypic.ops.neighbours import Neighbours

_SLOPE = 0.2
"""Of the leaky ReLU below zero."""


class GAPBlock(nn.Module):
    """Graph attention pooling ``[M, in_channels] -> [M, channels]``, twice: by attention, and the maximum.

    The order of the rows changes nothing but the order of the output. The biases b, u0 and w0 cancel in the norms that
    follow them; they are there because the original counts them.

    Args:
        in_channels: of a point.
        channels: of an edge, and of both outputs.
        norm: batch norms, over particles and edges that there are; without them clouds do not see each other.
    """

    def __init__(self, in_channels: int, channels: int, *, norm: bool = True) -> None:
        super().__init__()
        self.edge = nn.Linear(in_channels, channels)
        self.edge_norm = EdgeNorm(channels) if norm else None
        self.own = nn.Sequential(nn.Linear(in_channels, channels, bias=False), _norm(channels, norm), nn.ReLU())
        self.own_score = nn.Sequential(nn.Linear(channels, 1), _norm(1, norm))
        self.neighbour_score = nn.Linear(channels, 1)
        self.neighbour_norm = _norm(1, norm)
        self.bias = nn.Parameter(self.edge.weight.new_zeros(channels))

    def forward(self, x: Tensor, neighbours: Neighbours) -> tuple[Tensor, Tensor]:
        """Return what every point gathers by attention, and the largest edges, ``[M, channels]`` each.

        Args:
            x: ``[M, in_channels]``.
            neighbours: of the M points.
        """
        a = functional.linear(x, self.edge.weight)
        from_points, from_neighbours = self._ends(a, neighbours)
        between = edges(from_points, from_neighbours, neighbours)
        scores, largest = between.scores(self.neighbour_score.weight[0])
        scores = self._normed(scores + self.neighbour_score.bias, neighbours)
        shares = functional.leaky_relu(self.own_score(self.own(x)) + scores, _SLOPE)
        if not neighbours.complete:
            shares = shares.masked_fill(~neighbours.valid, -float("inf"))
        return (between.sums(shares.softmax(1)) + self.bias).relu(), largest

    def _ends(self, a: Tensor, neighbours: Neighbours) -> tuple[Tensor, Tensor]:
        """Return d and c of the edges ``relu(d_i - c_j)``."""
        if self.edge_norm is None:
            return a + self.edge.bias, a
        scale, shift = self.edge_norm.scale_and_shift(a, neighbours, self.edge.bias)
        scaled = scale * a
        return scaled + shift, scaled

    def _normed(self, scores: Tensor, neighbours: Neighbours) -> Tensor:
        """Return scores ``[M, k]`` with zero mean and unit variance over the edges that there are."""
        if neighbours.complete:
            return self.neighbour_norm(scores.reshape(-1, 1)).view_as(scores)
        valid = neighbours.valid
        return scores.masked_scatter(valid, self.neighbour_norm(scores[valid][:, None]))


def _norm(channels: int, wanted: bool) -> nn.Module:
    return RowNorm(channels) if wanted else nn.Identity()
