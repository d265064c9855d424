"""Functions on the sphere, each with a value, and where there are any with a class, at every point."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from isotypic.groups.finite import Floats, Indices


class SphereFields(ABC):
    """Functions on the sphere that are evaluated where they are asked for.

    Attributes:
        channels: values at a point.
        dtype: what samples are stored as: uint8 in 0..255, or float32.
    """

    channels: int
    dtype: np.dtype

    @property
    @abstractmethod
    def state(self) -> str:
        """What changes when a function does."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def values(self, rows: Indices, points: Floats) -> Floats:
        """Return the values ``[n, channels, points]`` of some functions.

        Args:
            rows: which functions, ``[n]``.
            points: where, unit vectors ``[n, points, 3]``: each function at its own.
        """

    @abstractmethod
    def classes(self, rows: Indices, points: Floats) -> NDArray[np.uint8]:
        """Return the classes ``[n, points]`` of the points, 0 for the background.

        Raises:
            RequestError: the functions have no classes.
        """
