"""Grids of the sphere and of SO(3): nodes in beta with quadrature weights; alpha and gamma are uniform.

A signal of bandwidth b (degrees below b) is ``[..., beta, alpha]`` on the sphere and ``[..., beta, alpha, gamma]`` on
SO(3), with 2 b samples ``2 pi i / 2 b`` of alpha and of gamma; where only the orders ``|n| <= N`` are kept, gamma has
``2 (N + 1)`` samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import numpy as np

from isotypic.errors import RequestError
from isotypic.groups.finite import Floats


class Nodes(Enum):
    """Where the nodes of beta lie."""

    SOFT = "soft"
    GAUSS_LEGENDRE = "gauss-legendre"


@dataclass(frozen=True)
class BetaGrid:
    """Nodes of beta and the weights of the mean over the sphere, ``integral of f sin(beta) / 2``.

    Attributes:
        bandwidth: b, at least 1; products of two signals of bandwidth b are integrated exactly.
        nodes: SOFT has 2 b nodes, ``pi (2 j + 1) / 4 b``; Gauss-Legendre b, the zeros of the Legendre polynomial.
    """

    bandwidth: int
    nodes: Nodes = Nodes.SOFT

    def __post_init__(self) -> None:
        if self.bandwidth < 1:
            raise RequestError(f"expected a bandwidth of at least 1, received {self.bandwidth}")

    def __len__(self) -> int:
        return self.bandwidth * (2 if self.nodes is Nodes.SOFT else 1)

    @cached_property
    def betas(self) -> Floats:
        """The nodes, in radians, ascending."""
        if self.nodes is Nodes.SOFT:
            return np.pi * (2 * np.arange(2 * self.bandwidth) + 1) / (4 * self.bandwidth)
        return np.arccos(np.polynomial.legendre.leggauss(self.bandwidth)[0])[::-1]

    @cached_property
    def weights(self) -> Floats:
        """The weights, of sum one."""
        if self.nodes is Nodes.GAUSS_LEGENDRE:
            return np.polynomial.legendre.leggauss(self.bandwidth)[1][::-1] / 2
        odd = 2 * np.arange(self.bandwidth) + 1
        waves = np.sin(np.multiply.outer(self.betas, odd)) / odd
        return np.sin(self.betas) * waves.sum(axis=1) / self.bandwidth


def soft(bandwidth: int) -> BetaGrid:
    """Return the grid of the SOFT transforms, 2 b nodes (Driscoll and Healy).

    Source:
        J. Driscoll, D. Healy, Computing Fourier Transforms and Convolutions on the 2-Sphere, Advances in Applied
        Mathematics 15 (1994).

    >>> float(soft(8).weights.sum().round(12))
    1.0
    """
    return BetaGrid(bandwidth)


def gauss_legendre(bandwidth: int) -> BetaGrid:
    """Return the grid of the fewest nodes, b."""
    return BetaGrid(bandwidth, Nodes.GAUSS_LEGENDRE)
