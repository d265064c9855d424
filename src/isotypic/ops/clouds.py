"""Clouds of points of different sizes, put below one another without padding.

A batch ``[B, P, F]`` with a mask becomes rows ``[M, F]``, one a particle, those of a cloud next to each other. What is
computed row by row is then computed for particles alone, and statistics over the rows are statistics over particles.

Within a cloud the rows stand in one order that follows from the features: descending by a leading column, then by the
others. Whatever order the particles come in, the same sums are formed of the same rows, and where two neighbours are as
near (calorimeters have cells, so they often are) the same one is taken: a permutation changes not one bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from isotypic.errors import RequestError


@dataclass(frozen=True, eq=False)
class Clouds:
    """Where the rows of a batch of B clouds lie in it, and which belong together.

    Attributes:
        places: ``[M]``, of every row its place in the batch ``[B, P]`` flattened; the rows of cloud 0, of cloud 1, ...
        lengths: ``[B]``, rows of each cloud.
        particles: ``[B]``, how many of these, the first ones, are particles; the others are padding.
    """

    places: Tensor
    lengths: Tensor
    particles: Tensor

    @classmethod
    def of(cls, features: Tensor, mask: Tensor, *, leading: int = 0, padded: bool = False) -> Clouds:
        """Return the clouds of a batch.

        Args:
            features: ``[B, P, F]``.
            mask: ``[B, P]`` bool, True for a particle.
            leading: the column that orders the particles first.
            padded: rows for padding as well, behind the particles of each cloud.

        Raises:
            RequestError: other shapes, or a mask that is not boolean.
        """
        if features.dim() != 3 or mask.shape != features.shape[:2] or mask.dtype != torch.bool:
            raise RequestError(
                f"expected features [B, P, F] and a boolean mask [B, P], received {list(features.shape)} and "
                f"{list(mask.shape)} of {mask.dtype}"
            )
        order, particles = ordered(features, mask, leading), mask.sum(1)
        count, width = mask.shape
        places = order + width * torch.arange(count, device=mask.device)[:, None]
        if padded:
            return cls(places.flatten(), torch.full_like(particles, width), particles)
        return cls(places[mask.gather(1, order)], particles, particles)

    def rows(self, x: Tensor) -> Tensor:
        """Return the rows ``[M, ...]`` of ``[B, P, ...]``."""
        return x.flatten(0, 1)[self.places]

    def mean(self, x: Tensor) -> Tensor:
        """Return the mean ``[B, C]`` of every cloud over its rows ``[M, C]``; zero of a cloud without any."""
        sums = torch.segment_reduce(x, "sum", lengths=self.lengths, axis=0, unsafe=True)
        return sums / self.lengths.clamp(min=1).to(x.dtype)[:, None]

    @cached_property
    def cloud(self) -> Tensor:
        """The cloud of every row, ``[M]``."""
        return torch.repeat_interleave(torch.arange(len(self.lengths), device=self.lengths.device), self.lengths)

    @cached_property
    def limits(self) -> tuple[Tensor, Tensor]:
        """Of every row the first row, and the one behind the last, among which its neighbours are: ``[M]`` each.

        They are the particles of its cloud; a row of padding has itself alone.
        """
        starts = self.lengths.cumsum(0) - self.lengths
        row = torch.arange(len(self.places), device=self.places.device)
        low = starts[self.cloud]
        high = low + self.particles[self.cloud]
        real = row < high
        return torch.where(real, low, row), torch.where(real, high, row + 1)


def ordered(features: Tensor, mask: Tensor, leading: int = 0) -> Tensor:
    """Return the order ``[B, P]`` of particles that a permutation of them does not change: padding comes last.

    Descending by the leading column, where particles tie there by the first column, and so on. Particles that tie in
    all are the same.

    Args:
        features: ``[B, P, F]``, finite.
        mask: ``[B, P]``.
        leading: a column with few ties.
    """
    first, order = features[..., leading].masked_fill(~mask, -torch.inf).sort(dim=1, descending=True, stable=True)
    tied = ((first[:, 1:] == first[:, :-1]) & (first[:, 1:] > -torch.inf)).any(1)
    if tied.any():
        order[tied] = _by_all_columns(features[tied], mask[tied], leading)
    return order


def _by_all_columns(features: Tensor, mask: Tensor, leading: int) -> Tensor:
    columns = [leading, *(c for c in range(features.shape[2]) if c != leading)]
    keys = [(~mask).to(features.dtype).neg(), *(features[..., c] for c in columns)]
    order = torch.arange(mask.shape[1], device=mask.device).expand(mask.shape)
    for key in reversed(keys):
        order = order.gather(1, key.gather(1, order).argsort(dim=1, descending=True, stable=True))
    return order
