"""Interleaved timing: the candidates take turns in one process, so that a noisy machine is noisy for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Timing:
    """Seconds a call, one entry a round.

    Attributes:
        seconds: ``[rounds]``.
    """

    seconds: NDArray[np.float64]

    @property
    def median(self) -> float:
        """The median, in seconds."""
        return float(np.median(self.seconds))

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, relative to the median."""
        low, high = np.quantile(self.seconds, (0.25, 0.75))
        return float((high - low) / 2 / self.median)


def interleave(candidates: Mapping[str, Callable[[], object]], budget: float, least: int = 7) -> dict[str, Timing]:
    """Time candidates in turns until a budget is spent.

    Args:
        candidates: what to call, by name; each is called twice first, untimed.
        budget: seconds to spend on all of them together.
        least: rounds to make even when the budget is too small.

    Returns:
        The timing of each candidate; round i of one was measured beside round i of the others.
    """
    for call in candidates.values():
        call()
        call()
    rounds: dict[str, list[float]] = {name: [] for name in candidates}
    start = time.perf_counter()
    while len(next(iter(rounds.values()))) < least or time.perf_counter() - start < budget:
        for name, call in candidates.items():
            before = time.perf_counter()
            call()
            rounds[name].append(time.perf_counter() - before)
    return {name: Timing(np.array(seconds)) for name, seconds in rounds.items()}


def ratio(candidate: Timing, reference: Timing) -> float:
    """Return the median over the rounds of candidate time / reference time."""
    return float(np.median(candidate.seconds / reference.seconds))
