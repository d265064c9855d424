"""Kernels that live near the identity: which points they hold, and how those transform.

Points lie on rings ``beta_k = max_beta k / rings``, k from 1, at the longitudes ``alpha_a = 2 pi a / around``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isotypic.errors import RequestError
from isotypic.groups.finite import Floats


@dataclass(frozen=True)
class S2Kernel:
    """A kernel on the sphere, ``rings * around`` points about the north pole.

    Attributes:
        max_beta: colatitude of the last ring in radians, in (0, pi].
        rings: how many rings.
        around: points of a ring.
    """

    max_beta: float = np.pi / 8
    rings: int = 3
    around: int = 8

    def __post_init__(self) -> None:
        _refuse(self.max_beta, (self.rings, self.around))

    @property
    def shape(self) -> tuple[int, ...]:
        """``(rings, around)``: the axes of the points."""
        return self.rings, self.around

    @property
    def betas(self) -> Floats:
        """Colatitude of the rings, in radians."""
        return self.max_beta * np.arange(1, self.rings + 1) / self.rings

    @property
    def alphas(self) -> Floats:
        """Longitudes of a ring, in radians."""
        return 2 * np.pi * np.arange(self.around) / self.around


@dataclass(frozen=True)
class SO3Kernel:
    """A kernel on SO(3), ``rings * around * turns`` rotations near those about the north pole.

    The last angle is ``gamma = turn_t - alpha_a`` with ``turn_t = -2 pi + 4 pi t / (turns - 1)``: two full circles with
    both ends, so that the first and the last turn are the same rotation (and, with 8 turns, 7 are distinct), as in
    the reference implementation, whose kernels this reads.

    Attributes:
        max_beta: the angle beta of the last ring in radians, in (0, pi].
        rings: how many rings.
        around: values of alpha on a ring.
        turns: values of gamma at a point, at least 2; even, so that ``turns - 1`` distinct ones are uniform.
    """

    max_beta: float = np.pi / 8
    rings: int = 3
    around: int = 8
    turns: int = 8

    def __post_init__(self) -> None:
        _refuse(self.max_beta, (self.rings, self.around, self.turns))
        if self.turns % 2:
            raise RequestError(f"expected an even number of turns, received {self.turns}: take {self.turns + 1}")

    @property
    def shape(self) -> tuple[int, ...]:
        """``(rings, around, turns)``: the axes of the points."""
        return self.rings, self.around, self.turns

    @property
    def betas(self) -> Floats:
        """The angle beta of the rings, in radians."""
        return self.max_beta * np.arange(1, self.rings + 1) / self.rings

    @property
    def alphas(self) -> Floats:
        """The values of alpha, in radians."""
        return 2 * np.pi * np.arange(self.around) / self.around

    @property
    def turn_angles(self) -> Floats:
        """``alpha + gamma``, in radians."""
        return np.linspace(-2 * np.pi, 2 * np.pi, self.turns)

    @property
    def period(self) -> int:
        """After how many orders n the waves of the turns repeat."""
        return self.turns - 1


def _refuse(max_beta: float, counts: tuple[int, ...]) -> None:
    if not 0 < max_beta <= np.pi:
        raise RequestError(f"expected a largest beta of a kernel in (0, pi] radians, received {max_beta:g}")
    if min(counts) < 1:
        raise RequestError(f"expected at least one point along every axis of a kernel, received {counts}")
